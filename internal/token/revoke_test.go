package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func TestRevokeTree(t *testing.T) {
	f := newFixture(t)
	top := f.child(f.root, `{}`)
	var below []string
	for range 70 { // more than a page
		c := f.child(top, `{}`)
		below = append(below, c, f.child(c, `{}`))
	}
	deep := top
	for range 40 {
		deep = f.child(deep, `{}`)
		below = append(below, deep)
	}
	free := f.child(top, `{"no_parent":true}`)
	batch := f.child(top, `{"type":"batch","policies":["p"]}`)
	if _, _, err := f.write(f.root, "revoke", `{"token":"`+top+`"}`); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(below, top, batch) {
		f.mustBe(c, false)
	}
	f.mustBe(free, true)
	f.mustBe(f.root, true)
	if rows := f.keys(); len(rows) != 4 { // root and free: a row and an accessor each
		t.Errorf("%d rows left: %v", len(rows), rows)
	}
}

func TestRevokeOrphanLeavesTheChildren(t *testing.T) {
	f := newFixture(t)
	top := f.child(f.root, `{}`)
	mid := f.child(top, `{}`)
	var kids []string
	for range 40 {
		kids = append(kids, f.child(mid, `{}`))
	}
	below := f.child(kids[0], `{}`)
	if _, _, err := f.write(f.root, "revoke-orphan", `{"token":"`+mid+`"}`); err != nil {
		t.Fatal(err)
	}
	f.mustBe(mid, false)
	if err := f.revoke(top); err != nil {
		t.Fatal(err)
	}
	for _, k := range append(kids, below) {
		f.mustBe(k, true)
	}
	if !f.describe(kids[0]).Orphan || f.describe(below).Orphan {
		t.Error("the children are not orphans, or the grandchild is")
	}
	plain := f.create(f.root, `{"policies":["default"]}`).ClientToken.Reveal()
	_, _, err := f.write(plain, "revoke-orphan", `{"token":"`+below+`"}`)
	f.refuses(api.Invalid, "root or sudo privileges required to revoke and orphan", err)
}

func (f *fixture) revoke(text string) error {
	_, _, err := f.write(f.root, "revoke", `{"token":"`+text+`"}`)
	return err
}

// breaking fails the n-th commit, in one of the two ways in which a commit can,
// and everything after it, as if the node had died.
type breaking struct {
	store.Store
	left    atomic.Int64 // commits until it breaks; negative: broken; 0: never breaks
	applied bool         // the failing commit is made all the same
}

var errBroken = errors.New("the node died")

func (b *breaking) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	if b.left.Load() == 0 {
		return b.Store.Commit(ctx, c, w)
	}
	n := b.left.Add(-1)
	if n == 0 {
		b.left.Store(-1)
		n = -1
		if b.applied {
			if _, err := b.Store.Commit(ctx, c, w); err != nil {
				return 0, err
			}
		}
		return 0, errBroken
	}
	if n < 0 {
		b.left.Store(-1)
		return 0, errBroken
	}
	return b.Store.Commit(ctx, c, w)
}

// A revocation that dies at any commit is finished by the schedule: nothing
// below a dead token is alive afterwards, and no row is left.
func TestRevokeSurvivesDeathAtEveryCommit(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, path := range []string{"revoke", "revoke-orphan"} {
			for n := 1; ; n++ {
				if done := revokeDyingAt(t, n, path, applied); done {
					if n < 3 {
						t.Fatalf("%s took only %d commits", path, n)
					}
					break
				}
			}
		}
	}
}

func revokeDyingAt(t *testing.T, n int, path string, applied bool) (done bool) {
	synctest.Test(t, func(t *testing.T) {
		broken := &breaking{Store: mem.Open(), applied: applied}
		var hooked sync.Map
		f := newFixtureOn(t, broken, func(c *Config) {
			c.Now = time.Now
			c.OnRevoke = []func(context.Context, string, string) error{func(_ context.Context, _, id string) error {
				hooked.Store(id, true)
				return nil
			}}
		})
		f.now = time.Now()
		top := f.child(f.root, `{"policies":["p"]}`)
		var below []string
		for range 3 {
			c := f.child(top, `{}`)
			below = append(below, c, f.child(c, `{}`), f.child(c, `{}`))
		}
		before := len(f.keys())
		broken.left.Store(int64(n))
		_, _, err := f.write(f.root, path, `{"token":"`+top+`"}`)
		done = err == nil
		broken.left.Store(0) // another node goes on with the same store
		topAlive := f.alive(top)
		f.run(f.s.Jobs(), time.Hour)
		if topAlive && n > 1 {
			t.Errorf("commit %d of %s: the token outlived the first commit", n, path)
		}
		orphaned := path == "revoke-orphan"
		for _, b := range below {
			if f.alive(b) != (topAlive || orphaned) {
				t.Errorf("commit %d of %s: a token below is alive: %v", n, path, f.alive(b))
			}
		}
		want := 2 // the root token
		switch {
		case topAlive:
			want = before
		case orphaned:
			want = before - 4 - 3 // its row, accessor, due-time and link, and three links to children
		}
		if got := len(f.keys()); got != want {
			t.Errorf("commit %d of %s: %d rows; want %d: %v", n, path, got, want, f.keys())
		}
		if !topAlive && !orphaned {
			count := 0
			hooked.Range(func(any, any) bool { count++; return true })
			if count != len(below)+1 {
				t.Errorf("commit %d of %s: %d of %d tokens were cleaned up after", n, path, count, len(below)+1)
			}
		}
	})
	return done
}

