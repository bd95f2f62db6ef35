package policy

import (
	"slices"
	"testing"
)

// A template that no identity has a value for is told of.
func TestUnknownTemplates(t *testing.T) {
	for name, known := range map[string]bool{
		"identity.entity.id": true, "identity.entity.name": true, "identity.entity.metadata.team": true, "identity.entity.nam": false, "identity.entity.metadata.": false, "identity.entity.metadata": false,
		"identity.entity.aliases.auth_1.name": true, "identity.entity.aliases.auth_1.custom_metadata.a": true, "identity.entity.aliases.auth_1.metadata.a": true, "identity.entity.aliases.auth_1": false,
		"identity.entity.aliases..name": false, "identity.groups.ids.x.name": true, "identity.groups.names.a.b.id": true, "identity.groups.names.a.b.metadata.c": true, "identity.groups.nam.a.id": false,
		"identity.groups.names.a.b": false, "identity.entity.custom_metadata.a": false, "identity.entities.id": false,
	} {
		p, err := Parse("x", `path "secret/{{ `+name+` }}/*" { capabilities = ["read"] }`)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		unknown, accessors := p.Unknown()
		if (len(unknown) == 0) != known {
			t.Errorf("%s: unknown %v", name, unknown)
		}
		if known && slices.Contains(accessors, "auth_1") != (len(name) > 24 && name[:24] == "identity.entity.aliases.") {
			t.Errorf("%s: accessors %v", name, accessors)
		}
	}
}

// A value that is empty makes no path: with what stands behind the template it would be another's, or everybody's.
func TestEmptyValueGrantsNothing(t *testing.T) {
	for text, rules := range map[string]int{`path "a/{{identity.entity.metadata.x}}*" { capabilities = ["read"] }`: 0, `path "a/b-{{identity.entity.metadata.x}}" { capabilities = ["read"] }`: 0,
		`path "a/b-{{identity.entity.metadata.x}}" { capabilities = ["deny"] }`: 1} {
		p, err := Parse("p", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Expand(func(string) (string, bool) { return "", true }).Rules; len(got) != rules || rules == 1 && got[0].Path != "a/b-*" {
			t.Errorf("%s: %d rules", text, len(got))
		}
	}
}
