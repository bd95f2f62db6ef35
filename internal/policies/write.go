package policies

import (
	"context"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// Terms are how a policy is written, beside its text.
type Terms struct {
	CAS         *int      // the version to replace; 0 and -1: there must be none; nil: any, unless the policy requires one
	CASRequired *bool     // whether later changes must give CAS; nil: they need not, or as before
	Expires     time.Time // from then on there is no such policy; zero: never, or as before
}

// Write creates or replaces a policy.
func (s *Store) Write(ctx context.Context, nsID, name, text string, terms Terms) error {
	text = plain(text)
	if strings.TrimSpace(text) == "" {
		return api.Errorf(api.Invalid, "'policy' parameter not supplied or empty")
	}
	return s.change(ctx, nsID, name, terms, func(*row) (*row, error) {
		return &row{Text: text, Expires: terms.Expires}, nil
	})
}

// Patch changes a policy in what is given: its text, unless that is empty, and
// its terms.
func (s *Store) Patch(ctx context.Context, nsID, name, text string, terms Terms) error {
	return s.change(ctx, nsID, name, terms, func(old *row) (*row, error) {
		if old == nil {
			return nil, api.Errorf(api.Invalid, "policy not found")
		}
		next := *old
		if text != "" {
			next.Text = plain(text)
		}
		if !terms.Expires.IsZero() {
			next.Expires = terms.Expires
		}
		return &next, nil
	})
}

// change puts what next makes of the policy, which is nil where there is none,
// in its place.
func (s *Store) change(ctx context.Context, nsID, name string, terms Terms, next func(old *row) (*row, error)) error {
	if name == rootName || name == wrappingName {
		return api.Errorf(api.Invalid, "cannot update %q policy", name)
	}
	if err := s.checkExpiry(name, terms.Expires); err != nil {
		return err
	}
	_, err := store.Update(ctx, s.store, func(tx *store.Tx) error {
		old, err := s.current(tx, nsID, name)
		if err != nil {
			return err
		}
		r, err := next(old)
		if err != nil {
			return err
		}
		if terms.CASRequired != nil {
			r.CASRequired = *terms.CASRequired
		}
		if err := checkCAS(old, r, terms.CAS); err != nil {
			return err
		}
		if err := check(name, r.Text); err != nil {
			return err
		}
		r.Name, r.Modified, r.Version = name, s.now().UTC(), 1
		if old != nil {
			r.Version = old.Version + 1
		}
		if old != nil && !old.Expires.IsZero() {
			schedule.Remove(tx, due(nsID, old))
		}
		return put(tx, nsID, r)
	})
	return err
}

// current is the policy's row, or nil when there is none or it has expired.
func (s *Store) current(tx *store.Tx, nsID, name string) (*row, error) {
	r, err := stored(tx, nsID, name)
	if err != nil || r == nil || r.expired(s.now()) {
		return nil, err
	}
	return r, nil
}

// stored is the policy's row, also of one that has expired, or nil.
func stored(tx *store.Tx, nsID, name string) (*row, error) {
	e, err := tx.Get(rowKey(nsID, name))
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[row](e)
}

func (s *Store) checkExpiry(name string, at time.Time) error {
	switch {
	case at.IsZero():
		return nil
	case !s.now().Before(at):
		return &api.Error{Kind: api.Invalid, Message: "refusing to update policy as expiration time has already elapsed", Hint: "give a later time, or delete the policy"}
	case name == defaultName:
		return &api.Error{Kind: api.Invalid, Message: "the default policy cannot expire", Hint: "give its rules an expiration"}
	}
	return nil
}

func checkCAS(old, next *row, cas *int) error {
	switch {
	case cas == nil && (next.CASRequired || old != nil && old.CASRequired):
		return &api.Error{Kind: api.Invalid, Message: "check-and-set parameter required for this call", Hint: "give as cas the version that is to be replaced"}
	case cas == nil:
		return nil
	case old == nil && (*cas == 0 || *cas == -1), old != nil && *cas == old.Version:
		return nil
	case *cas == -1:
		return &api.Error{Kind: api.Invalid, Message: "check-and-set parameter set to -1 on existing entry", Hint: "read the policy, and give its version"}
	}
	return &api.Error{Kind: api.Invalid, Message: "check-and-set parameter did not match the current version", Hint: "read the policy again, and give its version"}
}

func check(name, text string) error {
	if len(text) > maxPolicyBytes {
		return api.Errorf(api.TooLarge, "policy: longer than %d bytes", maxPolicyBytes)
	}
	if _, err := policy.Parse(name, text); err != nil {
		return api.Errorf(api.Invalid, "failed to parse policy: %v", err)
	}
	return nil
}

// Delete removes a policy; one that is absent is no error.
func (s *Store) Delete(ctx context.Context, nsID, name string) error {
	switch name {
	case rootName, wrappingName:
		return api.Errorf(api.Invalid, "cannot delete %q policy", name)
	case defaultName:
		return api.Errorf(api.Invalid, "cannot delete default policy")
	}
	_, err := s.store.Commit(ctx, nil, []store.Write{{Key: rowKey(nsID, name), Delete: true}, {Key: expiryKey(nsID, name), Delete: true}})
	return err
}
