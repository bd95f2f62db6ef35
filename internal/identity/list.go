package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// ListRequest asks for a page of a list.
type ListRequest struct {
	After string `json:"after"` // List what comes behind this key.
	Limit int    `json:"limit"` // List at most so many; 0 or less: all.
}

// each visits the rows with a prefix behind a key, some at a time, until visit says
// that there are enough. It answers how many of them are damaged, which are passed over.
func each[T any](ctx context.Context, s store.Reader, prefix, after string, visit func(e store.Entry, v *T) (more bool)) (damaged int, err error) {
	r := store.Prefix(prefix)
	r.Limit = pageRows
	if after != "" {
		r = r.After(prefix + after)
	}
	for more := true; more; {
		last, n := "", 0
		bad, err := store.SiftJSON(ctx, s, r, func(e store.Entry, v *T) {
			last, n = e.Key, n+1
			more = more && visit(e, v)
		})
		if err != nil {
			return damaged, err
		}
		for _, e := range bad {
			last, n = max(last, e.Key), n+1
		}
		if damaged += len(bad); n < r.Limit {
			break
		}
		r = r.After(last)
	}
	return damaged, nil
}

// listed visits rows for a list, and tells of those that are damaged beside it.
func listed[T any](c *api.Call, s *Store, prefix string, after string, visit func(e store.Entry, v *T) bool) error {
	damaged, err := each(c, s.Store, prefix, after, visit)
	if damaged > 0 {
		c.Warn(fmt.Sprintf("%d more rows are damaged and cannot be told", damaged))
	}
	return err
}

func (q *ListRequest) full(k *api.Keys) bool { return q.Limit > 0 && len(k.Keys) >= q.Limit }

// entityInfo is what a list shows of an entity.
type entityInfo struct {
	Aliases []*aliasInfo `json:"aliases,omitempty"`
	Name    string       `json:"name"`
}

// listEntities lists the identifiers of the entities, with their names and aliases.
func (s *Store) listEntities(c *api.Call, q *ListRequest) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	var failed error
	err := listed(c, s, area(c.Namespace.ID, "entity"), q.After, func(_ store.Entry, e *Entity) bool {
		if e.Into != "" {
			return true
		}
		info := &entityInfo{Name: e.Name}
		for _, ref := range e.Aliases {
			a, err := s.info(c, ref.Accessor, ref.Name)
			if err != nil {
				failed = err
				return false
			}
			a.ID = ref.ID
			info.Aliases = append(info.Aliases, a)
		}
		out.Keys, out.Info[e.ID] = append(out.Keys, e.ID), info
		return !q.full(out)
	})
	return out, errors.Join(err, failed)
}

// listEntityNames lists the names of the entities. It is in the order of their folded
// spelling, by which after pages too.
func (s *Store) listEntityNames(c *api.Call, q *ListRequest) (*api.Keys, error) {
	return s.listNames(c, area(c.Namespace.ID, "entity-name"), q)
}

func (s *Store) listNames(c *api.Call, prefix string, q *ListRequest) (*api.Keys, error) {
	out := &api.Keys{}
	err := listed(c, s, prefix, spell(q.After), func(_ store.Entry, n *nameRow) bool {
		out.Keys = append(out.Keys, n.Name)
		return !q.full(out)
	})
	return out, err
}

// listAliases lists the identifiers of the aliases, with what they are of.
func (s *Store) listAliases(c *api.Call, q *ListRequest) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	prefix := area(c.Namespace.ID, "alias-id")
	var failed error
	err := listed(c, s, prefix, q.After, func(e store.Entry, place *placeRow) bool {
		id := strings.TrimPrefix(e.Key, prefix)
		info, err := s.info(c, place.Accessor, place.Name)
		if err == nil {
			var a *aliasRow
			a, err = loadAlias(c, s.Store, aliasKey(c.Namespace.ID, place.Accessor, place.Name))
			if a != nil {
				info.CanonicalID = a.EntityID
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
