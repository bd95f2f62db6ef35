package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// faulty is a store whose feeds can be stalled and broken.
type faulty struct {
	store.Store
	watches atomic.Int64
	stall   atomic.Pointer[chan struct{}] // feeds deliver nothing until it is closed
	broken  atomic.Int64                  // so many calls of Watch and Next fail
}

var errBroken = errors.New("connection lost")

func (f *faulty) breaks() bool { return f.broken.Add(-1) >= 0 }

func (f *faulty) hold() (release func()) {
	ch := make(chan struct{})
	f.stall.Store(&ch)
	return func() { f.stall.Store(nil); close(ch) }
}

func (f *faulty) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	f.watches.Add(1)
	if f.breaks() {
		return nil, errBroken
	}
	feed, err := f.Store.Watch(ctx, after)
	return &faultyFeed{feed, f}, err
}

type faultyFeed struct {
	store.Feed
	of *faulty
}

func (f *faultyFeed) Next(ctx context.Context) (store.Change, error) {
	c, err := f.Feed.Next(ctx)
	if ch := f.of.stall.Load(); ch != nil && err == nil {
		select {
		case <-*ch:
		case <-ctx.Done():
			return store.Change{}, ctx.Err()
		}
	}
	if f.of.breaks() {
		return store.Change{}, errBroken
	}
	return c, err
}

func newCache(t testing.TB, s store.Store) *store.Cache {
	t.Helper()
	c, err := store.NewCache(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// value keeps one key's value as text, and counts its loads.
func value(c *store.Cache, max int, loads *atomic.Int64) *store.Memo[string, string] {
	return store.NewMemo(c, max, func(ctx context.Context, r store.Reader, key string) (string, error) {
		loads.Add(1)
		e, err := r.Get(ctx, key)
		return string(e.Value), err
	})
}

// names keeps the keys under a prefix.
func names(c *store.Cache) *store.Memo[string, string] {
	return store.NewMemo(c, 100, func(ctx context.Context, r store.Reader, prefix string) (string, error) {
		es, err := r.List(ctx, store.Prefix(prefix))
		out := ""
		for _, e := range es {
			out += e.Key + " "
		}
		return out, err
	})
}

func set(t testing.TB, s store.Store, key, value string) store.Rev {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func fresh(t testing.TB, c *store.Cache) {
	t.Helper()
	if _, err := c.Fresh(t.Context()); err != nil {
		t.Fatalf("Fresh: %v", err)
	}
}

// want reads a memo after Fresh.
func want(t testing.TB, c *store.Cache, m *store.Memo[string, string], key, value string) {
	t.Helper()
	fresh(t, c)
	if got, err := m.Get(t.Context(), key); err != nil || got != value {
		t.Errorf("Get(%q) = %q, %v; want %q", key, got, err, value)
	}
}

func TestMemoFollowsTheStore(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	var loads atomic.Int64
	values, lists := value(c, 100, &loads), names(c)
	for i := range 100 {
		set(t, s, "k", strconv.Itoa(i))
		want(t, c, values, "k", strconv.Itoa(i))
	}
	loads.Store(0)
	set(t, s, "other", "1")
	for range 5 {
		want(t, c, values, "k", "99")
		want(t, c, values, "absent", "")
	}
	if loads.Load() != 1 {
		t.Errorf("%d loads of one absent value that nothing changed", loads.Load())
	}
	want(t, c, lists, "p/", "")
	want(t, c, lists, "", "k other ")
	set(t, s, "p/a", "1")
	want(t, c, lists, "p/", "p/a ")
	set(t, s, "p/b", "1")
	set(t, s, "q", "1")
	want(t, c, lists, "p/", "p/a p/b ")
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "p/a", Delete: true}, {Key: "k", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	want(t, c, lists, "p/", "p/b ")
	want(t, c, lists, "", "other p/b q ")
	want(t, c, values, "k", "")
}

// TestFreshUnderLoad has readers demand, of the memos, what writers were
// acknowledged just before.
func TestFreshUnderLoad(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	var loads atomic.Int64
	m := value(c, 4, &loads)
	var acked [8]atomic.Int64
	var wg sync.WaitGroup
	for w := range acked {
		key := fmt.Sprint("k", w)
		wg.Go(func() {
			for i := range 200 {
				set(t, s, key, strconv.Itoa(i+1))
				acked[w].Store(int64(i + 1))
			}
		})
		wg.Go(func() {
			for acked[w].Load() < 200 {
				least := acked[w].Load()
				fresh(t, c)
				got, err := m.Get(t.Context(), key)
				if n, _ := strconv.Atoi(got); err != nil || int64(n) < least {
					t.Errorf("%s reads %q, %v after %d was acknowledged", key, got, err, least)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestFreshWaitsForTheFeed stalls the feed: an answer from the memo would be
// stale, so there must be none.
func TestFreshWaitsForTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{Store: mem.Open()}
		c := newCache(t, s)
		var loads atomic.Int64
		m := value(c, 10, &loads)
		set(t, s, "token", "valid")
		want(t, c, m, "token", "valid")
		release := s.hold()
		set(t, s, "token", "revoked")
		var returned atomic.Bool
		go func() {
			want(t, c, m, "token", "revoked")
			returned.Store(true)
		}()
		synctest.Wait()
		if returned.Load() {
			t.Error("Fresh returned before the feed had caught up")
		}
		if got, err := m.Get(t.Context(), "token"); err != nil || got != "valid" {
			t.Errorf("control: without Fresh the memo should be stale, is %q, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Fresh(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Fresh with a cancelled context returned %v", err)
		}
		release()
		synctest.Wait()
		if !returned.Load() {
			t.Error("Fresh did not return once the feed had caught up")
		}
	})
}

// TestFreshAfterBrokenFeeds breaks the feed many times over.
func TestFreshAfterBrokenFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{Store: mem.Open()}
		c := newCache(t, s)
		var loads atomic.Int64
		m := value(c, 10, &loads)
		for i := range 5 {
			set(t, s, "k", strconv.Itoa(i))
			want(t, c, m, "k", strconv.Itoa(i))
			s.broken.Store(7)
		}
		set(t, s, "k", "last")
		want(t, c, m, "k", "last")
		if s.watches.Load() < 20 {
			t.Errorf("only %d watches: the feed was never broken", s.watches.Load())
		}
	})
}

// TestFreshTellsOfAFeedThatDoesNotHeal breaks the feed for good while the store answers: who
// waits hears of it soon, and is served again once it is mended.
func TestFreshTellsOfAFeedThatDoesNotHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{Store: mem.Open()}
		c := newCache(t, s)
		s.broken.Store(1 << 40)
		set(t, s, "k", "1")
		began := time.Now()
		if _, err := c.Fresh(t.Context()); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Fresh returns %v", err)
		}
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("it took %v", waited)
		}
		s.broken.Store(0)
		time.Sleep(2 * time.Second)
		if _, err := c.Fresh(t.Context()); err != nil {
			t.Errorf("after it was mended: %v", err)
		}
	})
}

