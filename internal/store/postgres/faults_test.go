package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/proxy"
)

// private is a server for one test.
func private(t *testing.T, settings ...string) *postgres.Server {
	t.Helper()
	s, err := postgres.Start(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Remove()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// load is writers on several nodes, each with a pair of keys of its own that it sets to the same rising number.
type load struct {
	t     *testing.T
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked map[int]int       // by writer, the newest number that was acknowledged
	revs  map[store.Rev]int // who was given a revision
}

func newLoad(t *testing.T, writers int, nodes ...*Store) *load {
	l := &load{t: t, stop: make(chan struct{}), acked: map[int]int{}, revs: map[store.Rev]int{}}
	for w := range writers {
		l.wg.Go(func() { l.write(w, nodes[w%len(nodes)]) })
	}
	return l
}

// write demands with each commit that its keys are as it left them. Nobody else writes them, so that a conflict means that
// a commit was made of which it was told that it was not, or was made twice.
func (l *load) write(w int, s *Store) {
	a, b := fmt.Sprint("a", w), fmt.Sprint("b", w)
	rev := store.Rev(0)
	for n := 1; l.running(); n++ {
		value := []byte(strconv.Itoa(n))
		checks := []store.Check{{Key: a, Rev: rev}, {Key: b, Rev: rev}}
		made, err := s.Commit(context.Background(), checks, []store.Write{{Key: a, Value: value}, {Key: b, Value: value}})
		if err == nil {
			rev = made
			l.ack(w, n, rev)
			continue
		}
		if errors.Is(err, store.ErrConflict) {
			l.t.Errorf("writer %d has a conflict with itself at %d", w, rev)
		}
		told := err
		for err != nil && l.running() { // the outcome is unknown: it reads again
			var e store.Entry
			e, err = s.Get(context.Background(), a)
			rev = e.Rev
			if err == nil && string(e.Value) == string(value) && !errors.Is(told, store.ErrUnknown) {
				l.t.Errorf("writer %d was told that nothing was written, and it was: %v", w, told)
			}
		}
	}
}

func (l *load) running() bool {
	select {
	case <-l.stop:
		return false
	default:
		return true
	}
}

func (l *load) ack(w, n int, rev store.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, twice := l.revs[rev]; twice {
		l.t.Errorf("revision %d was given to writer %d and to %d", rev, other, w)
	}
	l.revs[rev] = w
	l.acked[w] = n
}

func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.revs)
}

// more waits until so many more commits were acknowledged.
func (l *load) more(n int) {
	l.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for want := l.total() + n; l.total() < want; {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatal("no commit is acknowledged any more")
		}
	}
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// lost is how many acknowledged commits are not there.
func (l *load) lost(s *Store) int {
	lost := 0
	for w, n := range l.acked {
		a, errA := s.Get(context.Background(), fmt.Sprint("a", w))
		b, errB := s.Get(context.Background(), fmt.Sprint("b", w))
		if err := errors.Join(errA, errB); err != nil {
			l.t.Fatal(err)
		}
		if string(a.Value) != string(b.Value) || a.Rev != b.Rev {
			l.t.Errorf("half a commit is there: %q at %d and %q at %d", a.Value, a.Rev, b.Value, b.Rev)
		}
		if got, _ := strconv.Atoi(string(a.Value)); got < n {
			lost += n - got
		}
	}
	return lost
}

// TestRestartsUnderLoad ends the server in every way while two nodes write.
func TestRestartsUnderLoad(t *testing.T) {
	srv := private(t)
	o := Options{Conn: NewConnString(srv.URL())}
	a, b := openTest(t, o), openTest(t, o)
	feed := watch(t, b, 0)
	l := newLoad(t, 8, a, b)
	for i, down := range []func() error{srv.Kill, srv.Abort, srv.Stop, srv.Kill} {
		l.more(50)
		must(t, down())
		if i == 0 {
			if _, err := b.Sync(t.Context()); err == nil {
				t.Error("Sync answers without a server")
			}
		}
		must(t, srv.Restart())
	}
	l.more(50)
	l.end()
	for _, s := range []*Store{a, b} {
		if lost := l.lost(s); lost > 0 {
			t.Errorf("%d acknowledged commits are lost", lost)
		}
	}
	wantFeedWhole(t, feed, b, l)
}

