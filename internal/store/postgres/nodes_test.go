package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom/strongroom/internal/store"
)

// two are two nodes of one store.
func two(t *testing.T) (a, b *Store) {
	t.Helper()
	o := options(t.Name())
	return openTest(t, o), openTest(t, o)
}

func set(t testing.TB, s store.Store, key, value string) store.Rev {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// TestNodesAreFresh has each of two nodes read, through its cache, what the other was acknowledged just before.
func TestNodesAreFresh(t *testing.T) {
	a, b := two(t)
	var caches [2]*store.Cache
	var memos [2]*store.Memo[string, string]
	for i, s := range []*Store{a, b} {
		c, err := store.NewCache(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		caches[i] = c
		memos[i] = store.NewMemo(c, 100, func(ctx context.Context, r store.Reader, key string) (string, error) {
			e, err := r.Get(ctx, key)
			return string(e.Value), err
		})
	}
	for i := range 100 {
		writer, reader := []*Store{a, b}[i%2], (i+1)%2
		set(t, writer, "k", strconv.Itoa(i))
		if _, err := caches[reader].Fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := memos[reader].Get(t.Context(), "k"); err != nil || got != strconv.Itoa(i) {
			t.Fatalf("node %d reads %q, %v after the other was acknowledged %d", reader, got, err, i)
		}
	}
	if loads := caches[0].Loads() + caches[1].Loads(); loads < 100 {
		t.Errorf("%d loads: the memos were not dropped by the other's commits", loads)
	}
}

// TestNodesShareOneOrder has both nodes write at once: no revision is given out twice, and each node's feed reports all
// commits of both, in order.
func TestNodesShareOneOrder(t *testing.T) {
	a, b := two(t)
	const writers, each = 8, 25
	var mu sync.Mutex
	byRev := map[store.Rev]string{}
	var wg sync.WaitGroup
	for w := range writers {
		s := []*Store{a, b}[w%2]
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprint(w, "/", i)
				rev := set(t, s, key, "v")
				mu.Lock()
				if other, twice := byRev[rev]; twice {
					t.Errorf("revision %d is of %s and of %s", rev, other, key)
				}
				byRev[rev] = key
				mu.Unlock()
			}
		})
	}
	feeds := []store.Feed{watch(t, a, 0), watch(t, b, 0)}
	wg.Wait()
	for i, f := range feeds {
		last := store.Rev(0)
		for range writers * each {
			c, err := f.Next(t.Context())
			if err != nil || c.Rev != last+1 || len(c.Keys) != 1 || byRev[c.Rev] != c.Keys[0] {
				t.Fatalf("feed %d reports %v, %v after %d", i, c, err, last)
			}
			last = c.Rev
		}
	}
}