// TestCompactedDropsEverything lets the feed fall so far behind that the store
// has forgotten what changed.
func TestCompactedDropsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &faulty{Store: mem.New(mem.Options{KeepCommits: 5}).Open()}
		c := newCache(t, s)
		var loads atomic.Int64
		m := value(c, 10, &loads)
		set(t, s, "a", "old")
		want(t, c, m, "a", "old")
		want(t, c, m, "b", "")
		release := s.hold()
		set(t, s, "a", "new")
		set(t, s, "b", "new")
		for i := range 100 {
			set(t, s, "c", strconv.Itoa(i))
		}
		release()
		want(t, c, m, "a", "new")
		want(t, c, m, "b", "new")
		if s.watches.Load() < 2 {
			t.Errorf("%d watches, want another one after compaction", s.watches.Load())
		}
		set(t, s, "a", "newer")
		want(t, c, m, "a", "newer")
	})
}

// TestOverlappedLoadIsNotKept has what a load reads change while it runs.
func TestOverlappedLoadIsNotKept(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	set(t, s, "k", "old")
	overlap := true
	m := store.NewMemo(c, 10, func(ctx context.Context, r store.Reader, key string) (string, error) {
		e, err := r.Get(ctx, key)
		if overlap {
			overlap = false
			set(t, s, key, "new")
			fresh(t, c)
		}
		return string(e.Value), err
	})
	if got, err := m.Get(t.Context(), "k"); err != nil || got != "old" {
		t.Errorf("the overlapped load gave %q, %v", got, err)
	}
	want(t, c, m, "k", "new")
}

// TestLoadIsOfOneMoment changes two keys between the reads of one load.
func TestLoadIsOfOneMoment(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	both := func(v string) {
		if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "a", Value: []byte(v)}, {Key: "b", Value: []byte(v)}}); err != nil {
			t.Fatal(err)
		}
	}
	both("old")
	runs := 0
	m := store.NewMemo(c, 10, func(ctx context.Context, r store.Reader, _ string) (string, error) {
		a, errA := r.Get(ctx, "a")
		if runs++; runs < 3 {
			both(fmt.Sprint("new", runs))
		}
		b, errB := r.Get(ctx, "b")
		return string(a.Value) + "=" + string(b.Value), errors.Join(errA, errB)
	})
	want(t, c, m, "x", "new2=new2")
	if runs != 3 {
		t.Errorf("%d runs, want 3", runs)
	}
}

func TestLoadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.Open()
		c := newCache(t, s)
		set(t, s, "k", "v")
		var loads atomic.Int64
		gate := make(chan struct{})
		m := store.NewMemo(c, 10, func(ctx context.Context, r store.Reader, key string) (string, error) {
			loads.Add(1)
			select {
			case <-gate:
			case <-ctx.Done():
				return "", ctx.Err()
			}
			e, err := r.Get(ctx, key)
			return string(e.Value), err
		})
		leader, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := m.Get(leader, "k"); !errors.Is(err, context.Canceled) {
				t.Errorf("the cancelled leader got %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if got, err := m.Get(t.Context(), "k"); err != nil || got != "v" {
					t.Errorf("a caller that joined got %q, %v", got, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		wg.Wait()
		if loads.Load() != 2 {
			t.Errorf("%d loads, want the cancelled one and one more", loads.Load())
		}
	})
}

