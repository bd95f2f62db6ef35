package compat

import (
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"
)

// namespace makes a namespace of its own below the client's and returns its name.
func (c *client) namespace(t *testing.T) string {
	t.Helper()
	name := unique("ns")
	must(c.logical.Write("sys/namespaces/"+name, nil))(t)
	return name
}

// TestNamespaceHelpers covers the calls that only OpenBao's client has.
func TestNamespaceHelpers(t *testing.T) {
	t.Parallel()
	c, name := baoClient(t, world.shared), unique("ns")
	made := must(c.sys.CreateNamespace(name, &bao.CreateNamespaceInput{CustomMetadata: map[string]string{"team": "red", "tier": "1"}}))(t)
	equal(t, "path", made.Path, name+"/")
	equal(t, "metadata", made.CustomMetadata, map[string]string{"team": "red", "tier": "1"})
	equal(t, "id and uuid are there", made.ID != "" && made.UUID != "", true)
	read := must(c.sys.ReadNamespace(name))(t)
	equal(t, "id", read.ID, made.ID)
	patched := must(c.sys.PatchNamespace(name, &bao.PatchNamespaceInput{CustomMetadata: map[string]any{"tier": nil, "x": "y"}}))(t)
	equal(t, "metadata patched", patched.CustomMetadata, map[string]string{"team": "red", "x": "y"})
	equal(t, "listed", must(c.sys.ListNamespaces())(t)[name+"/"].ID, made.ID)
	must(c.sys.DeleteNamespace(name))(t)
	c.awaitGone(t, name)
	must(c.sys.DeleteNamespace(name))(t)
}

// awaitGone waits a bounded time for a namespace that is being deleted.
func (c *client) awaitGone(t *testing.T, name string) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for c.send(t, "GET", "/v1/sys/namespaces/"+name, "").status != 404 {
		select {
		case <-deadline:
			t.Fatal("the namespace is still there ten seconds after its deletion")
		case <-tick.C:
		}
	}
}

func TestNamespaceRefusals(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		for _, name := range []string{"root", "sys", "a/b", "auth", "cubbyhole"} {
			_, err := c.logical.Write("sys/namespaces/"+name, nil)
			refused(t, err, 400, "")
		}
		s, err := c.logical.Read("sys/namespaces/" + unique("none"))
		absent(t, "a namespace that is not there", s, err)
		nowhere := c.send(t, "GET", "/v1/secret/data/app", "", "X-Vault-Namespace", "nowhere")
		equal(t, "status in no namespace", nowhere.status, 404)
		holds(t, "answer in no namespace", nowhere.text, "namespace not found")
		equal(t, "header of the answer", nowhere.header.Get("X-Vault-Namespace"), "nowhere")
		parent := c.namespace(t)
		c.in(t, parent).namespace(t)
		_, err = c.logical.Delete("sys/namespaces/" + parent)
		refused(t, err, 400, "child namespaces")
	})
}

// TestNamespacesApart pins that mounts, policies and tokens of one namespace are nothing in another.
func TestNamespacesApart(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		here, there := c.namespace(t), c.namespace(t)
		inner := c.in(t, here)
		ok(t, inner.sys.Mount("kv", &vault.MountInput{Type: "kv"}))
		ok(t, inner.kv1("kv").Put(t.Context(), "app", map[string]any{"n": 1}))
		ok(t, inner.sys.PutPolicy("reader", `path "kv/*" { capabilities = ["read"] }`))
		token := must(inner.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"reader"}, TTL: "1h"}))(t).Auth.ClientToken
		holder := inner.as(t, token).in(t, here)
		equal(t, "data in its namespace", must(holder.kv1("kv").Get(t.Context(), "app"))(t).Data, map[string]any{"n": 1})
		equal(t, "data by the path", must(c.logical.Read(here+"/kv/app"))(t).Data, map[string]any{"n": 1})
		s, err := c.in(t, there).logical.Read("kv/app")
		absent(t, "the secret in the other namespace", s, err)
		_, err = holder.as(t, token).in(t, there).logical.Read("kv/app")
		refused(t, err, 403, "permission denied")
		_, err = c.as(t, token).logical.Read("kv/app")
		refused(t, err, 403, "permission denied")
		equal(t, "a policy of the other namespace", must(c.in(t, there).sys.GetPolicy("reader"))(t), "")
		if !strings.Contains(token, ".") {
			t.Errorf("a namespace's token does not end in a dot and the namespace's id")
		}
	})
}

