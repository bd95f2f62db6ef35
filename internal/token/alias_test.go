package token

import (
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// An entity is asked for by aliases that a role allows, in whatever case, and by no other.
func TestAliasesOfARole(t *testing.T) {
	r := &Role{AllowedEntityAliases: []string{"ann", "ci-*"}}
	for alias, want := range map[string]bool{"ann": true, "ANN": true, "ci-1": true, "CI-2": true, "anna": false, "an": false, "": false, "ci": false, "*": false, "bob": false} {
		if r.allowsAlias(alias) != want {
			t.Errorf("%q: want %v", alias, want)
		}
	}
	if (&Role{}).allowsAlias("ann") {
		t.Error("a role that allows none allows one")
	}
}

// A token for an entity is made by an alias that its role allows, and has logged in at no time, whoever makes it has.
func TestTokenForAnAlias(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Entity = func(_ *api.Call, alias string) (string, int, error) { return "entity of " + alias, 7, nil }
	})
	for role, body := range map[string]string{"some": `{"allowed_entity_aliases":"ann","allowed_policies":"default"}`, "none": `{"allowed_policies":"default"}`} {
		if _, _, err := f.write(f.root, "roles/"+role, body); err != nil {
			t.Fatal(err)
		}
	}
	maker := f.issue(Spec{Namespace: RootNamespace, Path: "auth/m/login", MountID: "m", Now: f.now, Auth: api.Auth{TokenPolicies: []string{"root-ish"}, TTL: time.Hour, EntityID: "maker"}})
	if m, err := f.lookup(maker); err != nil || m.LoggedIn().IsZero() {
		t.Fatalf("who makes it has not logged in: %v", err)
	}
	v, _, err := f.write(maker, "create/some", `{"entity_alias":"Ann"}`)
	if err != nil {
		t.Fatal(err)
	}
	made, err := f.lookup(v.(*api.Auth).ClientToken.Reveal())
	if err != nil || made.EntityID != "entity of ann" || made.EntityNamespace() != RootNamespace || made.EntityEpoch != 7 || !made.LoggedIn().IsZero() {
		t.Errorf("the token is of %q, logged in at %v, %v", made.EntityID, made.LoggedIn(), err)
	}
	for _, c := range []struct{ path, alias string }{{"create/some", "bob"}, {"create/none", "ann"}, {"create", "ann"}} {
		if v, _, err := f.write(maker, c.path, `{"entity_alias":"`+c.alias+`"}`); api.KindOf(err) != api.Invalid {
			t.Errorf("%s for %s: %v, %v", c.path, c.alias, v, err)
		}
	}
}