// run lets the schedule run, in a synctest bubble, for a time.
func (f *fixture) run(jobs map[string]schedule.Handler, d time.Duration) {
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	r := &schedule.Runner{Store: f.store, Now: time.Now, Handlers: jobs, Failed: func(it schedule.Item, err error) {
		f.t.Errorf("job %s: %v", it.Kind, err)
	}}
	if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		f.t.Errorf("the schedule ended with %v", err)
	}
	f.now = time.Now()
}

// Without the schedule the control is left with work undone.
func TestRevokeDeathControl(t *testing.T) {
	broken := &breaking{Store: mem.Open()}
	f := newFixtureOn(t, broken)
	top := f.child(f.root, `{}`)
	below := f.child(top, `{}`)
	broken.left.Store(2)
	if err := f.revoke(top); !errors.Is(err, errBroken) {
		t.Fatalf("revocation: %v", err)
	}
	broken.left.Store(0)
	f.mustBe(top, false)
	f.mustBe(below, true)
	if jobs := f.rows(kindRevoke); len(jobs) != 1 {
		t.Errorf("revocations to finish: %v", jobs)
	}
}

// Expiry takes the tree with it, and leaves no row.
func TestExpiryRevokesTheTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.Now = time.Now })
		f.now = time.Now()
		top := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
		below := f.child(top, `{"ttl":"100h"}`)
		renewed := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
		if _, _, err := f.write(renewed, "renew-self", `{"increment":"5h"}`); err != nil {
			t.Fatal(err)
		}
		f.run(f.s.Jobs(), 2*time.Hour)
		f.mustBe(top, false)
		f.mustBe(below, false)
		f.mustBe(renewed, true)
		f.run(f.s.Jobs(), 4*time.Hour)
		f.mustBe(renewed, false)
		if rows := f.keys(); len(rows) != 2 {
			t.Errorf("rows left: %v", rows)
		}
	})
}

// A crash after the last use and before the revocation is made good.
func TestLastUseIsRevokedBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.Now = time.Now })
		f.now = time.Now()
		text := f.child(f.root, `{"policies":["p"],"num_uses":1}`)
		if _, _, err := f.call(text, "lookup-self"); err != nil {
			t.Fatal(err)
		}
		f.mustBe(text, false)
		f.run(f.s.Jobs(), time.Hour)
		if rows := f.keys(); len(rows) != 2 {
			t.Errorf("rows left: %v", rows)
		}
	})
}

// Exactly as many requests succeed as uses were granted.
func TestUsesAreExact(t *testing.T) {
	for _, k := range []int{1, 2, 17, 63} {
		f := newFixture(t)
		text := f.child(f.root, fmt.Sprintf(`{"policies":["p"],"num_uses":%d}`, k))
		tok, err := f.lookup(text)
		if err != nil {
			t.Fatal(err)
		}
		var won, last atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				end, err := f.s.Use(context.Background(), tok)
				switch {
				case err == nil:
					won.Add(1)
				case api.KindOf(err) != api.Denied:
					t.Error(err)
				}
				if end {
					last.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != int64(k) || last.Load() != 1 {
			t.Errorf("%d uses of %d, %d of them the last", won.Load(), k, last.Load())
		}
		f.mustBe(text, false)
	}
}

// While a tree is being revoked its members try to have children; none survives.
func TestNoChildEscapesARevocation(t *testing.T) {
	for range 20 {
		f := newFixture(t)
		top := f.child(f.root, `{}`)
		parents := []string{top}
		for range 20 {
			parents = append(parents, f.child(parents[len(parents)-1], `{}`))
		}
		var born sync.Map
		var wg sync.WaitGroup
		for _, p := range parents[:8] {
			tok, err := f.lookup(p)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for range 30 {
					c := &Token{NamespaceID: RootNamespace, Type: Service, ParentID: tok.ID, ParentNamespace: RootNamespace, CreationTime: f.now}
					text, err := f.s.create(context.Background(), c, creation{})
					if err != nil {
						return
					}
					born.Store(text, true)
				}
			})
		}
		if err := f.revoke(top); err != nil {
			t.Fatal(err)
		}
		f.mustBe(parents[20], false)
		wg.Wait()
		born.Range(func(text, _ any) bool { f.mustBe(text.(string), false); return true })
		if rows := f.keys(); len(rows) != 2 {
			t.Fatalf("rows left: %v", rows)
		}
	}
}

// model is what the store should hold.
type model struct {
	parent map[string]string // text to the parent's; "" for an orphan
	ids    map[string]string // text to storage identity
}