func watch(t testing.TB, s store.Store, after store.Rev) store.Feed {
	t.Helper()
	f, err := s.Watch(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestOneWinsOfTwoNodes has both nodes take the same key, many times.
func TestOneWinsOfTwoNodes(t *testing.T) {
	a, b := two(t)
	for i := range 50 {
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for _, s := range []*Store{a, b, a, b} {
			wg.Go(func() {
				key := fmt.Sprint("claim/", i)
				_, err := s.Commit(t.Context(), []store.Check{{Key: key}}, []store.Write{{Key: key, Value: []byte("mine")}})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrConflict):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 3 {
			t.Fatalf("%d won and %d lost", won.Load(), lost.Load())
		}
	}
}

// TestManyCommitsAreOneTransaction: what waits while one transaction is at the server is the next, however many commits that are. Each
// is judged by itself and has a revision of its own.
func TestManyCommitsAreOneTransaction(t *testing.T) {
	o := options(t.Name())
	o.Timeout = 30 * time.Second
	s := openTest(t, o)
	before := set(t, s, "k", "v")
	c, err := s.connect(t.Context())
	must(t, err)
	defer s.hang(c)
	for _, text := range []string{"set idle_in_transaction_session_timeout = 0", "begin", s.sql.head} { // so that commits wait
		_, err = c.Exec(t.Context(), text)
		must(t, err)
	}
	const commits = 60
	var made, refused atomic.Int64
	var wg sync.WaitGroup
	commit := func(key string) {
		wg.Go(func() {
			switch _, err := s.Commit(context.Background(), []store.Check{{Key: key}}, []store.Write{{Key: key}}); {
			case err == nil:
				made.Add(1)
			case errors.Is(err, store.ErrConflict):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	commit(fmt.Sprint(before, "/first"))
	until(t, "the first transaction waits", func() bool {
		return sql(t, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%"+o.Schema+"%'") == "1"
	})
	for i := range commits {
		commit(fmt.Sprint(before, "/", i/2)) // of two that want to be the first, one is
	}
	until(t, "the others gather", func() bool { return len(s.queue) == commits })
	_, err = c.Exec(t.Context(), "commit")
	must(t, err)
	wg.Wait()
	if made.Load() != 1+commits/2 || refused.Load() != commits/2 {
		t.Errorf("%d were made and %d refused of %d pairs and one", made.Load(), refused.Load(), commits/2)
	}
	// A transaction leaves one row in the change log.
	if rows := sql(t, fmt.Sprintf("select count(*) from %s.changes where first > %d", o.Schema, before)); rows != "2" {
		t.Errorf("one commit and %d that waited for it were %s transactions", commits, rows)
	}
	if rev, err := s.Sync(t.Context()); err != nil || rev != before+1+commits/2 {
		t.Errorf("after them the store is at %d, %v", rev, err)
	}
}

// TestHintsWakeFeeds: a feed reports another node's commit though no request asks for it and polls are an hour apart.
func TestHintsWakeFeeds(t *testing.T) {
	o := options(t.Name())
	o.Poll = 3600e9
	a, b := openTest(t, o), openTest(t, o)
	f := watch(t, b, 0)
	for i := 0; i < 300 && !strings.Contains(sql(t, "select query from pg_stat_activity"), "LISTEN \""+channel(o.Schema)); i++ {
	}
	rev := set(t, a, "k", "v")
	if c, err := f.Next(t.Context()); err != nil || c.Rev != rev {
		t.Errorf("the feed reports %v, %v", c, err)
	}
}

// TestPollsStandInForHints: without notifications feeds are late, not lost.
func TestPollsStandInForHints(t *testing.T) {
	o := options(t.Name())
	a, b := openTest(t, o), openTest(t, o)
	b.options.Schema = "elsewhere" // where it listens
	b.options.Poll = 50e6
	f := watch(t, b, 0)
	rev := set(t, a, "k", "v")
	if c, err := f.Next(t.Context()); err != nil || c.Rev != rev {
		t.Errorf("the feed reports %v, %v", c, err)
	}
}

func sql(t testing.TB, text string) string {
	t.Helper()
	out, err := server.Load().SQL(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestManyNodesStartAtOnce: one of them makes the tables.
func TestManyNodesStartAtOnce(t *testing.T) {
	o := options(t.Name())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			set(t, s, fmt.Sprint(i), "v")
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if es, err := openTest(t, o).List(t.Context(), store.Range{}); err != nil || len(es) != 8 {
		t.Errorf("%d of 8 nodes have written, %v", len(es), err)
	}
}

// TestLongKeys are longer than the index holds, and differ only behind what it does.
func TestLongKeys(t *testing.T) {
	s := openTest(t, options(t.Name()))
	front := strings.Repeat("\xffk", frontBytes/2)
	long := front + strings.Repeat("x", store.MaxKeyBytes+store.LayerKeyBytes-len(front)-1)
	keys := []string{front[:frontBytes-1], front, front + "\x00", front + "a", front + "a\x00", front + "b", long + "1", long + "2", "\xffl"}
	revs := map[string]store.Rev{}
	for _, i := range []int{3, 8, 0, 7, 5, 1, 6, 2, 4} {
		revs[keys[i]] = set(t, s, keys[i], strconv.Itoa(i))
	}
	feed := watch(t, openTest(t, options(t.Name())), 0)
	for range keys {
		if c, err := feed.Next(t.Context()); err != nil || revs[c.Keys[0]] != c.Rev {
			t.Errorf("the feed reports a key of %d bytes at %d, %v", len(c.Keys[0]), c.Rev, err)
		}
	}
	for from := range keys {
		for limit := range 4 {
			es, err := s.List(t.Context(), store.Range{Start: keys[from], Limit: limit})
			want := keys[from:]
			if limit > 0 {
				want = want[:min(limit, len(want))]
			}
			if err != nil || len(es) != len(want) {
				t.Fatalf("from %d, at most %d: %d entries, %v", from, limit, len(es), err)
			}
			for i, e := range es {
				if e.Key != want[i] || e.Rev != revs[want[i]] {
					t.Errorf("from %d, at most %d: entry %d is out of order", from, limit, i)
				}
			}
		}
		es, err := s.List(t.Context(), store.Range{Start: front + "a", End: keys[from]})
		if want := max(from-3, 0); err != nil || len(es) != want {
			t.Errorf("up to %d: %d entries, %v, want %d", from, len(es), err, want)
		}
	}
	if _, err := s.Commit(t.Context(), []store.Check{{Key: long + "1", Rev: revs[long+"2"]}}, nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a check of one long key is answered by another: %v", err)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: long + "1", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), long+"2"); err != nil || string(e.Value) != "7" {
		t.Errorf("removing one long key left another as %q, %v", e.Value, err)
	}
}

// TestListsWalkTheIndex: whatever the planner believes, a page costs what it holds.
func TestListsWalkTheIndex(t *testing.T) {
	s := openTest(t, options(t.Name()))
	for i := range 30 {
		var ws []store.Write
		for j := range store.MaxWrites {
			ws = append(ws, store.Write{Key: fmt.Sprintf("%02d/%03d", i, j), Value: []byte("v")})
		}
		if _, err := s.Commit(t.Context(), nil, ws); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.hang(c)
	for name, text := range map[string]string{
		"page":    bound(s.sql.list, `'\x30', '', true, 20, '\x40', ''`),
		"from":    bound(s.sql.listFrom, `'\x30', '', true, 20`),
		"prefix":  bound(s.sql.list, `'\x30352f', '', false, null, '\x303530', ''`),
		"revs":    bound(s.sql.revs, `array['\x30352f303031'::bytea], array[''::bytea]`),
		"remove":  bound(s.sql.remove, `array['\x30352f303031'::bytea], array[''::bytea]`),
		"get":     bound(s.sql.get, `'\x30352f303031', ''`),
		"changes": bound(s.sql.sync, `1`),
	} {
		plan := explain(t, c, text)
		if strings.Contains(plan, "Seq Scan on entries") || strings.Contains(plan, "Seq Scan on changes") || !strings.Contains(plan, "Index Scan using ") {
			t.Errorf("%s does not walk the index:\n%s", name, plan)
		}
		if strings.Contains(plan, "actual rows=3000") || name == "page" && !strings.Contains(plan, "Incremental Sort") {
			t.Errorf("%s reads more than it shows:\n%s", name, plan)
		}
	}
}

func explain(t *testing.T, c *pgx.Conn, text string) string {
	t.Helper()
	rows, err := c.Query(t.Context(), "explain (analyze, costs off, timing off) "+text)
	must(t, err)
	plan := ""
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		plan += line + "\n"
	}
	must(t, rows.Err())
	return plan
}

// bound puts values in the places of a statement's parameters.
func bound(text, values string) string {
	for i, v := range strings.Split(values, ", ") {
		if strings.HasPrefix(v, "'") {
			v += "::bytea"
		}
		text = strings.ReplaceAll(text, "$"+strconv.Itoa(i+1), v)
	}
	return text
}
