package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/test/postgres"
)

// pair is a primary and a standby that streams from it, and the connection string that names both.
func pair(t *testing.T, settings ...string) (a, b *postgres.Server, o Options) {
	t.Helper()
	a = private(t, settings...)
	b, err := a.Standby("b")
	must(t, err)
	t.Cleanup(func() { must(t, b.Remove()) })
	return a, b, Options{Conn: NewConnString(a.Through(a.Addr + "," + b.Addr))}
}

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never comes about that " + what)
		}
	}
}

// remembering is a node that remembers what it reads.
type remembering struct {
	*Store
	cache *store.Cache
	memo  *store.Memo[string, string]
}

func remember(t *testing.T, s *Store) remembering {
	t.Helper()
	c, err := store.NewCache(t.Context(), s)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return remembering{s, c, store.NewMemo(c, 100, func(ctx context.Context, r store.Reader, key string) (string, error) {
		e, err := r.Get(ctx, key)
		return string(e.Value), err
	})}
}

// fresh is what the node answers for a key, as a request would; "" while it answers nothing.
func (r remembering) fresh(t *testing.T, key string) string {
	t.Helper()
	if _, err := r.cache.Fresh(t.Context()); err != nil {
		return ""
	}
	v, err := r.memo.Get(t.Context(), key)
	if err != nil {
		return ""
	}
	return v
}

// TestFailoverThatLoses promotes a standby that lacks commits which the old primary had acknowledged. They are lost, which
// no engine can help; but nothing of them may live on in a node, and no revision may be given out again.
func TestFailoverThatLoses(t *testing.T) {
	a, b, o := pair(t)
	one, other := remember(t, openTest(t, o)), remember(t, openTest(t, o))
	kept := set(t, one, "k", "kept")
	until(t, "the standby has caught up", func() bool {
		out, err := b.SQL("select revision from strongroom.head")
		return err == nil && out == fmt.Sprint(kept)
	})
	must(t, b.Kill())
	given := set(t, one, "k", "lost")
	set(t, other, "only", "lost")
	if got := other.fresh(t, "k"); got != "lost" {
		t.Fatalf("before the fail-over the other node answers %q", got)
	}
	feed := watch(t, one, kept)
	must(t, a.Kill())
	must(t, b.Restart())
	must(t, b.Promote())
	for i, node := range []remembering{one, other} {
		until(t, "a node answers again", func() bool { return node.fresh(t, "k") != "" })
		if k, only := node.fresh(t, "k"), node.fresh(t, "only"); k != "kept" || only != "" {
			t.Errorf("node %d answers %q and %q with what was lost", i, k, only)
		}
		if rev, err := node.Sync(t.Context()); err != nil || rev <= given+1 {
			t.Errorf("node %d is at %d, %v; %d was given out before", i, rev, err, given+1)
		}
	}
	if rev := set(t, one, "k", "new"); rev <= given+1<<32 {
		t.Errorf("a commit has revision %d after %d", rev, given)
	}
	if got := other.fresh(t, "k"); got != "new" {
		t.Errorf("after the fail-over the other node answers %q", got)
	}
	wantCompacted(t, feed)
	refusesTheOld(t, a, b, one)
}

// TestFailoverThatANewNodeHides has a node that knows nothing of what was lost be the first on the promoted standby, and commit more than
// that was: by its revision alone the store does not look older than what the other node has seen of it.
func TestFailoverThatANewNodeHides(t *testing.T) {
	a, b, o := pair(t)
	seldom := o
	seldom.Poll = time.Hour // it looks when it is asked
	old := remember(t, openTest(t, seldom))
	kept := set(t, old, "k", "kept")
	until(t, "the standby has caught up", func() bool {
		out, err := b.SQL("select revision from strongroom.head")
		return err == nil && out == fmt.Sprint(kept)
	})
	must(t, b.Kill())
	set(t, old, "k", "lost")
	if got := old.fresh(t, "k"); got != "lost" {
		t.Fatalf("before the fail-over the node answers %q", got)
	}
	must(t, a.Kill())
	must(t, b.Restart())
	must(t, b.Promote())
	next := openTest(t, o)
	for range 5 {
		set(t, next, "else", "v")
	}
	until(t, "the old node answers again", func() bool { return old.fresh(t, "k") != "" })
	if got := old.fresh(t, "k"); got != "kept" {
		t.Errorf("the old node answers %q, which was lost", got)
	}
}

// wantCompacted wants a feed from before the fail-over to say that it has missed something.
func wantCompacted(t *testing.T, feed store.Feed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		c, err := feed.Next(ctx)
		if errors.Is(err, store.ErrCompacted) {
			return
		}
		if err != nil || c.Rev > 1<<32 {
			t.Fatalf("a feed goes on over a fail-over with %v, %v", c, err)
		}
	}
}

