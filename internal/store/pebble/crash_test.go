package pebble

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/strongroom/strongroom/internal/store"
)

// small makes tables, log rotations and compactions happen within a short test.
var small = Options{MemTableBytes: 32 << 10, KeepCommits: 300}

const crashWriters = 6

// ledger is what was promised about each writer's pair of keys: the newest
// commit that was acknowledged, and the newest that a reader was shown.
type ledger [crashWriters]struct{ acked, served atomic.Int64 }

type promises [crashWriters]int64

func (l *ledger) promised() (out promises) {
	for i := range l {
		out[i] = max(l[i].acked.Load(), l[i].served.Load())
	}
	return out
}

func pairKeys(w int) (string, string) {
	return fmt.Sprintf("pair/%d/a", w), fmt.Sprintf("other/%d/b", w)
}

// sealed is a value that tells whether it is whole, whose it is and which.
func sealed(key string, seq int64) []byte {
	body := fmt.Sprintf("%s %d %s", key, seq, strings.Repeat("x", int(seq%700)))
	return fmt.Appendf(nil, "%08x %s", crc32.ChecksumIEEE([]byte(body)), body)
}

func unseal(key string, value []byte) (int64, error) {
	if len(value) == 0 {
		return 0, nil
	}
	var sum uint32
	var of string
	var seq int64
	if _, err := fmt.Sscanf(string(value), "%08x %s %d", &sum, &of, &seq); err != nil {
		return 0, err
	}
	if of != key || string(sealed(key, seq)) != string(value) {
		return 0, fmt.Errorf("%q holds a value that was never written to it", key)
	}
	return seq, nil
}

// write commits pair after pair until the store or the context ends.
func (l *ledger) write(ctx context.Context, s store.Store, w int) error {
	a, b := pairKeys(w)
	for seq := l[w].acked.Load() + 1; ctx.Err() == nil; seq++ {
		writes := []store.Write{{Key: a, Value: sealed(a, seq)}, {Key: b, Value: sealed(b, seq)}}
		if _, err := s.Commit(ctx, nil, writes); err != nil {
			return err
		}
		l[w].acked.Store(seq)
	}
	return nil
}

// read records what a reader is shown until the context ends.
func (l *ledger) read(ctx context.Context, s store.Store, w int) error {
	key, _ := pairKeys(w)
	for ctx.Err() == nil {
		e, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		seq, err := unseal(key, e.Value)
		if err != nil {
			return err
		}
		l[w].served.Store(seq)
	}
	return nil
}

// load runs writers and readers until stop is called.
func (l *ledger) load(t *testing.T, s store.Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range crashWriters {
		for _, run := range []func(context.Context, store.Store, int) error{l.write, l.read} {
			wg.Go(func() {
				if err := run(ctx, s, w); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
	}
	return func() { cancel(); wg.Wait() }
}

// errLost says that a promise was broken.
var errLost = errors.New("lost")

// inspect opens what a crash left and compares it with what was promised.
func inspect(fs vfs.FS, promised promises) error {
	o := small
	o.FS = fs
	s, err := Open("data", o)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	last, err := s.Sync(ctx)
	if err != nil {
		return err
	}
	for w := range crashWriters {
		if err := inspectPair(ctx, s, w, promised[w], last); err != nil {
			return err
		}
	}
	return inspectLog(ctx, s, last)
}

func inspectPair(ctx context.Context, s *Store, w int, promised int64, last store.Rev) error {
	keyA, keyB := pairKeys(w)
	a, errA := s.Get(ctx, keyA)
	b, errB := s.Get(ctx, keyB)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	seqA, errA := unseal(keyA, a.Value)
	seqB, errB := unseal(keyB, b.Value)
	switch err := errors.Join(errA, errB); {
	case err != nil:
		return err
	case seqA != seqB || a.Rev != b.Rev || a.Rev > last:
		return fmt.Errorf("pair %d is torn: %d at %d, %d at %d, store at %d", w, seqA, a.Rev, seqB, b.Rev, last)
	case seqA < promised:
		return fmt.Errorf("%w: pair %d is at %d, promised was %d", errLost, w, seqA, promised)
	}
	return nil
}

// inspectLog follows the change log to its end: no gap, and every entry's last
// commit in it.
func inspectLog(ctx context.Context, s *Store, last store.Rev) error {
	after := last - min(last, 300)
	feed, err := s.Watch(ctx, after)
	if err != nil {
		return err
	}
	defer feed.Close()
	newest := map[string]store.Rev{}
	for after < last {
		c, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if c.Rev != after+1 || len(c.Keys) != 2 {
			return fmt.Errorf("the change log holds %d %q after %d", c.Rev, c.Keys, after)
		}
		for _, k := range c.Keys {
			newest[k] = c.Rev
		}
		after = c.Rev
	}
	for key, rev := range newest {
		if e, err := s.Get(ctx, key); err != nil || e.Rev != rev {
			return fmt.Errorf("%q is at %d, the change log says %d: %w", key, e.Rev, rev, err)
		}
	}
	return nil
}

// crashable is a filesystem that remembers what was synced. MemFS takes the lock that CrashClone waits for twice in ReuseForWrite, so that a clone
// which is wanted in between would hang: it has to wait for its end.
type crashable struct {
	*vfs.MemFS
	reusing sync.RWMutex
}

func newCrashable() *crashable { return &crashable{MemFS: vfs.NewCrashableMem()} }

// ReuseForWrite implements vfs.FS.
func (c *crashable) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	c.reusing.RLock()
	defer c.reusing.RUnlock()
	return c.MemFS.ReuseForWrite(oldname, newname, category)
}

// CrashClone is what a crash would leave.
func (c *crashable) CrashClone(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	c.reusing.Lock()
	defer c.reusing.Unlock()
	return c.MemFS.CrashClone(cfg)
}

// crash loads a store on a filesystem that remembers what was synced, and takes
// a number of copies of what a crash at that moment would leave.
func crash(t *testing.T, o Options, copies, unsyncedPercent int) (lost int) {
	fs := newCrashable()
	o.FS = fs
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	var l ledger
	stop := l.load(t, s)
	rng := rand.New(rand.NewPCG(uint64(unsyncedPercent), 1))
	for range copies {
		for start := l[0].acked.Load(); l[0].acked.Load() < start+rng.Int64N(60); {
			if t.Failed() {
				t.FailNow()
			}
			runtime.Gosched()
		}
		promised := l.promised()
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rng})
		switch err := inspect(clone, promised); {
		case errors.Is(err, errLost):
			lost++
		case err != nil:
			t.Errorf("after a crash: %v", err)
		}
	}
	stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return lost
}

func TestCrash(t *testing.T) {
	times := 40
	if testing.Short() { // with the race detector, each takes ten times as long
		times = 10
	}
	for _, unsynced := range []int{0, 30, 70, 100} {
		t.Run(fmt.Sprint("unsynced=", unsynced), func(t *testing.T) {
			if lost := crash(t, small, times, unsynced); lost > 0 {
				t.Errorf("%d of %d crashes lost what was promised", lost, times)
			}
		})
	}
}

// TestCrashControl shows that TestCrash would notice: without syncing, what was
// promised is lost. How often depends on how the machine's other work falls
// between the writers and the crash.
func TestCrashControl(t *testing.T) {
	o := small
	o.noSync = true
	if lost := crash(t, o, 20, 0); lost < 5 {
		t.Errorf("only %d of 20 crashes of a store that does not sync lost something", lost)
	}
}
