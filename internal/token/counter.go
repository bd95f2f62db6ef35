package token

import (
	"context"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// Counted is a token or lease as far as it counts against what may exist at a time.
type Counted struct {
	NamespaceID string
	MountID     string // empty: that of Path
	Path        string // of the request that made it, in its namespace
	Role        string // that a login was by; empty: none
	EntityID    string // whose it is; empty: nobody's
	Unknown     bool   // whose it will be is not known yet
	Exempt      bool   // it is counted, and never refused: who asks holds the root policy
}

// Counter counts tokens and leases in the commits that make and remove them, where a
// quota is about them.
type Counter interface {
	// Admit returns TooMany when there is no room for one more now.
	Admit(ctx context.Context, what Counted) error
	// Charge counts one that is being made. It returns the mark that its row keeps;
	// empty: no quota is about it. It returns TooMany when there is no room.
	Charge(tx *store.Tx, what Counted) (mark string, err error)
	// Credit counts those with these marks as gone.
	Credit(tx *store.Tx, marks ...string) error
	// Counts reports whether a mark is that of the quota that is about something now.
	Counts(ctx context.Context, what Counted, mark string) (bool, error)
	// Move counts what exists with the quota that is about it now. It returns its mark.
	Move(tx *store.Tx, what Counted, mark string) (string, error)
}

func (t *Token) counted(exempt bool) Counted {
	c := Counted{NamespaceID: t.NamespaceID, Path: t.Path, Role: t.LoginRole, EntityID: t.EntityID, Exempt: exempt || t.Root()}
	if t.Login {
		c.MountID = t.MountID
	}
	return c
}

// charge counts a token that is being made.
func (s *Store) charge(tx *store.Tx, t *Token, exempt bool) (err error) {
	if s.Counter != nil {
		t.Quota, err = s.Counter.Charge(tx, t.counted(exempt))
	}
	return err
}

// credit counts tokens as gone.
func (s *Store) credit(tx *store.Tx, marks ...string) error {
	if s.Counter == nil || len(marks) == 0 {
		return nil
	}
	return s.Counter.Credit(tx, marks...)
}

// Recount has each service token of a namespace counted with the quota that is about
// it now. It can be cut short, and repeated.
func (s *Store) Recount(ctx context.Context, nsID string) error {
	return s.Each(ctx, nsID, func(t *Token) error {
		right, err := s.Counter.Counts(ctx, t.counted(true), t.Quota)
		if err != nil || right {
			return err
		}
		return s.remark(ctx, t.key(), func(tx *store.Tx, t *Token) (string, error) { return s.Counter.Move(tx, t.counted(true), t.Quota) })
	})
}

// Discount has no quota count the tokens of a namespace that is being destroyed. It can
// be cut short, and repeated.
func (s *Store) Discount(ctx context.Context, nsID string) error {
	return s.Each(ctx, nsID, func(t *Token) error {
		if t.Quota == "" {
			return nil
		}
		return s.remark(ctx, t.key(), func(tx *store.Tx, t *Token) (string, error) { return "", s.Counter.Credit(tx, t.Quota) })
	})
}

// remark changes by which quota a token is counted.
func (s *Store) remark(ctx context.Context, k rowKey, move func(*store.Tx, *Token) (string, error)) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		t, err := read(tx, k)
		if err != nil || t == nil {
			return err
		}
		if t.Quota, err = move(tx, t); err != nil {
			return err
		}
		return write(tx, t)
	})
	if errors.Is(err, store.ErrCorrupt) {
		s.tell(err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("token: recount: %w", err)
	}
	return nil
}
