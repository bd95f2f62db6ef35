package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// A store that a snapshot was put into may run beside the one that it was taken from.
// Both know the same leases, and the copy must not take back what the other one still
// lends. So a restored store starts in quarantine: the leases that came along end as
// they would, and nobody can renew one that has ended, but no engine is asked to take
// them back before an operator has said that they are this store's. What was lent in
// quarantine is this store's from the start.
//
// A lease that is due in quarantine leaves the schedule and is parked, so that it
// is neither tried again nor in the way of others.
const (
	quarantineKey = "root/lease/quarantine"
	parkedPrefix  = "root/lease/parked/" // and the namespace's identifier, a slash and the lease's id
	kindUnpark    = "lease-unpark"       // parked leases are to be put back into the schedule
)

// Resume is the command that ends the quarantine.
const Resume = "strongroom operator snapshot resume"

// ErrQuarantined says that a lease is not taken back, since it came with a snapshot
// and nobody has said that it is this store's. Test with errors.Is.
var ErrQuarantined = errors.New("lease: it came with a snapshot, and is not taken back before an operator says so")

// Quarantine is what is written down of a restore.
type Quarantine struct {
	ID      string    `json:"id"`               // of the restore
	Since   time.Time `json:"since"`            // when the snapshot was put into the store
	Taken   time.Time `json:"taken"`            // when the snapshot was taken
	Resumed time.Time `json:"resumed,omitzero"` // when it ended; zero: it lasts
}

// Holds reports whether the quarantine lasts.
func (q *Quarantine) Holds() bool { return q != nil && q.Resumed.IsZero() }

// covers reports whether a lease is not to be taken back.
func (q *Quarantine) covers(l *Lease) bool { return q.Holds() && l.Own != q.ID }

// Isolate puts a store that was restored into quarantine, once for each restore: it
// does not begin anew one that has ended.
func Isolate(ctx context.Context, s store.Store, q Quarantine) error {
	_, err := store.Update(ctx, s, func(tx *store.Tx) error {
		was, err := readQuarantine(tx.Get(quarantineKey))
		if err != nil || was != nil && was.ID == q.ID {
			return err
		}
		return putQuarantine(tx, &q)
	})
	if err != nil {
		err = fmt.Errorf("lease: beginning the quarantine: %w", err)
	}
	return err
}

func putQuarantine(tx *store.Tx, q *Quarantine) error {
	row, err := json.Marshal(q)
	if err == nil {
		tx.Put(quarantineKey, row)
	}
	return err
}

// readQuarantine is the row; nil when there is none.
func readQuarantine(e store.Entry, err error) (*Quarantine, error) {
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[Quarantine](e)
}

// Quarantine is the store's; nil when it was never restored.
func (s *Store) Quarantine(ctx context.Context) (*Quarantine, error) {
	return s.quarantine.Get(ctx, struct{}{})
}

// claim notes on a new lease that it is this store's, where others may not be.
func (s *Store) claim(ctx context.Context, l *Lease) error {
	q, err := s.Quarantine(ctx)
	if err == nil && q.Holds() {
		l.Own = q.ID
	}
	return err
}

// spare returns ErrQuarantined for a lease that is not to be taken back.
func (s *Store) spare(ctx context.Context, l *Lease) error {
	q, err := s.Quarantine(ctx)
	if err == nil && q.covers(l) {
		err = ErrQuarantined
	}
	return err
}

// park takes leases that are due out of the schedule until the quarantine ends. end is
// part of the commit. When the quarantine has ended meanwhile, nothing is parked.
func (s *Store) park(ctx context.Context, ls []*Lease, end func(*store.Tx)) error {
	attempt := 0
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		q, err := readQuarantine(tx.Get(quarantineKey)) // what is parked after the end would stay
		if err == nil && !q.Holds() {
			err = errResumed
		}
		if err != nil {
			return err
		}
		there, err := current(tx, ls, attempt)
		attempt++
		for _, l := range there {
			schedule.Remove(tx, l.item())
			tx.Put(parkedPrefix+l.NamespaceID+"/"+l.ID, []byte{})
		}
		end(tx)
		return err
	})
	return err
}