// refusesTheOld starts the old primary again: a node that has seen the new one must not go back, though the old one is
// named first.
func refusesTheOld(t *testing.T, old, now *postgres.Server, s remembering) {
	t.Helper()
	must(t, old.Restart())
	_, err := now.SQL("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'strongroom'")
	must(t, err)
	for range 5 {
		if got := s.fresh(t, "k"); got != "new" {
			t.Fatalf("with the old primary back a node answers %q", got)
		}
		if e, err := s.Get(t.Context(), "k"); err != nil || string(e.Value) != "new" {
			t.Fatalf("with the old primary back a node reads %q, %v", e.Value, err)
		}
	}
	c, err := s.connect(t.Context())
	must(t, err)
	defer s.hang(c)
	if got := c.PgConn().CustomData()[where].(origin).timeline; got != 2 {
		t.Errorf("a connection is to timeline %d", got)
	}
}

// TestFailoverThatKeeps promotes a synchronous standby under load: nothing acknowledged is lost, no revision given twice.
func TestFailoverThatKeeps(t *testing.T) {
	a, b, o := pair(t)
	must(t, a.Set("synchronous_standby_names=b"))
	must(t, a.Reload())
	until(t, "the standby is synchronous", func() bool {
		out, err := a.SQL("select sync_state from pg_stat_replication")
		return err == nil && out == "sync"
	})
	one, other := openTest(t, o), openTest(t, o)
	l := newLoad(t, 6, one, other)
	l.more(100)
	must(t, b.Kill()) // from here on nothing can be acknowledged
	before := l.total()
	until(t, "commits wait", func() bool {
		out, err := a.SQL("select count(*) > 0 from pg_stat_activity where wait_event = 'SyncRep'")
		return err == nil && out == "t"
	})
	if n := l.total() - before; n > 6 {
		t.Errorf("%d commits were acknowledged that no standby has", n)
	}
	must(t, a.Kill())
	must(t, b.Restart())
	must(t, b.Promote())
	l.more(100)
	l.end()
	if lost := l.lost(one); lost > 0 {
		t.Errorf("%d acknowledged commits are lost", lost)
	}
}

// TestUnseenUntilSafe: a commit that no standby has is not shown to readers, also when its caller has gone.
func TestUnseenUntilSafe(t *testing.T) {
	a, b, o := pair(t)
	o.Timeout = time.Second
	s, reader := openTest(t, o), openTest(t, o)
	set(t, s, "k", "old")
	must(t, a.Set("synchronous_standby_names=b"))
	must(t, a.Reload())
	until(t, "the standby is synchronous", func() bool {
		out, err := a.SQL("select sync_state from pg_stat_replication")
		return err == nil && out == "sync"
	})
	must(t, b.Kill())
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte("new")}}); err == nil {
		t.Error("a commit is acknowledged that no standby has")
	}
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte("newer")}}); err == nil {
		t.Error("another commit is acknowledged that no standby has")
	}
	if e, err := reader.Get(t.Context(), "k"); err != nil || string(e.Value) != "old" {
		t.Errorf("a reader sees %q, %v, which no standby has", e.Value, err)
	}
	must(t, b.Restart())
	until(t, "the commit is there", func() bool {
		e, err := reader.Get(t.Context(), "k")
		return err == nil && string(e.Value) != "old"
	})
	set(t, s, "k", "newest")
}

// TestLossIsSeen is the control: where a standby may lag, the same check finds what is lost.
func TestLossIsSeen(t *testing.T) {
	a, b, o := pair(t)
	s := openTest(t, o)
	l := newLoad(t, 4, s)
	l.more(20)
	until(t, "the standby has the tables", func() bool {
		_, err := b.SQL("select revision from strongroom.head")
		return err == nil
	})
	must(t, b.Kill())
	l.more(50)
	must(t, a.Kill())
	l.end()
	must(t, b.Restart())
	must(t, b.Promote())
	if lost := l.lost(s); lost == 0 {
		t.Error("a standby that lagged by 50 commits has lost none: the check sees nothing")
	}
}

// TestRestoredCopy puts the tables back to what they were, under nodes that have seen more.
func TestRestoredCopy(t *testing.T) {
	o := options(t.Name())
	n := remember(t, openTest(t, o))
	set(t, n, "k", "old")
	sql(t, fmt.Sprintf("create table %[1]s.h as table %[1]s.head; create table %[1]s.e as table %[1]s.entries; create table %[1]s.c as table %[1]s.changes", o.Schema))
	given := set(t, n, "k", "new")
	if got := n.fresh(t, "k"); got != "new" {
		t.Fatalf("a node answers %q", got)
	}
	restore := "begin; truncate %[1]s.head, %[1]s.entries, %[1]s.changes; insert into %[1]s.head table %[1]s.h; insert into %[1]s.entries table %[1]s.e; insert into %[1]s.changes table %[1]s.c; commit"
	sql(t, fmt.Sprintf(restore, o.Schema))
	if got := n.fresh(t, "k"); got != "old" {
		t.Errorf("after a restore the node answers %q", got)
	}
	if rev := set(t, n, "k", "newer"); rev <= given {
		t.Errorf("revision %d is given out after %d", rev, given)
	}
	sql(t, fmt.Sprintf(restore, o.Schema))
	if rev := set(t, n, "k", "newest"); rev <= given {
		t.Errorf("revision %d is given out after %d", rev, given)
	}
	if got := n.fresh(t, "k"); got != "newest" {
		t.Errorf("after another restore the node answers %q", got)
	}
}
