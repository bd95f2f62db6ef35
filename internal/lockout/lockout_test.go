package lockout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// counted is a store that counts commits.
type counted struct {
	store.Store
	commits atomic.Int64
}

func (s *counted) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	s.commits.Add(1)
	return s.Store.Commit(ctx, c, w)
}

// world is some nodes on one store.
type world struct {
	t        *testing.T
	data     *counted
	nodes    []*Store
	settings Settings
	now      time.Time
}

func newWorld(t *testing.T, nodes int) *world {
	w := &world{t: t, data: &counted{Store: mem.Open()}, settings: Defaults(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	t.Cleanup(func() {
		if err := w.data.Close(); err != nil {
			t.Error(err)
		}
	})
	for range nodes {
		cache, err := store.NewCache(t.Context(), w.data)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cache.Close(); err != nil {
				t.Error(err)
			}
		})
		w.nodes = append(w.nodes, New(Config{Store: w.data, Cache: cache,
			Settings: func(*api.Call) (Settings, error) { return w.settings, nil },
			Rows:     func(ns, m string) string { return ns + "/m/" + m + "/lockout/" },
			Hash: func(_ context.Context, ns, text string) (string, error) {
				h := sha256.Sum256([]byte(ns + text))
				return hex.EncodeToString(h[:]), nil
			},
			Mounts: func(*api.Call) ([]api.Mount, error) {
				return []api.Mount{{ID: "m1", Accessor: "userpass_1"}, {ID: "m2", Accessor: "userpass_2"}}, nil
			},
			Alone: func() bool { return nodes == 1 }}))
	}
	return w
}

func (w *world) call() *api.Call {
	return &api.Call{Context: w.t.Context(), Now: w.now, Namespace: api.Namespace{ID: "root"}, Mount: api.Mount{ID: "m1", Accessor: "userpass_1"}}
}

