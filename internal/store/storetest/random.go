package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/store"
)

// testModel runs random programs against the engine and a sorted map at once.
func testModel(t *testing.T, cfg Config) {
	rapid.Check(t, func(rt *rapid.T) {
		f := start(t, cfg)
		m := &model{f: f, rows: map[string]store.Entry{}, feed: f.watch(0)}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": m.commit,
			"get":    m.get,
			"list":   m.list,
			"watch":  m.watch,
			"reopen": m.reopen,
		})
		m.watch(rt)
		if err := errors.Join(m.feed.Close(), f.Close()); err != nil {
			rt.Fatal(err)
		}
	})
}

// model is what the store must hold, and the commits the feed has yet to report.
type model struct {
	f       *fixture
	rows    map[string]store.Entry
	last    store.Rev
	seen    store.Rev
	pending []store.Change
	feed    store.Feed
}

var keys = rapid.SampledFrom([]string{"a", "a/", "a/b", "a/b/c", "a\xff", "a\xff\xff", "b", "b\x00", "\x00", "\xff", "\xff\xff"})

func (m *model) commit(t *rapid.T) {
	var checks []store.Check
	ok := true
	for _, k := range rapid.SliceOfNDistinct(keys, 0, 3, rapid.ID).Draw(t, "checks") {
		rev := m.rows[k].Rev
		if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
			rev = store.Rev(rapid.Uint64Range(0, uint64(m.last)+1).Draw(t, "rev"))
		}
		ok = ok && rev == m.rows[k].Rev
		checks = append(checks, store.Check{Key: k, Rev: rev})
	}
	var writes []store.Write
	for _, k := range rapid.SliceOfNDistinct(keys, 0, 5, rapid.ID).Draw(t, "writes") {
		w := store.Write{Key: k, Delete: rapid.Bool().Draw(t, "delete")}
		if !w.Delete {
			w.Value = rapid.SliceOf(rapid.Byte()).Draw(t, "value")
		}
		writes = append(writes, w)
	}
	rev, err := m.f.Commit(m.f.Context(), checks, writes)
	if !ok {
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("a stale check gave %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	m.apply(t, rev, writes)
}

// apply makes a commit's writes in the model.
func (m *model) apply(t *rapid.T, rev store.Rev, writes []store.Write) {
	var changed []string
	for _, w := range writes {
		if w.Delete && !m.rows[w.Key].Exists() {
			continue // an engine may leave it out
		}
		changed = append(changed, w.Key)
		delete(m.rows, w.Key)
		if !w.Delete {
			m.rows[w.Key] = store.Entry{Key: w.Key, Value: w.Value, Rev: rev}
		}
	}
	if rev < m.last || rev == m.last && len(changed) > 0 {
		t.Fatalf("revision %d after %d", rev, m.last)
	}
	m.last = rev
	if len(changed) > 0 {
		slices.Sort(changed)
		m.pending = append(m.pending, store.Change{Rev: rev, Keys: changed})
	}
}

func (m *model) get(t *rapid.T) {
	k := keys.Draw(t, "key")
	e, err := m.f.Get(m.f.Context(), k)
	want := m.rows[k]
	if err != nil || e.Key != k || e.Rev != want.Rev || !bytes.Equal(e.Value, want.Value) {
		t.Fatalf("Get(%q) = %v, %v; want %v", k, e, err, want)
	}
}

func (m *model) list(t *rapid.T) {
	r := store.Range{Limit: rapid.IntRange(0, 4).Draw(t, "limit"), KeysOnly: rapid.Bool().Draw(t, "keysOnly")}
	if rapid.Bool().Draw(t, "prefix") {
		p := store.Prefix(keys.Draw(t, "of"))
		r.Start, r.End = p.Start, p.End
	} else {
		r.Start = rapid.OneOf(keys, rapid.Just("")).Draw(t, "start")
		r.End = rapid.OneOf(keys, rapid.Just("")).Draw(t, "end")
	}
	got, err := m.f.List(m.f.Context(), r)
	if err != nil {
		t.Fatalf("List(%+v): %v", r, err)
	}
	equal := func(a, b store.Entry) bool {
		return a.Key == b.Key && a.Rev == b.Rev && bytes.Equal(a.Value, b.Value)
	}
	if want := m.expect(r); !slices.EqualFunc(got, want, equal) {
		t.Fatalf("List(%+v) = %v, want %v", r, got, want)
	}
}

func (m *model) expect(r store.Range) []store.Entry {
	var out []store.Entry
	for k, e := range m.rows {
		if k >= r.Start && (r.End == "" || k < r.End) {
			if r.KeysOnly {
				e.Value = nil
			}
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	if r.Limit > 0 && len(out) > r.Limit {
		out = out[:r.Limit]
	}
	return out
}

// watch reads the feed up to the present.
func (m *model) watch(t *rapid.T) {
	now := m.f.sync()
	if now < m.last {
		t.Fatalf("Sync = %d after commit %d", now, m.last)
	}
	for m.seen < now {
		c, err := m.feed.Next(m.f.Context())
		if err != nil || c.Rev < m.seen {
			t.Fatalf("Next = %v, %v after %d", c, err, m.seen)
		}
		m.seen = c.Rev
		if len(m.pending) == 0 || m.pending[0].Rev != c.Rev {
			continue // it only removed what was not there
		}
		for _, k := range m.pending[0].Keys {
			if !slices.Contains(c.Keys, k) || !slices.IsSorted(c.Keys) {
				t.Fatalf("Next = %v, want %v", c, m.pending[0])
			}
		}
		m.pending = m.pending[1:]
	}
	if len(m.pending) > 0 {
		t.Fatalf("the feed is at %d and has left out %v", m.seen, m.pending[0])
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.feed.Close(); err != nil {
		t.Fatal(err)
	}
	m.f.reopen()
	m.feed = m.f.watch(m.seen)
}

// testCounter has many transactions increment a few counters: none may be lost.
func testCounter(t *testing.T, cfg Config) {
	f := start(t, cfg)
	const workers, each, counters = 8, 25, 3
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := f.increment(fmt.Sprint("counter", (w+i)%counters)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f.reopen()
	sum := 0
	for i := range counters {
		sum += f.number(t, fmt.Sprint("counter", i))
	}
	if sum != workers*each {
		t.Errorf("%d increments were acknowledged and %d are there", workers*each, sum)
	}
}

func (f *fixture) increment(key string) error {
	_, err := store.Update(f.Context(), f.Store, func(tx *store.Tx) error {
		e, err := tx.Get(key)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(e.Value))
		tx.Put(key, []byte(strconv.Itoa(n+1)))
		return nil
	})
	return err
}

func (f *fixture) number(t *testing.T, key string) int {
	n, err := strconv.Atoi(string(f.get(key).Value))
	if err != nil {
		t.Errorf("%s: %v", key, err)
	}
	return n
}

// testBank moves money between accounts while readers add it up: a List is of
// one moment, so the sum is always the same.
func testBank(t *testing.T, cfg Config) {
	f := start(t, cfg)
	const accounts, start, workers, each = 5, 100, 4, 25
	for i := range accounts {
		f.set(fmt.Sprint("account/", i), strconv.Itoa(start))
	}
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { f.addUp(t, accounts*start, stop) })
	}
	for w := range workers {
		writers.Go(func() {
			for i := range each {
				from, to := (w+i)%accounts, (w+2*i+1)%accounts
				if err := f.move(fmt.Sprint("account/", from), fmt.Sprint("account/", to), 1+i%7); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func (f *fixture) move(from, to string, amount int) error {
	if from == to {
		return nil
	}
	_, err := store.Update(f.Context(), f.Store, func(tx *store.Tx) error {
		for key, by := range map[string]int{from: -amount, to: amount} {
			e, err := tx.Get(key)
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(e.Value))
			if err != nil {
				return err
			}
			tx.Put(key, []byte(strconv.Itoa(n+by)))
		}
		return nil
	})
	return err
}

// addUp lists all accounts until told to stop, and at least once.
func (f *fixture) addUp(t *testing.T, want int, stop <-chan struct{}) {
	for {
		es, err := f.List(t.Context(), store.Prefix("account/"))
		sum := 0
		for _, e := range es {
			n, nerr := strconv.Atoi(string(e.Value))
			sum, err = sum+n, errors.Join(err, nerr)
		}
		if err != nil || sum != want {
			t.Errorf("the accounts hold %d, want %d; %v", sum, want, err)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}
