package quota

import (
	"context"
	"errors"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindTidy is the work of clearing quotas away whose mount or namespace is gone.
const kindTidy = "quota-tidy"

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindTidy: func(ctx context.Context, _ *schedule.Job) error { return s.Tidy(ctx) }}
}

// MountRemoved records in the transaction that disables a mount that its quotas are
// to be cleared away.
func (s *Store) MountRemoved(tx *store.Tx, mountID string) error {
	return schedule.Add(tx, schedule.Item{Namespace: s.Namespaces.Root().ID, At: s.Now(), Kind: kindTidy, ID: mountID})
}

// Tidy clears away quotas whose mount or namespace is gone. It can be cut short
// anywhere, and repeated.
func (s *Store) Tidy(ctx context.Context) error {
	if _, err := s.Cache.Fresh(ctx); err != nil {
		return err
	}
	var gone []store.Entry
	var failed error
	_, err := store.SiftJSON(ctx, s.Store, store.Prefix(ratePrefix), func(e store.Entry, q *Rate) {
		_, there, err := s.path(ctx, &q.place)
		if err == nil && !there {
			gone = append(gone, e)
		}
		failed = errors.Join(failed, err)
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, e := range gone {
		_, err := s.Store.Commit(ctx, []store.Check{{Key: e.Key, Rev: e.Rev}}, []store.Write{{Key: e.Key, Delete: true}})
		if err != nil && !errors.Is(err, store.ErrConflict) { // written anew meanwhile
			return err
		}
	}
	return nil
}
