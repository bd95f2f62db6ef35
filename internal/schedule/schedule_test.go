package schedule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func add(t *testing.T, s store.Store, items ...Item) {
	t.Helper()
	for page := range slices.Chunk(items, store.MaxWrites) {
		_, err := store.Update(t.Context(), s, func(tx *store.Tx) error {
			for _, it := range page {
				if err := Add(tx, it); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func item(at time.Time, id string) Item {
	return Item{Namespace: "root", At: at, Kind: "k", ID: id, Data: []byte("data of " + id)}
}

// start runs a runner until the function it returns is called.
func start(t *testing.T, r *Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

func runner(s store.Store, h Handler) *Runner {
	return &Runner{Store: s, Now: time.Now, Handlers: map[string]Handler{"k": h}, Owner: "node"}
}

func left(t *testing.T, s store.Store) int {
	t.Helper()
	es, err := s.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	return len(es)
}

func TestRunsAtTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begin := mem.Open(), time.Now()
		var mu sync.Mutex
		ran := map[string]time.Duration{}
		add(t, s, item(begin.Add(time.Hour), "hour"), item(begin.Add(-time.Hour), "past"))
		stop := start(t, runner(s, func(_ context.Context, j *Job) error {
			mu.Lock()
			defer mu.Unlock()
			if string(j.Data) != "data of "+j.ID {
				t.Errorf("data %q", j.Data)
			}
			ran[j.ID] = time.Since(begin)
			return nil
		}))
		time.Sleep(time.Minute)
		// Known only by Watch: one that is due before all others, in a new namespace.
		other := item(begin.Add(10*time.Minute), "other")
		other.Namespace = "ns1"
		add(t, s, other)
		time.Sleep(2 * time.Hour)
		stop()
		want := map[string]time.Duration{"past": 0, "other": 10 * time.Minute, "hour": time.Hour}
		if fmt.Sprint(ran) != fmt.Sprint(want) {
			t.Errorf("ran %v; want %v", ran, want)
		}
		if n := left(t, s); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// What is due by the clock runs soon after the clock was set ahead, and what is no longer due waits when it is set back.
func TestTheClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, ahead := mem.Open(), &tally{}, atomic.Int64{}
		r := runner(s, c.run)
		r.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		add(t, s, item(time.Now().Add(time.Hour), "first"), item(time.Now().Add(2*time.Hour), "second"))
		defer start(t, r)()
		time.Sleep(time.Minute)
		if n := c.things(); n != 0 {
			t.Fatalf("%d things have run an hour early", n)
		}
		ahead.Store(int64(time.Hour))
		time.Sleep(5 * time.Second)
		if n := c.things(); n != 1 {
			t.Errorf("%d things have run five seconds after the clock was set to when one is due", n)
		}
		ahead.Store(0)
		time.Sleep(90 * time.Minute)
		if n := c.things(); n != 1 {
			t.Errorf("%d things have run after the clock was set back, want 1", n)
		}
		time.Sleep(30 * time.Minute)
		if n := c.things(); n != 2 {
			t.Errorf("%d things have run in the end", n)
		}
	})
}

func TestRemovedItemDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.Open()
		it := item(time.Now().Add(time.Minute), "gone")
		add(t, s, it)
		stop := start(t, runner(s, func(context.Context, *Job) error { t.Error("ran"); return nil }))
		_, err := store.Update(t.Context(), s, func(tx *store.Tx) error { Remove(tx, it); return nil })
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
	})
}

func TestRetriesLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, last := mem.Open(), time.Now()
		var gaps []time.Duration
		add(t, s, item(last, "x"))
		r := runner(s, func(_ context.Context, j *Job) error {
			if j.Tries != len(gaps) {
				t.Errorf("tries %d; want %d", j.Tries, len(gaps))
			}
			gaps = append(gaps, time.Since(last))
			last = time.Now()
			switch len(gaps) {
			case 3:
				panic("a handler's bug")
			case 15:
				return nil
			}
			return errors.New("not now")
		})
		failures := 0
		r.Failed = func(Item, error) { failures++ }
		stop := start(t, r)
		time.Sleep(10 * time.Hour)
		stop()
		if len(gaps) != 15 || failures != 14 {
			t.Fatalf("ran %d times with %d failures", len(gaps), failures)
		}
		for i, g := range gaps[1:] {
			if base := min(time.Second<<i, maxBackoff); g < base || g > base*3/2 {
				t.Errorf("try %d came after %v; want about %v", i+1, g, base)
			}
		}
		if n := left(t, s); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// A handler that runs for longer than the claim keeps it; nobody else runs it.
func TestLongHandlerIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		var runs atomic.Int32
		h := func(ctx context.Context, _ *Job) error {
			runs.Add(1)
			select {
			case <-ctx.Done():
				t.Error("the claim was lost")
			case <-time.After(time.Hour):
			}
			return nil
		}
		add(t, data.Open(), item(time.Now(), "long"))
		stopA, stopB := start(t, runner(data.Open(), h)), start(t, runner(data.Open(), h))
		time.Sleep(2 * time.Hour)
		stopA()
		stopB()
		if runs.Load() != 1 {
			t.Errorf("ran %d times", runs.Load())
		}
	})
}

// A node that is cut off from the store loses its claim: its handler is told,
// and only then does another node run it.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, begin := mem.New(mem.Options{}), time.Now()
		add(t, data.Open(), item(begin, "x"))
		storeA := data.Open()
		var endedA, ranB time.Duration
		stopA := start(t, runner(storeA, func(ctx context.Context, _ *Job) error {
			<-ctx.Done()
			endedA = time.Since(begin)
			return ctx.Err()
		}))
		synctest.Wait()
		if err := storeA.Close(); err != nil {
			t.Fatal(err)
		}
		stopB := start(t, runner(data.Open(), func(context.Context, *Job) error {
			ranB = time.Since(begin)
			return nil
		}))
		time.Sleep(time.Hour)
		stopA()
		stopB()
		if endedA != defaultClaim || ranB < defaultClaim || ranB > defaultClaim+time.Second {
			t.Errorf("the first node's handler ended after %v, the second's ran after %v; the claim is %v", endedA, ranB, defaultClaim)
		}
		if n := left(t, data.Open()); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// A handler whose row was taken away is told so long before its claim ends.
func TestLostClaimIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begin := mem.Open(), time.Now()
		add(t, s, item(begin, "x"))
		var ended time.Duration
		stop := start(t, runner(s, func(ctx context.Context, _ *Job) error {
			<-ctx.Done()
			ended = time.Since(begin)
			return ctx.Err()
		}))
		synctest.Wait()
		es, err := s.List(t.Context(), store.Range{})
		if err != nil || len(es) != 1 {
			t.Fatal(es, err)
		}
		if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: es[0].Key, Delete: true}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		if ended != defaultClaim/3 || left(t, s) != 0 {
			t.Errorf("told after %v, %d rows left", ended, left(t, s))
		}
	})
}

// A node that shuts down in order hands its work on at once.
func TestShutdownHandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, begin := mem.New(mem.Options{}), time.Now()
		add(t, data.Open(), item(begin, "x"))
		stopA := start(t, runner(data.Open(), func(ctx context.Context, _ *Job) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		time.Sleep(time.Second)
		stopA()
		var ranB time.Duration
		stopB := start(t, runner(data.Open(), func(context.Context, *Job) error {
			ranB = time.Since(begin)
			return nil
		}))
		time.Sleep(time.Hour)
		stopB()
		if ranB != time.Second {
			t.Errorf("ran after %v", ranB)
		}
	})
}

// Three nodes share what is due; nothing runs twice.
func TestNodesShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		data := mem.New(mem.Options{})
		var items []Item
		for i := range n {
			items = append(items, item(time.Now().Add(time.Duration(i%7)*time.Second), fmt.Sprint(i)))
		}
		add(t, data.Open(), items...)
		var mu sync.Mutex
		ran := map[string]int{}
		var stops []func()
		for range 3 {
			stops = append(stops, start(t, runner(data.Open(), func(_ context.Context, j *Job) error {
				time.Sleep(90 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				ran[j.ID]++
				return nil
			})))
		}
		time.Sleep(24 * time.Hour)
		for _, stop := range stops {
			stop()
		}
		if len(ran) != n || left(t, data.Open()) != 0 {
			t.Errorf("%d of %d ran, %d rows left", len(ran), n, left(t, data.Open()))
		}
		for id, times := range ran {
			if times != 1 {
				t.Errorf("%s ran %d times", id, times)
			}
		}
	})
}

