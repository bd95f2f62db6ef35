package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/strongroom/strongroom/internal/store"
)

var errDisk = errors.New("input/output error")

// nth fails the I/O call numbered at, and with lasting all that follow.
type nth struct {
	at      int64
	lasting bool
	only    string // only files with this in their name
	calls   atomic.Int64
	hit     atomic.Bool
}

func (n *nth) String() string { return fmt.Sprint("call ", n.at) }

func (n *nth) MaybeError(op errorfs.Op) error {
	if !strings.Contains(op.Path, n.only) {
		return nil
	}
	if i := n.calls.Add(1); i == n.at || n.lasting && i > n.at {
		n.hit.Store(true)
		return fmt.Errorf("%s: %w", op.Path, errDisk)
	}
	return nil
}

// work is a short life of a store: what it acknowledged is in the ledger.
type work struct {
	ledger ledger
	failed bool // a commit was answered with the disk's error
}

const workCommits = 60

func (w *work) run(t *testing.T, fs vfs.FS) {
	o := small
	o.FS = fs
	s, err := Open("data", o)
	if err != nil {
		return
	}
	for i := range workCommits {
		w.commit(t, s, i%crashWriters)
		w.look(t, s, i%crashWriters)
	}
	if err := s.Checkpoint(t.Context(), "copy"); err == nil {
		w.checkCopy(t, fs)
	}
	// Whether closing succeeds says nothing about what was acknowledged.
	if err := s.Close(); err != nil && !errors.Is(err, errDisk) {
		t.Logf("Close: %v", err)
	}
}

// commit writes the next pair; after one failure there must be no success.
func (w *work) commit(t *testing.T, s *Store, pair int) {
	a, b := pairKeys(pair)
	seq := w.ledger[pair].acked.Load() + 300
	stopped := s.Failure() != nil
	_, err := s.Commit(t.Context(), nil, []store.Write{{Key: a, Value: sealed(a, seq)}, {Key: b, Value: sealed(b, seq)}})
	switch {
	case err == nil && (w.failed || stopped):
		t.Errorf("a commit succeeded after the store had failed: %v", s.Failure())
	case err == nil:
		w.ledger[pair].acked.Store(seq)
	default:
		w.failed = true
		if !errors.Is(err, errDisk) || !errors.Is(s.Failure(), errDisk) {
			t.Errorf("a failed commit returned %v, Failure %v", err, s.Failure())
		}
	}
}

// look reads a pair: an error is allowed, another value than the last
// acknowledged is not.
func (w *work) look(t *testing.T, s *Store, pair int) {
	key, _ := pairKeys(pair)
	e, err := s.Get(t.Context(), key)
	if err != nil {
		if !errors.Is(err, errDisk) {
			t.Errorf("a failed Get returned %v", err)
		}
		return
	}
	if seq, err := unseal(key, e.Value); err != nil || seq != w.ledger[pair].acked.Load() {
		t.Errorf("Get shows %d, %v; acknowledged is %d", seq, err, w.ledger[pair].acked.Load())
	}
}

func (w *work) checkCopy(t *testing.T, fs vfs.FS) {
	o := small
	o.FS = fs
	s, err := Open("copy", o)
	if err != nil {
		if !errors.Is(err, errDisk) {
			t.Errorf("a complete copy does not open: %v", err)
		}
		return
	}
	for pair := range crashWriters {
		w.look(t, s, pair)
	}
	if err := s.Close(); err != nil && !errors.Is(err, errDisk) {
		t.Logf("closing the copy: %v", err)
	}
}

