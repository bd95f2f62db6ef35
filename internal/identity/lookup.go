package identity

import "github.com/strongroom/strongroom/internal/api"

// LookupRequest finds an entity or a group by one of what it has.
type LookupRequest struct {
	ID                 string `json:"id"`                                 // Its identifier.
	Name               string `json:"name" audit:"clear"`                 // Its name.
	AliasID            string `json:"alias_id"`                           // Identifier of one of its aliases.
	AliasName          string `json:"alias_name" audit:"clear"`           // Name of one of its aliases, with alias_mount_accessor.
	AliasMountAccessor string `json:"alias_mount_accessor" audit:"clear"` // Accessor of that alias's mount.
}

// check demands one way of looking.
func (q *LookupRequest) check() error {
	ways := 0
	for _, given := range []bool{q.ID != "", q.Name != "", q.AliasID != "", q.AliasName != "" || q.AliasMountAccessor != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return api.Errorf(api.Invalid, "query parameters not supplied: give id, name, alias_id, or alias_name and alias_mount_accessor")
	case ways > 1:
		return api.Errorf(api.Invalid, "query parameter conflict: give one of id, name, alias_id, or alias_name and alias_mount_accessor")
	case (q.AliasName == "") != (q.AliasMountAccessor == ""):
		return api.Errorf(api.Invalid, "alias_name and alias_mount_accessor: both are needed")
	}
	return nil
}

// lookupEntity finds an entity by its identifier, its name or an alias. It answers
// nothing where there is none.
func (s *Store) lookupEntity(c *api.Call, q *LookupRequest) (*EntityAnswer, error) {
	id, err := s.Find(c, q)
	if err != nil {
		return nil, err
	}
	a, err := s.showEntity(c, id)
	if api.KindOf(err) == api.NotFound {
		return nil, nil
	}
	return a, err
}

// Find is the identifier of the entity that a request looks for; empty: there is none.
func (s *Store) Find(c *api.Call, q *LookupRequest) (id string, err error) {
	if err := q.check(); err != nil {
		return "", err
	}
	switch {
	case q.ID != "":
		return q.ID, nil
	case q.Name != "":
		return s.idOf(c, entityName(c.Namespace.ID, q.Name))
	}
	var a *aliasRow
	if q.AliasID != "" {
		a, err = aliasBy(reading(c, s.Store), c.Namespace.ID, q.AliasID)
	} else {
		a, err = s.aliasAt(c, q)
	}
	if err != nil || a == nil {
		return "", err
	}
	return a.EntityID, nil
}

// aliasAt is the alias with the name and mount of a request.
func (s *Store) aliasAt(c *api.Call, q *LookupRequest) (*aliasRow, error) {
	name := q.AliasName
	m, _, err := s.Mount(c, c.Namespace.ID, q.AliasMountAccessor)
	if err != nil {
		return nil, err
	}
	if m.Spell != nil {
		if name, err = m.Spell(c, name); err != nil {
			return nil, err
		}
	}
	a, err := get[aliasRow](reading(c, s.Store), aliasKey(c.Namespace.ID, q.AliasMountAccessor, name))
	if err != nil || a == nil || !a.is(name) {
		return nil, err
	}
	return a, nil
}
