package oidc

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// openID is the scope that every login asks for. It has no claims of its own.
const openID = "openid"

// scopeRow is what a scope tells clients.
type scopeRow struct {
	Template    string `json:"template,omitempty"`
	Description string `json:"description,omitempty"`
}

func scopeKey(ns, name string) string { return area(ns, "scope") + name }

// ScopeName names a scope.
type ScopeName struct {
	Name api.Name `path:"name"` // Name of the scope.
}

// ScopeRequest creates a scope or changes one; what is absent stays as it was.
type ScopeRequest struct {
	Name        api.Name `path:"name"`                      // Name of the scope.
	Template    *string  `json:"template" audit:"clear"`    // The claims: a JSON object with templates such as {{identity.entity.name}}; also as base64.
	Description *string  `json:"description" audit:"clear"` // What it is for.
}

// ScopeAnswer is a scope as it is read.
type ScopeAnswer struct {
	Description string `json:"description" audit:"clear"`
	Template    string `json:"template" audit:"clear"`
}

// readScope shows a scope.
func (s *Store) readScope(c *api.Call, q *ScopeName) (*ScopeAnswer, error) {
	r, err := store.LoadJSON[scopeRow](c, s.Store, scopeKey(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return &ScopeAnswer{r.Description, r.Template}, nil
}

// hasScope tells a create from an update.
func (s *Store) hasScope(c *api.Call, q *ScopeRequest) (bool, error) {
	e, err := s.Store.Get(c, scopeKey(c.Namespace.ID, string(q.Name)))
	return e.Exists(), err
}

// writeScope creates a scope, or changes one.
func (s *Store) writeScope(c *api.Call, q *ScopeRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	if q.Name == openID {
		return nil, api.Errorf(api.Invalid, "the %q scope name is reserved", openID)
	}
	template, err := takeTemplate(q.Template)
	if err != nil {
		return nil, err
	}
	if q.Description != nil && len(*q.Description) > maxEntry {
		return nil, api.Errorf(api.Invalid, "description: longer than %d bytes", maxEntry)
	}
	return nil, s.change(c, c.Namespace.ID, func(tx *store.Tx) error {
		k := scopeKey(c.Namespace.ID, string(q.Name))
		r, err := load[scopeRow](tx, k)
		if err != nil {
			return err
		}
		if r == nil {
			r = &scopeRow{}
		}
		api.Set(&r.Template, template)
		api.Set(&r.Description, q.Description)
		return tx.PutJSON(k, r)
	})
}

// removeScope deletes a scope. One that a provider supports stays.
func (s *Store) removeScope(c *api.Call, q *ScopeName) (*api.None, error) {
	ns := c.Namespace.ID
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		var by []string
		err := each(tx.Context(), s.Store, area(ns, "provider"), func(name string, p *providerRow) {
			if slices.Contains(p.Scopes, string(q.Name)) {
				by = append(by, name)
			}
		})
		if err != nil {
			return err
		}
		if len(by) > 0 {
			return api.Errorf(api.Invalid, "unable to delete the scope because it is currently referenced by these providers: %v", shortened(by))
		}
		tx.Delete(scopeKey(ns, string(q.Name)))
		return nil
	})
}

// listScopes names the scopes.
func (s *Store) listScopes(c *api.Call, _ *api.None) (*api.Keys, error) { return s.names(c, "scope") }

// assignmentRow says who may log in.
type assignmentRow struct {
	Entities []string `json:"entities,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// allowAll is the assignment that is always there: everybody.
const allowAll = "allow_all"

func assignmentKey(ns, name string) string { return area(ns, "assignment") + name }

// AssignmentName names an assignment.
type AssignmentName struct {
	Name api.Name `path:"name"` // Name of the assignment.
}

// AssignmentRequest creates an assignment or changes one; what is absent stays as it was.
type AssignmentRequest struct {
	Name      api.Name  `path:"name"`                     // Name of the assignment.
	EntityIDs *[]string `json:"entity_ids" audit:"clear"` // Identifiers of entities that may log in; * is everybody.
	GroupIDs  *[]string `json:"group_ids" audit:"clear"`  // Identifiers of groups whose members may.
}

// AssignmentAnswer is an assignment as it is read.
type AssignmentAnswer struct {
	EntityIDs []string `json:"entity_ids" audit:"clear"`
	GroupIDs  []string `json:"group_ids" audit:"clear"`
}

// readAssignment shows who may log in by an assignment.
func (s *Store) readAssignment(c *api.Call, q *AssignmentName) (*AssignmentAnswer, error) {
	if q.Name == allowAll {
		return &AssignmentAnswer{[]string{anyone}, []string{anyone}}, nil
	}
	r, err := store.LoadJSON[assignmentRow](c, s.Store, assignmentKey(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return &AssignmentAnswer{api.Full(r.Entities), api.Full(r.Groups)}, nil
}

// hasAssignment tells a create from an update.
func (s *Store) hasAssignment(c *api.Call, q *AssignmentRequest) (bool, error) {
	e, err := s.Store.Get(c, assignmentKey(c.Namespace.ID, string(q.Name)))
	return e.Exists() || q.Name == allowAll, err
}

// writeAssignment says who may log in. It holds for logins that have begun, too.
func (s *Store) writeAssignment(c *api.Call, q *AssignmentRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	if q.Name == allowAll {
		return nil, api.Errorf(api.Invalid, "modification of assignment %q not allowed", allowAll)
	}
	var r *assignmentRow
	err := s.change(c, c.Namespace.ID, func(tx *store.Tx) (err error) {
		k := assignmentKey(c.Namespace.ID, string(q.Name))
		if r, err = load[assignmentRow](tx, k); err != nil {
			return err
		}
		if r == nil {
			r = &assignmentRow{}
		}
		api.Set(&r.Entities, q.EntityIDs)
		api.Set(&r.Groups, q.GroupIDs)
		if err := checkList("entity_ids", r.Entities); err != nil {
			return err
		}
		if err := checkList("group_ids", r.Groups); err != nil {
			return err
		}
		return tx.PutJSON(k, r)
	})
	if err != nil {
		return nil, err
	}
	return nil, s.doubtAssignment(c, r.Entities, r.Groups)
}

// removeAssignment deletes an assignment. One that a client has stays.
func (s *Store) removeAssignment(c *api.Call, q *AssignmentName) (*api.None, error) {
	ns, name := c.Namespace.ID, string(q.Name)
	if name == allowAll {
		return nil, api.Errorf(api.Invalid, "deletion of assignment %q not allowed", allowAll)
	}
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		var by []string
		err := each(tx.Context(), s.Store, area(ns, "client"), func(client string, r *clientRow) {
			if slices.Contains(r.Assignments, name) {
				by = append(by, client)
			}
		})
		if err != nil {
			return err
		}
		if len(by) > 0 {
			return api.Errorf(api.Invalid, "unable to delete the assignment because it is currently referenced by these clients: %v", shortened(by))
		}
		tx.Delete(assignmentKey(ns, name))
		return nil
	})
}

// listAssignments names the assignments.
func (s *Store) listAssignments(c *api.Call, _ *api.None) (*api.Keys, error) {
	return s.names(c, "assignment", allowAll)
}
