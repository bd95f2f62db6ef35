package identity

import (
	"errors"
	"maps"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Admit is who has logged in through the call's mount: the entity that the alias
// belongs to, or else a new one; nil for a login without an alias. Who is disabled is denied.
//
// A login that brings nothing new writes nothing.
func (s *Store) Admit(c *api.Call, login *api.Auth) (*Person, error) {
	switch {
	case login.Alias == nil:
		return nil, nil
	case login.Alias.Name == "":
		return nil, errors.New("identity: the auth method has let somebody in without a name")
	}
	return s.admit(c, login)
}

func (s *Store) admit(c *api.Call, login *api.Auth) (*Person, error) {
	a, err := s.known(c, login.Alias)
	if err != nil {
		return nil, err
	}
	p, err := s.Person(c, c.Namespace.ID, a.EntityID)
	switch {
	case err != nil:
		return nil, err
	case p == nil || p.Disabled:
		return nil, api.Deny(errors.New("identity: the entity of who logs in is gone or disabled"))
	}
	return s.refresh(c, p, login)
}

// Still is whom a login of the call's namespace was let in as by an alias, as they stand now. It refuses a login
// whose alias names somebody else by now, or nobody, as what was proved since is another's, and one by whoever is disabled or has had all
// tokens revoked since.
func (s *Store) Still(c *api.Call, in *api.Entrance, by *api.Alias) (*Person, error) {
	if by == nil {
		return nil, errNotAnyMore()
	}
	a, err := s.aliases.Get(c, aliasKey(c.Namespace.ID, in.Accessor, by.Name))
	if err != nil {
		return nil, err
	}
	if a == nil || !a.is(by.Name) || a.EntityID != in.EntityID {
		return nil, errNotAnyMore()
	}
	p, err := s.Person(c, c.Namespace.ID, in.EntityID)
	if err == nil && (p == nil || p.ID != in.EntityID || p.Disabled || p.Ended(in.Epoch)) {
		err = errNotAnyMore()
	}
	return p, err
}

func errNotAnyMore() error {
	return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "log in again: whom this login was let in as is gone, disabled or somebody else by now, or has had all tokens revoked",
		Err: errors.New("identity: the alias of a login that waited names somebody else, or nobody, or who is disabled or has had all tokens revoked")}
}

// Renewed takes up what the auth method of the call's mount says of somebody at the renewal of a token: the groups that
// they are in now. by is the alias that the token's login was by; empty: it is older than that this is kept. What is said by an alias that
// the entity has no more at this mount is about somebody else, and a method that does not say who it is cannot look again: neither
// changes anything. Denied is who is gone or disabled, or has had all tokens revoked since one of an epoch was made.
func (s *Store) Renewed(c *api.Call, entityID string, epoch int, by string, said *api.Auth) error {
	p, err := s.Person(c, c.Namespace.ID, entityID)
	switch {
	case err != nil:
		return err
	case p == nil || p.Disabled || p.Ended(epoch):
		return api.ErrDenied()
	case said.Alias == nil || by != "" && by != said.Alias.Name || !p.by(c.Mount.Accessor, said.Alias.Name):
		return nil
	}
	_, err = s.refresh(c, p, said)
	return err
}

// known is the alias's row as this login leaves it.
func (s *Store) known(c *api.Call, who *api.Alias) (*aliasRow, error) {
	if len(who.Name) > maxAlias {
		return nil, api.Errorf(api.Invalid, "the name that the auth method knows this login by is longer than %d bytes", maxAlias)
	}
	a, err := s.aliases.Get(c, aliasKey(c.Namespace.ID, c.Mount.Accessor, who.Name))
	switch {
	case err != nil:
		return nil, err
	case a != nil && !a.is(who.Name):
		return nil, errSpelling()
	case a != nil && (who.Metadata == nil || maps.Equal(a.Metadata, who.Metadata)):
		return a, nil
	}
	if err := checkMetadata("the metadata of the login", who.Metadata); err != nil {
		return nil, err
	}
	a, err = s.meet(c, who)
	if err != nil {
		return nil, err
	}
	return a, s.fresh(c)
}

// is reports whether a login by a name is by this alias. Names that differ by no more
// than case or surrounding space share a row, so that there is never a second person
// who could be taken for the first: the second is not let in.
func (a *aliasRow) is(name string) bool { return a.Name == name }

func errSpelling() error {
	return &api.Error{Kind: api.Denied, Message: "permission denied", Err: errors.New("identity: an alias of the same mount has a name that differs by case or space alone")}
}

// meet makes an entity of an alias that is seen for the first time, unless another
// login has just done so, and gives the alias the metadata of the login.
func (s *Store) meet(c *api.Call, who *api.Alias) (a *aliasRow, err error) {
	k := aliasKey(c.Namespace.ID, c.Mount.Accessor, who.Name)
	_, err = store.Update(c, s.Store, func(tx *store.Tx) (err error) {
		if a, err = get[aliasRow](tx.Get, k); err != nil {
			return err
		}
		if a != nil {
			return s.describe(c, tx, a, who)
		}
		a = &aliasRow{ID: api.NewUUID(), Accessor: c.Mount.Accessor, Name: who.Name, Metadata: who.Metadata, Created: c.Now.UTC(), Updated: c.Now.UTC(), Met: true}
		return s.found(tx, c.Namespace.ID, a)
	})
	return a, err
}

// describe gives an alias that is known the metadata of a login.
func (s *Store) describe(c *api.Call, tx *store.Tx, a *aliasRow, who *api.Alias) error {
	switch {
	case !a.is(who.Name):
		return errSpelling()
	case who.Metadata == nil:
		return nil
	}
	a.Metadata, a.Updated = who.Metadata, c.Now.UTC()
	return put(tx, a.key(c.Namespace.ID), a)
}

// found makes a new entity whose only alias is a.
func (s *Store) found(tx *store.Tx, nsID string, a *aliasRow) error {
	e := &Entity{ID: api.NewUUID(), Created: a.Created, Updated: a.Created, Met: true}
	if err := errors.Join(s.nameAnew(tx, nsID, e), s.reapFrom(tx, nsID, e.Created)); err != nil {
		return err
	}
	a.EntityID, e.Aliases = e.ID, []AliasRef{a.ref()}
	if err := putAlias(tx, nsID, a); err != nil {
		return err
	}
	return put(tx, key{nsID, e.ID}.entity(), e)
}

// nameAnew gives an entity a name that no other has.
func (s *Store) nameAnew(tx *store.Tx, nsID string, e *Entity) error {
	for {
		e.Name = "entity_" + api.NewUUID()[:8]
		old, err := tx.Get(entityName(nsID, e.Name))
		if err != nil {
			return err
		}
		if !old.Exists() {
			return put(tx, entityName(nsID, e.Name), nameRow{e.ID, e.Name})
		}
	}
}

// putAlias writes an alias and where it lies.
func putAlias(tx *store.Tx, nsID string, a *aliasRow) error {
	if err := put(tx, aliasID(nsID, a.ID), placeRow{a.Accessor, a.Name}); err != nil {
		return err
	}
	return put(tx, a.key(nsID), a)
}
