package store_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

// asked is a Hot of which each call is a request of its own, that confirms the
// revision and waits, as the gate does, until what is remembered has reached it.
type asked struct {
	*store.Hot
	follows *store.Cache
}

func (a *asked) Get(ctx context.Context, key string) (store.Entry, error) {
	rev, err := a.follows.Fresh(ctx)
	if err != nil {
		return store.Entry{}, err
	}
	return a.Hot.Get(store.Confirmed(ctx, store.Moment{Rev: rev}), key)
}

func (a *asked) Close() error {
	if err := a.follows.Close(); err != nil {
		return err
	}
	return a.Hot.Close()
}

// TestHotKeepsTheContract runs the contract's tests over requests that read from
// memory.
func TestHotKeepsTheContract(t *testing.T) {
	data := map[string]*mem.Data{}
	storetest.RunEngine(t, storetest.Config{Open: func(t testing.TB, dir string) store.Store {
		if data[dir] == nil {
			data[dir] = mem.New(mem.Options{KeepCommits: 500})
		}
		hot, err := store.NewHot(t.Context(), data[dir].Open(), 16)
		if err != nil {
			t.Fatal(err)
		}
		follows, err := store.NewCache(t.Context(), hot)
		if err != nil {
			t.Fatal(err)
		}
		return &asked{hot, follows}
	}})
}

// tally is an engine that counts what it is asked.
type tally struct {
	store.Engine
	gets atomic.Int64
}

func (c *tally) Get(ctx context.Context, key string) (store.Entry, error) {
	c.gets.Add(1)
	return c.Engine.Get(ctx, key)
}

// hotNode is a node with a Hot, and another on the same data.
type hotNode struct {
	t      *testing.T
	engine *tally
	hot    *store.Hot
	cache  *store.Cache
	other  store.Engine
}

func newHotNode(t *testing.T) *hotNode {
	data := mem.New(mem.Options{})
	n := &hotNode{t: t, engine: &tally{Engine: data.Open()}, other: data.Open()}
	var err error
	if n.hot, err = store.NewHot(t.Context(), n.engine, 8); err != nil {
		t.Fatal(err)
	}
	if n.cache, err = store.NewCache(t.Context(), n.hot); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, close := range []func() error{n.cache.Close, n.hot.Close, n.other.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	return n
}

// request begins a request: it has the store's revision, and so has what is remembered.
func (n *hotNode) request() context.Context {
	n.t.Helper()
	rev, err := n.cache.Fresh(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	for range 1_000_000 { // the other cache may be the first to hear of a commit
		if n.hot.Applied() >= rev {
			break
		}
		runtime.Gosched()
	}
	return store.Confirmed(n.t.Context(), store.Moment{Rev: rev})
}

func (n *hotNode) put(s store.Store, key, value string) {
	n.t.Helper()
	if _, err := s.Commit(n.t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}}); err != nil {
		n.t.Fatal(err)
	}
}

// wants reads, and checks the value and how often the engine was asked.
func (n *hotNode) wants(ctx context.Context, key, value string, gets int64) {
	n.t.Helper()
	before := n.engine.gets.Load()
	e, err := n.hot.Get(ctx, key)
	if err != nil || string(e.Value) != value {
		n.t.Fatalf("%s is %q, %v, want %q", key, e.Value, err, value)
	}
	if got := n.engine.gets.Load() - before; got != gets {
		n.t.Errorf("reading %s asked the engine %d times, want %d", key, got, gets)
	}
}

func TestHotEntriesAreReadFromMemory(t *testing.T) {
	n := newHotNode(t)
	n.put(n.other, "a", "1")
	n.wants(t.Context(), "a", "1", 1)
	n.wants(t.Context(), "a", "1", 1) // nothing was confirmed
	n.wants(n.request(), "a", "1", 1)
	n.wants(n.request(), "a", "1", 0)
	old := n.request()
	n.put(n.other, "a", "2")
	n.wants(n.request(), "a", "2", 1)
	n.wants(n.request(), "a", "2", 0)
	n.wants(old, "a", "2", 0)
	n.put(n.hot, "a", "3")
	n.wants(n.request(), "a", "3", 1)
	n.wants(n.request(), "a", "3", 0)
	n.wants(store.Confirmed(t.Context(), store.Moment{Rev: n.hot.Applied() + 1}), "a", "3", 1) // what is remembered has not come so far
	e, err := n.hot.Get(n.request(), "a")
	if err != nil {
		t.Fatal(err)
	}
	e.Value[0] = 'x'
	n.wants(n.request(), "a", "3", 0)
	large := strings.Repeat("x", 5000)
	n.put(n.hot, "a", large)
	n.wants(n.request(), "a", large, 1)
	n.wants(n.request(), "a", large, 1)
}

