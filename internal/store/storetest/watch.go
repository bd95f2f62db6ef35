package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

func testWatchOrder(t *testing.T, cfg Config) {
	f := start(t, cfg)
	early := f.watch(0)
	r1 := f.set("a", "1")
	r2 := f.commit(nil, put("c", "1"), put("b", "1"), del("a"))
	r3 := f.set("b", "2")
	for _, feed := range []store.Feed{early, f.watch(0)} {
		f.wantNext(feed, r1, "a")
		f.wantNext(feed, r2, "a", "b", "c")
		f.wantNext(feed, r3, "b")
	}
	f.wantNext(f.watch(r2), r3, "b")
	f.wantNext(f.watch(r1), r2, "a", "b", "c")
}

func testWatchResume(t *testing.T, cfg Config) {
	f := start(t, cfg)
	var revs []store.Rev
	for i := range 10 {
		revs = append(revs, f.set(fmt.Sprint("k", i), "v"))
	}
	f.reopen()
	revs = append(revs, f.set("k10", "v"))
	for from := range revs {
		feed := f.watch(revs[from])
		for i := from + 1; i < len(revs); i++ {
			f.wantNext(feed, revs[i], fmt.Sprint("k", i))
		}
	}
	f.wantNext(f.watch(0), revs[0], "k0")
}

// testWatchWaits has several feeds wait for commits that many writers make at once.
func testWatchWaits(t *testing.T, cfg Config) {
	f := start(t, cfg)
	const writers, each = 4, 25
	var mu sync.Mutex
	byRev := map[store.Rev]string{}
	feeds := []store.Feed{f.watch(0), f.watch(0)}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d/%d", w, i)
				rev, err := f.Commit(t.Context(), nil, []store.Write{put(key, "v")})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				byRev[rev] = key
				mu.Unlock()
			}
		})
	}
	seen := make([][]store.Change, len(feeds))
	for i, feed := range feeds {
		for range writers * each {
			seen[i] = append(seen[i], f.next(feed))
		}
	}
	wg.Wait()
	for _, changes := range seen {
		last := store.Rev(0)
		for _, c := range changes {
			if c.Rev <= last || len(c.Keys) != 1 || byRev[c.Rev] != c.Keys[0] {
				t.Fatalf("the feed reports %d %q after %d, committed as %q", c.Rev, c.Keys, last, byRev[c.Rev])
			}
			last = c.Rev
		}
	}
}

// testWatchReadable reads each reported commit at once.
func testWatchReadable(t *testing.T, cfg Config) {
	f := start(t, cfg)
	feed := f.watch(0)
	const n = 50
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if _, err := f.Commit(t.Context(), nil, []store.Write{put("k", fmt.Sprint(i))}); err != nil {
				t.Error(err)
			}
		}
	})
	for range n {
		c := f.next(feed)
		if e := f.get("k"); e.Rev < c.Rev {
			t.Fatalf("commit %d is reported while a reader sees %d", c.Rev, e.Rev)
		}
		if rev := f.sync(); rev < c.Rev {
			t.Fatalf("commit %d is reported while Sync is at %d", c.Rev, rev)
		}
	}
	wg.Wait()
}

func testWatchEnds(t *testing.T, cfg Config) {
	f := start(t, cfg)
	feed, other := f.watch(f.set("k", "1")), f.watch(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { _, err := feed.Next(ctx); ended <- err }()
	cancel()
	f.wantErr(<-ended, context.Canceled)
	rev := f.set("k", "2")
	f.wantNext(feed, rev, "k") // the cancelled call lost nothing
	go func() { _, err := feed.Next(t.Context()); ended <- err }()
	for range 2 {
		f.wantErr(feed.Close(), nil)
	}
	f.wantErr(<-ended, store.ErrClosed)
	_, err := feed.Next(t.Context())
	f.wantErr(err, store.ErrClosed)
	if c := f.next(other); len(c.Keys) != 1 {
		t.Errorf("closing one feed left another with %q", c.Keys)
	}
}

func testCompaction(t *testing.T, cfg Config) {
	f := start(t, cfg)
	first := f.set("a", "1")
	slow := f.watch(first)
	second := f.set("a", "2")
	f.wantNext(slow, second, "a")
	f.compact(first)
	if !f.forgotten(first) {
		t.Fatal("a commit that is no longer known is not reported as compacted")
	}
	if err := f.lag(slow); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a feed that fell behind ends with %v", err)
	}
	f.want("a", "2", second)
	now := f.sync()
	feed := f.watch(now)
	next := f.set("a", "3")
	f.wantNext(feed, next, "a")
	f.reopen()
	f.wantNext(f.watch(now), next, "a")
	if !f.forgotten(first) {
		t.Error("a reopened store claims to know commits that it had forgotten")
	}
}

// lag reads a feed that fell behind until it says so; a feed may have received
// the commits before they were forgotten, and must then report them all.
func (f *fixture) lag(feed store.Feed) error {
	for now := f.sync(); ; {
		c, err := feed.Next(f.Context())
		if err != nil {
			return err
		}
		if c.Rev >= now {
			return store.ErrCompacted
		}
	}
}