// Done fails the handler's commit when another node has the claim.
func TestDoneNeedsTheClaim(t *testing.T) {
	s := mem.Open()
	now := time.Now()
	add(t, s, item(now, "x"))
	r := runner(s, nil)
	rows, err := s.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	due := &page{claims: [][]group{gather(rows)}}
	first := r.claimPage(t.Context(), due, now)[0]
	if again := r.claimPage(t.Context(), due, now); len(again) != 0 {
		t.Fatal("claimed twice")
	}
	if rows, err = s.List(t.Context(), store.Range{}); err != nil {
		t.Fatal(err)
	}
	due = &page{claims: [][]group{gather(rows)}}
	second := r.claimPage(t.Context(), due, first.claimEnd())[0]
	done := func(j *Job) error {
		tx := func(tx *store.Tx) error { tx.Put("effect", nil); j.Done(tx); return nil }
		_, err := store.Update(t.Context(), s, tx)
		return err
	}
	if err := done(first); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the first node's commit: %v", err)
	}
	if err := done(second); err != nil {
		t.Errorf("the second node's commit: %v", err)
	}
	if n := left(t, s); n != 1 {
		t.Errorf("%d rows left", n)
	}
}

// counting notes how many entries a runner reads at once.
type counting struct {
	store.Store
	most, total atomic.Int64
}

func (c *counting) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := c.Store.List(ctx, r)
	c.total.Add(int64(len(es)))
	if n := int64(len(es)); n > c.most.Load() {
		c.most.Store(n)
	}
	return es, err
}

// A hundred thousand items that are due at once are run a few at a time, and
// never more than a page of them is read.
func TestManyDueAtOnce(t *testing.T) {
	const n = 100_000
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Store: mem.Open()}
		at := time.Now().Add(time.Minute)
		items := make([]Item, n)
		for i := range items {
			items[i] = item(at, fmt.Sprint(i))
		}
		add(t, s, items...)
		var ran, running, most atomic.Int64
		stop := start(t, runner(s, func(context.Context, *Job) error {
			if now := running.Add(1); now > most.Load() {
				most.Store(now)
			}
			ran.Add(1)
			time.Sleep(time.Millisecond)
			running.Add(-1)
			return nil
		}))
		time.Sleep(30 * time.Second)
		if got := s.total.Load(); got > 10 {
			t.Errorf("%d entries were read before anything was due", got)
		}
		time.Sleep(time.Hour)
		stop()
		if ran.Load() != n || left(t, s.Store) != 0 {
			t.Errorf("%d ran, %d rows left", ran.Load(), left(t, s.Store))
		}
		if most.Load() > defaultLimit || s.most.Load() > pageSize+1 {
			t.Errorf("%d ran at once, %d entries were read at once", most.Load(), s.most.Load())
		}
	})
}

// flaky fails commits and feeds now and then.
type flaky struct {
	store.Store
	n atomic.Int64
}

var errFlaky = errors.New("store out of reach")

func (f *flaky) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	switch f.n.Add(1) % 5 {
	case 0:
		return 0, errFlaky
	case 1: // made, but its outcome is not known
		if _, err := f.Store.Commit(ctx, c, w); err != nil {
			return 0, err
		}
		return 0, errFlaky
	}
	return f.Store.Commit(ctx, c, w)
}

func (f *flaky) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	if f.n.Add(1)%2 == 0 {
		return nil, store.ErrCompacted
	}
	return f.Store.Watch(ctx, after)
}

func TestSurvivesAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.Open()
		var items []Item
		for i := range 200 {
			items = append(items, item(time.Now(), fmt.Sprint(i)))
		}
		add(t, s, items...)
		var mu sync.Mutex
		ran := map[string]bool{}
		stop := start(t, runner(&flaky{Store: s}, func(_ context.Context, j *Job) error {
			mu.Lock()
			defer mu.Unlock()
			ran[j.ID] = true
			return nil
		}))
		time.Sleep(10 * time.Hour)
		stop()
		if len(ran) != 200 || left(t, s) != 0 {
			t.Errorf("%d ran, %d rows left", len(ran), left(t, s))
		}
	})
}

