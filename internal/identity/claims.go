package identity

import (
	"slices"
	"strings"
)

// Groups are the groups of a namespace that the person is in, those of their groups among
// them: their identifiers, and their names, each in order.
func (p *Person) Groups(nsID string) (ids, names []string) {
	for _, m := range p.groups {
		if m.namespace == nsID {
			ids, names = append(ids, m.group.ID), append(names, m.group.Name)
		}
	}
	slices.Sort(ids)
	slices.Sort(names)
	return ids, names
}

// Pairs is the metadata that a template such as identity.entity.metadata stands for as a
// whole, which may be empty; false: it stands for something else.
func (p *Person) Pairs(template string) (map[string]string, bool) {
	if template == "identity.entity.metadata" {
		return filled(p.Metadata), true
	}
	rest, ok := strings.CutPrefix(template, "identity.entity.aliases.")
	accessor, what, _ := strings.Cut(rest, ".")
	if !ok || what != "metadata" && what != "custom_metadata" {
		return nil, false
	}
	a := p.aliases[accessor]
	switch {
	case a == nil:
		return map[string]string{}, true
	case what == "metadata":
		return filled(a.Metadata), true
	}
	return filled(a.Custom), true
}

// filled is a map that JSON shows as one.
func filled(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
