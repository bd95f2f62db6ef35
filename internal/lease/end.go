package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const (
	grace = 30 * time.Second // how long the schedule leaves an ending to the request that began it
	retry = time.Second      // until the first try after a failed one
	// patience is how often an engine may fail to take a lease back before the
	// lease counts as irrevocable. It is tried on, at the schedule's slowest pace.
	patience = 6
)

// lessor is the mount that lent something.
type lessor struct {
	entry *mount.Entry // nil: nobody knows it any more
	ns    api.Namespace
	kinds func(*mount.Entry, string) (api.LeaseKind, bool)
	store store.Store
}

// lessor finds a mount, also one that was disabled while it had leases.
func (s *Store) lessor(ctx context.Context, nsID, mountID string) (*lessor, error) {
	table, err := s.Mounts.Table(ctx, nsID)
	if err != nil {
		return nil, err
	}
	e, damaged := table.ByID(mountID)
	if e == nil {
		left, err := s.departed(ctx, nsID, mountID)
		switch {
		case err != nil:
			return nil, err
		case left != nil:
			e = &left.Entry
		case damaged != nil: // it may be that one's: nobody has given it up
			return nil, damaged
		}
	}
	n, err := s.Namespaces.ByID(ctx, nsID)
	if err != nil {
		return nil, err
	}
	m := &lessor{entry: e, ns: api.Namespace{ID: nsID}, kinds: s.Mounts.LeaseKind}
	if n != nil {
		m.ns = n.API()
	}
	if e != nil {
		m.store = store.Sub(s.Store, e.Prefix(nsID))
	}
	return m, nil
}

// departed is a mount that was disabled, as long as it may have leases.
func (s *Store) departed(ctx context.Context, nsID, mountID string) (*gone, error) {
	row, err := s.Store.Get(ctx, goneKey(nsID, mountID))
	if err != nil || !row.Exists() {
		return nil, err
	}
	return store.DecodeJSON[gone](row)
}

// gone is a mount that was disabled.
type gone struct {
	mount.Entry
	Removed time.Time `json:"removed"`
}

// errGone says that nobody is left who could take a lease back.
func errGone() error {
	return &api.Error{Kind: api.Invalid, Message: "the lease's mount or its engine is gone", Hint: "remove the lease with sys/leases/revoke-force"}
}

// call is what a lease's engine is handed.
func (m *lessor) call(ctx context.Context, now time.Time, l *Lease) (*api.Call, api.LeaseKind, error) {
	if m.entry == nil {
		return nil, api.LeaseKind{}, errGone()
	}
	kind, ok := m.kinds(m.entry, l.Kind)
	if !ok || kind.Revoke == nil {
		return nil, kind, errGone()
	}
	return &api.Call{Context: ctx, Namespace: m.ns, Mount: m.entry.API(), Path: l.Path(), Store: m.store, Now: now}, kind, nil
}

// revoke has the engine take back what was lent. A panic is an error like others.
func (m *lessor) revoke(ctx context.Context, now time.Time, l *Lease) (err error) {
	c, kind, err := m.call(ctx, now, l)
	if err != nil {
		return err
	}
	defer recovered(&err)
	return kind.Revoke(c, l.held())
}

// recovered, deferred, makes a panic of an engine an error that says nothing of
// its value, which may hold a secret.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("lease: the engine panicked (%T)", v)
	}
}

// Revoke ends a lease; one that is not there is as good as ended. With wait it
// returns when the engine has taken back what was lent, and returns Unavailable
// when it could not yet; without, the schedule sees to that.
func (s *Store) Revoke(ctx context.Context, nsID, id string, wait bool) error {
	var l *Lease
	rev, err := store.Update(ctx, s.Store, func(tx *store.Tx) (err error) {
		if l, err = read(tx, nsID, id); err != nil || l == nil {
			return err
		}
		if l.Ended.IsZero() {
			l.Ended = s.Now()
		} else if !wait {
			return nil // the schedule has it
		}
		if wait {
			return l.put(tx, s.Now().Add(grace))
		}
		return l.put(tx, s.Now())
	})
	if err != nil || l == nil || !wait {
		return err
	}
	l.rev = rev
	if err := s.takeBack(ctx, l); errors.Is(err, ErrQuarantined) {
		return errNotYet(1, err)
	} else if err != nil {
		s.Log.Warn("a lease was not taken back", slog.String("lease", l.ID), slog.Any("error", err))
		return errNotYet(1, err)
	}
	return s.settle(ctx, []*Lease{l}, nil, func(*store.Tx) {})
}

// errNotYet says that some leases are left, and what is to be done about the first
// cause of that.
func errNotYet(n int, cause error) error {
	if errors.Is(cause, ErrQuarantined) {
		return &api.Error{Kind: api.Unavailable, Message: fmt.Sprintf("%d of the leases have ended and are not taken back: they came with a snapshot, and the cluster that it was taken from may still lend them", n),
			Hint: "when that one has ended for good, run: " + Resume}
	}
	return &api.Error{Kind: api.Unavailable, Message: fmt.Sprintf("%d of the leases have ended but could not be taken back yet; they are tried again later", n),
		Hint: "the server's log has the cause"}
}

