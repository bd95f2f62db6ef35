package lease

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// A path can be revoked again while an earlier sweep of it goes on, for weeks where a row is damaged. There is
// one sweep of a path at a time: its row has the latest, which takes the place of those before it and has to do all that
// they had to. Each has a due-time of its own, so that one which is at work at that moment, and may be past what the
// latest is about, takes nothing from it: it ends, and the latest begins.

// longGrace is how long the schedule leaves a sweep to the request that began it.
const longGrace = 5 * time.Minute

func sweepKey(nsID, name string) string { return nsID + "/lease/sweep/" + name }

// name is one for all sweeps of a path.
func (sw *sweep) name() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%t %s", sw.Tokens, sw.Prefix))
	return hex.EncodeToString(sum[:16])
}

// latest is what a row has of the sweep of a path; nil: it has come to its end.
func latest(e store.Entry, err error) (*sweep, error) {
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[sweep](e)
}

func (sw *sweep) put(tx *store.Tx, nsID string) error {
	row, err := json.Marshal(sw)
	if err != nil {
		return fmt.Errorf("lease: encode sweep: %w", err)
	}
	tx.Put(sweepKey(nsID, sw.name()), row)
	return nil
}

// succeed makes a sweep the latest of its path. A row of earlier ones that is damaged has nothing that this one lacks, but for
// clocks that differ.
func (sw *sweep) succeed(tx *store.Tx, nsID string, at time.Time) (schedule.Item, error) {
	was, err := latest(tx.Get(sweepKey(nsID, sw.name())))
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return schedule.Item{}, err
	}
	if was != nil && was.Before.After(sw.Before) {
		sw.Before = was.Before
	}
	it, err := sw.item(nsID, at)
	if err == nil {
		err = schedule.Add(tx, it)
	}
	if err == nil {
		err = sw.put(tx, nsID)
	}
	return it, err
}

// launch records a sweep of a path and, with wait, runs it.
func (s *Store) launch(ctx context.Context, nsID string, sw *sweep, wait bool) error {
	at := s.Now()
	if wait {
		at = at.Add(longGrace)
	}
	sw.Turn = rand.Text()
	var it schedule.Item
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) (err error) {
		it, err = sw.succeed(tx, nsID, at)
		return err
	})
	if err != nil || !wait {
		return err
	}
	err = s.complete(ctx, nsID, sw, func(tx *store.Tx) { schedule.Remove(tx, it) })
	if left := (*leftover)(nil); errors.As(err, &left) {
		return left.answer()
	}
	return err
}

// resume runs a sweep from the schedule.
func (s *Store) resume(ctx context.Context, job *schedule.Job) error {
	sw := &sweep{}
	if err := json.Unmarshal(job.Data, sw); err != nil {
		return fmt.Errorf("lease: sweep cannot be read: %w", store.ErrCorrupt)
	}
	if sw.Turn != "" {
		last, err := latest(s.Store.Get(ctx, sweepKey(job.Namespace, sw.name())))
		switch {
		case errors.Is(err, store.ErrCorrupt):
			sw.Force = false // the row may have said so
		case err != nil:
			return err
		case last == nil || last.Turn != sw.Turn:
			return nil // it came to its end, or another has its work
		default:
			sw = last
		}
	}
	err := s.complete(ctx, job.Namespace, sw, job.Done)
	var left *leftover
	if errors.As(err, &left) && left.row == nil {
		return nil // each of them has a due-time of its own now
	}
	return err
}

// complete runs a sweep and ends it; end is part of the commit of that. Where damaged rows are left, the schedule goes
// on with it: what they are of has not even ended.
func (s *Store) complete(ctx context.Context, nsID string, sw *sweep, end func(*store.Tx)) error {
	ran := s.run(ctx, nsID, sw)
	var left *leftover
	if ran != nil && !errors.As(ran, &left) {
		return ran
	}
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		last, err := sw.latest(tx, nsID)
		switch {
		case err != nil:
			return err
		case left == nil || left.row == nil:
			end(tx)
			if last != nil {
				tx.Delete(sweepKey(nsID, sw.name()))
			}
		case last != nil && last.Force: // what is held now is not given up by force once it is let go
			last.Force = false
			return last.put(tx, nsID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ran
}

// latest is the row of a sweep of a path as long as none has taken its place, else nil.
func (sw *sweep) latest(tx *store.Tx, nsID string) (*sweep, error) {
	if sw.Turn == "" {
		return nil, nil
	}
	last, err := latest(tx.Get(sweepKey(nsID, sw.name())))
	if errors.Is(err, store.ErrCorrupt) || err == nil && last != nil && last.Turn != sw.Turn {
		return nil, nil
	}
	return last, err
}
