package lease_test

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
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// committed counts commits.
type committed struct {
	store.Store
	n atomic.Int64
}

func (c *committed) Commit(ctx context.Context, checks []store.Check, ws []store.Write) (store.Rev, error) {
	c.n.Add(1)
	return c.Store.Commit(ctx, checks, ws)
}

// Leases that expire at once end by the page: a claim, an ending and a removal for
// each of the pages, and not for each of the leases. The control ends them one by one.
func TestExpiryByThePage(t *testing.T) {
	const leases = 10 * schedule.Together
	for _, c := range []struct {
		name  string
		pages bool
		least int64
		most  int64
	}{{"by the page", true, 20, 50}, {"control", false, 2 * leases, 3 * leases}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				phys := &committed{Store: mem.Open()}
				w := newWorld(t, phys, newLender())
				for range leases {
					w.lend(time.Hour, 0)
				}
				time.Sleep(time.Hour)
				before := phys.n.Load()
				r := &schedule.Runner{Store: w.bar, Now: time.Now, Handlers: w.s.Jobs(), Limit: 3 * schedule.Together}
				if c.pages {
					r.Pages = w.s.Pages()
				}
				stop := w.run(r)
				time.Sleep(time.Minute)
				stop()
				w.nothing()
				if n := phys.n.Load() - before; n < c.least || n > c.most {
					t.Errorf("%d leases took %d commits", leases, n)
				}
			})
		})
	}
}

// A lease that is renewed or revoked between the look at its page and the page's
// ending keeps what was done to it, and the others of the page end.
func TestChangesAtTheLastMomentOfAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phys := &meddled{Store: mem.Open()}
		w := newWorld(t, phys, newLender())
		renewed, renewedName := w.lend(time.Hour, 0)
		revoked, _ := w.lend(time.Hour, 0)
		_, otherName := w.lend(time.Hour, 0)
		at := time.Now().Add(59 * time.Minute) // when the renewal was asked for
		time.Sleep(time.Hour)
		meddle := func() {
			w.s.Now = func() time.Time { return at }
			c := w.call()
			c.Now = at
			_, err := w.s.Renew(c, &lease.RenewRequest{LeaseID: renewed.ID})
			w.must(err)
			w.must(w.s.Revoke(t.Context(), namespace.RootID, revoked.ID, true))
			w.s.Now = time.Now
		}
		phys.before = func() { phys.before = meddle } // after the claim comes the ending
		w.later(time.Second)
		if phys.before != nil || !w.engine.has(renewedName) {
			t.Error("a lease that had been renewed was ended")
		}
		if w.engine.has(otherName) || w.engine.times(otherName) != 1 {
			t.Errorf("the other was taken back %d times", w.engine.times(otherName))
		}
	})
}

// One lease of a page that its engine refuses to take back, one on which it hangs and one
// on which it panics hold up none of the others. Each is tried on alone, until it is told of as
// irrevocable, and the others are not asked for again.
func TestTroubleInAPage(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const n = 60
		var names []string
		for range n {
			_, name := w.lend(time.Hour, 0)
			names = append(names, name)
		}
		healed, tries := make(chan struct{}), atomic.Int64{}
		w.engine.asked = func(ctx context.Context, name string) error {
			select {
			case <-healed:
				return nil
			default:
			}
			switch name {
			case names[3]:
				tries.Add(1)
				return errors.New("refused")
			case names[30]:
				select {
				case <-healed:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			case names[50]:
				panic("a bug")
			}
			return nil
		}
		stop := w.runs(nil)
		time.Sleep(time.Hour + linger)
		synctest.Wait()
		if got := w.engine.count(); got != 3 {
			t.Errorf("%d are lent still, a moment after the end", got)
		}
		time.Sleep(10 * time.Minute)
		stuck, err := w.s.Count(w.call(), &lease.CountRequest{Type: "irrevocable"})
		if err != nil || stuck.LeaseCount != 2 {
			t.Errorf("%+v are irrevocable, %v", stuck, err)
		}
		if got := tries.Load(); got < 6 || got > 12 {
			t.Errorf("tried %d times in ten minutes", got)
		}
		close(healed)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		stop()
		w.nothing()
		for i, name := range names {
			if got := w.engine.times(name); got != 1 {
				t.Errorf("lease %d was taken back %d times", i, got)
			}
		}
	})
}

// linger is a little longer than an answer waits for the others of its page.
const linger = 200 * time.Millisecond

// A node that cannot commit a page as a whole commits what it can.
func TestPageThatTheStoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phys := &narrow{Store: mem.Open()}
		w := newWorld(t, phys, newLender())
		for range 30 {
			w.lend(time.Hour, 0)
		}
		phys.most = 8
		time.Sleep(time.Hour)
		w.later(time.Hour)
		w.nothing()
	})
}