// try shows a credential on a node and reports whether it was let in, and looked at.
func (w *world) try(node int, account string, right bool) (in, looked bool) {
	w.t.Helper()
	in, err := w.nodes[node].Attempt(w.call(), account, func() (bool, error) { looked = true; return right, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return in, looked
}

// CVE-2025-6004: an account is locked at exactly the threshold, wherever the wrong
// credentials were shown, and then not even the right one is.
func TestCVE_2025_6004_LocksAtExactlyN(t *testing.T) {
	w := newWorld(t, 3)
	for i := range 4 {
		if in, looked := w.try(i%3, "ann", false); in || !looked {
			t.Fatalf("attempt %d: in=%v looked=%v", i, in, looked)
		}
	}
	if in, _ := w.try(0, "ann", true); !in {
		t.Fatal("after four wrong ones the right one is refused")
	}
	for i := range 5 { // a success begins anew
		if in, looked := w.try(i%3, "ann", false); in || !looked {
			t.Fatalf("attempt %d: in=%v looked=%v", i, in, looked)
		}
	}
	for i := range 6 {
		if in, looked := w.try(i%3, "ann", true); in || looked {
			t.Fatalf("a locked account: in=%v looked=%v", in, looked)
		}
	}
	if in, _ := w.try(0, "bob", true); !in {
		t.Error("another account is locked as well")
	}
	w.now = w.now.Add(15*time.Minute - time.Second)
	if in, looked := w.try(1, "ann", true); in || looked {
		t.Error("unlocked before its time")
	}
	w.now = w.now.Add(time.Second)
	if in, _ := w.try(2, "ann", true); !in {
		t.Error("still locked after its time")
	}
}

func TestFailuresAreForgotten(t *testing.T) {
	w := newWorld(t, 1)
	for round := range 3 {
		for range 4 {
			w.try(0, "ann", false)
		}
		w.now = w.now.Add(15 * time.Minute)
		if _, looked := w.try(0, "ann", false); !looked {
			t.Fatalf("round %d: locked by failures that are too old", round)
		}
		w.now = w.now.Add(15 * time.Minute)
	}
}

// Of concurrent guesses with the right one among them, no more have an effect than are
// allowed: in whatever order they fall, the right one is let in only before the last.
func TestConcurrentGuesses(t *testing.T) {
	for trial := range 30 {
		w := newWorld(t, 3)
		var wg sync.WaitGroup
		var wrong, in, looked atomic.Int64
		var locked atomic.Bool
		for g := range 48 {
			wg.Go(func() {
				ok, err := w.nodes[g%3].Attempt(w.call(), "ann", func() (bool, error) {
					looked.Add(1)
					if locked.Load() {
						return true, nil
					}
					return false, nil
				})
				switch {
				case err != nil:
					t.Error(err)
				case ok:
					in.Add(1)
				case wrong.Add(1) == 5+3: // all that may have been under way have been counted
					locked.Store(true)
				}
			})
		}
		wg.Wait()
		if in.Load() != 0 {
			t.Errorf("trial %d: %d were let in after the account was locked", trial, in.Load())
		}
		if n := looked.Load(); n > 5+2 { // one on each node begins before there are failures
			t.Errorf("trial %d: %d credentials were looked at", trial, n)
		}
		if ok, seen := w.try(0, "ann", true); ok || seen {
			t.Errorf("trial %d: the account is not locked", trial)
		}
	}
}

// On a node alone, no more are even looked at.
func TestConcurrentGuessesOnOneNode(t *testing.T) {
	for range 30 {
		w := newWorld(t, 1)
		var wg sync.WaitGroup
		var looked atomic.Int64
		for range 48 {
			wg.Go(func() {
				if _, err := w.nodes[0].Attempt(w.call(), "ann", func() (bool, error) { looked.Add(1); return false, nil }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if looked.Load() > 5 {
			t.Errorf("%d credentials were looked at", looked.Load())
		}
	}
}

// What is being checked when the first failure is counted counts as well: nothing more
// is looked at before it is known how that came out.
func TestChecksUnderWayCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		var wg sync.WaitGroup
		var looked atomic.Int64
		try := func(wait <-chan struct{}) {
			wg.Go(func() {
				if _, err := w.nodes[0].Attempt(w.call(), "ann", func() (bool, error) { looked.Add(1); <-wait; return false, nil }); err != nil {
					t.Error(err)
				}
			})
		}
		slow, at := make(chan struct{}), make(chan struct{})
		close(at)
		for range 4 {
			try(slow)
		}
		synctest.Wait()
		for range 6 {
			try(at)
		}
		synctest.Wait()
		close(slow)
		wg.Wait()
		if looked.Load() != 5 {
			t.Errorf("%d credentials were looked at, want 5", looked.Load())
		}
	})
}

// A credential that was found right only after the account was locked by others is of no
// use.
func TestRightButLate(t *testing.T) {
	w := newWorld(t, 2)
	in, err := w.nodes[0].Attempt(w.call(), "ann", func() (bool, error) {
		for range 5 {
			w.try(1, "ann", false)
		}
		return true, nil
	})
	if err != nil || in {
		t.Errorf("let in although locked: %v, %v", in, err)
	}
}

// Who has never failed costs the store nothing; whoever fails costs it one commit, if the
// account is locked too.
func TestCommits(t *testing.T) {
	w := newWorld(t, 1)
	for range 10 {
		w.try(0, "ann", true)
	}
	if n := w.data.commits.Load(); n != 0 {
		t.Errorf("%d commits for logins without failures", n)
	}
	for i := range 10 {
		before := w.data.commits.Load()
		w.try(0, "bob", false)
		if n := w.data.commits.Load() - before; n != 1 {
			t.Errorf("failure %d: %d commits", i, n)
		}
	}
}

func TestErrorsAreNoFailures(t *testing.T) {
	w := newWorld(t, 1)
	down := errors.New("the directory cannot be reached")
	for _, before := range []int{0, 1, 4} {
		for range before {
			w.try(0, "ann", false)
		}
		for range 10 {
			if _, err := w.nodes[0].Attempt(w.call(), "ann", func() (bool, error) { return false, down }); !errors.Is(err, down) {
				t.Fatal(err)
			}
		}
		if in, _ := w.try(0, "ann", true); !in {
			t.Errorf("after %d failures, errors have locked the account", before)
		}
	}
}

// Random names fill nothing, and do not make a known account's failures forgotten.
func TestRandomNames(t *testing.T) {
	w := newWorld(t, 1)
	for range 5 {
		w.try(0, "locked", false)
	}
	for range 4 {
		w.try(0, "almost", false)
	}
	a := &attempt{store: w.nodes[0], call: w.call(), settings: w.settings}
	r := &row{Entries: []entry{{"locked", 5, w.now}, {"almost", 4, w.now}}}
	for i := range 10_000 {
		a.account = fmt.Sprint(i)
		a.count(r)
	}
	if len(r.Entries) != ways || r.find("locked") == nil || r.find("almost") == nil {
		t.Errorf("%d entries; locked=%v almost=%v", len(r.Entries), r.find("locked"), r.find("almost"))
	}
	for i := range 2_000 {
		w.try(0, fmt.Sprint("nobody", i), false)
	}
	es, err := w.data.List(t.Context(), store.Prefix("root/m/m1/lockout/"))
	if err != nil || len(es) > places || len(es) < places/2 {
		t.Errorf("%d rows, %v", len(es), err)
	}
	if in, looked := w.try(0, "locked", true); in || looked {
		t.Error("random names have unlocked an account")
	}
	if in, looked := w.try(0, fmt.Sprintf("%0600d", 1), true); in || looked {
		t.Error("a name of 600 bytes is an account")
	}
}

func TestDisabled(t *testing.T) {
	w := newWorld(t, 1)
	w.settings.Disabled = true
	for range 20 {
		w.try(0, "ann", false)
	}
	if in, _ := w.try(0, "ann", true); !in || w.data.commits.Load() != 0 {
		t.Errorf("in=%v after %d commits", in, w.data.commits.Load())
	}
}

func TestListAndUnlock(t *testing.T) {
	w := newWorld(t, 1)
	s := w.nodes[0]
	for _, name := range []string{"ann", "bob", "cy/1"} {
		for range 5 {
			w.try(0, name, false)
		}
	}
	w.try(0, "dan", false)
	got, err := s.Locked(w.call(), &LockedRequest{})
	if err != nil || got.Total != 3 || len(got.ByNamespace) != 1 || !slices.Equal(got.ByNamespace[0].MountAccessors[0].AliasIdentifiers, []string{"ann", "bob", "cy/1"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := s.Locked(w.call(), &LockedRequest{MountAccessor: "userpass_2"}); err != nil || got.Total != 0 {
		t.Errorf("another method: %+v, %v", got, err)
	}
	for _, name := range []string{"ANN", "cy/1", "nobody"} {
		if _, err := s.Unlock(w.call(), &UnlockRequest{MountAccessor: "userpass_1", AliasIdentifier: name}); err != nil {
			t.Fatal(err)
		}
	}
	if in, _ := w.try(0, "ann", true); !in {
		t.Error("ann is still locked")
	}
	if in, _ := w.try(0, "bob", true); in {
		t.Error("bob was unlocked with ann")
	}
	if _, err := s.Unlock(w.call(), &UnlockRequest{MountAccessor: "nothing_1", AliasIdentifier: "bob"}); api.KindOf(err) != api.Invalid {
		t.Errorf("no such method: %v", err)
	}
}

// A damaged row lets nobody in whom it may have locked, and nobody's credential be looked at; who has another is let in, and the
// accounts that are locked are named without it.
func TestDamagedRowUnlocksNobody(t *testing.T) {
	w := newWorld(t, 1)
	s := w.nodes[0]
	for _, name := range []string{"ann", "bob"} {
		for range 5 {
			w.try(0, name, false)
		}
	}
	key, err := s.place(w.call(), "m1", "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.data.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	in, err := s.Attempt(w.call(), "ann", func() (bool, error) { t.Error("a credential is looked at"); return true, nil })
	if in || !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("who may be locked is let in: %v, %v", in, err)
	}
	if in, _ := w.try(0, "dan", true); !in {
		t.Error("who has another row is kept out")
	}
	c := w.call()
	got, err := s.Locked(c, &LockedRequest{})
	if err != nil || got.Total != 1 || !slices.Equal(got.ByNamespace[0].MountAccessors[0].AliasIdentifiers, []string{"bob"}) || !strings.Contains(strings.Join(c.Warnings(), ""), key) {
		t.Errorf("locked are %+v, %v, with the warnings %q", got, err, c.Warnings())
	}
}

func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"entries":[{"account":"ann","failures":5,"last":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeRow(store.Entry{Key: "k", Value: value, Rev: 1})
		if err != nil {
			return
		}
		r.tidy(Defaults(), time.Unix(0, 0))
		if e := r.room("x", Defaults()); e.Account != "x" {
			t.Error("no room")
		}
	})
}

// However many accounts are locked, an answer names no more than a thousand of them, counts all, and says how to go on.
func TestLockedAccountsComeInPages(t *testing.T) {
	w := newWorld(t, 1)
	const many = 2 * maxListed / 3
	for i := range many {
		for _, m := range []string{"m1", "m2"} {
			c := w.call()
			c.Mount = api.Mount{ID: m}
			a := &attempt{store: w.nodes[0], call: c, settings: w.settings, account: fmt.Sprintf("user%04d", i)}
			a.key = fmt.Sprintf("root/m/%s/lockout/%03x", m, i)
			if _, err := a.change(func(a *attempt, r *row) bool { a.count(r); r.Entries[0].Failures = w.settings.Threshold; return true }); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask := func(q LockedRequest) (*LockedAnswer, [][]string, string) {
		c := w.call()
		a, err := w.nodes[0].Locked(c, &q)
		if err != nil || a.Total != many*max(1, len(a.ByNamespace[0].MountAccessors)) || a.ByNamespace[0].Counts != a.Total {
			t.Fatalf("%+v: %+v, %v", q, a, err)
		}
		var names [][]string
		for _, m := range a.ByNamespace[0].MountAccessors {
			if m.Counts != many {
				t.Errorf("%+v: %d of a mount", q, m.Counts)
			}
			names = append(names, m.AliasIdentifiers)
		}
		return a, names, strings.Join(c.Warnings(), "\n")
	}
	if _, names, warned := ask(LockedRequest{}); len(names[0]) != many || len(names[1]) != maxListed-many || warned == "" {
		t.Errorf("%d and %d are named, and warned of %q", len(names[0]), len(names[1]), warned)
	}
	if _, names, warned := ask(LockedRequest{MountAccessor: "userpass_2"}); len(names[0]) != many || warned != "" {
		t.Errorf("of one mount %d are named, and warned of %q", len(names[0]), warned)
	}
	var all []string
	for after := ""; ; {
		_, names, warned := ask(LockedRequest{MountAccessor: "userpass_2", After: after, Limit: 100})
		all = append(all, names[0]...)
		if after = all[len(all)-1]; warned == "" {
			break
		}
	}
	if len(all) != many || !slices.IsSorted(all) || len(slices.Compact(all)) != many {
		t.Errorf("page by page %d are named", len(all))
	}
	if _, names, _ := ask(LockedRequest{MountAccessor: "userpass_2", After: "z"}); names[0] == nil || len(names[0]) != 0 {
		t.Errorf("behind the last: %v", names)
	}
}
