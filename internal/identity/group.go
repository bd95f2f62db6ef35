package identity

import (
	"context"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// GroupFields are what a group is written with; what is absent stays as it was.
type GroupFields struct {
	Type            string            `json:"type" audit:"clear"`              // internal, whose members are named here, or external, whose members an auth method names; it cannot change.
	Metadata        map[string]string `json:"metadata"`                        // Free key-value pairs, which templates in policies can name; replaces what there was.
	Policies        []string          `json:"policies" audit:"clear"`          // Policies in force for each token of a member; replaces those before. Never root.
	MemberEntityIDs []string          `json:"member_entity_ids" audit:"clear"` // Entities in an internal group, of its namespace or one above; replaces those before.
	MemberGroupIDs  []string          `json:"member_group_ids" audit:"clear"`  // Groups whose members are members of this one too; replaces those before.
}

// GroupRequest creates a group or changes one.
type GroupRequest struct {
	ID   string `json:"id"`                 // Identifier of the group to change; empty: the name says which.
	Name string `json:"name" audit:"clear"` // Name of the group; made up when a new one has none.
	GroupFields
}

// GroupByNameRequest creates a group or changes one, by its name.
type GroupByNameRequest struct {
	Name api.Name `path:"name"` // Name of the group.
	ID   string   `json:"id"`   // Identifier of a group that is to have the name; empty: the one that has it.
	GroupFields
}

// GroupByIDRequest changes a group.
type GroupByIDRequest struct {
	ID   api.Name `path:"id"`                 // Identifier of the group.
	Name string   `json:"name" audit:"clear"` // Its new name; empty: as before.
	GroupFields
}

// GroupMade tells of a group that was written.
type GroupMade struct {
	ID   string `json:"id" audit:"clear"`
	Name string `json:"name" audit:"clear"`
}

// writeGroup creates a group, or changes the one that the identifier or the name says.
func (s *Store) writeGroup(c *api.Call, q *GroupRequest) (*GroupMade, error) {
	return s.changeGroup(c, q, false)
}

// writeGroupByName creates a group of a name, or changes the one that has it.
func (s *Store) writeGroupByName(c *api.Call, q *GroupByNameRequest) (*GroupMade, error) {
	return s.changeGroup(c, &GroupRequest{ID: q.ID, Name: string(q.Name), GroupFields: q.GroupFields}, true)
}

// writeGroupByID changes a group.
func (s *Store) writeGroupByID(c *api.Call, q *GroupByIDRequest) (*GroupMade, error) {
	return s.changeGroup(c, &GroupRequest{ID: string(q.ID), Name: q.Name, GroupFields: q.GroupFields}, false)
}

// changeGroup writes a group. What it can of its new members it makes in the same commit;
// the rest follows, those that leave before those that come.
func (s *Store) changeGroup(c *api.Call, q *GroupRequest, folded bool) (*GroupMade, error) {
	names, err := q.check()
	if err != nil {
		return nil, err
	}
	var g *Group
	var rest *roster
	_, err = store.Update(c, s.Store, func(tx *store.Tx) (err error) {
		if g, err = s.groupMeant(tx, c.Namespace.ID, q, folded); err != nil {
			return err
		}
		if err := q.apply(g, names); err != nil {
			return err
		}
		if g.Updated = c.Now.UTC(); g.Created.IsZero() {
			g.Created = g.Updated
		}
		g.Index++
		if rest, err = s.roster(tx, key{c.Namespace.ID, g.ID}, q); err != nil {
			return err
		}
		if err := rest.next(tx); err != nil {
			return err
		}
		return put(tx, key{c.Namespace.ID, g.ID}.group(), g)
	})
	if err == nil {
		err = rest.finish(c)
	}
	if err != nil {
		return nil, err
	}
	return &GroupMade{ID: g.ID, Name: g.Name}, nil
}

func (q *GroupRequest) check() ([]string, error) {
	if err := checkName("name", q.Name, maxName); err != nil {
		return nil, err
	}
	if err := checkMetadata("metadata", q.Metadata); err != nil {
		return nil, err
	}
	return checkPolicies(q.Policies)
}

func (q *GroupFields) apply(g *Group, names []string) error {
	kind := q.Type
	switch {
	case kind == "" && g.Type == "":
		g.Type = internal
	case kind == "":
	case kind != internal && kind != external:
		return api.Errorf(api.Invalid, "type: must be internal or external")
	case g.Type != "" && g.Type != kind:
		return api.Errorf(api.Invalid, "type: the type of a group cannot be changed")
	default:
		g.Type = kind
	}
	if g.Type == external && len(q.MemberEntityIDs) > 0 {
		return api.Errorf(api.Invalid, "member_entity_ids: who is in an external group is what its auth method says")
	}
	if q.Metadata != nil {
		g.Metadata = q.Metadata
	}
	if q.Policies != nil {
		g.Policies = names
	}
	return nil
}

// groupMeant is the group that a request is about, under the name that it asks for.
func (s *Store) groupMeant(tx *store.Tx, nsID string, q *GroupRequest, folded bool) (*Group, error) {
	var g *Group
	var err error
	if q.ID != "" {
		if g, err = groupIn(tx.Get, nsID, q.ID); err != nil {
			return nil, err
		}
		if g == nil {
			return nil, &api.Error{Kind: api.Invalid, Message: "id: invalid group id", Hint: "find it with identity/lookup/group, or list identity/group/id; without an id a new group is made"}
		}
	}
	if q.Name != "" {
		return s.groupNamed(tx, nsID, g, q.Name, folded)
	}
	if g == nil {
		return newGroup(tx, nsID)
	}
	return g, nil
}

// newGroup is a group with a name that no other has.
func newGroup(tx *store.Tx, nsID string) (*Group, error) {
	g := &Group{ID: api.NewUUID()}
	for {
		g.Name = "group_" + api.NewUUID()[:8]
		old, err := tx.Get(groupName(nsID, g.Name))
		if err != nil {
			return nil, err
		}
		if !old.Exists() {
			return g, put(tx, groupName(nsID, g.Name), nameRow{g.ID, g.Name})
		}
	}
}

// groupNamed gives a group a name, which may be another's; without a group, it is the
// one that has the name, or a new one.
func (s *Store) groupNamed(tx *store.Tx, nsID string, g *Group, name string, folded bool) (*Group, error) {
	has, err := get[nameRow](tx.Get, groupName(nsID, name))
	switch {
	case err != nil:
		return nil, err
	case has == nil && g == nil:
		g = &Group{ID: api.NewUUID()}
	case has == nil:
		tx.Delete(groupName(nsID, g.Name))
	case g == nil && has.Name != name && !folded:
		return nil, &api.Error{Kind: api.Invalid, Message: "name: a group whose name differs by case alone exists", Hint: "use its spelling, or change it by its id"}
	case g == nil:
		return groupIn(tx.Get, nsID, has.ID)
	case g.ID != has.ID:
		return nil, api.Errorf(api.Invalid, "name: group name is already in use")
	case folded:
		return g, nil
	}
	g.Name = name
	return g, put(tx, groupName(nsID, name), nameRow{g.ID, name})
}

// groupIn is a group of a namespace; nil where there is none.
func groupIn(read func(string) (store.Entry, error), nsID, id string) (*Group, error) {
	if !isID(id) {
		return nil, nil
	}
	return get[Group](read, key{nsID, id}.group())
}

// GroupAnswer is a group as it is read.
type GroupAnswer struct {
	Alias           *GroupAliasShown  `json:"alias"`
	CreationTime    api.Time          `json:"creation_time"`
	ID              string            `json:"id" audit:"clear"`
	LastUpdateTime  api.Time          `json:"last_update_time"`
	MemberEntityIDs []string          `json:"member_entity_ids" audit:"clear"`
	MemberGroupIDs  []string          `json:"member_group_ids" audit:"clear"`
	Metadata        map[string]string `json:"metadata"`
	ModifyIndex     int               `json:"modify_index"`
	Name            string            `json:"name" audit:"clear"`
	NamespaceID     string            `json:"namespace_id" audit:"clear"`
	ParentGroupIDs  []string          `json:"parent_group_ids" audit:"clear"`
	Policies        []string          `json:"policies" audit:"clear"`
	Type            string            `json:"type" audit:"clear"`
}

// readGroup describes a group.
func (s *Store) readGroup(c *api.Call, q *IDRequest) (*GroupAnswer, error) {
	return s.showGroup(c, string(q.ID))
}

// readGroupByName describes the group of a name.
func (s *Store) readGroupByName(c *api.Call, q *NameRequest) (*GroupAnswer, error) {
	id, err := s.idOf(c, groupName(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	return s.showGroup(c, id)
}

func (s *Store) showGroup(c *api.Call, id string) (*GroupAnswer, error) {
	k := key{c.Namespace.ID, id}
	g, err := groupIn(reading(c, s.Store), k.namespace, id)
	switch {
	case err != nil:
		return nil, err
	case g == nil:
		return nil, api.ErrNotFound()
	}
	a := &GroupAnswer{CreationTime: at(g.Created), ID: g.ID, LastUpdateTime: at(g.Updated), MemberEntityIDs: []string{}, Metadata: g.Metadata,
		ModifyIndex: g.Index, Name: g.Name, NamespaceID: k.namespace, Policies: api.Full(g.Policies), Type: g.Type}
	members, err := s.members(c, k)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		switch {
		case m.kind == ofGroup:
			a.MemberGroupIDs = append(a.MemberGroupIDs, m.member.id)
		case m.stamp == g.stamp():
			a.MemberEntityIDs = append(a.MemberEntityIDs, m.member.id)
		}
	}
	above, err := newWalk(s, s.Store, k.namespace).links(c, k, false)
	if err != nil {
		return nil, err
	}
	for _, m := range above {
		a.ParentGroupIDs = append(a.ParentGroupIDs, m.group.ID)
	}
	a.Alias, err = s.showGroupAlias(c, g)
	return a, err
}

// removeGroup deletes a group. Its members have what it gave no longer; one that is not
// there is as good as deleted.
func (s *Store) removeGroup(c *api.Call, q *IDRequest) (*api.None, error) {
	return nil, s.dropGroup(c, string(q.ID))
}

// removeGroupByName deletes the group of a name.
func (s *Store) removeGroupByName(c *api.Call, q *NameRequest) (*api.None, error) {
	id, err := s.idOf(c, groupName(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	return nil, s.dropGroup(c, id)
}

func (s *Store) dropGroup(c *api.Call, id string) error {
	k, left := key{c.Namespace.ID, id}, &remains{Kind: ofGroup}
	found := false
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		g, err := groupIn(tx.Get, k.namespace, id)
		if found = g != nil; err != nil || !found {
			return err
		}
		tx.Delete(k.group())
		tx.Delete(groupName(k.namespace, g.Name))
		if g.Alias != nil {
			tx.Delete(groupAliasKey(k.namespace, g.Alias.Accessor, g.Alias.Name))
			tx.Delete(groupAliasID(k.namespace, g.Alias.ID))
		}
		return later(tx, k, left, c.Now)
	})
	if err != nil || !found {
		return err
	}
	return s.clear(context.WithoutCancel(c), k, left, c.Now)
}