func TestStampSortsByTime(t *testing.T) {
	times := []time.Time{
		time.Unix(-1, 0), time.Unix(1, 0), time.Unix(1, 1), time.Unix(1<<31, 0),
		time.Unix(0, math.MaxInt64-1e18), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	var stamps []string
	for _, at := range times {
		stamps = append(stamps, stamp(at))
		if len(stamp(at)) != digits {
			t.Errorf("stamp of %v has %d digits", at, len(stamp(at)))
		}
	}
	if !slices.IsSorted(stamps) || len(slices.Compact(stamps)) != len(times) {
		t.Errorf("stamps %v do not sort like their times", stamps)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(item(time.Unix(5, 5), "x").key())
	f.Add("root/due/123/k/x")
	f.Add("root/due/0000000000000000001/k/x")
	f.Add("root/due/9223372036854775806/k/x")
	f.Add("/due/0000000000000000000/k/")
	f.Fuzz(func(t *testing.T, key string) {
		it, ok := parse(key)
		if ok && it.key() != key {
			t.Errorf("%q was read as %q", key, it.key())
		}
		if ok && (strings.Contains(it.Kind, "/") || strings.Contains(it.Namespace, "/")) {
			t.Errorf("%q has a slash in a name", key)
		}
	})
}

// sealed is a store in which the namespace "shut" is sealed while shut is set.
type sealed struct {
	store.Store
	shut atomic.Bool
}

func (s *sealed) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if s.shut.Load() && !r.KeysOnly && strings.HasPrefix(r.Start, "shut/") {
		return nil, store.ErrSealed
	}
	return s.Store.List(ctx, r)
}

func (s *sealed) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if s.shut.Load() && strings.HasPrefix(writes[0].Key, "shut/") {
		return 0, store.ErrSealed
	}
	return s.Store.Commit(ctx, checks, writes)
}

// What is due in a namespace that is sealed waits until it is not; that of others is
// done, and nobody is told of failures.
func TestSealedNamespaceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sealed{Store: mem.Open()}
		s.shut.Store(true)
		var ran atomic.Int64
		shut := item(time.Now().Add(time.Minute), "shut")
		shut.Namespace = "shut"
		add(t, s, shut, item(time.Now().Add(2*time.Minute), "open"))
		r := runner(s, func(context.Context, *Job) error { ran.Add(1); return nil })
		r.Alone = true
		r.Failed = func(it Item, err error) { t.Errorf("told of %v: %v", it, err) }
		stop := start(t, r)
		defer stop()
		time.Sleep(time.Hour)
		if n := ran.Load(); n != 1 {
			t.Errorf("%d jobs have run beside a sealed namespace, want 1", n)
		}
		s.shut.Store(false)
		time.Sleep(2 * slumber)
		if n := ran.Load(); n != 2 {
			t.Errorf("%d jobs have run once it was unsealed, want 2", n)
		}
	})
}

// A namespace that is sealed while something of it is done is no failure of that, which is done again once it is open.
// Where what fails lies in another namespace, it is one.
func TestSealedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sealed{Store: mem.Open()}
		var ran, told atomic.Int64
		shut := item(time.Now().Add(time.Minute), "shut")
		shut.Namespace = "shut"
		add(t, s, shut, item(time.Now().Add(time.Minute), "elsewhere"))
		r := runner(s, func(_ context.Context, j *Job) error {
			if ran.Add(1); !s.shut.Load() && ran.Load() > 2 {
				return nil
			}
			s.shut.Store(true)
			return store.ErrSealed
		})
		r.Failed = func(it Item, err error) {
			if told.Add(1); it.Namespace == "shut" {
				t.Errorf("told of %v: %v", it, err)
			}
		}
		stop := start(t, r)
		defer stop()
		time.Sleep(90 * time.Second)
		s.shut.Store(false)
		time.Sleep(time.Hour)
		if n := left(t, s); n != 0 || told.Load() == 0 {
			t.Errorf("%d jobs are left, %d failures told", n, told.Load())
		}
	})
}