// TestHotRequestSeesItsOwnCommit has a request read what it has just written, before
// any feed tells of it, and nothing older of other keys either.
func TestHotRequestSeesItsOwnCommit(t *testing.T) {
	n := newHotNode(t)
	n.put(n.other, "a", "1")
	n.put(n.other, "b", "1")
	n.wants(n.request(), "b", "1", 1)
	for i := range 200 {
		ctx := n.request()
		n.wants(n.request(), "b", "1", 0)
		value := fmt.Sprint(i)
		if _, err := store.Update(ctx, n.hot, func(tx *store.Tx) error { tx.Put("a", []byte(value)); return nil }); err != nil {
			t.Fatal(err)
		}
		n.wants(ctx, "a", value, 1)
		n.wants(ctx, "b", "1", 1)
	}
}

// TestHotTimeNeverRunsBackwards has a request that has seen something new, in a
// range, in a view, or by what is gone, read the present of all else.
func TestHotTimeNeverRunsBackwards(t *testing.T) {
	for name, look := range map[string]func(*hotNode, context.Context) error{
		"list": func(n *hotNode, ctx context.Context) error { _, err := n.hot.List(ctx, store.Range{}); return err },
		"gone": func(n *hotNode, ctx context.Context) error { _, err := n.hot.Get(ctx, "none"); return err },
		"view": func(n *hotNode, ctx context.Context) error {
			v, err := n.hot.View(ctx)
			if err != nil {
				return err
			}
			return v.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newHotNode(t)
			n.put(n.other, "a", "1")
			n.wants(n.request(), "a", "1", 1)
			ctx := n.request()
			n.wants(ctx, "a", "1", 0)
			if err := look(n, ctx); err != nil {
				t.Fatal(err)
			}
			n.wants(ctx, "a", "1", 1)
			n.wants(n.request(), "a", "1", 0)
		})
	}
}

// TestMemosAboveHotReadThePresent has a memo, whose cache may be ahead of what is
// remembered below it, load from the engine: it would keep what it loads.
func TestMemosAboveHotReadThePresent(t *testing.T) {
	n := newHotNode(t)
	m := store.NewMemo(n.cache, 8, func(ctx context.Context, r store.Reader, key string) (string, error) {
		e, err := r.Get(ctx, key)
		return string(e.Value), err
	})
	n.put(n.other, "a", "1")
	n.wants(n.request(), "a", "1", 1)
	before := n.engine.gets.Load()
	if v, err := m.Get(n.request(), "a"); err != nil || v != "1" || n.engine.gets.Load() != before+1 {
		t.Errorf("a memo loaded %q, %v, and asked the engine %d times", v, err, n.engine.gets.Load()-before)
	}
}

