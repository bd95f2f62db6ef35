// Package storetest owns the tests of the store contract. A store passes them
// whole: its own test is one call of Run, and an engine's one of RunEngine.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// Open opens the store whose data live at dir, a name that belongs to one test.
// A second call with the same dir, after the first store was closed, opens the
// same data again. The engine sees to closing what is open when t ends.
type Open func(t testing.TB, dir string) store.Store

// Config is what the suite needs to know of an engine.
type Config struct {
	Open Open
	// Compact makes the store forget the commits that Watch could report, up to
	// about the present. It may commit to do so. nil: commit until Watch answers
	// ErrCompacted, so the engine under test must be set to keep few commits.
	Compact func(t testing.TB, s store.Store)
}

// part is one part of the contract.
type part struct {
	name string
	run  func(*testing.T, Config)
}

func run(t *testing.T, cfg Config, parts []part) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.run(t, cfg) })
	}
}

// RunEngine tests an engine against the whole contract. What cfg opens is a store.Engine.
func RunEngine(t *testing.T, cfg Config) {
	Run(t, cfg)
	run(t, cfg, []part{
		{"View", testView}, {"ViewOfMuch", testViewOfMuch}, {"ViewEnds", testViewEnds}, {"ViewUnderLoad", testViewUnderLoad},
	})
}

// Run tests a store against the whole contract of a store.Store.
func Run(t *testing.T, cfg Config) {
	run(t, cfg, []part{
		{"Entries", testEntries}, {"Revisions", testRevisions}, {"Checks", testChecks},
		{"Atomicity", testAtomicity}, {"WriteSkew", testWriteSkew}, {"Ranges", testRanges},
		{"RangeEnds", testRangeEnds}, {"Limits", testLimits}, {"Invalid", testInvalid},
		{"Cancelled", testCancelled}, {"Closed", testClosed}, {"Reopen", testReopen},
		{"Sync", testSync}, {"Aliasing", testAliasing},
		{"WatchOrder", testWatchOrder}, {"WatchResume", testWatchResume}, {"WatchWaits", testWatchWaits},
		{"WatchReadable", testWatchReadable}, {"WatchEnds", testWatchEnds}, {"Compaction", testCompaction},
		{"Update", testUpdate}, {"UpdateRetries", testUpdateRetries}, {"Sub", testSub}, {"SubWatch", testSubWatch},
		{"Model", testModel}, {"Counter", testCounter}, {"Bank", testBank},
	})
}

// fixture is a fresh store with calls that fail the test on any error.
type fixture struct {
	testing.TB
	store.Store
	dir string
	cfg Config
}

func start(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{TB: t, dir: t.TempDir(), cfg: cfg}
	f.Store = cfg.Open(t, f.dir)
	return f
}

// reopen closes the store and opens its data again.
func (f *fixture) reopen() {
	f.Helper()
	if err := f.Store.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.Store = f.cfg.Open(f.TB, f.dir)
}

func put(key, value string) store.Write { return store.Write{Key: key, Value: []byte(value)} }
func del(key string) store.Write        { return store.Write{Key: key, Delete: true} }

func (f *fixture) commit(checks []store.Check, writes ...store.Write) store.Rev {
	f.Helper()
	rev, err := f.Commit(f.Context(), checks, writes)
	if err != nil {
		f.Fatalf("Commit: %v", err)
	}
	return rev
}

func (f *fixture) set(key, value string) store.Rev {
	f.Helper()
	return f.commit(nil, put(key, value))
}

func (f *fixture) get(key string) store.Entry {
	f.Helper()
	e, err := f.Get(f.Context(), key)
	if err != nil {
		f.Fatalf("Get(%q): %v", key, err)
	}
	return e
}

// want checks that key holds value at rev.
func (f *fixture) want(key, value string, rev store.Rev) {
	f.Helper()
	e := f.get(key)
	if e.Key != key || string(e.Value) != value || e.Rev != rev {
		f.Errorf("Get(%q) = %q %q at %d, want %q at %d", key, e.Key, e.Value, e.Rev, value, rev)
	}
}

func (f *fixture) wantAbsent(key string) {
	f.Helper()
	if e := f.get(key); e.Exists() || e.Value != nil || e.Key != key {
		f.Errorf("Get(%q) = %q %q at %d, want it absent", key, e.Key, e.Value, e.Rev)
	}
}

func (f *fixture) list(r store.Range) []store.Entry {
	f.Helper()
	es, err := f.List(f.Context(), r)
	if err != nil {
		f.Fatalf("List(%+v): %v", r, err)
	}
	return es
}

// wantKeys checks the keys of a range.
func (f *fixture) wantKeys(r store.Range, want ...string) {
	f.Helper()
	var got []string
	for _, e := range f.list(r) {
		got = append(got, e.Key)
	}
	if !slices.Equal(got, want) {
		f.Errorf("List(%+v) = %q, want %q", r, got, want)
	}
}

func (f *fixture) wantErr(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("got error %v, want %v", err, want)
	}
}

func (f *fixture) sync() store.Rev {
	f.Helper()
	rev, err := f.Sync(f.Context())
	if err != nil {
		f.Fatalf("Sync: %v", err)
	}
	return rev
}

func (f *fixture) watch(after store.Rev) store.Feed {
	f.Helper()
	feed, err := f.Watch(f.Context(), after)
	if err != nil {
		f.Fatalf("Watch(%d): %v", after, err)
	}
	f.Cleanup(func() {
		if err := feed.Close(); err != nil {
			f.Errorf("closing a feed: %v", err)
		}
	})
	return feed
}

// next is the feed's next commit, marks of progress left out.
func (f *fixture) next(feed store.Feed) store.Change {
	f.Helper()
	for {
		c, err := feed.Next(f.Context())
		if err != nil {
			f.Fatalf("Next: %v", err)
		}
		if len(c.Keys) > 0 {
			return c
		}
	}
}

func (f *fixture) wantNext(feed store.Feed, rev store.Rev, keys ...string) {
	f.Helper()
	c := f.next(feed)
	if c.Rev != rev || !slices.Equal(c.Keys, keys) {
		f.Errorf("Next = %d %q, want %d %q", c.Rev, c.Keys, rev, keys)
	}
}

// compact makes the store forget the commits up to about now.
func (f *fixture) compact(after store.Rev) {
	f.Helper()
	if f.cfg.Compact != nil {
		f.cfg.Compact(f.TB, f.Store)
		return
	}
	for i := range 100_000 {
		f.set("compact", fmt.Sprint(i))
		if i%1000 == 0 && f.forgotten(after) {
			return
		}
	}
	f.Fatal("the store still knows every commit after 100,000 more")
}

func (f *fixture) forgotten(after store.Rev) bool {
	feed, err := f.Watch(f.Context(), after)
	if err == nil {
		defer feed.Close()
		_, err = feed.Next(f.Context())
	}
	return errors.Is(err, store.ErrCompacted)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
