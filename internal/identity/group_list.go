package identity

import (
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// groupInfo is what a list shows of a group.
type groupInfo struct {
	Alias    *aliasInfo `json:"alias,omitempty"`
	Name     string     `json:"name"`
	Entities int        `json:"num_member_entities"`
	Parents  int        `json:"num_parent_groups"`
}

// listGroups lists the identifiers of the groups, with their names and sizes.
func (s *Store) listGroups(c *api.Call, q *ListRequest) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	var failed error
	err := listed(c, s, area(c.Namespace.ID, "group"), q.After, func(_ store.Entry, g *Group) bool {
		info, err := s.groupInfo(c, g)
		if failed = err; err != nil {
			return false
		}
		out.Keys, out.Info[g.ID] = append(out.Keys, g.ID), info
		return !q.full(out)
	})
	return out, errors.Join(err, failed)
}

func (s *Store) groupInfo(c *api.Call, g *Group) (*groupInfo, error) {
	k := key{c.Namespace.ID, g.ID}
	info := &groupInfo{Name: g.Name}
	above, err := s.groupsAbove(c, k)
	if err != nil {
		return nil, err
	}
	info.Parents = len(above)
	if info.Entities, err = store.Count(c, s.Store, k.members()+ofEntity+"/", nil); err != nil {
		return nil, err
	}
	if g.Alias != nil {
		if info.Alias, err = s.info(c, g.Alias.Accessor, g.Alias.Name); err == nil {
			info.Alias.ID = g.Alias.ID
		}
	}
	return info, err
}

// listGroupNames lists the names of the groups. It is in the order of their folded
// spelling, by which after pages too.
func (s *Store) listGroupNames(c *api.Call, q *ListRequest) (*api.Keys, error) {
	return s.listNames(c, area(c.Namespace.ID, "group-name"), q)
}

// listGroupAliases lists the identifiers of the aliases of groups, with what they are of.
func (s *Store) listGroupAliases(c *api.Call, q *ListRequest) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	prefix := area(c.Namespace.ID, "group-alias-id")
	var failed error
	err := listed(c, s, prefix, q.After, func(e store.Entry, place *placeRow) bool {
		id := strings.TrimPrefix(e.Key, prefix)
		info, err := s.info(c, place.Accessor, place.Name)
		if err == nil {
			var g *Group
			g, err = groupAt(reading(c, s.Store), groupAliasKey(c.Namespace.ID, place.Accessor, place.Name), c.Namespace.ID)
			if g != nil {
				info.CanonicalID = g.ID
			}
			if errors.Is(err, store.ErrCorrupt) {
				err = nil // the rest is known
			}
		}
		if failed = err; err != nil {
			return false
		}
		out.Keys, out.Info[id] = append(out.Keys, id), info
		return !q.full(out)
	})
	return out, errors.Join(err, failed)
}

// lookupGroup finds a group by its identifier, its name or its alias. It answers nothing
// where there is none.
func (s *Store) lookupGroup(c *api.Call, q *LookupRequest) (*GroupAnswer, error) {
	id, err := s.findGroup(c, q)
	if err != nil {
		return nil, err
	}
	a, err := s.showGroup(c, id)
	if api.KindOf(err) == api.NotFound {
		return nil, nil
	}
	return a, err
}

func (s *Store) findGroup(c *api.Call, q *LookupRequest) (id string, err error) {
	if err := q.check(); err != nil {
		return "", err
	}
	nsID := c.Namespace.ID
	switch {
	case q.ID != "":
		return q.ID, nil
	case q.Name != "":
		return s.idOf(c, groupName(nsID, q.Name))
	}
	var g *Group
	if q.AliasID != "" {
		g, err = groupBy(reading(c, s.Store), nsID, q.AliasID)
	} else if g, err = groupAt(reading(c, s.Store), groupAliasKey(nsID, q.AliasMountAccessor, q.AliasName), nsID); g != nil && g.Alias.Accessor != q.AliasMountAccessor {
		g = nil
	}
	if err != nil || g == nil {
		return "", err
	}
	return g.ID, nil
}