// Jobs are the handlers of the due-times that leases have.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindEnd: s.end, kindSweep: s.resume, kindTidy: s.tidy, kindUnpark: s.unpark}
}

// Pages are the handlers of what is done for many leases together.
func (s *Store) Pages() map[string]schedule.PageHandler {
	return map[string]schedule.PageHandler{kindEnd: s.endDue}
}

// end takes a lease back whose time has come, or which was ended.
func (s *Store) end(ctx context.Context, job *schedule.Job) error {
	l, err := s.load(ctx, job.Namespace, string(job.Data))
	if err != nil || l == nil {
		return err
	}
	if l.Alive(s.Now()) {
		return nil // renewed meanwhile; its new due-time stands
	}
	// It ends before the engine is asked, so that nobody renews it any more, unless
	// somebody has at this very moment.
	there, err := s.endAll(ctx, []*Lease{l}, func(l *Lease) bool { return l.Alive(s.Now()) })
	if err != nil || len(there) == 0 {
		return err
	}
	switch err := s.takeBack(ctx, l); {
	case errors.Is(err, ErrQuarantined):
		return s.park(ctx, there, job.Done)
	case err != nil:
		return errors.Join(err, s.despair(ctx, job, l, err))
	}
	return s.settle(ctx, there, nil, job.Done)
}

// despair marks a lease as irrevocable once its engine has failed on it too often.
func (s *Store) despair(ctx context.Context, job *schedule.Job, l *Lease, cause error) error {
	if job.Tries+1 < patience || l.Failure != "" {
		return nil
	}
	s.Log.Error("a lease cannot be taken back", slog.String("lease", l.ID), slog.String("namespace", l.NamespaceID), slog.Any("error", cause))
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		now, err := read(tx, l.NamespaceID, l.ID)
		if err != nil || now == nil {
			return err
		}
		now.Failure = reason(cause)
		tx.Put(stuckKey(l.NamespaceID, l.ID), []byte{})
		return now.put(tx, now.Due) // the job's own row is its due-time from now on
	})
	return err
}

// reason is what may be told of a failure.
func reason(err error) string {
	var e *api.Error
	if errors.As(err, &e) && e.Kind != api.Internal {
		return e.Error()
	}
	return "the engine failed; the server's log has the cause"
}

// MountRemoved records, in the transaction that disables a mount, what is needed
// to take its leases back.
func (s *Store) MountRemoved(tx *store.Tx, nsID string, e *mount.Entry) error {
	row, err := json.Marshal(gone{*e, s.Now()})
	if err != nil {
		return fmt.Errorf("lease: encode mount: %w", err)
	}
	tx.Put(goneKey(nsID, e.ID), row)
	return nil
}

// MountMoved ends, in the transaction that moves a mount, the leases and tokens
// that came from its old path.
func (s *Store) MountMoved(tx *store.Tx, nsID, from string, e *mount.Entry) error {
	return s.addSweep(tx, nsID, &sweep{Prefix: from, MountID: e.ID, Before: s.Now(), Tokens: e.Auth()}, s.Now())
}

// ClearMount takes back what a mount that was disabled has lent, and the tokens
// that it made. It returns an error as long as something is left; with force, what
// the engine does not take back is forgotten. It can be repeated.
func (s *Store) ClearMount(ctx context.Context, nsID, mountID string, force bool) error {
	n, err := s.Namespaces.ByID(ctx, nsID)
	if err != nil || n == nil {
		return err // with the namespace, its leases are gone
	}
	e, err := s.departed(ctx, nsID, mountID)
	if err != nil || e == nil {
		return err
	}
	sw := &sweep{Prefix: e.Path, MountID: e.ID, Before: e.Removed, Force: force, Tokens: e.Auth()}
	if err := s.run(ctx, nsID, sw); err != nil {
		return err
	}
	_, err = s.Store.Commit(ctx, nil, []store.Write{{Key: goneKey(nsID, mountID), Delete: true}})
	return err
}

// ClearNamespace takes back all that was lent in a namespace which is being
// deleted; with force, what an engine does not take back is forgotten. It can be
// repeated.
func (s *Store) ClearNamespace(ctx context.Context, nsID string, force bool) error {
	n, err := s.Namespaces.ByID(ctx, nsID)
	if err != nil || n == nil {
		return err
	}
	return s.run(ctx, nsID, &sweep{Force: force})
}

// HolderDied ends, in the background, the leases of a token that is dead.
func (s *Store) HolderDied(ctx context.Context, nsID, tokenID string) error {
	r := store.Prefix(holding(nsID, tokenID))
	r.Limit, r.KeysOnly = 1, true
	es, err := s.Store.List(ctx, r)
	if err != nil || len(es) == 0 {
		return err
	}
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		return s.addSweep(tx, nsID, &sweep{Holder: tokenID}, s.Now())
	})
	return err
}
