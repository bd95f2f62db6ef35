package barrier

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testClock() time.Time { return testTime }

func testRoot(b byte) []byte { return bytes.Repeat([]byte{b}, KeyBytes) }

// unsealed is a barrier over phys with a namespace called root; it initializes
// phys when it is empty.
func unsealed(t testing.TB, phys store.Store) *Barrier {
	t.Helper()
	b := New(phys, testClock)
	if done, err := b.Initialized(t.Context()); err != nil {
		t.Fatal(err)
	} else if !done {
		must(t, b.Initialize(t.Context(), testRoot(1), nil))
	}
	must(t, b.Unseal(t.Context(), testRoot(1)))
	must(t, b.AddNamespace(t.Context(), "root"))
	t.Cleanup(func() { must(t, b.Seal()) })
	return b
}

func fresh(t testing.TB) (*Barrier, store.Store) {
	phys := mem.Open()
	return unsealed(t, phys), phys
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func set(t testing.TB, s store.Store, key, value string) store.Rev {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	must(t, err)
	return rev
}

func want(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	e, err := s.Get(t.Context(), key)
	if err != nil || !e.Exists() || string(e.Value) != value {
		t.Fatalf("Get(%q) = %q at %d, %v; want %q", key, e.Value, e.Rev, err, value)
	}
}

func raw(t testing.TB, phys store.Store, key string) []byte {
	t.Helper()
	e, err := phys.Get(t.Context(), key)
	must(t, err)
	if !e.Exists() {
		t.Fatalf("%q is not stored", key)
	}
	return e.Value
}

var errInjected = errors.New("injected")

// faulty fails one commit: the countdown-th, before or after its effect.
type faulty struct {
	store.Store
	mu        sync.Mutex
	countdown int // commits until the one that fails; negative: none
	after     bool
	fired     bool
}

func (f *faulty) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	f.mu.Lock()
	now := f.countdown == 0
	f.countdown--
	f.fired = f.fired || now
	f.mu.Unlock()
	if now && !f.after {
		return 0, errInjected
	}
	rev, err := f.Store.Commit(ctx, c, w)
	if now {
		return 0, errInjected
	}
	return rev, err
}

// crashEverywhere opens a node on a store and runs its work, failing the work's
// first, second, ... commit, before and after its effect, until a run meets no
// failure; check then looks at what a restarted node finds. It returns how many
// runs were cut short.
func crashEverywhere(t *testing.T, prepare func(store.Store), open func(store.Store) (work func() error), check func(*testing.T, store.Store)) int {
	crashes := 0
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			if n > 200 {
				t.Fatal("the work never ends")
			}
			phys := mem.Open()
			prepare(phys)
			f := &faulty{Store: phys, countdown: -1, after: after}
			work := open(f)
			f.countdown = n
			err := work()
			if f.fired {
				crashes++
			}
			if f.fired && !errors.Is(err, errInjected) {
				t.Fatalf("commit %d failed and the work returned %v", n, err)
			}
			check(t, phys)
			if !f.fired {
				must(t, err)
				break
			}
		}
	}
	return crashes
}
