package compat

import (
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// family is a token that may create children, with a child and a grandchild of it.
func family(t *testing.T, c *client) (parent, child, grandchild *client) {
	t.Helper()
	parent = c.bearer(t, `path "auth/token/create" { capabilities = ["update"] }`)
	child = parent.child(t)
	return parent, child, child.child(t)
}

func (c *client) child(t *testing.T) *client {
	t.Helper()
	return c.as(t, must(c.tokens.Create(&vault.TokenCreateRequest{TTL: "30m"}))(t).Auth.ClientToken)
}

// alive checks whether the client's token works.
func (c *client) alive(t *testing.T, who string, want bool) {
	t.Helper()
	_, err := c.tokens.LookupSelf()
	if want {
		ok(t, err)
		return
	}
	if err == nil {
		t.Errorf("the %s's token still works", who)
		return
	}
	refused(t, err, 403, "permission denied")
}

// TestTokenRevocations pins what each way of revoking a token leaves of its family.
func TestTokenRevocations(t *testing.T) {
	ways := map[string]struct {
		revoke             func(t *testing.T, root, child *client) error
		grandchildSurvives bool
	}{
		"tree":     {func(_ *testing.T, root, child *client) error { return root.tokens.RevokeTree(child.token) }, false},
		"self":     {func(_ *testing.T, _, child *client) error { return child.tokens.RevokeSelf("") }, false},
		"orphan":   {func(_ *testing.T, root, child *client) error { return root.tokens.RevokeOrphan(child.token) }, true},
		"accessor": {revokeByAccessor, false},
	}
	eachClient(t, func(t *testing.T, c *client) {
		for name, way := range ways {
			parent, child, grandchild := family(t, c)
			ok(t, way.revoke(t, c, child))
			parent.alive(t, name+": parent", true)
			child.alive(t, name+": child", false)
			grandchild.alive(t, name+": grandchild", way.grandchildSurvives)
			_, err := c.tokens.Lookup(child.token)
			refused(t, err, 403, "bad token")
			ok(t, c.tokens.RevokeTree(parent.token))
			grandchild.alive(t, name+": grandchild of a revoked grandparent", way.grandchildSurvives)
		}
	})
}

// revokeByAccessor revokes twice: the second call finds nothing and is no error.
func revokeByAccessor(t *testing.T, root, child *client) error {
	accessor, isText := must(root.tokens.Lookup(child.token))(t).Data["accessor"].(string)
	equal(t, "accessor is text", isText, true)
	ok(t, root.tokens.RevokeAccessor(accessor))
	return root.tokens.RevokeAccessor(accessor)
}

func TestTokenRevokeEdges(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		refused(t, c.tokens.RevokeTree(""), 400, "missing token")
		refused(t, c.as(t, "hvs.never-issued").tokens.RevokeSelf(""), 403, "permission denied")
		parent, child, grandchild := family(t, c)
		ok(t, c.tokens.RevokeOrphan(child.token))
		equal(t, "grandchild is an orphan", must(grandchild.tokens.LookupSelf())(t).Data["orphan"], true)
		refused(t, parent.tokens.RevokeOrphan(grandchild.token), 403, "permission denied")
	})
}

func TestTokenOrphan(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		parent := c.bearer(t, `path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }`)
		s := must(parent.tokens.CreateOrphan(&vault.TokenCreateRequest{TTL: "10m"}))(t)
		equal(t, "orphan", s.Auth.Orphan, true)
		ok(t, c.tokens.RevokeTree(parent.token))
		c.as(t, s.Auth.ClientToken).alive(t, "orphan", true)
	})
}

func TestTokenRoles(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		role := unique("role")
		s, err := c.logical.Read("auth/token/roles/" + role)
		absent(t, "a role that is not there", s, err)
		must(c.logical.Write("auth/token/roles/"+role, map[string]any{
			"allowed_policies": "default,app", "orphan": true, "token_period": "15m", "renewable": false, "path_suffix": "suffix",
		}))(t)
		s = must(c.logical.Read("auth/token/roles/" + role))(t)
		for field, want := range map[string]any{
			"name": role, "allowed_policies": []any{"app", "default"}, "disallowed_policies": []any{}, "orphan": true,
			"token_period": 900, "renewable": false, "path_suffix": "suffix", "token_type": "default-service",
		} {
			equal(t, field, s.Data[field], want)
		}
		made := must(c.tokens.CreateWithRole(&vault.TokenCreateRequest{Policies: []string{"app"}}, role))(t)
		equal(t, "policies", made.Auth.Policies, []string{"app", "default"})
		equal(t, "orphan", made.Auth.Orphan, true)
		equal(t, "lease seconds", made.Auth.LeaseDuration, 900)
		equal(t, "renewable", made.Auth.Renewable, false)
		look := must(c.tokens.Lookup(made.Auth.ClientToken))(t).Data
		equal(t, "path", look["path"], "auth/token/create/"+role+"/suffix")
		equal(t, "role", look["role"], role)
		_, err = c.tokens.CreateWithRole(&vault.TokenCreateRequest{Policies: []string{"admin"}}, role)
		refused(t, err, 400, "must be subset of the role's allowed policies")
		must(c.logical.Delete("auth/token/roles/" + role))(t)
		must(c.logical.Delete("auth/token/roles/" + role))(t)
		_, err = c.tokens.CreateWithRole(&vault.TokenCreateRequest{}, role)
		refused(t, err, 400, "unknown role")
	})
}

// TestLifetimeWatcher lets the client keep a token of a few seconds alive beyond its first lifetime, and then to its end.
func TestLifetimeWatcher(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "6s", ExplicitMaxTTL: "9s"}))(t)
		holder := c.as(t, s.Auth.ClientToken)
		w := holder.watch(t, &vault.LifetimeWatcherInput{Secret: s})
		if left := w.renewed(); left < 1 || left > 9 {
			t.Errorf("renewed for %d seconds, want 1 to 9", left)
		}
		holder.alive(t, "watched", true)
		ok(t, w.done())
		if until := must(c.tokens.Lookup(rootToken))(t); until == nil {
			t.Error("the server went away under the watcher")
		}
	})
}
