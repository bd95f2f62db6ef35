package identity

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Person is an entity as its tokens have it. It is immutable.
type Person struct {
	*Entity
	// Policies are the names, by namespace identifier, that the entity and its groups
	// have there; sorted, and never root.
	Policies map[string][]string

	namespace string
	since     int                  // what Revocations of entities that have become this one add to its own, on the way from the one that was asked for
	aliases   map[string]*aliasRow // by accessor
	groups    []membership         // all, the nearest first; of crowded namespaces none
	crowd     crowd
	sealed    bool // there are more groups, in a sealed namespace
}

// membership is a group that a person is in.
type membership struct {
	namespace string
	group     *Group
	direct    bool   // the person itself is a member; else a group of theirs is
	by        string // stamp of the alias that they are in by; empty: by hand
}

// Person is an entity as it stands, or what it has become, as of no earlier than the
// cache's last Fresh; nil when there is none.
func (s *Store) Person(ctx context.Context, nsID, entityID string) (*Person, error) {
	p, err := s.persons.Get(ctx, key{nsID, entityID})
	var part *partial
	if errors.As(err, &part) {
		return part.person, nil
	}
	return p, err
}

// partial is a person of whom groups lie in a namespace that is sealed. Requests do not
// reach that, and what the groups give and deny there is not needed; but it is as soon as the
// namespace is open, of which no row of theirs tells. So such a person is not remembered.
type partial struct{ person *Person }

func (*partial) Error() string { return "identity: groups of the entity lie in a sealed namespace" }

func (s *Store) loadPerson(ctx context.Context, r store.Reader, k key) (*Person, error) {
	read := reading(ctx, r)
	e, since, err := follow(read, k)
	if err != nil || e == nil {
		return nil, err
	}
	p := &Person{Entity: e, namespace: k.namespace, since: since, aliases: make(map[string]*aliasRow, len(e.Aliases))}
	for _, ref := range e.Aliases {
		a, err := loadAlias(ctx, r, aliasKey(k.namespace, ref.Accessor, ref.Name))
		if err != nil {
			return nil, err
		}
		if a != nil && a.EntityID == e.ID {
			p.aliases[ref.Accessor] = a
		}
	}
	in := newWalk(s, r, k.namespace)
	if p.groups, err = in.groups(ctx, e); err != nil {
		return nil, err
	}
	p.crowd, p.sealed = in.crowd, in.sealed
	if p.Policies = p.policies(); in.sealed {
		return nil, &partial{p}
	}
	return p, nil
}

// policies are the names that the person has, by namespace. The root policy is not
// among them, however it came there.
func (p *Person) policies() map[string][]string {
	out := map[string][]string{p.namespace: slices.Clone(p.Entity.Policies)}
	for _, m := range p.groups {
		out[m.namespace] = append(out[m.namespace], m.group.Policies...)
	}
	for ns, names := range out {
		out[ns] = sorted(slices.DeleteFunc(names, policy.IsRoot))
	}
	return out
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Label is what a person is called where they read it themselves: the entity's name, or, where that
// was made up at a first login, the name that they log in by.
func (p *Person) Label() string {
	if !strings.HasPrefix(p.Name, "entity_") || len(p.aliases) != 1 {
		return p.Name
	}
	for _, a := range p.aliases {
		return a.Name
	}
	return p.Name
}

// Partial reports whether the person is in more groups than can be told, as they lie in a
// sealed namespace, or are more than are read.
func (p *Person) Partial() bool { return p.sealed || p.crowd.some() }

// GroupIDs are the identifiers of all groups that the person is in, those of their
// groups among them.
func (p *Person) GroupIDs() []string {
	out := make([]string, len(p.groups))
	for i, m := range p.groups {
		out[i] = m.group.ID
	}
	return out
}

// passable is nil for an error that says no more than that a namespace is gone or sealed.
func (s *Store) passable(err error, sealed *bool) error {
	switch {
	case errors.Is(err, store.ErrSealed):
		*sealed = true
		return nil
	case s.gone(err):
		return nil
	}
	return err
}

// Value is what a template in a policy of a namespace stands for: what is between the
// braces, such as identity.entity.metadata.team. Groups are those of that namespace.
func (p *Person) Value(nsID, template string) (string, bool) {
	if rest, ok := strings.CutPrefix(template, "identity.entity."); ok {
		return p.entityValue(rest)
	}
	if rest, ok := strings.CutPrefix(template, "identity.groups.ids."); ok {
		id, what, _ := strings.Cut(rest, ".")
		return p.groupValue(nsID, what, func(g *Group) bool { return g.ID == id })
	}
	if rest, ok := strings.CutPrefix(template, "identity.groups.names."); ok {
		name, what := partGroup(rest)
		return p.groupValue(nsID, what, func(g *Group) bool { return g.Name == name })
	}
	return "", false
}

// partGroup parts the name of a group, which may hold dots, from what is asked of it.
func partGroup(text string) (name, what string) {
	if name, key, ok := strings.Cut(text, ".metadata."); ok {
		return name, "metadata." + key
	}
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", ""
	}
	return text[:i], text[i+1:]
}

func (p *Person) entityValue(what string) (string, bool) {
	switch what {
	case "id":
		return p.ID, true
	case "name":
		return p.Name, p.Name != ""
	}
	if k, ok := strings.CutPrefix(what, "metadata."); ok {
		v, ok := p.Metadata[k]
		return v, ok
	}
	rest, ok := strings.CutPrefix(what, "aliases.")
	accessor, what, _ := strings.Cut(rest, ".")
	a := p.aliases[accessor]
	if !ok || a == nil {
		return "", false
	}
	switch what {
	case "id":
		return a.ID, true
	case "name":
		return a.Name, true
	}
	if k, ok := strings.CutPrefix(what, "metadata."); ok {
		v, ok := a.Metadata[k]
		return v, ok
	}
	k, ok := strings.CutPrefix(what, "custom_metadata.")
	v, has := a.Custom[k]
	return v, ok && has
}

func (p *Person) groupValue(nsID, what string, is func(*Group) bool) (string, bool) {
	for _, m := range p.groups {
		if m.namespace != nsID || !is(m.group) {
			continue
		}
		switch what {
		case "id":
			return m.group.ID, true
		case "name":
			return m.group.Name, true
		}
		k, ok := strings.CutPrefix(what, "metadata.")
		v, has := m.group.Metadata[k]
		return v, ok && has
	}
	return "", false
}

// Elsewhere are the namespaces, other than one, where the person has policies by groups,
// in order.
func (p *Person) Elsewhere(nsID string) []string {
	var out []string
	for ns, names := range p.Policies {
		if ns != nsID && len(names) > 0 {
			out = append(out, ns)
		}
	}
	slices.Sort(out)
	return out
}