// wantFeedWhole wants a feed to have gone on over all restarts, with every acknowledged commit.
func wantFeedWhole(t *testing.T, feed store.Feed, s *Store, l *load) {
	t.Helper()
	now, err := s.Sync(t.Context())
	must(t, err)
	seen := 0
	for at := store.Rev(0); at < now; {
		c, err := feed.Next(t.Context())
		if err != nil || c.Rev != at+1 {
			t.Fatalf("the feed reports %d, %v after %d", c.Rev, err, at)
		}
		if at = c.Rev; len(c.Keys) == 2 {
			if w, ok := l.revs[at]; ok && c.Keys[0] == fmt.Sprint("a", w) {
				seen++
			}
		}
	}
	if seen != len(l.revs) {
		t.Errorf("the feed has %d of %d acknowledged commits", seen, len(l.revs))
	}
}

// TestUnknownIsToldSo: a commit that the server has and does not answer in time is not told as one that was not made, and here it is made.
// One that the server refuses before it commits is.
func TestUnknownIsToldSo(t *testing.T) {
	o := options(t.Name())
	o.Timeout = time.Second
	s := openTest(t, o)
	set(t, s, "k", "v")
	trigger := func(timing, body string) {
		sql(t, fmt.Sprintf(`create or replace function %[1]s.act() returns trigger language plpgsql as $$ begin %[3]s; return null; end $$;
			create constraint trigger acts after insert on %[1]s.entries deferrable initially %[2]s for each row execute function %[1]s.act()`, o.Schema, timing, body))
	}
	there := func(key string) bool {
		e, err := s.Get(t.Context(), key)
		return err == nil && e.Exists()
	}
	trigger("deferred", "perform pg_sleep(2)") // in the midst of COMMIT
	_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "slow"}})
	if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrUnreachable) {
		t.Errorf("a commit without an answer is told as %v", err)
	}
	until(t, "the commit is made", func() bool { return there("slow") })
	sql(t, fmt.Sprintf("drop trigger acts on %s.entries", o.Schema))
	trigger("immediate", "raise exception 'no' using errcode = '57P03'") // before COMMIT
	_, err = s.Commit(t.Context(), nil, []store.Write{{Key: "refused"}})
	if !errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrUnknown) || there("refused") {
		t.Errorf("a commit that was refused is told as %v", err)
	}
}

// TestIdleRestart: a restart that nobody noticed costs nobody an error.
func TestIdleRestart(t *testing.T) {
	srv := private(t)
	s := openTest(t, Options{Conn: NewConnString(srv.URL())})
	for range 3 {
		set(t, s, "k", "v")
		if _, err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		must(t, srv.Abort())
		must(t, srv.Restart())
		if _, err := s.Get(t.Context(), "k"); err != nil {
			t.Errorf("Get after a restart: %v", err)
		}
		if _, err := s.Sync(t.Context()); err != nil {
			t.Errorf("Sync after a restart: %v", err)
		}
	}
	set(t, s, "k", "v")
	v, err := s.View(t.Context())
	must(t, err)
	must(t, srv.Abort())
	if _, err := v.Get(t.Context(), "k"); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a view whose server has ended answers %v", err)
	}
	must(t, v.Close())
	must(t, srv.Restart())
}

// calls are all ways to ask the server.
func calls(s *Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":  func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"List": func(ctx context.Context) error { _, err := s.List(ctx, store.Range{}); return err },
		"Sync": func(ctx context.Context) error { _, err := s.Sync(ctx); return err },
		"Commit": func(ctx context.Context) error {
			_, err := s.Commit(ctx, nil, []store.Write{{Key: "k"}})
			return err
		},
		"View": func(ctx context.Context) error {
			v, err := s.View(ctx)
			if err == nil {
				err = v.Close()
			}
			return err
		},
	}
}

// TestPartition cuts the network without a word, and has many callers ask all the same.
func TestPartition(t *testing.T) {
	p := proxy.New(t, server.Load().Addr)
	o := options(t.Name())
	o.Conn, o.Timeout = NewConnString(server.Load().Through(p.Addr())), 500*time.Millisecond
	hung(t, openTest(t, o), p.Hold, p.Release)
}

// TestHungServer stops every process of the server for a while.
func TestHungServer(t *testing.T) {
	srv := private(t)
	s := openTest(t, Options{Conn: NewConnString(srv.URL()), Timeout: 500 * time.Millisecond})
	hung(t, s, func() { must(t, srv.Pause()) }, func() { must(t, srv.Resume()) })
}

