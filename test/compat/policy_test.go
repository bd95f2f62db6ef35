package compat

import (
	"slices"
	"testing"

	vault "github.com/hashicorp/vault/api"
)

func TestPolicies(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name, rules := unique("app"), `path "secret/data/app" { capabilities = ["read"] }`
		equal(t, "a policy that is not there", must(c.sys.GetPolicy(name))(t), "")
		ok(t, c.sys.PutPolicy(name, rules))
		equal(t, "rules", must(c.sys.GetPolicy(name))(t), rules)
		equal(t, "listed", slices.Contains(must(c.sys.ListPolicies())(t), name), true)
		equal(t, "listed in the newer list", slices.Contains(keys(t, must(c.logical.List("sys/policies/acl"))(t)), name), true)
		s := must(c.logical.Read("sys/policies/acl/" + name))(t)
		equal(t, "name", s.Data["name"], name)
		equal(t, "policy", s.Data["policy"], rules)
		ok(t, c.sys.PutPolicy(name, `path "secret/*" { capabilities = ["deny"] }`))
		ok(t, c.sys.DeletePolicy(name))
		ok(t, c.sys.DeletePolicy(name))
		equal(t, "a policy that was deleted", must(c.sys.GetPolicy(name))(t), "")
		s, err := c.logical.Read("sys/policies/acl/" + name)
		absent(t, "the newer read of it", s, err)
	})
}

func TestPolicyRefusals(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		refused(t, c.sys.PutPolicy(unique("bad"), `path {`), 400, "failed to parse policy")
		refused(t, c.sys.PutPolicy(unique("bad"), `path "a" { capabilities = ["fly"] }`), 400, "")
		refused(t, c.sys.PutPolicy("root", `path "a" { capabilities = ["read"] }`), 400, "")
		refused(t, c.sys.DeletePolicy("root"), 400, "cannot delete")
		refused(t, c.sys.DeletePolicy("default"), 400, "cannot delete")
		equal(t, "policies of the start", slices.Contains(must(c.sys.ListPolicies())(t), "root"), true)
		_, err := c.logical.Write("sys/policies/acl/"+unique("empty"), map[string]any{})
		refused(t, err, 400, "")
	})
}

// TestPolicyForms pins that JSON and base64 rules mean what HCL ones do.
func TestPolicyForms(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		holder := c.bearer(t, `{"path":{"secret/data/json":{"capabilities":["read","create"]}}}`)
		equal(t, "capabilities", must(holder.sys.CapabilitiesSelf("secret/data/json"))(t), []string{"create", "read"})
	})
}

func TestCapabilities(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		holder := c.bearer(t, `
path "secret/data/team/*"      { capabilities = ["create", "read", "update", "list", "patch", "delete"] }
path "secret/data/team/locked" { capabilities = ["deny"] }
path "secret/+/either"         { capabilities = ["read", "sudo"] }`)
		for path, want := range map[string][]string{
			"secret/data/team/x":      {"create", "delete", "list", "patch", "read", "update"},
			"secret/data/team/locked": {"deny"},
			"secret/data/either":      {"read", "sudo"},
			"secret/data/other":       {"deny"},
		} {
			equal(t, path, must(holder.sys.CapabilitiesSelf(path))(t), want)
			equal(t, path+" asked by root", must(c.sys.Capabilities(holder.token, path))(t), want)
		}
		equal(t, "capabilities of root", must(c.sys.CapabilitiesSelf("anything"))(t), []string{"root"})
		accessor := must(holder.tokens.LookupSelf())(t).Data["accessor"]
		s := must(c.logical.Write("sys/capabilities-accessor", map[string]any{"accessor": accessor, "paths": []string{"secret/data/either", "x"}}))(t)
		equal(t, "by accessor", s.Data["secret/data/either"], []any{"read", "sudo"})
		equal(t, "by accessor, elsewhere", s.Data["x"], []any{"deny"})
		_, err := c.sys.Capabilities("hvs.never-issued", "x")
		refused(t, err, 400, "invalid token")
	})
}

func TestPolicyDecides(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		must(kv.Put(t.Context(), "app/db", map[string]any{"n": 1}))(t)
		must(kv.Put(t.Context(), "other", map[string]any{"n": 1}))(t)
		reader := c.bearer(t, `path "`+mount+`/data/app/*" { capabilities = ["read"] }`)
		equal(t, "data", must(reader.kv2(mount).Get(t.Context(), "app/db"))(t).Data, map[string]any{"n": 1})
		for what, err := range map[string]error{
			"write":        second(reader.kv2(mount).Put(t.Context(), "app/db", map[string]any{"n": 2})),
			"patch":        second(reader.kv2(mount).Patch(t.Context(), "app/db", map[string]any{"n": 2})),
			"delete":       reader.kv2(mount).Delete(t.Context(), "app/db"),
			"another path": second(reader.kv2(mount).Get(t.Context(), "other")),
			"absent path":  second(reader.kv2(mount).Get(t.Context(), "nothing/there")),
			"list":         second(reader.logical.List(mount + "/metadata")),
			"other mount":  second(reader.logical.Read("none/such")),
			"sys":          second(reader.sys.ListMounts()),
			"token store":  second(reader.tokens.Create(&vault.TokenCreateRequest{})),
		} {
			if code, _ := parsed(err); code != 403 {
				t.Errorf("%s: got %v, want 403", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestPolicyParameters(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		holder := c.bearer(t, `path "`+mount+`/*" {
  capabilities        = ["create", "update"]
  required_parameters = ["owner"]
  allowed_parameters  = { "owner" = ["ann", "bob*"], "note" = [], "size" = [5], "cap" = [] }
  denied_parameters   = { "note" = ["bad"], "cap" = ["1000"] }
}`)
		for body, allowed := range map[string]bool{
			`{"owner":"ann"}`: true, `{"owner":"bobby","note":"x"}`: true, `{"note":"x"}`: false, `{"owner":"eve"}`: false,
			`{"Owner":"ann"}`: false, `{"owner":null,"note":"x"}`: false, `{"owner":"","note":"x"}`: false, `{"owner":"ann","Note":"x"}`: false,
			`{"owner":"ann","size":5}`: true, `{"owner":"ann","size":5.0}`: false,
			`{"owner":"ann","cap":"1001"}`: true, `{"owner":"ann","cap":1e3}`: false, `{"owner":"ann","cap":"01000"}`: false,
			`{"owner":"ann","note":"bad"}`: false, `{"owner":"ann","more":"x"}`: false,
		} {
			want := 403
			if allowed {
				want = 204
			}
			equal(t, "status of "+body, holder.send(t, "POST", "/v1/"+mount+"/x", body).status, want)
		}
	})
}

// TestRootPolicyStaysRoots pins that no spelling of the name attaches root for anyone but root.
func TestRootPolicyStaysRoots(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		maker := c.bearer(t, `path "auth/token/create" { capabilities = ["update", "sudo"] }`)
		for _, name := range []string{"root", "Root", " ROOT "} {
			_, err := maker.tokens.Create(&vault.TokenCreateRequest{Policies: []string{name}})
			if code, _ := parsed(err); code != 400 && code != 403 {
				t.Errorf("policy %q: got %v, want a refusal", name, err)
			}
		}
	})
}