func TestErrorsAndPanicsAreNotKept(t *testing.T) {
	c := newCache(t, mem.Open())
	outcome := func() (string, error) { return "", errBroken }
	m := store.NewMemo(c, 10, func(ctx context.Context, r store.Reader, key string) (string, error) {
		if _, err := r.Get(ctx, key); err != nil {
			return "", err
		}
		return outcome()
	})
	if _, err := m.Get(t.Context(), "k"); !errors.Is(err, errBroken) {
		t.Errorf("the load's error is lost: %v", err)
	}
	outcome = func() (string, error) { panic("in a load") }
	func() {
		defer func() { recover() }()
		_, err := m.Get(t.Context(), "k")
		t.Errorf("the load's panic is lost: %v", err)
	}()
	outcome = func() (string, error) { return "ok", nil }
	want(t, c, m, "k", "ok")
}

func TestMemoIsBounded(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	var loads atomic.Int64
	m := value(c, 50, &loads)
	set(t, s, "hot", "h")
	hot := int64(0)
	for i := range 2000 {
		want(t, c, m, fmt.Sprint("cold", i), "")
		before := loads.Load()
		want(t, c, m, "hot", "h")
		hot += loads.Load() - before
		if m.Len() > 50 {
			t.Fatalf("%d values kept, the bound is 50", m.Len())
		}
	}
	if hot > 20 {
		t.Errorf("the value in use was loaded %d times while 2,000 others passed", hot)
	}
	set(t, s, "hot", "changed")
	want(t, c, m, "hot", "changed")
}

func TestCacheEnds(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	set(t, s, "k", "1")
	if _, err := c.Fresh(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Fresh of a closed cache returned %v", err)
	}
	s = mem.Open()
	c = newCache(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fresh(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Fresh on a closed store returned %v", err)
	}
	if _, err := store.NewCache(t.Context(), s); !errors.Is(err, store.ErrClosed) {
		t.Errorf("NewCache on a closed store returned %v", err)
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	s := mem.Open()
	c := newCache(t, s)
	var loads atomic.Int64
	m := value(c, 10, &loads)
	set(t, s, "k", "v")
	want(t, c, m, "k", "v")
	ctx := t.Context()
	got := testing.AllocsPerRun(100, func() {
		_, err := c.Fresh(ctx)
		v, gerr := m.Get(ctx, "k")
		if err != nil || gerr != nil || v != "v" {
			t.Errorf("%q, %v, %v", v, err, gerr)
		}
	})
	if got != 0 {
		t.Errorf("Fresh and a hit allocate %v times", got)
	}
}

func BenchmarkFresh(b *testing.B) {
	c := newCache(b, mem.Open())
	ctx := b.Context()
	for b.Loop() {
		if _, err := c.Fresh(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemoHit(b *testing.B) {
	s := mem.Open()
	c := newCache(b, s)
	var loads atomic.Int64
	m := value(c, 10, &loads)
	ctx := b.Context()
	for b.Loop() {
		if _, err := m.Get(ctx, "k"); err != nil {
			b.Fatal(err)
		}
	}
}

// older is a store whose data are replaced by older ones: the feed ends, Sync answers
// with a smaller revision once it is closed, and following again takes a while.
type older struct {
	store.Store
	rev    atomic.Uint64
	ended  chan struct{} // closed: the feed ends
	resume chan struct{} // closed: a feed can be opened again
}

func (o *older) Sync(context.Context) (store.Rev, error) { return store.Rev(o.rev.Load()), nil }

func (o *older) Watch(context.Context, store.Rev) (store.Feed, error) {
	select {
	case <-o.ended:
		<-o.resume
		return o.Store.Watch(context.Background(), 0)
	default:
		return &olderFeed{o}, nil
	}
}

type olderFeed struct{ of *older }

func (f *olderFeed) Next(ctx context.Context) (store.Change, error) {
	select {
	case <-f.of.ended:
		return store.Change{}, store.ErrCompacted
	case <-ctx.Done():
		return store.Change{}, ctx.Err()
	}
}

func (f *olderFeed) Close() error {
	f.of.rev.Store(1)
	return nil
}

// TestNothingIsFreshByAnOlderState has the store go back to an older state: what the
// cache had applied before says nothing of it.
func TestNothingIsFreshByAnOlderState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &older{Store: mem.Open(), ended: make(chan struct{}), resume: make(chan struct{})}
		o.rev.Store(10)
		c, err := store.NewCache(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		close(o.ended)
		synctest.Wait()
		fresh := make(chan error, 1)
		go func() { _, err := c.Fresh(t.Context()); fresh <- err }()
		synctest.Wait()
		select {
		case <-fresh:
			t.Error("what was remembered passes for fresh by a smaller revision")
		default:
		}
		close(o.resume)
		if err := <-fresh; err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