func (m *model) kill(text string) {
	delete(m.parent, text)
	for c, p := range m.parent {
		if p == text {
			m.kill(c)
		}
	}
}

func (m *model) orphan(text string) {
	delete(m.parent, text)
	for c, p := range m.parent {
		if p == text {
			m.parent[c] = ""
		}
	}
}

// revoke-orphan/parent class: whatever is created, revoked and orphaned, the
// store's rows are those of the model, and no index row outlives its token.
func TestRandomTreesMatchModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t)
		m := &model{parent: map[string]string{}, ids: map[string]string{}}
		var all []string
		pick := func() string { return rapid.SampledFrom(all).Draw(rt, "token") }
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			op := rapid.IntRange(0, 9).Draw(rt, "op")
			switch {
			case op == 0 || len(all) == 0:
				all = append(all, f.child(f.root, `{"policies":["p"],"no_parent":true}`))
				m.parent[all[len(all)-1]] = ""
			case op <= 6:
				p := pick()
				if _, alive := m.parent[p]; !alive {
					continue
				}
				all = append(all, f.child(p, `{}`))
				m.parent[all[len(all)-1]] = p
			case op <= 8:
				text := pick()
				if err := f.revoke(text); err != nil {
					rt.Fatal(err)
				}
				m.kill(text)
			default:
				text := pick()
				_, alive := m.parent[text]
				_, _, err := f.write(f.root, "revoke-orphan", `{"token":"`+text+`"}`)
				if alive != (err == nil) {
					rt.Fatalf("orphaning a token that is alive=%v: %v", alive, err)
				}
				m.orphan(text)
			}
		}
		f.matches(rt, m, all)
	})
}

// matches compares every row with the model's.
func (f *fixture) matches(rt *rapid.T, m *model, all []string) {
	want := map[string]bool{}
	id := func(text string) string {
		h, err := testKeys{}.TokenHash(context.Background(), RootNamespace, text)
		if err != nil {
			rt.Fatal(err)
		}
		return h
	}
	for _, text := range all {
		p, alive := m.parent[text]
		if f.alive(text) != alive {
			rt.Fatalf("a token is alive: %v; want %v", !alive, alive)
		}
		if !alive {
			continue
		}
		want["root/token/id/"+id(text)] = true
		want["/token/"+id(text)] = true
		if p != "" {
			want["root/token/child/"+id(p)+"/root/"+id(text)] = true
		}
	}
	accessors := 0
	for _, k := range f.keys() {
		if strings.HasPrefix(k, "root/due/") {
			k = k[len("root/due/0000000000000000000"):]
		}
		if strings.HasPrefix(k, "root/token/accessor/") {
			accessors++
			continue
		}
		if !want[k] && k != "root/token/id/"+id(f.root) {
			rt.Fatalf("row %s should not be", k)
		}
		delete(want, k)
	}
	if len(want) != 0 || accessors != len(m.parent)+1 {
		rt.Fatalf("rows missing: %v; %d accessors for %d tokens", want, accessors, len(m.parent)+1)
	}
}

// Who revokes an ancestor must not take a dead token's children away from the
// revocation that is at work on them: that one would find none and answer while
// they live. So as long as a leaf lives, it hangs on its dead parent.
func TestRevocationsDoNotStealFromEachOther(t *testing.T) {
	for n := 1; ; n++ {
		broken := &breaking{Store: mem.Open()}
		f := newFixtureOn(t, broken)
		top := f.child(f.root, `{"policies":["p"]}`)
		mid := f.child(top, `{}`)
		tok, err := f.lookup(mid)
		if err != nil {
			t.Fatal(err)
		}
		var leaves []string
		for range 5 {
			leaves = append(leaves, f.child(mid, `{}`))
		}
		broken.left.Store(2)
		if err := f.revoke(mid); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		broken.left.Store(int64(n))
		err = f.revoke(top)
		broken.left.Store(0)
		alive := 0
		for _, l := range leaves {
			if f.alive(l) {
				alive++
			}
		}
		if links := f.rows("/child/" + tok.ID + "/"); len(links) < alive {
			t.Fatalf("commit %d: %d leaves live, %d hang on their parent", n, alive, len(links))
		}
		if err == nil {
			if n < 4 || alive > 0 {
				t.Fatalf("done after %d commits with %d leaves alive", n, alive)
			}
			return
		}
	}
}

// What was found alive may be dead when it is to be renewed.
func TestRenewalLooksAgain(t *testing.T) {
	f := newFixture(t)
	text := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
	tok, err := f.lookup(text)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := f.call(text, "renew-self")
	if err != nil {
		t.Fatal(err)
	}
	c.Now = tok.ExpireTime
	_, err = f.s.renew(c, tok, 0, api.Secret{})
	f.refuses(api.Invalid, "token not found", err)
	c.Now = f.now
	if err := f.revoke(text); err != nil {
		t.Fatal(err)
	}
	_, err = f.s.renew(c, tok, 0, api.Secret{})
	f.refuses(api.Invalid, "token not found", err)
	if rows := f.keys(); len(rows) != 2 {
		t.Errorf("rows left: %v", rows)
	}
}
