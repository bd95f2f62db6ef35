package mfa

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/store"
)

// Enforcement says which logins need which methods: those that any of its lists names.
type Enforcement struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Methods   []string `json:"methods"`
	Accessors []string `json:"accessors,omitempty"`
	Types     []string `json:"types,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Entities  []string `json:"entities,omitempty"`
}

// rule is an enforcement with its methods. It is immutable.
type rule struct {
	*Enforcement
	methods []*Method
}

func (r *rule) asks(method string) bool { return slices.Contains(r.Methods, method) }

// loadRules reads the enforcements of a namespace. One that cannot be read fails all
// of them: it might have been about this login.
func loadRules(ctx context.Context, r store.Reader, ns string) ([]*rule, error) {
	rows, err := r.List(ctx, store.Prefix(area(ns, "enforcement")))
	if err != nil {
		return nil, err
	}
	out := make([]*rule, 0, len(rows))
	for _, row := range rows {
		e, err := store.DecodeJSON[Enforcement](row)
		if err != nil {
			return nil, err
		}
		if e.Name == "" || len(e.Methods) == 0 {
			return nil, fmt.Errorf("mfa: row %q cannot be read: %w", row.Key, store.ErrCorrupt)
		}
		one := &rule{Enforcement: e}
		for _, id := range e.Methods {
			m, err := methodIn(reading(ctx, r), ns, id)
			if err != nil {
				return nil, err
			}
			if m != nil { // with none, nobody meets it
				one.methods = append(one.methods, m)
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// covers reports whether an enforcement is about a login; who is nil for one that
// is nobody's.
func (e *Enforcement) covers(accessor, kind string, who *identity.Person) bool {
	if slices.Contains(e.Accessors, accessor) || slices.Contains(e.Types, kind) {
		return true
	}
	if who == nil {
		return false
	}
	for _, id := range e.Entities {
		if id == who.ID || slices.Contains(who.Merged, id) {
			return true
		}
	}
	return len(e.Groups) > 0 && (who.Partial() || slices.ContainsFunc(who.GroupIDs(), func(id string) bool { return slices.Contains(e.Groups, id) }))
}

// EnforcementRequest writes an enforcement; what is absent stays as it was.
type EnforcementRequest struct {
	Name      api.Name  `path:"name"`                                // Name of the enforcement.
	Methods   *[]string `json:"mfa_method_ids" audit:"clear"`        // Identifiers of methods, of this namespace; any one of them will do.
	Accessors *[]string `json:"auth_method_accessors" audit:"clear"` // Accessors of auth methods all of whose logins it is about.
	Types     *[]string `json:"auth_method_types" audit:"clear"`     // Types of auth methods all of whose logins it is about.
	Groups    *[]string `json:"identity_group_ids" audit:"clear"`    // Identifiers of groups whose members' logins it is about, the members of their groups among them.
	Entities  *[]string `json:"identity_entity_ids" audit:"clear"`   // Identifiers of entities whose logins it is about.
}

// fields are the lists of a request with where they belong.
func (q *EnforcementRequest) apply(e *Enforcement) error {
	for _, f := range []struct {
		name string
		from *[]string
		to   *[]string
		most int
	}{{"mfa_method_ids", q.Methods, &e.Methods, maxMethods}, {"auth_method_accessors", q.Accessors, &e.Accessors, maxListed}, {"auth_method_types", q.Types, &e.Types, maxListed},
		{"identity_group_ids", q.Groups, &e.Groups, maxListed}, {"identity_entity_ids", q.Entities, &e.Entities, maxListed}} {
		if f.from == nil {
			continue
		}
		list := []string{}
		for _, text := range *f.from {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			if err := checkText(f.name, text, maxName); err != nil {
				return err
			}
			list = append(list, text)
		}
		slices.Sort(list)
		if list = slices.Compact(list); len(list) > f.most {
			return api.Errorf(api.Invalid, "%s: more than %d", f.name, f.most)
		}
		*f.to = list
	}
	switch {
	case len(e.Methods) == 0:
		return api.Errorf(api.Invalid, "mfa_method_ids: missing")
	case len(e.Accessors)+len(e.Types)+len(e.Groups)+len(e.Entities) == 0:
		return api.Errorf(api.Invalid, "one of auth_method_accessors, auth_method_types, identity_group_ids and identity_entity_ids must be given")
	}
	return nil
}

// writeEnforcement says that logins need a second factor. It holds in the namespace and
// those below it, for every login from the answer on.
func (s *Store) writeEnforcement(c *api.Call, q *EnforcementRequest) (*api.None, error) {
	if err := checkText("name", string(q.Name), maxName); err != nil {
		return nil, err
	}
	if err := s.checkTypes(q.Types); err != nil {
		return nil, err
	}
	ns, key := c.Namespace.ID, enforcementKey(c.Namespace.ID, string(q.Name))
	var e Enforcement
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		e = Enforcement{ID: api.NewUUID(), Name: string(q.Name)}
		found, err := tx.LoadJSON(key, &e)
		if err != nil {
			return err
		}
		if err := q.apply(&e); err != nil {
			return err
		}
		if !found {
			n, err := store.Count(tx.Context(), s.Store, area(ns, "enforcement"), nil)
			if err != nil {
				return err
			}
			if n >= maxEnforcements {
				return api.Errorf(api.Invalid, "name: the namespace has %d enforcements already", maxEnforcements)
			}
		}
		if err := holdMethods(tx, ns, e.Methods); err != nil {
			return err
		}
		return tx.PutJSON(key, &e)
	})
	if err != nil {
		return nil, err
	}
	return nil, s.doubt(c, &e)
}

// holdMethods makes the commit fail should one of some methods be deleted meanwhile.
func holdMethods(tx *store.Tx, ns string, ids []string) error {
	for _, id := range ids {
		m, err := methodIn(tx.Get, ns, id)
		switch {
		case err != nil:
			return err
		case m == nil:
			return api.Errorf(api.Invalid, "mfa_method_ids: one of them is no method of this namespace")
		}
		if err := tx.PutJSON(methodKey(ns, id), m); err != nil {
			return err
		}
	}
	return nil
}

// checkTypes refuses a type that no auth method can have: what it names would be let in without
// a second factor, and nobody would see it.
func (s *Store) checkTypes(given *[]string) error {
	if given == nil {
		return nil
	}
	types := s.Types()
	for _, text := range *given {
		if text = strings.TrimSpace(text); text != "" && !slices.Contains(types, text) {
			return &api.Error{Kind: api.Invalid, Message: "auth_method_types: one of them is no type of auth method", Hint: "there are " + strings.Join(types, ", ")}
		}
	}
	return nil
}

// doubt warns of what an enforcement names and is not there: it would never be about
// anybody.
func (s *Store) doubt(c *api.Call, e *Enforcement) error {
	for _, f := range []struct {
		names   []string
		is      func(ctx context.Context, nsID, name string) (bool, error)
		warning string
	}{
		{e.Accessors, s.Accessor, "auth_method_accessors: no auth method of this namespace has one of the accessors: is it of a namespace below?"},
		{e.Groups, s.Identity.Grouped, "identity_group_ids: no group of this namespace has one of the identifiers: is it of another namespace, or a name?"},
		{e.Entities, s.entity, "identity_entity_ids: no entity of this namespace has one of the identifiers: is it of a namespace below, or a name?"},
	} {
		for _, name := range f.names {
			there, err := f.is(c, c.Namespace.ID, name)
			if err != nil {
				return err
			}
			if !there {
				c.Warn(f.warning)
				break
			}
		}
	}
	return nil
}

// entity reports whether a namespace has an entity, under that identifier or what it has become.
func (s *Store) entity(ctx context.Context, nsID, id string) (bool, error) {
	if !isID(id) {
		return false, nil
	}
	who, err := s.Identity.Person(ctx, nsID, id)
	return who != nil, err
}

// hasEnforcement reports whether there is an enforcement already.
func (s *Store) hasEnforcement(c *api.Call, q *EnforcementRequest) (bool, error) {
	e, err := s.Store.Get(c, enforcementKey(c.Namespace.ID, string(q.Name)))
	return e.Exists(), err
}

// EnforcementNameRequest names an enforcement.
type EnforcementNameRequest struct {
	Name api.Name `path:"name"` // Name of the enforcement.
}

// EnforcementAnswer is an enforcement as it is read.
type EnforcementAnswer struct {
	Accessors     []string `json:"auth_method_accessors" audit:"clear"`
	Types         []string `json:"auth_method_types" audit:"clear"`
	ID            string   `json:"id" audit:"clear"`
	Entities      []string `json:"identity_entity_ids" audit:"clear"`
	Groups        []string `json:"identity_group_ids" audit:"clear"`
	Methods       []string `json:"mfa_method_ids" audit:"clear"`
	Name          string   `json:"name" audit:"clear"`
	NamespaceID   string   `json:"namespace_id" audit:"clear"`
	NamespacePath string   `json:"namespace_path" audit:"clear"`
}

// readEnforcement describes an enforcement.
func (s *Store) readEnforcement(c *api.Call, q *EnforcementNameRequest) (*EnforcementAnswer, error) {
	e, err := store.LoadJSON[Enforcement](c, s.Store, enforcementKey(c.Namespace.ID, string(q.Name)))
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, api.ErrNotFound()
	}
	return e.answer(c.Namespace), nil
}

func (e *Enforcement) answer(ns api.Namespace) *EnforcementAnswer {
	return &EnforcementAnswer{Accessors: api.Full(e.Accessors), Types: api.Full(e.Types), ID: e.ID, Entities: api.Full(e.Entities), Groups: api.Full(e.Groups),
		Methods: e.Methods, Name: e.Name, NamespaceID: ns.ID, NamespacePath: ns.Path}
}

// listEnforcements lists the names of the enforcements, with what they say.
func (s *Store) listEnforcements(c *api.Call, _ *api.None) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	damaged, err := store.SiftJSON(c, s.Store, store.Prefix(area(c.Namespace.ID, "enforcement")), func(_ store.Entry, e *Enforcement) {
		out.Keys, out.Info[e.Name] = append(out.Keys, e.Name), e.answer(c.Namespace)
	})
	if len(damaged) > 0 {
		c.Warn(fmt.Sprintf("%d more rows are damaged: while they are, every login is refused; delete and write them anew", len(damaged)))
	}
	return out, err
}

// removeEnforcement deletes an enforcement: logins no longer need its methods.
func (s *Store) removeEnforcement(c *api.Call, q *EnforcementNameRequest) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		tx.Delete(enforcementKey(c.Namespace.ID, string(q.Name)))
		return nil
	})
	return nil, err
}