// TestAfterAConflictReadsAreOfThePresent has a request that read what another node
// has changed meet a conflict, and read again what is true.
func TestAfterAConflictReadsAreOfThePresent(t *testing.T) {
	n := newHotNode(t)
	n.put(n.other, "a", "1")
	n.wants(n.request(), "a", "1", 1)
	ctx := n.request()
	e, err := n.hot.Get(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	n.put(n.other, "a", "2")
	if _, err := n.hot.Commit(ctx, []store.Check{{Key: "a", Rev: e.Rev}}, nil); err == nil {
		t.Fatal("a commit on what was remembered passed")
	}
	n.wants(ctx, "a", "2", 1)
}

// TestTransactionsReadThePresent has a transaction of a request not meet a conflict
// because of what is remembered.
func TestTransactionsReadThePresent(t *testing.T) {
	n := newHotNode(t)
	n.put(n.other, "a", "1")
	n.wants(n.request(), "a", "1", 1)
	ctx, before := n.request(), n.engine.gets.Load()
	if _, err := store.Update(ctx, n.hot, func(tx *store.Tx) error {
		e, err := tx.Get("a")
		tx.Put("b", e.Value)
		return err
	}); err != nil || n.engine.gets.Load() != before+1 {
		t.Errorf("a transaction asked the engine %d times, %v", n.engine.gets.Load()-before, err)
	}
}

// TestHotUnderLoad has readers and writers of two nodes meet: no request reads a
// value older than the one that was there when it began.
func TestHotUnderLoad(t *testing.T) {
	n := newHotNode(t)
	var newest atomic.Int64
	var work sync.WaitGroup
	done := make(chan struct{})
	work.Go(func() {
		defer close(done)
		for i := range 3000 {
			s := []store.Store{n.hot, n.other}[i%2]
			if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "a", Value: fmt.Append(nil, i)}}); err != nil {
				t.Error(err)
				return
			}
			newest.Store(int64(i))
		}
	})
	for range 8 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				least := newest.Load()
				rev, err := n.cache.Fresh(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				e, err := n.hot.Get(store.Confirmed(t.Context(), store.Moment{Rev: rev}), "a")
				var got int64
				if _, serr := fmt.Sscan(string(e.Value), &got); err != nil || e.Rev > 0 && (serr != nil || got < least) {
					t.Errorf("a request read %q, %v, when %d was there", e.Value, err, least)
					return
				}
			}
		})
	}
	work.Wait()
}

// lagging is an engine whose first feed, which is that of what Hot remembers, can be
// held up.
type lagging struct {
	store.Engine
	feeds atomic.Int64
	held  sync.Mutex
}

// Watch implements store.Store.
func (l *lagging) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	f, err := l.Engine.Watch(ctx, after)
	if err != nil || l.feeds.Add(1) > 1 {
		return f, err
	}
	return &laggingFeed{f, &l.held}, nil
}

type laggingFeed struct {
	store.Feed
	held *sync.Mutex
}

// Next implements store.Feed.
func (f *laggingFeed) Next(ctx context.Context) (store.Change, error) {
	c, err := f.Feed.Next(ctx)
	f.held.Lock()
	defer f.held.Unlock()
	return c, err
}

// TestNewPolicyMeetsNoOldSecret replaces a secret and then lets somebody read it. A request that began
// before both and finds the new policy must not find the old secret, though what is
// remembered of it has not heard of the change.
func TestNewPolicyMeetsNoOldSecret(t *testing.T) {
	data := mem.New(mem.Options{})
	engine := &lagging{Engine: data.Open()}
	put := func(key, value string) {
		if _, err := engine.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	put("secret", "old")
	put("policy", "deny")
	hot, err := store.NewHot(t.Context(), engine, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer hot.Close()
	cache, err := store.NewCache(t.Context(), hot)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	policies := store.NewMemo(cache, 1, func(ctx context.Context, r store.Reader, key string) (string, error) {
		e, err := r.Get(ctx, key)
		return string(e.Value), err
	})
	begin := func() context.Context {
		m, err := cache.Moment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return store.Confirmed(t.Context(), m)
	}
	read := func(ctx context.Context) string {
		policy, err := policies.Get(ctx, "policy")
		if err != nil {
			t.Fatal(err)
		}
		e, err := hot.Get(ctx, "secret")
		if err != nil {
			t.Fatal(err)
		}
		return policy + " " + string(e.Value)
	}
	for range 3 {
		if got := read(begin()); got != "deny old" {
			t.Fatalf("before the changes: %s", got)
		}
	}
	mine, anothers := begin(), begin()
	engine.held.Lock()
	put("secret", "new")
	put("policy", "allow")
	if _, err := cache.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{"loaded by it or the other": mine, "of the other": anothers} {
		if got := read(ctx); got != "allow new" {
			t.Errorf("a policy %s: the request finds %q", name, got)
		}
	}
	engine.held.Unlock()
}