// errResumed has the schedule try a lease again.
var errResumed = errors.New("lease: the quarantine has just ended")

// QuarantineAnswer is whether leases are held since a restore.
type QuarantineAnswer struct {
	Held     bool      `json:"held"`              // Leases that came with the snapshot are not taken back.
	Restored *api.Time `json:"restored"`          // When the snapshot was put into the store; null: never.
	Taken    *api.Time `json:"taken"`             // When the snapshot was taken; null: there was none.
	Resumed  *api.Time `json:"resumed,omitempty"` // When leases began to be taken back.
}

func (q *Quarantine) answer() *QuarantineAnswer {
	if q == nil {
		return &QuarantineAnswer{}
	}
	a := &QuarantineAnswer{Held: q.Holds(), Restored: &api.Time{Time: q.Since}, Taken: &api.Time{Time: q.Taken}}
	if !a.Held {
		a.Resumed = &api.Time{Time: q.Resumed}
	}
	return a
}

// ReadQuarantine tells whether the store was restored, and whether the leases that came
// with the snapshot are still held.
func (s *Store) ReadQuarantine(c *api.Call, _ *api.None) (*QuarantineAnswer, error) {
	q, err := s.Quarantine(c)
	return q.answer(), err
}

// EndQuarantine has this store take back the leases that came with the snapshot, from
// now on. The cluster that the snapshot was taken from must have ended for good, or it
// loses what it lends.
func (s *Store) EndQuarantine(c *api.Call, _ *api.None) (*QuarantineAnswer, error) {
	var q *Quarantine
	ended := false
	_, err := store.Update(c, s.Store, func(tx *store.Tx) (err error) {
		ended = false
		if q, err = readQuarantine(tx.Get(quarantineKey)); err != nil || !q.Holds() {
			return err
		}
		q.Resumed, ended = c.Now.UTC(), true
		if err := putQuarantine(tx, q); err != nil {
			return err
		}
		return schedule.Add(tx, schedule.Item{Namespace: namespace.RootID, At: c.Now, Kind: kindUnpark, ID: q.ID})
	})
	switch {
	case err != nil:
		return nil, err
	case ended:
		s.Log.Warn("leases that came with the snapshot are taken back from now on", slog.Time("restored", q.Since))
	default:
		c.Warn("Nothing was held.")
	}
	return q.answer(), nil
}

// unpark puts the leases that are parked back into the schedule. One that cannot be is
// in no other's way: it stays parked, and the job is tried again. The keys say all, so that no
// damage of what lies below them matters.
func (s *Store) unpark(ctx context.Context, _ *schedule.Job) error {
	r := store.Prefix(parkedPrefix)
	r.Limit, r.KeysOnly = 256, true
	n, failed := 0, error(nil)
	for {
		es, err := s.Store.List(ctx, r)
		if err != nil {
			return fmt.Errorf("lease: listing what is held: %w", err)
		}
		for _, e := range es {
			switch err := s.putBack(ctx, e.Key); {
			case ctx.Err() != nil:
				return err
			case err != nil && failed == nil:
				failed = fmt.Errorf("lease: %s is held still: %w", e.Key, err)
			case err == nil:
				n++
			}
		}
		if len(es) < r.Limit {
			break
		}
		r = r.After(es[len(es)-1].Key)
	}
	s.Log.Info("leases that were held are due again", slog.Int("leases", n), slog.Bool("all", failed == nil))
	return failed
}

// putBack puts a lease that is parked back into the schedule. With its namespace, a
// lease is gone.
func (s *Store) putBack(ctx context.Context, parked string) error {
	nsID, id, _ := strings.Cut(strings.TrimPrefix(parked, parkedPrefix), "/")
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		tx.Delete(parked)
		there, err := s.Namespaces.ByID(ctx, nsID)
		if err != nil || there == nil {
			return err
		}
		l, err := read(tx, nsID, id)
		if err != nil || l == nil {
			return err
		}
		return l.put(tx, s.Now())
	})
	return err
}
