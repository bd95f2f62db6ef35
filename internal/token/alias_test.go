package token

import "testing"

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
