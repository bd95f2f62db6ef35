package identity

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// DefaultUnused is for how long nobody uses an entity that is then reaped, where the
// configuration does not say otherwise.
const DefaultUnused = 90 * 24 * time.Hour

// Never is a Config.Unused with which no entity is reaped.
const Never time.Duration = -1

// day is how coarsely the use of entities is recorded, so that most logins write nothing,
// and how often unused ones are looked for.
const day = 24 * time.Hour

// kindReap is the work of looking for entities of a namespace that nobody uses.
const kindReap = "identity-reap"

// usedRow is the value of the row that tells until when an entity counts as used.
type usedRow struct {
	Until time.Time `json:"until"`
}

func (u *usedRow) whole() bool { return !u.Until.IsZero() }

func loadUsed(ctx context.Context, r store.Reader, k key) (*usedRow, error) {
	return get[usedRow](reading(ctx, r), k.used())
}

// Lives records that a token of an entity lives until a moment, rounded up to a day: an
// entity counts as used as long as one of its tokens lives. What is known already is not
// written again.
func (s *Store) Lives(ctx context.Context, nsID, entityID string, until time.Time) error {
	p, err := s.Person(ctx, nsID, entityID)
	if err != nil || p == nil || !p.Met {
		return err // who made it keeps it
	}
	k, until := key{nsID, p.ID}, roundUp(until)
	known, err := s.uses.Get(ctx, k)
	if err != nil || known != nil && !known.Until.Before(until) {
		return err
	}
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		e, err := entityIn(tx, nsID, p.ID)
		switch {
		case err != nil:
			return err
		case e == nil: // it has just been deleted: the token would be dead
			return api.ErrDenied()
		}
		known, err := get[usedRow](tx.Get, k.used())
		if err != nil || known != nil && !known.Until.Before(until) {
			return err
		}
		return put(tx, k.used(), usedRow{until})
	})
	return err
}

func roundUp(at time.Time) time.Time {
	down := at.UTC().Truncate(day)
	if down.Before(at) {
		down = down.Add(day)
	}
	return down
}

// reapingKey is there once unused entities of a namespace are looked for.
func reapingKey(ns string) string { return ns + "/identity/reaping" }

// reapFrom has unused entities of a namespace looked for, from the first on that a login
// makes.
func (s *Store) reapFrom(tx *store.Tx, nsID string, now time.Time) error {
	e, err := tx.Get(reapingKey(nsID))
	if err != nil || e.Exists() {
		return err
	}
	tx.Put(reapingKey(nsID), []byte{1})
	return schedule.Add(tx, nextReaping(nsID, now))
}

func nextReaping(nsID string, now time.Time) schedule.Item {
	return schedule.Item{Namespace: nsID, At: roundUp(now.Add(1)), Kind: kindReap, ID: kindReap}
}

// reap deletes the entities of a namespace that nobody uses: those that a login made and
// nobody has changed by hand, that is in no group by hand either, and of which no token has
// lived for as long as the configuration says. Who logs in again is somebody new.
func (s *Store) reap(ctx context.Context, job *schedule.Job) error {
	now := s.Now()
	if s.Unused != Never {
		_, err := each(ctx, s.Store, area(job.Namespace, "entity"), "", func(_ store.Entry, e *Entity) bool {
			if e.Met && e.Into == "" && ctx.Err() == nil {
				s.reapOne(ctx, key{job.Namespace, e.ID}, now)
			}
			return ctx.Err() == nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error { return schedule.Add(tx, nextReaping(job.Namespace, now)) })
	return err
}

// reapOne deletes an entity that nobody uses. What fails is tried again the next day.
func (s *Store) reapOne(ctx context.Context, k key, now time.Time) {
	used, err := loadUsed(ctx, s.Store, k)
	if err != nil || used != nil && !s.unused(used.Until, now) {
		return
	}
	var left *remains
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		left = nil
		e, err := entityIn(tx, k.namespace, k.id)
		if err != nil || e == nil || !e.Met {
			return err
		}
		used, err := get[usedRow](tx.Get, k.used())
		if err != nil {
			return err
		}
		last := e.Created
		if used != nil {
			last = used.Until
		}
		if !s.unused(last, now) {
			return nil
		}
		left, err = s.drop(tx, k.namespace, e, now)
		return err
	})
	if err == nil && left != nil {
		err = s.clear(ctx, k, left, now)
	}
	if err != nil && s.Failed != nil {
		s.Failed(err)
	}
}

func (s *Store) unused(last, now time.Time) bool { return now.Sub(last) >= s.Unused }
