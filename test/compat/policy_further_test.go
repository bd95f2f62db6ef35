package compat

import (
	"slices"
	"testing"
	"time"
)

func TestPasswordPolicies(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := unique("pw")
		at, text := "sys/policies/password/"+name, "length = 20\nrule \"charset\" {\n  charset = \"abcde\"\n  min-chars = 1\n}"
		equal(t, "status before", c.send(t, "GET", "/v1/"+at+"/generate", "").status, 404)
		must(c.logical.Write(at, map[string]any{"policy": text}))(t)
		equal(t, "policy", must(c.logical.Read(at))(t).Data["policy"], text)
		password, _ := must(c.logical.Read(at + "/generate"))(t).Data["password"].(string)
		equal(t, "length", len(password), 20)
		equal(t, "listed", slices.Contains(keys(t, must(c.logical.List("sys/policies/password"))(t)), name), true)
		_, err := c.logical.Write(at, map[string]any{"policy": "length = 4\nrule \"charset\" { charset = \"ab\" min-chars = 5 }"})
		refused(t, err, 400, "invalid password policy")
		must(c.logical.Delete(at))(t)
		s, err := c.logical.Read(at)
		absent(t, "a password policy that was deleted", s, err)
	})
}

// TestPoliciesEnd pins expiration, ttl, cas and PATCH of policies.
func TestPoliciesEnd(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		at, rules := "sys/policies/acl/"+unique("brief"), `path "secret/*" { capabilities = ["read"] }`
		must(c.logical.Write(at, map[string]any{"policy": rules, "ttl": "1h", "cas": -1}))(t)
		s := must(c.logical.Read(at))(t)
		text, _ := s.Data["expiration"].(string)
		end, err := time.Parse(time.RFC3339Nano, text)
		if left := time.Until(end); err != nil || left < 55*time.Minute || left > 65*time.Minute {
			t.Errorf("it ends at %q (%v)", text, err)
		}
		equal(t, "cas_required", s.Data["cas_required"], false)
		for says, body := range map[string]map[string]any{
			"already elapsed":                   {"policy": rules, "expiration": "2020-01-01T00:00:00Z"},
			"both 'expiration' and 'ttl'":       {"policy": rules, "expiration": "2040-01-01T00:00:00Z", "ttl": 60},
			"did not match the current version": {"policy": rules, "cas": 7},
			"set to -1 on existing entry":       {"policy": rules, "cas": -1},
		} {
			_, err := c.logical.Write(at, body)
			refused(t, err, 400, says)
		}
		must(c.logical.JSONMergePatch(t.Context(), at, map[string]any{"cas": 1, "cas_required": true, "expiration": 1900000000}))(t)
		s = must(c.logical.Read(at))(t)
		equal(t, "expiration in seconds", s.Data["expiration"], "2030-03-17T17:46:40Z")
		equal(t, "the text stays", s.Data["policy"], rules)
		_, err = c.logical.Write(at, map[string]any{"policy": rules})
		refused(t, err, 400, "required for this call")
		must(c.logical.Delete(at))(t)
	})
}

// TestConditions pins that conditions hold for requests of clients, and that a
// mistake is refused with its line.
func TestConditions(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		must(c.logical.Write(mount+"/a", map[string]any{"n": 1}))(t)
		rule := func(condition string) string {
			return "path \"" + mount + "/*\" {\n  capabilities = [\"read\"]\n  condition = \"" + condition + "\"\n}"
		}
		here := c.bearer(t, rule("source.within(['127.0.0.0/8', '::1/128']) && auth.method == 'token' && auth.age < duration('1h')"))
		equal(t, "n", must(here.logical.Read(mount + "/a"))(t).Data["n"] != nil, true)
		equal(t, "capabilities", must(here.sys.CapabilitiesSelf(mount+"/a"))(t), []string{"read"})
		away := c.bearer(t, rule("source.within('192.0.2.0/24')"))
		_, err := away.logical.Read(mount + "/a")
		refused(t, err, 403, "permission denied")
		refused(t, c.sys.PutPolicy(unique("bad"), rule("now.getHours() < 8")), 400, "line 3")
	})
}

// TestExplain pins that a refusal explains itself by its request id.
func TestExplain(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		holder := c.bearer(t, `path "secret/data/x" { capabilities = ["read"] }`)
		answer := holder.send(t, "DELETE", "/v1/secret/data/x", "")
		equal(t, "status", answer.status, 403)
		id := answer.header.Get("X-Request-Id")
		s := must(c.logical.Write("sys/policies/explain", map[string]any{"request_id": id}))(t)
		equal(t, "reason", s.Data["reason"], "the rule does not grant the operation")
		equal(t, "would allow", s.Data["would_allow"], "path \"secret/data/x\" {\n  capabilities = [\"delete\"]\n}")
		_, err := holder.logical.Write("sys/policies/explain", map[string]any{"request_id": id})
		refused(t, err, 403, "permission denied")
	})
}

// TestFilteredLists pins that lists can hold only what the caller may reach.
func TestFilteredLists(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", map[string]string{"version": "2"})
		for _, name := range []string{"a", "b"} {
			must(c.kv2(mount).Put(t.Context(), name, map[string]any{"n": 1}))(t)
		}
		holder := c.bearer(t, `path "`+mount+`/metadata/*" { capabilities = ["list"] }
path "`+mount+`/data/a" { capabilities = ["read"] }`)
		equal(t, "all", keys(t, must(holder.logical.List(mount+"/metadata"))(t)), []string{"a", "b"})
		must(c.logical.Write("sys/mounts/"+mount+"/tune", map[string]any{"filter_lists": true}))(t)
		equal(t, "filtered", keys(t, must(holder.logical.List(mount+"/metadata"))(t)), []string{"a"})
		equal(t, "who may all", keys(t, must(c.logical.List(mount+"/metadata"))(t)), []string{"a", "b"})
	})
}
