package oidc

import (
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// roleRow is what tokens of a role say.
type roleRow struct {
	Key      string        `json:"key"`
	Template string        `json:"template,omitempty"`
	ClientID string        `json:"client_id"`
	TTL      time.Duration `json:"ttl"`
}

func roleKey(ns, name string) string { return area(ns, "role") + name }

// RoleName names a role.
type RoleName struct {
	Name api.Name `path:"name"` // Name of the role.
}

// RoleRequest creates a role or changes one; what is absent stays as it was.
type RoleRequest struct {
	Name     api.Name      `path:"name"`                    // Name of the role.
	Key      *string       `json:"key" audit:"clear"`       // The named key that signs. A new role needs it.
	Template *string       `json:"template" audit:"clear"`  // Further claims: a JSON object with templates such as {{identity.entity.name}}; also as base64.
	ClientID *string       `json:"client_id" audit:"clear"` // What the tokens are for, in their claim aud; made up when a new role has none.
	TTL      *api.Duration `json:"ttl"`                     // How long tokens are valid; 24 hours unless it is said, and no longer than the key's verification_ttl.
}

// RoleAnswer is a role as it is read.
type RoleAnswer struct {
	ClientID string       `json:"client_id" audit:"clear"`
	Key      string       `json:"key" audit:"clear"`
	Template string       `json:"template" audit:"clear"`
	TTL      api.Duration `json:"ttl"`
}

// readRole shows a role.
func (s *Store) readRole(c *api.Call, q *RoleName) (*RoleAnswer, error) {
	r, err := store.LoadJSON[roleRow](c, s.Store, roleKey(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return &RoleAnswer{r.ClientID, r.Key, r.Template, api.Duration(r.TTL)}, nil
}

// hasRole tells a create from an update.
func (s *Store) hasRole(c *api.Call, q *RoleRequest) (bool, error) {
	e, err := s.Store.Get(c, roleKey(c.Namespace.ID, string(q.Name)))
	return e.Exists(), err
}

// writeRole creates a role, or changes one.
func (s *Store) writeRole(c *api.Call, q *RoleRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	template, err := takeTemplate(q.Template)
	if err != nil {
		return nil, err
	}
	if q.Key != nil {
		if err := s.ensureDefault(c, keyName(*q.Key)); err != nil {
			return nil, err
		}
	}
	ns, made := c.Namespace.ID, random(clientIDLen)
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		r, err := load[roleRow](tx, roleKey(ns, string(q.Name)))
		if err != nil {
			return err
		}
		if r == nil {
			r = &roleRow{ClientID: made, TTL: defaultPeriod}
			if q.Key == nil {
				return api.Errorf(api.Invalid, "the key parameter is required")
			}
		}
		api.Set(&r.Template, template)
		if err := q.apply(r); err != nil {
			return err
		}
		if err := s.signable(tx, ns, r.Key, "ttl", r.TTL); err != nil {
			return err
		}
		return tx.PutJSON(roleKey(ns, string(q.Name)), r)
	})
}

func (q *RoleRequest) apply(r *roleRow) error {
	if q.Key != nil {
		r.Key = keyName(*q.Key)
	}
	if q.ClientID != nil && *q.ClientID != "" {
		r.ClientID = *q.ClientID
	}
	api.Set((*api.Duration)(&r.TTL), q.TTL)
	if r.TTL < time.Second || r.TTL > maxSpan {
		return api.Errorf(api.Invalid, "ttl: is not a time between a second and ten years")
	}
	return checkList("client_id", []string{r.ClientID})
}

// removeRole deletes a role. Its tokens stay valid until they expire.
func (s *Store) removeRole(c *api.Call, q *RoleName) (*api.None, error) {
	return nil, s.change(c, c.Namespace.ID, func(tx *store.Tx) error {
		tx.Delete(roleKey(c.Namespace.ID, string(q.Name)))
		return nil
	})
}

// listRoles names the roles.
func (s *Store) listRoles(c *api.Call, _ *api.None) (*api.Keys, error) { return s.names(c, "role") }
