package identity

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// GroupAliasRequest creates the alias of an external group or changes it.
type GroupAliasRequest struct {
	ID            string `json:"id"`                           // Identifier of the alias to change; empty: the group, or the name and the mount say which.
	Name          string `json:"name" audit:"clear"`           // Name by which the auth method knows the group.
	MountAccessor string `json:"mount_accessor" audit:"clear"` // Accessor of the auth method's mount.
	CanonicalID   string `json:"canonical_id"`                 // The external group; empty: as before, or a new one.
}

// GroupAliasByIDRequest changes the alias of an external group.
type GroupAliasByIDRequest struct {
	ID            api.Name `path:"id"`                           // Identifier of the alias.
	Name          string   `json:"name" audit:"clear"`           // Its new name; empty: as before.
	MountAccessor string   `json:"mount_accessor" audit:"clear"` // Accessor of its new mount; empty: as before.
	CanonicalID   string   `json:"canonical_id"`                 // The external group that it shall belong to; empty: as before.
}

// GroupAliasShown is the alias of a group as the group shows it; empty where there is none.
type GroupAliasShown struct {
	CanonicalID    string    `json:"canonical_id,omitempty" audit:"clear"`
	CreationTime   *api.Time `json:"creation_time,omitempty"`
	ID             string    `json:"id,omitempty" audit:"clear"`
	LastUpdateTime *api.Time `json:"last_update_time,omitempty"`
	MountAccessor  string    `json:"mount_accessor,omitempty" audit:"clear"`
	MountPath      string    `json:"mount_path,omitempty" audit:"clear"`
	MountType      string    `json:"mount_type,omitempty" audit:"clear"`
	Name           string    `json:"name,omitempty" audit:"clear"`
}

// GroupAliasAnswer is the alias of a group as it is read.
type GroupAliasAnswer struct {
	GroupAliasShown
	MergedFrom  []string          `json:"merged_from_canonical_ids" audit:"clear"`
	Metadata    map[string]string `json:"metadata"`
	NamespaceID string            `json:"namespace_id" audit:"clear"`
}

func (s *Store) showGroupAlias(c *api.Call, g *Group) (*GroupAliasShown, error) {
	if g.Alias == nil {
		return &GroupAliasShown{}, nil
	}
	a := g.Alias
	m, _, err := s.Mount(c, c.Namespace.ID, a.Accessor)
	return &GroupAliasShown{CanonicalID: g.ID, CreationTime: &api.Time{Time: a.Created}, ID: a.ID, LastUpdateTime: &api.Time{Time: a.Updated},
		MountAccessor: a.Accessor, MountPath: m.Path, MountType: m.Type, Name: a.Name}, err
}

// groupBy is the group whose alias has an identifier; nil where there is none.
func groupBy(read func(string) (store.Entry, error), nsID, aliasID string) (*Group, error) {
	if !isID(aliasID) {
		return nil, nil
	}
	place, err := get[placeRow](read, groupAliasID(nsID, aliasID))
	if err != nil || place == nil {
		return nil, err
	}
	return groupAt(read, groupAliasKey(nsID, place.Accessor, place.Name), nsID)
}

// groupAt is the group whose alias lies at a key; nil where there is none.
func groupAt(read func(string) (store.Entry, error), aliasKey, nsID string) (*Group, error) {
	row, err := get[groupAliasRow](read, aliasKey)
	if err != nil || row == nil {
		return nil, err
	}
	g, err := groupIn(read, nsID, row.GroupID)
	if err != nil || g == nil || g.Alias == nil {
		return nil, err
	}
	return g, nil
}

// readGroupAlias describes the alias of a group.
func (s *Store) readGroupAlias(c *api.Call, q *IDRequest) (*GroupAliasAnswer, error) {
	g, err := groupBy(reading(c, s.Store), c.Namespace.ID, string(q.ID))
	switch {
	case err != nil:
		return nil, err
	case g == nil:
		return nil, api.ErrNotFound()
	}
	shown, err := s.showGroupAlias(c, g)
	if err != nil {
		return nil, err
	}
	return &GroupAliasAnswer{GroupAliasShown: *shown, NamespaceID: c.Namespace.ID}, nil
}

// writeGroupAlias gives an external group the name by which an auth method knows it, or
// changes that.
func (s *Store) writeGroupAlias(c *api.Call, q *GroupAliasRequest) (*AliasMade, error) {
	switch {
	case q.ID == "" && q.Name == "":
		return nil, api.Errorf(api.Invalid, "name: missing alias name")
	case q.ID == "" && q.MountAccessor == "":
		return nil, api.Errorf(api.Invalid, "mount_accessor: missing mount_accessor")
	}
	return s.changeGroupAlias(c, q)
}

// writeGroupAliasByID changes the alias of an external group.
func (s *Store) writeGroupAliasByID(c *api.Call, q *GroupAliasByIDRequest) (*AliasMade, error) {
	return s.changeGroupAlias(c, &GroupAliasRequest{ID: string(q.ID), Name: q.Name, MountAccessor: q.MountAccessor, CanonicalID: q.CanonicalID})
}

func (s *Store) changeGroupAlias(c *api.Call, q *GroupAliasRequest) (*AliasMade, error) {
	if q.ID == "" {
		name, err := s.aliasName(c, q.MountAccessor, q.Name)
		if err != nil {
			return nil, err
		}
		q.Name = name
	}
	var made *AliasMade
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		g, old, err := s.groupsMeant(tx, c, q)
		if err != nil {
			return err
		}
		next, err := s.nextAlias(c, q, old)
		if err != nil {
			return err
		}
		made = &AliasMade{CanonicalID: g.ID, ID: next.ID}
		return s.moveAlias(tx, c, g, old, next)
	})
	return made, err
}

