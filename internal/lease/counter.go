package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

func (l *Lease) counted(exempt bool) token.Counted {
	return token.Counted{NamespaceID: l.NamespaceID, MountID: l.MountID, Path: l.Path(), EntityID: l.EntityID, Exempt: exempt}
}

// charge counts a lease that is being made.
func (s *Store) charge(tx *store.Tx, l *Lease, exempt bool) (err error) {
	if s.Counter != nil {
		l.Quota, err = s.Counter.Charge(tx, l.counted(exempt))
	}
	return err
}

// credit counts leases as gone.
func (s *Store) credit(tx *store.Tx, marks ...string) error {
	if s.Counter == nil || len(marks) == 0 {
		return nil
	}
	return s.Counter.Credit(tx, marks...)
}

// Recount has each lease of a namespace counted with the quota that is about it now.
// It can be cut short, and repeated.
func (s *Store) Recount(ctx context.Context, nsID string) error {
	return s.each(ctx, Rows(nsID), func(e store.Entry) error {
		l, err := decode(nsID, e)
		if err != nil {
			s.Log.Error("a row of a lease is damaged and is not counted", slog.Any("error", err))
			return nil
		}
		right, err := s.Counter.Counts(ctx, l.counted(true), l.Quota)
		if err != nil || right {
			return err
		}
		return s.recount(ctx, nsID, l.ID)
	})
}

func (s *Store) recount(ctx context.Context, nsID, id string) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		l, err := read(tx, nsID, id)
		if err != nil || l == nil {
			return err
		}
		if l.Quota, err = s.Counter.Move(tx, l.counted(true), l.Quota); err != nil {
			return err
		}
		return l.put(tx, l.Due)
	})
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("lease: recount: %w", err)
	}
	return nil
}