// goroutines is how many there are, without those of the proxy, which has one for each connection it holds up.
func goroutines() int {
	buf := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !strings.Contains(stack, "(*Proxy)") {
			n++
		}
	}
	return n
}

// hung demands that calls end in time while the server does not answer, leave nothing behind, and succeed soon after.
func hung(t *testing.T, s *Store, stop, goOn func()) {
	t.Helper()
	succeed(t, s, "before")
	before := goroutines()
	stop()
	var wg sync.WaitGroup
	for name, call := range calls(s) {
		for range 50 {
			wg.Go(func() {
				began := time.Now()
				err := call(t.Context())
				// A List may take four times the timeout, a call behind another as long again; the rest is for a loaded machine.
				if took := time.Since(began); err == nil || took > 8*time.Second {
					t.Errorf("%s: %v after %v", name, err, took)
				}
			})
		}
	}
	wg.Wait()
	// Connections that were given up are closed in the background.
	until(t, "no more than 20 goroutines are left of them", func() bool { return goroutines() <= before+20 })
	goOn()
	succeed(t, s, "after it is over")
}

// succeed demands that each call succeeds, within ten seconds of a machine that may do much else.
func succeed(t *testing.T, s *Store, when string) {
	t.Helper()
	began := time.Now()
	for name, call := range calls(s) {
		for err := call(t.Context()); err != nil; err = call(t.Context()) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s %s: %v", name, when, err)
			}
		}
	}
}

// TestStuckInTheMidst: a node's machine is lost, or the node stopped, when a part of its commit is at the server, which then waits for
// the rest. The others go on within two of their timeouts, and what was under way is not committed.
func TestStuckInTheMidst(t *testing.T) {
	o := options(t.Name())
	o.Timeout = time.Second
	s := openTest(t, o)
	c, err := s.connect(t.Context())
	must(t, err)
	defer s.hang(c)
	front := c.PgConn().Frontend()
	for _, query := range []string{beginWrite, s.sql.head, "UPDATE " + pgx.Identifier{o.Schema}.Sanitize() + ".head SET revision = revision + 1000"} {
		front.Send(&pgproto3.Parse{Query: query})
		front.Send(&pgproto3.Bind{})
		front.Send(&pgproto3.Execute{})
	}
	must(t, front.Flush()) // and no Sync
	holds := func() bool {
		return sql(t, "SELECT count(*)::text FROM pg_locks WHERE mode = 'RowShareLock' AND relation = '"+o.Schema+".head'::regclass AND granted") == "1"
	}
	until(t, "the head row is locked", holds)
	began := time.Now()
	for err = errors.New("held"); err != nil; {
		if _, err = s.Commit(t.Context(), nil, []store.Write{{Key: "k"}}); err != nil && !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("a commit behind the lock: %v", err)
		}
		if time.Since(began) > held+5*o.Timeout {
			t.Fatalf("the lock is held for ever: %v", err)
		}
	}
	if rev, err := s.Sync(t.Context()); err != nil || rev >= 1000 {
		t.Errorf("after it: revision %d, %v", rev, err)
	}
}

// TestHeldLock: another session holds the head row, as a node does that is stopped in the midst of a commit.
func TestHeldLock(t *testing.T) {
	o := options(t.Name())
	o.Timeout = time.Second
	s := openTest(t, o)
	c, err := s.connect(t.Context())
	must(t, err)
	_, err = c.Exec(t.Context(), "begin")
	must(t, err)
	_, err = c.Exec(t.Context(), s.sql.head)
	must(t, err)
	began := time.Now()
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}}); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("a commit behind a held lock: %v after %v", err, time.Since(began))
	}
	if _, err := s.Sync(t.Context()); err != nil {
		t.Errorf("Sync behind a held lock: %v", err)
	}
	// The server ends the session that holds it, since that does nothing.
	for err = errors.New("held"); err != nil; {
		if _, err = s.Commit(t.Context(), nil, []store.Write{{Key: "k"}}); time.Since(began) > 20*time.Second {
			t.Fatalf("the lock is held for ever: %v", err)
		}
	}
	if _, err := c.Exec(t.Context(), "commit"); err == nil {
		t.Error("control: the session that held the lock lives")
	}
}
