package gate

import (
	"context"
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// standing is what a token may do at a moment: by its own policies, those of its entity
// and those of the entity's groups, in its namespace and those below.
type standing struct {
	acl   *policy.ACL
	who   *identity.Person // nil: nobody is behind the token
	parts []policies.Part  // the first is of the token's namespace
	home  [1]policies.Part // room for that one, which mostly is all
}

// names are the policies in force in the token's own namespace.
func (s *standing) names() []string { return s.parts[0].Names }

// entity is the identifier of who is behind the token by now; empty: nobody is.
func (s *standing) entity() string {
	if s.who == nil {
		return ""
	}
	return s.who.ID
}

// standing is what a token may do at this moment. A token whose entity is gone or
// disabled, or has had all tokens revoked since, or whose auth method is gone, may do nothing.
func (h *House) standing(ctx context.Context, t *token.Token) (*standing, error) {
	if err := h.methodLives(ctx, t); err != nil {
		return nil, err
	}
	s, err := h.heldBy(ctx, t)
	if err == nil {
		s.acl, err = h.Policies.ACLOf(ctx, s.filler(), s.parts...)
	}
	return s, err
}

// filler is who the templates of policies are filled in for.
func (s *standing) filler() policies.Who {
	if s.who == nil {
		return nil
	}
	return s.who
}

// callers is the standing of who makes a call, without what the policies come to.
func (h *House) callers(c *api.Call) (*standing, error) {
	return h.held(c, c.Caller.Namespace.ID, c.Caller.Policies, behind{c.Caller.EntityNamespace, c.Caller.EntityID, c.Caller.EntityEpoch})
}

// heldBy is the standing of a token, without what the policies come to.
func (h *House) heldBy(ctx context.Context, t *token.Token) (*standing, error) {
	return h.held(ctx, t.NamespaceID, t.Policies, behind{t.EntityNamespace(), t.EntityID, t.EntityEpoch})
}

// behind is the entity behind somebody.
type behind struct {
	namespace, id string // id is empty: nobody is
	epoch         int    // the count of its revocations that they have
}

// held is the policies of a namespace that somebody holds beside those of the entity behind
// them, which may be none. Those of somebody disabled, or whose tokens were all revoked since, are refused.
func (h *House) held(ctx context.Context, nsID string, names []string, by behind) (*standing, error) {
	s := &standing{home: [1]policies.Part{{Namespace: nsID, Names: names}}}
	s.parts = s.home[:]
	if by.id == "" {
		return s, nil
	}
	who, err := h.Identity.Person(ctx, by.namespace, by.id)
	switch {
	case err != nil:
		return nil, err
	case who == nil || who.Disabled || who.Ended(by.epoch):
		return nil, api.ErrDenied()
	}
	s.who, s.parts[0].Names = who, together(names, who.Policies[nsID])
	if len(who.Policies) > 1 {
		err = h.addBelow(ctx, s)
	}
	return s, err
}

// addBelow adds what groups of namespaces below give.
func (h *House) addBelow(ctx context.Context, s *standing) error {
	home, err := h.Namespaces.ByID(ctx, s.parts[0].Namespace)
	if err != nil || home == nil {
		return err
	}
	for _, nsID := range s.who.Elsewhere(home.ID) {
		ns, err := h.Namespaces.ByID(ctx, nsID)
		if err != nil {
			return err
		}
		if !ns.Live() {
			continue
		}
		if sealed, _, err := h.Namespaces.Closed(ctx, ns); err != nil || sealed != nil {
			if err != nil {
				return err
			}
			continue // no request reaches it, and its policies cannot be read
		}
		if below, ok := strings.CutPrefix(ns.Path, home.Path); ok && below != "" {
			s.parts = append(s.parts, policies.Part{Namespace: nsID, Below: below, Names: s.who.Policies[nsID]})
		}
	}
	return nil
}

// methodLives refuses a token whose auth method is gone.
func (h *House) methodLives(ctx context.Context, t *token.Token) error {
	if t.MountID != "" {
		table, err := h.Mounts.Table(ctx, t.MountNamespace)
		if err != nil {
			return err
		}
		switch e, err := table.ByID(t.MountID); {
		case errors.Is(err, store.ErrCorrupt): // it may be there, and it may be gone: then this is told to a dead token
			return &api.Error{Kind: api.Damaged, Err: store.ErrCorrupt, Message: "the row of a mount is damaged, so that it is not known whether the auth method of this token is still there",
				Hint: "an operator finds it in sys/mounts or sys/auth"}
		case err != nil:
			return err
		case e == nil:
			return api.ErrDenied()
		}
	}
	return nil
}

// uncrowded refuses who is in more groups of the request's namespace than are read: what
// those would deny is not known.
func (p *passage) uncrowded(s *standing) error {
	if p.ns == nil || s.who == nil {
		return nil
	}
	crowded, err := s.who.Crowded(func() ([]string, error) { return p.house.Namespaces.Lineage(&p.call, p.ns.ID) })
	if err == nil && crowded {
		err = &api.Error{Kind: api.Invalid, Message: "the caller's entity is in more groups of this namespace than are read", Hint: "take it out of some"}
	}
	return err
}
