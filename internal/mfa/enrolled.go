package mfa

import (
	"context"
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/store"
)

// Factors are the methods for which an entity has a secret or passkeys, by their identifiers. One that is gone, or cannot
// be found from the entity's namespace, counts for nothing and is left out.
func (s *Store) Factors(ctx context.Context, ns, entity string) (map[string]identity.Factor, error) {
	r := store.Prefix(entityArea(ns, entity))
	r.KeysOnly = true
	rows, err := s.Store.List(ctx, r)
	if err != nil {
		return nil, err
	}
	out := map[string]identity.Factor{}
	for _, row := range rows {
		kind, id, _ := strings.Cut(strings.TrimPrefix(row.Key, entityArea(ns, entity)), "/")
		if !isID(id) { // what waits has none
			continue
		}
		m, err := s.nearest(ctx, ns, id, kind)
		switch {
		case errors.Is(err, store.ErrCorrupt): // whoever mends it must see the entity
			out[id] = identity.Factor{Type: kind}
		case err != nil:
			return nil, err
		case m != nil:
			out[id] = identity.Factor{Type: kind, MethodName: m.Name}
		}
	}
	return out, nil
}

// EnrolledRequest asks for a page of the entities that have what a method asks for.
type EnrolledRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
	After    string   `json:"after"`     // List what comes behind this entity.
	Limit    int      `json:"limit"`     // List at most so many; 0 or less: all.
}

// enrolled is what a list shows of an entity that has what a method asks for.
type enrolled struct {
	Name string `json:"name"`
}

// listEnrolledTOTP lists the identifiers of the entities of the namespace that have a secret for a method, with their
// names. The method may be of a namespace above.
func (s *Store) listEnrolledTOTP(c *api.Call, q *EnrolledRequest) (*api.Keys, error) {
	return s.listEnrolled(c, q, typeTOTP)
}

// listEnrolledWebAuthn lists the identifiers of the entities of the namespace that have passkeys for a method, with their
// names. The method may be of a namespace above.
func (s *Store) listEnrolledWebAuthn(c *api.Call, q *EnrolledRequest) (*api.Keys, error) {
	return s.listEnrolled(c, q, typeWebAuthn)
}

func (s *Store) listEnrolled(c *api.Call, q *EnrolledRequest, kind string) (*api.Keys, error) {
	ns := c.Namespace.ID
	m, err := s.find(c, ns, string(q.MethodID), kind)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Info: map[string]any{}}
	r := store.Prefix(area(ns, "of"))
	r.KeysOnly, r.Limit = true, pageRows
	if q.After != "" {
		r = r.After(area(ns, "of") + q.After + "0") // behind all that is beneath the entity, as 0 is behind the slash
	}
	for {
		rows, err := s.Store.List(c, r)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			entity, mine := strings.CutSuffix(strings.TrimPrefix(row.Key, area(ns, "of")), "/"+kind+"/"+m.ID)
			if !mine {
				continue
			}
			who, err := s.Identity.Person(c, ns, entity)
			if err != nil {
				return nil, err
			}
			if who == nil || who.ID != entity { // gone, or has become another
				continue
			}
			if out.Keys, out.Info[entity] = append(out.Keys, entity), (enrolled{who.Label()}); q.Limit > 0 && len(out.Keys) >= q.Limit {
				return out, nil
			}
		}
		if len(rows) < pageRows {
			return out, nil
		}
		r = r.After(rows[len(rows)-1].Key)
	}
}