// TestEveryCallFails fails each I/O call of a store's life in turn, once or from
// then on, then lets the machine crash.
func TestEveryCallFails(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		t.Run(fmt.Sprint("lasting=", lasting), func(t *testing.T) {
			acked, refused := 0, 0
			for at := int64(1); ; at++ {
				inj := &nth{at: at, lasting: lasting}
				disk := newCrashable()
				var w work
				w.run(t, errorfs.Wrap(disk, inj))
				if err := inspect(disk.CrashClone(vfs.CrashCloneCfg{}), w.ledger.promised()); err != nil {
					t.Errorf("call %d failed: %v", at, err)
				}
				if !inj.hit.Load() {
					break
				}
				if w.failed {
					refused++
				} else if w.ledger[0].acked.Load() > 0 {
					acked++
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			if refused < 10 || !lasting && acked < 10 {
				t.Errorf("of all faults %d were noticed by a commit and %d by none: the test tests too little", refused, acked)
			}
			t.Logf("%d faults failed commits, %d did not", refused, acked)
		})
	}
}

// TestFailedSyncStops fails one sync of the write-ahead log: nothing is written
// after it, reading goes on, and opening again brings everything back.
func TestFailedSyncStops(t *testing.T) {
	disk := vfs.NewMem()
	inj := &syncFault{}
	o := small
	o.FS = errorfs.Wrap(disk, inj)
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	put := func(value string) error {
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte(value)}})
		return err
	}
	if err := put("durable"); err != nil {
		t.Fatal(err)
	}
	before, err := s.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inj.armed.Store(true)
	for range 3 {
		if err := put("lost"); !errors.Is(err, errDisk) {
			t.Errorf("a commit on a failed log returned %v", err)
		}
	}
	if e, err := s.Get(t.Context(), "k"); err != nil || string(e.Value) != "durable" || e.Rev != before {
		t.Errorf("after the failure Get = %q at %d, %v", e.Value, e.Rev, err)
	}
	if rev, err := s.Sync(t.Context()); err != nil || rev != before {
		t.Errorf("after the failure Sync = %d, %v", rev, err)
	}
	if err := s.Checkpoint(t.Context(), "copy"); !errors.Is(err, errDisk) {
		t.Errorf("a checkpoint of a failed store returned %v", err)
	}
}

// syncFault fails one sync of the write-ahead log once it is armed.
type syncFault struct{ armed atomic.Bool }

func (f *syncFault) String() string { return "one failed sync" }

func (f *syncFault) MaybeError(op errorfs.Op) error {
	isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	if isSync && strings.HasSuffix(op.Path, ".log") && f.armed.CompareAndSwap(true, false) {
		return errDisk
	}
	return nil
}

// TestSlowDiskHonoursDeadlines lets the log's sync hang: callers leave when
// their context ends, and what they handed in may be reused at once.
func TestSlowDiskHonoursDeadlines(t *testing.T) {
	gate := &gateFault{open: make(chan struct{})}
	o := small
	o.FS = errorfs.Wrap(vfs.NewMem(), gate)
	s := openTest(t, "data", o)
	gate.armed.Store(true)
	for _, what := range []string{"on its way to disk", "gathered behind it"} {
		ctx, cancel := context.WithCancel(t.Context())
		value := []byte(what)
		ended := make(chan error)
		go func() {
			_, err := s.Commit(ctx, nil, []store.Write{{Key: what, Value: value}})
			clear(value)
			ended <- err
		}()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a commit %s returned %v", what, err)
		}
	}
	close(gate.open)
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte("v")}}); err != nil {
		t.Error(err)
	}
	for _, what := range []string{"on its way to disk", "gathered behind it"} {
		if e, err := s.Get(t.Context(), what); err != nil || e.Exists() && string(e.Value) != what {
			t.Errorf("%q holds %q, %v", what, e.Value, err)
		}
	}
}

// gateFault lets syncs of the write-ahead log hang until it is opened.
type gateFault struct {
	armed atomic.Bool
	open  chan struct{}
}

func (g *gateFault) String() string { return "a hanging sync" }

func (g *gateFault) MaybeError(op errorfs.Op) error {
	if g.armed.Load() && strings.HasSuffix(op.Path, ".log") && op.Kind != errorfs.OpFileWrite {
		<-g.open
	}
	return nil
}
