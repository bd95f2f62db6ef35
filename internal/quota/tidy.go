package quota

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// The kinds of due-time that quotas have.
const (
	kindTidy    = "quota-tidy"    // quotas whose mount or namespace is gone are to be cleared away
	kindRecount = "quota-recount" // leases and tokens are to be counted by what holds now
)

// Kept is what counts its rows anew.
type Kept interface {
	// Recount has each row of a namespace counted by the quota that is about it now.
	Recount(ctx context.Context, nsID string) error
}

// Jobs are the handlers of what the store has scheduled. kept is all that is counted.
func (s *Store) Jobs(kept ...Kept) map[string]schedule.Handler {
	return map[string]schedule.Handler{
		kindTidy:    func(ctx context.Context, _ *schedule.Job) error { return s.Tidy(ctx) },
		kindRecount: func(ctx context.Context, _ *schedule.Job) error { return s.Recount(ctx, kept...) },
	}
}

// Recount has everything counted by the quota that is about it now. It can be cut
// short anywhere, and repeated.
func (s *Store) Recount(ctx context.Context, kept ...Kept) error {
	if _, err := s.Cache.Fresh(ctx); err != nil {
		return err
	}
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	if err := s.recount(ctx, s.Namespaces.Root().ID, kept); err != nil {
		return err
	}
	return s.sweep(ctx, p)
}

// recount does so in a namespace and below it. What is sealed is tried again, and
// keeps nobody else from being counted.
func (s *Store) recount(ctx context.Context, nsID string, kept []Kept) error {
	for _, k := range kept {
		if err := k.Recount(ctx, nsID); err != nil {
			return err // what is below a sealed one is sealed too
		}
	}
	var sealed error
	children, err := s.Namespaces.Children(ctx, nsID)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !child.Live() {
			continue
		}
		err := s.recount(ctx, child.ID, kept)
		if err != nil && !errors.Is(err, store.ErrSealed) {
			return err
		}
		sealed = errors.Join(sealed, err)
	}
	return sealed
}

// Afresh has every bound on leases begin anew, and everything counted again: for when
// things are gone that nobody could read, and so count as gone. It can be repeated.
func (s *Store) Afresh(ctx context.Context) error {
	rows, _, err := store.Sift(ctx, s.Store, store.Prefix(countPrefix))
	for _, e := range rows {
		id := api.NewUUID()
		_, uerr := store.Update(ctx, s.Store, func(tx *store.Tx) error {
			q, err := storedCount(tx, strings.TrimPrefix(e.Key, countPrefix))
			if err != nil || q == nil {
				return err
			}
			clearRoom(tx, q.ID)
			q.ID = id
			return errors.Join(resize(tx, id, q.Max), put(tx, e.Key, q), s.changed(tx, id))
		})
		err = errors.Join(err, uerr)
	}
	return err
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
	rates, err := gone(ctx, s, ratePrefix, func(q *Rate) *place { return &q.place })
	if err != nil {
		return err
	}
	for _, e := range rates {
		_, err := s.Store.Commit(ctx, []store.Check{{Key: e.Key, Rev: e.Rev}}, []store.Write{{Key: e.Key, Delete: true}})
		if err != nil && !errors.Is(err, store.ErrConflict) { // written anew meanwhile
			return err
		}
	}
	counts, err := gone(ctx, s, countPrefix, placeOfCount)
	if err != nil {
		return err
	}
	for _, e := range counts {
		q, err := store.DecodeJSON[Count](e)
		if err == nil {
			err = s.drop(ctx, strings.TrimPrefix(e.Key, countPrefix), func(now *Count) bool { return now.ID == q.ID && now.place == q.place })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gone are the rows of the quotas of a kind whose places are no more.
func gone[Q any](ctx context.Context, s *Store, prefix string, placeOf func(*Q) *place) (out []store.Entry, err error) {
	var failed error
	_, err = store.SiftJSON(ctx, s.Store, store.Prefix(prefix), func(e store.Entry, q *Q) {
		_, there, err := s.path(ctx, placeOf(q))
		if errors.Is(err, store.ErrSealed) {
			return // it may be there
		}
		if err == nil && !there {
			out = append(out, e)
		}
		failed = errors.Join(failed, err)
	})
	return out, errors.Join(err, failed)
}

// drop removes a bound on leases, if it is one that is to go, with its room.
func (s *Store) drop(ctx context.Context, name string, which func(*Count) bool) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		q, err := storedCount(tx, name)
		if err != nil || q != nil && !which(q) {
			return err
		}
		tx.Delete(countPrefix + name)
		id := name
		if q != nil {
			clearRoom(tx, q.ID)
			id = q.ID
		} else {
			s.Log.Debug("no room is known of the quota that is removed", slog.String("name", name))
		}
		return s.changed(tx, id)
	})
	return err
}
