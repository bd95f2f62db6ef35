package identity

import (
	"context"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// maxGroupAliases bounds how many groups a login can name.
const maxGroupAliases = 5000

// outsideKey names an external group as its auth method does.
type outsideKey struct{ namespace, accessor, name string }

func loadOutside(ctx context.Context, r store.Reader, k outsideKey) (*Group, error) {
	return groupAt(reading(ctx, r), groupAliasKey(k.namespace, k.accessor, k.name), k.namespace)
}

// is reports whether the group is what a mount calls by a name, in just that spelling.
func (g *Group) is(accessor, name string) bool {
	return g != nil && g.Type == external && g.Alias != nil && g.Alias.Accessor == accessor && g.Alias.Name == name
}

// refresh gives a person the external groups of the call's mount that it has just named of the alias by
// which it knows them, and no others of it. It writes only what has changed.
func (s *Store) refresh(c *api.Call, p *Person, said *api.Auth) (*Person, error) {
	if len(said.GroupAliases) > maxGroupAliases {
		return nil, api.Errorf(api.Invalid, "the auth method names more than %d groups of this login", maxGroupAliases)
	}
	r, err := s.enrolment(c, p, said)
	if err != nil || len(r.leave)+len(r.join) == 0 {
		return p, err
	}
	for len(r.leave)+len(r.join) > 0 {
		if err := r.step(c); err != nil {
			return nil, err
		}
	}
	if err := s.fresh(c); err != nil {
		return nil, err
	}
	p, err = s.Person(c, c.Namespace.ID, p.ID)
	if err == nil && (p == nil || p.Disabled) {
		err = api.ErrDenied()
	}
	return p, err
}

// quit takes an entity out of the external groups of a mount: nobody says any more that it is in them. Those stay that
// are among the memberships with a prefix, where one is given.
func (s *Store) quit(ctx context.Context, k key, accessor, unless string) error {
	rows, err := s.Store.List(ctx, keysOnly(k.in()+k.namespace+"/"))
	if err != nil {
		return err
	}
	for _, row := range rows {
		l := linkAt(k, row.Key)
		_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
			g, err := get[Group](tx.Get, l.group.group())
			if err != nil || g == nil || g.Type != external || g.Alias == nil || g.Alias.Accessor != accessor {
				return err
			}
			if unless != "" {
				if other, err := tx.Get(unless + row.Key[len(k.in()):]); err != nil || other.Exists() {
					return err
				}
			}
			l.remove(tx)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// enrolment is what is to become of a person's external groups of one mount.
type enrolment struct {
	store    *Store
	person   key
	accessor string // of the mount
	alias    string // by which it knows the person
	leave    []key
	join     []outside
}

type outside struct {
	group key
	alias outsideKey
}

// enrolment compares the groups that the call's mount names with those that a person is in.
func (s *Store) enrolment(c *api.Call, p *Person, said *api.Auth) (*enrolment, error) {
	nsID, accessor := c.Namespace.ID, c.Mount.Accessor
	r := &enrolment{store: s, person: key{p.namespace, p.ID}, accessor: accessor, alias: said.Alias.Name}
	have := map[string]bool{}
	for _, m := range p.groups {
		if m.direct && m.namespace == nsID && m.group.Alias != nil && m.group.Alias.Accessor == accessor {
			have[m.group.ID] = true
		}
	}
	wanted := map[string]bool{}
	for _, name := range said.GroupAliases {
		k := outsideKey{nsID, accessor, name}
		if len(name) > maxAlias {
			continue // no alias has such a name
		}
		g, err := s.outside.Get(c, k)
		if err != nil {
			return nil, err
		}
		if !g.is(accessor, name) || wanted[g.ID] {
			continue
		}
		if wanted[g.ID] = true; !have[g.ID] {
			r.join = append(r.join, outside{key{nsID, g.ID}, k})
		}
	}
	for _, m := range p.groups {
		if have[m.group.ID] && m.namespace == nsID && !wanted[m.group.ID] {
			r.leave = append(r.leave, key{nsID, m.group.ID})
		}
	}
	return r, nil
}

// step makes some of the changes, those who leave first, while the person is still known by the alias: what is
// said of a name that is another's by the commit is not about them.
func (r *enrolment) step(ctx context.Context) error {
	var rest enrolment
	_, err := store.Update(ctx, r.store.Store, func(tx *store.Tx) error {
		rest = *r
		e, err := entityIn(tx, r.person.namespace, r.person.id)
		switch {
		case err != nil:
			return err
		case e == nil || !e.by(r.accessor, r.alias):
			return api.ErrDenied()
		}
		n := perCommit
		for ; n > 0 && len(rest.leave) > 0; n-- {
			link{group: rest.leave[0], member: r.person, kind: ofEntity}.remove(tx)
			rest.leave = rest.leave[1:]
		}
		for ; n > 0 && len(rest.join) > 0; n-- {
			o := rest.join[0]
			g, err := get[Group](tx.Get, o.group.group())
			if err != nil {
				return err
			}
			if g.is(o.alias.accessor, o.alias.name) { // still
				link{group: o.group, member: r.person, kind: ofEntity}.put(tx, g.stamp())
			}
			rest.join = rest.join[1:]
		}
		return nil
	})
	*r = rest
	return err
}