// groupsMeant are the group that a request gives an alias to, and the one that has had
// it before: nil where the alias is new.
func (s *Store) groupsMeant(tx *store.Tx, c *api.Call, q *GroupAliasRequest) (g, old *Group, err error) {
	nsID := c.Namespace.ID
	if q.ID != "" {
		if old, err = groupBy(tx.Get, nsID, q.ID); err == nil && old == nil {
			err = api.Errorf(api.Invalid, "id: invalid group alias ID")
		}
	} else if old, err = groupAt(tx.Get, groupAliasKey(nsID, q.MountAccessor, q.Name), nsID); err == nil && old != nil && old.Alias.Name != q.Name {
		err = api.Errorf(api.Invalid, "name: a group alias of this mount exists whose name differs by case alone")
	}
	switch {
	case err != nil:
		return nil, nil, err
	case q.CanonicalID == "" && old != nil:
		return old, old, nil
	case q.CanonicalID == "":
		if g, err = newGroup(tx, nsID); err == nil {
			g.Type, g.Created = external, c.Now.UTC()
		}
		return g, nil, err
	}
	g, err = groupIn(tx.Get, nsID, q.CanonicalID)
	switch {
	case err != nil:
		return nil, nil, err
	case g == nil:
		return nil, nil, api.Errorf(api.Invalid, "canonical_id: no group of this namespace has it")
	case q.ID == "" && old != nil && old.ID != g.ID:
		return nil, nil, api.Errorf(api.Invalid, "canonical_id: the alias is already tied to a different group")
	case g.Type != external:
		return nil, nil, &api.Error{Kind: api.Invalid, Message: "canonical_id: an internal group has no alias", Hint: "make a group of type external"}
	case old == nil && g.Alias != nil:
		old = g // its alias is changed, and keeps its identifier
	case old != nil && old.ID != g.ID && g.Alias != nil:
		return nil, nil, api.Errorf(api.Invalid, "canonical_id: the group already has an alias")
	}
	if old != nil && old.ID == g.ID {
		g = old
	}
	return g, old, nil
}

// nextAlias is the alias as a request leaves it. Who was in the group by another name or
// mount is in it no more.
func (s *Store) nextAlias(c *api.Call, q *GroupAliasRequest, old *Group) (*GroupAlias, error) {
	next := &GroupAlias{ID: api.NewUUID(), Accessor: q.MountAccessor, Name: q.Name, Created: c.Now.UTC(), Stamp: api.NewUUID()}
	if old != nil {
		was := old.Alias
		next.ID, next.Created, next.Accessor, next.Name = was.ID, was.Created, or(q.MountAccessor, was.Accessor), or(q.Name, was.Name)
		if next.Accessor == was.Accessor && next.Name == was.Name {
			next.Stamp = was.Stamp
		}
	}
	var err error
	if q.Name != "" || q.MountAccessor != "" {
		next.Name, err = s.aliasName(c, next.Accessor, next.Name)
	}
	next.Updated = c.Now.UTC()
	return next, err
}

// moveAlias writes the alias of a group, which has been old's.
func (s *Store) moveAlias(tx *store.Tx, c *api.Call, g, old *Group, next *GroupAlias) error {
	nsID := c.Namespace.ID
	to := groupAliasKey(nsID, next.Accessor, next.Name)
	if old != nil {
		from := groupAliasKey(nsID, old.Alias.Accessor, old.Alias.Name)
		if from != to {
			tx.Delete(from)
		}
		if old.ID != g.ID {
			next.Stamp = api.NewUUID()
			old.Alias, old.Updated = nil, next.Updated
			old.Index++
			if err := put(tx, key{nsID, old.ID}.group(), old); err != nil {
				return err
			}
		}
		if from == to {
			return s.seat(tx, nsID, g, next, to)
		}
	}
	other, err := tx.Get(to)
	switch {
	case err != nil:
		return err
	case other.Exists():
		return api.Errorf(api.Invalid, "name: the alias of another group of this mount has it")
	}
	return s.seat(tx, nsID, g, next, to)
}

// seat writes a group with its alias, which lies at a key.
func (s *Store) seat(tx *store.Tx, nsID string, g *Group, a *GroupAlias, at string) error {
	g.Alias, g.Updated = a, a.Updated
	g.Index++
	if err := put(tx, at, groupAliasRow{g.ID}); err != nil {
		return err
	}
	if err := put(tx, groupAliasID(nsID, a.ID), placeRow{a.Accessor, a.Name}); err != nil {
		return err
	}
	return put(tx, key{nsID, g.ID}.group(), g)
}

// removeGroupAlias deletes the alias of a group; one that is not there is as good as
// deleted. Who was in the group by it is in it no more.
func (s *Store) removeGroupAlias(c *api.Call, q *IDRequest) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		g, err := groupBy(tx.Get, c.Namespace.ID, string(q.ID))
		if err != nil || g == nil {
			return err
		}
		tx.Delete(groupAliasKey(c.Namespace.ID, g.Alias.Accessor, g.Alias.Name))
		tx.Delete(groupAliasID(c.Namespace.ID, g.Alias.ID))
		g.Alias, g.Updated = nil, c.Now.UTC()
		g.Index++
		return put(tx, key{c.Namespace.ID, g.ID}.group(), g)
	})
	return nil, err
}