// Leases whose engine keeps so much with them that a page is more than one commit
// takes are taken back like others: by a sweep, while the engine fails and after, and at
// their time.
func TestLeasesOfMuchData(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		lend := func() {
			for range 30 {
				w.lent++
				name := fmt.Sprintf("user-%d-%s", w.lent, strings.Repeat("x", 60<<10))
				w.engine.lend(name)
				_, err := w.s.Register(w.call(), &api.Lease{Kind: "user", TTL: time.Hour, Private: []byte(name)}, w.holder)
				w.must(err)
			}
		}
		lend()
		revoke := func() error {
			_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend/", Sync: true})
			return err
		}
		w.engine.breakWith(errors.New("down"))
		if err := revoke(); api.KindOf(err) != api.Unavailable {
			t.Errorf("of an engine that fails: %v", err)
		}
		w.engine.breakWith(nil)
		w.must(revoke())
		w.nothing()
		lend()
		w.later(time.Hour + time.Minute)
		w.nothing()
		_, err := w.s.Register(w.call(), &api.Lease{Kind: "user", TTL: time.Hour, Private: make([]byte, 256<<10+1)}, w.holder)
		if err == nil || !strings.Contains(err.Error(), "262145") {
			t.Errorf("more than a lease can be ended with was kept: %v", err)
		}
	})
}

// narrow is a store that takes few writes in one commit when most is set.
type narrow struct {
	store.Store
	most int
}

func (n *narrow) Commit(ctx context.Context, c []store.Check, ws []store.Write) (store.Rev, error) {
	if n.most > 0 && len(ws) > n.most {
		return 0, store.ErrTooLarge
	}
	return n.Store.Commit(ctx, c, ws)
}

// model is what leases are to be like.
type model struct {
	ends map[string]time.Time // by name: when the lease is over
	id   map[string]*lease.Lease
}

// Leases of random lengths, on two nodes of which one is killed at a random commit, are
// renewed and revoked at random: none is taken back before its end, each is after it,
// and, unless a node was killed or it was revoked or renewed at that moment, once.
func TestExpiryModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		kill := rapid.IntRange(-1, 40).Draw(r, "killed at commit")
		ttls := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 70).Draw(r, "minutes")
		renew := rapid.SliceOfN(rapid.IntRange(0, 3), len(ttls), len(ttls)).Draw(r, "renewed at minute")
		revoke := rapid.SliceOfN(rapid.IntRange(0, 6), len(ttls), len(ttls)).Draw(r, "revoked at minute")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			phys, e := mem.Open(), newLender()
			k := &killed{Store: phys}
			victim, w := newWorld(t, k, e), newWorld(t, phys, e)
			w.holder = victim.holder
			m := model{map[string]time.Time{}, map[string]*lease.Lease{}}
			for _, d := range ttls {
				l, name := w.lend(time.Duration(d)*time.Minute, 0)
				m.ends[name], m.id[name] = l.Expires, l
			}
			var mu sync.Mutex
			e.asked = func(_ context.Context, name string) error {
				mu.Lock()
				defer mu.Unlock()
				if time.Now().Before(m.ends[name]) {
					wrong = append(wrong, name+" was taken back before its end")
				}
				return nil
			}
			if kill >= 0 {
				k.arm(kill)
			}
			stopA, stopB := victim.runs(nil), w.runs(nil)
			for minute := range 6 {
				for i := range ttls {
					name := fmt.Sprintf("user-%d", i+1)
					if renew[i] == minute && minute > 0 {
						if a, err := w.renew(m.id[name], 2*time.Minute); err == nil {
							mu.Lock()
							m.ends[name] = time.Now().Add(a.LeaseDuration)
							mu.Unlock()
						}
					}
					if revoke[i] == minute {
						mu.Lock()
						m.ends[name] = time.Now()
						mu.Unlock()
						w.must(w.s.Revoke(context.Background(), namespace.RootID, m.id[name].ID, i%2 == 0))
					}
				}
				time.Sleep(time.Minute)
			}
			time.Sleep(time.Hour)
			stopA()
			stopB()
			w.nothing()
			for i := range ttls {
				name := fmt.Sprintf("user-%d", i+1)
				if n := e.times(name); n == 0 || n > 1 && !k.dead() && revoke[i] == 6 && renew[i] == 0 {
					wrong = append(wrong, fmt.Sprintf("%s was taken back %d times", name, n))
				}
			}
		})
		if len(wrong) > 0 || t.Failed() {
			r.Fatal(wrong)
		}
	})
}
