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