func TestNamespacesNested(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		outer := c.namespace(t)
		inner := c.in(t, outer).namespace(t)
		deep := c.in(t, outer+"/"+inner)
		ok(t, deep.sys.Mount("kv", &vault.MountInput{Type: "kv"}))
		ok(t, deep.kv1("kv").Put(t.Context(), "app", map[string]any{"n": 1}))
		for _, spelling := range []string{outer + "/" + inner + "/", "/" + outer + "/" + inner} {
			equal(t, "data as "+spelling, must(c.in(t, spelling).kv1("kv").Get(t.Context(), "app"))(t).Data, map[string]any{"n": 1})
		}
		equal(t, "children", keys(t, must(c.in(t, outer).logical.List("sys/namespaces"))(t)), []string{inner + "/"})
		equal(t, "header and path together", must(c.in(t, outer).logical.Read(inner+"/kv/app"))(t).Data, map[string]any{"n": 1})
	})
}

// TestNamespaceDeletion pins that nothing of a namespace comes back with a new one of its name.
func TestNamespaceDeletion(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := c.namespace(t)
		inner := c.in(t, name)
		ok(t, inner.sys.Mount("kv", &vault.MountInput{Type: "kv"}))
		ok(t, inner.kv1("kv").Put(t.Context(), "app", map[string]any{"n": 1}))
		token := must(inner.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"}))(t).Auth.ClientToken
		must(c.logical.Delete("sys/namespaces/" + name))(t)
		c.awaitGone(t, name)
		must(c.logical.Write("sys/namespaces/"+name, nil))(t)
		equal(t, "a mount of before", must(inner.sys.ListMounts())(t)["kv/"] != nil, false)
		_, err := inner.as(t, token).in(t, name).tokens.LookupSelf()
		refused(t, err, 403, "permission denied")
	})
}

func TestNamespaceRootOnlyPaths(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := c.namespace(t)
		refused(t, c.in(t, name).sys.Rotate(), 400, "")
		equal(t, "status of sealing", c.send(t, "PUT", "/v1/sys/seal", "", "X-Vault-Namespace", name).status, 400)
	})
}

// TestTokenAsksAtHome shows a token of a namespace in the root namespace, as Terraform's provider does after a login. What is
// about the token alone is answered; all else is refused, and in a namespace beside it as in one that does not exist.
func TestTokenAsksAtHome(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		team, other := c.namespace(t), c.namespace(t)
		made := c.send(t, "PUT", "/v1/auth/token/create", `{"policies":["default"],"ttl":"1h"}`, "X-Vault-Namespace", team)
		token, _ := at(made.body, "auth.client_token").(string)
		ask := func(method, path, namespace string) answer {
			return c.send(t, method, "/v1/"+path, "{}", "X-Vault-Token", token, "X-Vault-Namespace", namespace)
		}
		equal(t, "namespace of the token", at(ask("GET", "auth/token/lookup-self", "").body, "data.namespace_path"), any(team+"/"))
		equal(t, "status of renew-self", ask("PUT", "auth/token/renew-self", "").status, 200)
		beside, nowhere := ask("GET", "auth/token/lookup-self", other), ask("GET", "auth/token/lookup-self", unique("none"))
		if beside.status != 403 || nowhere.status != 403 || at(beside.body, "errors") == nil {
			t.Errorf("beside it is told %d %s, nowhere %d %s", beside.status, beside.text, nowhere.status, nowhere.text)
		}
		for _, path := range []string{"cubbyhole/x", "sys/capabilities-self", "auth/token/lookup", "auth/token/create"} {
			equal(t, "status of "+path, ask("PUT", path, "").status, 403)
		}
		equal(t, "status of revoke-self", ask("PUT", "auth/token/revoke-self", "").status, 204)
		equal(t, "status of what it is then", ask("GET", "auth/token/lookup-self", team).status, 403)
	})
}
