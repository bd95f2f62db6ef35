package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func TestLeaseEndsAtItsTime(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, short := w.lend(time.Hour, 0)
		long, renewed := w.lend(time.Hour, 0)
		stop := w.runs(func(_ schedule.Item, err error) { t.Error(err) })
		time.Sleep(30 * time.Minute)
		if _, err := w.renew(long, 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Minute - time.Second)
		synctest.Wait()
		if !w.engine.has(short) || !w.engine.has(renewed) {
			t.Error("a lease ended before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.engine.has(short) || !w.engine.has(renewed) {
			t.Error("the wrong lease ended")
		}
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		stop()
		w.nothing()
	})
}

// CVE-2021-32923: no renewal, however close to the end, makes a lease that does
// not end, or one that outlives its maximum.
func TestRenewalKeepsToTheMaximum(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		most := time.Duration(rapid.Int64Range(int64(time.Second), int64(100*time.Hour)).Draw(r, "max"))
		steps := rapid.SliceOfN(rapid.Int64Range(1, int64(most)), 1, 12).Draw(r, "steps")
		asked := rapid.SliceOfN(rapid.Int64Range(0, int64(200*time.Hour)), len(steps), len(steps)).Draw(r, "asked")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mem.Open(), newLender())
			l, _ := w.lend(most/2+1, most)
			expires := l.Expires
			for i, d := range steps {
				time.Sleep(time.Duration(d) / 8)
				alive := time.Now().Before(expires)
				a, err := w.renew(l, time.Duration(asked[i])/time.Second*time.Second)
				if alive != (err == nil) {
					wrong = fmt.Errorf("renewal at %s of a lease until %s: %v", time.Now(), expires, err)
					return
				}
				if err != nil {
					return
				}
				expires = time.Now().Add(a.LeaseDuration)
				if a.LeaseDuration <= 0 || expires.After(l.Issued.Add(most)) {
					wrong = fmt.Errorf("issued %s, maximum %s, renewed until %s", l.Issued, most, expires)
					return
				}
			}
		})
		if wrong != nil {
			r.Fatal(wrong)
		}
	})
}

func TestRevokeTwiceAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 20 {
			l, _ := w.lend(time.Hour, 0)
			var work sync.WaitGroup
			for i := range 8 {
				work.Go(func() {
					if err := w.s.Revoke(context.Background(), namespace.RootID, l.ID, i%2 == 0); err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
		}
		w.later(time.Minute)
		w.nothing()
	})
}

// A lease that ends while its engine is renewing it stays ended, and what the
// engine brought back is taken back once more.
func TestRenewAgainstRevoke(t *testing.T) {
	for name, end := range map[string]func(*world, *lease.Lease) error{
		"revoke": func(w *world, l *lease.Lease) error {
			return w.s.Revoke(context.Background(), namespace.RootID, l.ID, true)
		},
		"revoke later": func(w *world, l *lease.Lease) error {
			return w.s.Revoke(context.Background(), namespace.RootID, l.ID, false)
		},
		"token": func(w *world, _ *lease.Lease) error {
			return w.tokens.Revoke(context.Background(), namespace.RootID, w.holder.ID)
		},
		"time": func(_ *world, l *lease.Lease) error { time.Sleep(time.Until(l.Expires)); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				l, lent := w.lend(time.Hour, 0)
				w.engine.renewing = func() {
					if err := end(w, l); err != nil {
						t.Error(err)
					}
					w.engine.lend(lent) // after all that the ending did
				}
				_, err := w.renew(l, time.Hour)
				if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "lease not found") {
					t.Errorf("the renewal returned %v", err)
				}
				if w.engine.has(lent) {
					t.Error("the renewal brought back what had been taken back")
				}
				w.later(time.Minute)
				w.nothing()
			})
		})
	}
}

// A renewal that is committed between the schedule's look at a lease and its
// ending stands.
func TestRenewalAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phys := &meddled{Store: mem.Open()}
		w := newWorld(t, phys, newLender())
		l, name := w.lend(time.Hour, 0)
		at := time.Now().Add(59 * time.Minute) // when the renewal was asked for
		time.Sleep(time.Hour)
		phys.before = func() {
			w.s.Now = func() time.Time { return at }
			c := w.call()
			c.Now = at
			if _, err := w.s.Renew(c, &lease.RenewRequest{LeaseID: l.ID}); err != nil {
				t.Error(err)
			}
			w.s.Now = time.Now
		}
		end := w.s.Jobs()["lease"]
		if err := end(t.Context(), &schedule.Job{Item: schedule.Item{Namespace: namespace.RootID, Kind: "lease", ID: "x", Data: []byte(l.ID)}}); err != nil {
			t.Error(err)
		}
		if !w.engine.has(name) {
			t.Error("a lease that had been renewed was ended")
		}
	})
}

// meddled is a store in which something happens before the next commit.
type meddled struct {
	store.Store
	before func()
}

func (m *meddled) Commit(ctx context.Context, c []store.Check, ws []store.Write) (store.Rev, error) {
	if fn := m.before; fn != nil {
		m.before = nil
		fn()
	}
	return m.Store.Commit(ctx, c, ws)
}

// killed is a store that a node loses in the middle: from a commit on, all fail.
type killed struct {
	store.Store
	mu    sync.Mutex
	armed bool
	left  int
	died  bool
}

var errKilled = errors.New("the node was killed")

func (k *killed) arm(left int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed, k.left = true, left
}

func (k *killed) dead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.died
}

func (k *killed) Commit(ctx context.Context, c []store.Check, ws []store.Write) (store.Rev, error) {
	k.mu.Lock()
	if k.armed && k.left == 0 {
		k.died = true
		k.mu.Unlock()
		return 0, errKilled
	}
	k.left--
	k.mu.Unlock()
	return k.Store.Commit(ctx, c, ws)
}

// endings are all ways in which leases end.
func endings() map[string]func(*world, *lease.Lease) error {
	ctx := context.Background()
	return map[string]func(*world, *lease.Lease) error{
		"revoke":       func(w *world, l *lease.Lease) error { return w.s.Revoke(ctx, namespace.RootID, l.ID, true) },
		"revoke later": func(w *world, l *lease.Lease) error { return w.s.Revoke(ctx, namespace.RootID, l.ID, false) },
		"prefix": func(w *world, _ *lease.Lease) error {
			_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend", Sync: true})
			return err
		},
		"prefix later": func(w *world, _ *lease.Lease) error {
			_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend/creds"})
			return err
		},
		"token":  func(w *world, _ *lease.Lease) error { return w.tokens.Revoke(ctx, namespace.RootID, w.holder.ID) },
		"expiry": func(_ *world, l *lease.Lease) error { time.Sleep(time.Until(l.Expires)); return nil },
		"move":   func(w *world, _ *lease.Lease) error { return w.mounts.Move(ctx, namespace.RootID, "lend/", "loan/") },
	}
}

// A node that is killed at any commit of an ending leaves it to another node: in
// the end the engine has taken back what was lent, and no row is left.
func TestKilledEnding(t *testing.T) {
	for name, end := range endings() {
		t.Run(name, func(t *testing.T) {
			kills := 0
			for n := range 12 {
				synctest.Test(t, func(t *testing.T) {
					phys := mem.Open()
					k := &killed{Store: phys}
					e := newLender()
					w := newWorld(t, k, e)
					for range 3 {
						w.lend(time.Hour, 0)
					}
					l, _ := w.lend(time.Hour, 0)
					k.arm(n)
					stop := w.runs(nil)
					err := end(w, l)
					if err != nil && !k.dead() {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second)
					synctest.Wait()
					stop()
					if k.dead() {
						kills++
					}
					other := newWorld(t, phys, e)
					other.s.Log = w.s.Log
					stop = other.runs(func(it schedule.Item, err error) { t.Errorf("%s: %v", it.Kind, err) })
					time.Sleep(2 * time.Hour)
					synctest.Wait()
					stop()
					other.nothing()
				})
			}
			if kills < 2 {
				t.Errorf("the node was killed %d times", kills)
			}
		})
	}
}

// Between the engine's taking back and the removal of the row, the node dies:
// the engine is asked again.
func TestKilledBetweenRevokeAndRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phys, e := mem.Open(), newLender()
		k := &killed{Store: phys}
		w := newWorld(t, k, e)
		l, name := w.lend(time.Hour, 0)
		e.revoking = func() { k.arm(0) }
		if err := w.s.Revoke(context.Background(), namespace.RootID, l.ID, true); !errors.Is(err, errKilled) {
			t.Fatalf("returned %v", err)
		}
		e.revoking = nil
		other := newWorld(t, phys, e)
		if len(other.rows()) == 0 {
			t.Error("the row went before the answer")
		}
		other.later(time.Minute)
		other.nothing()
		if n := e.times(name); n != 2 {
			t.Errorf("the engine was asked %d times", n)
		}
	})
}

// A lease that its engine does not take back is told of as irrevocable, is tried
// on, and goes when the engine heals.
func TestIrrevocable(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		l, name := w.lend(time.Hour, 0)
		w.engine.breakWith(errors.New("password hunter2 refused"))
		stop := w.runs(nil)
		time.Sleep(time.Hour + 10*time.Second)
		count := func() int {
			a, err := w.s.Count(w.call(), &lease.CountRequest{Type: "irrevocable", Children: true})
			if err != nil {
				t.Fatal(err)
			}
			return a.LeaseCount
		}
		if n := count(); n != 0 {
			t.Errorf("%d irrevocable after few tries", n)
		}
		time.Sleep(10 * time.Minute)
		list, err := w.s.ListIrrevocable(w.call(), &lease.StuckRequest{Type: "irrevocable", Limit: "10"})
		if err != nil || len(list.Leases) != 1 || list.Leases[0].LeaseID != l.ID || !strings.HasPrefix(list.Leases[0].MountID, "lender_") {
			t.Fatalf("%+v, %v", list, err)
		}
		if strings.Contains(list.Leases[0].Error, "hunter2") || list.Leases[0].Error == "" {
			t.Errorf("the reason is %q", list.Leases[0].Error)
		}
		tries := w.engine.times(name)
		time.Sleep(time.Hour)
		if more := w.engine.times(name) - tries; more < 3 || more > 10 {
			t.Errorf("tried %d times in an hour", more)
		}
		w.engine.breakWith(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if n := count(); n != 0 {
			t.Errorf("%d irrevocable after it has healed", n)
		}
		w.nothing()
	})
}

// A request that lends while its mount or its token goes lends nothing.
func TestLateLender(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c := w.call()
		if err := w.tokens.Revoke(t.Context(), namespace.RootID, w.holder.ID); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.tryLend(c, time.Hour, 0); api.KindOf(err) != api.Denied {
			t.Errorf("a dead token: %v", err)
		}
		w.nothing()
		w.holder = w.token()
		if err := w.mounts.Move(t.Context(), namespace.RootID, "lend/", "loan/"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.tryLend(c, time.Hour, 0); api.KindOf(err) != api.Invalid {
			t.Errorf("a mount that was moved: %v", err)
		}
		w.later(time.Minute)
		w.nothing()
	})
}

// What could not be registered and not be taken back either is left to the
// schedule.
func TestUndoIsTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c := w.call()
		if err := w.tokens.Revoke(t.Context(), namespace.RootID, w.holder.ID); err != nil {
			t.Fatal(err)
		}
		w.engine.breakWith(errors.New("down"))
		if _, _, err := w.tryLend(c, time.Hour, 0); api.KindOf(err) != api.Denied {
			t.Errorf("a dead token: %v", err)
		}
		if w.engine.count() != 1 || len(w.rows()) != 2 {
			t.Errorf("%d lent, rows %v", w.engine.count(), w.rows())
		}
		w.engine.breakWith(nil)
		w.later(time.Minute)
		w.nothing()
	})
}

// A mount that is disabled can still take back what it has lent; a prefix of
// another mount's path does not end its leases.
func TestClearMount(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 70 {
			w.lend(time.Hour, 0)
		}
		mine := w.call().Mount
		w.engine.breakWith(errors.New("down"))
		if _, err := w.mounts.Disable(t.Context(), namespace.RootID, "lend/"); err != nil {
			t.Fatal(err)
		}
		if err := w.mounts.Enable(t.Context(), namespace.RootID, &mount.Entry{Path: "lend/", Type: "lender"}); err != nil {
			t.Fatal(err)
		}
		_, newer := w.lend(time.Hour, 0)
		if err := w.s.ClearMount(t.Context(), namespace.RootID, mine.ID, false); err == nil {
			t.Error("an engine that fails took its leases back")
		}
		w.engine.breakWith(nil)
		if err := w.s.ClearMount(t.Context(), namespace.RootID, mine.ID, false); err != nil {
			t.Error(err)
		}
		if w.engine.count() != 1 || !w.engine.has(newer) {
			t.Errorf("%d are lent", w.engine.count())
		}
		w.later(2 * time.Hour)
		w.nothing()
	})
}

func TestTidy(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		lost, _ := w.lend(time.Hour, 0)
		orphan, _ := w.lend(400*time.Hour, 0)
		_, kept := w.lend(400*time.Hour, 0)
		tidy := func() {
			if _, err := w.s.Tidy(w.call(), nil); err != nil {
				t.Fatal(err)
			}
			w.later(time.Minute)
		}
		tidy()
		if w.engine.count() != 3 {
			t.Fatal("what is in order was tidied away")
		}
		for _, k := range w.rows() { // as a partly restored store may be
			if strings.Contains(k, "/due/") && strings.HasSuffix(k, "/lease/"+lost.ID[strings.LastIndexByte(lost.ID, '/')+1:]) ||
				strings.HasSuffix(k, "id/"+orphan.ID) {
				if _, err := w.bar.Commit(t.Context(), nil, []store.Write{{Key: k, Delete: true}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.engine.revoke(nil, &api.Held{Private: orphan.Private})
		time.Sleep(3 * time.Hour)
		w.later(time.Minute)
		if w.engine.count() != 2 {
			t.Fatalf("%d are lent: the control is not lost", w.engine.count())
		}
		tidy()
		if w.engine.count() != 1 || !w.engine.has(kept) {
			t.Errorf("%d are lent", w.engine.count())
		}
		w.later(500 * time.Hour)
		w.nothing()
	})
}

// FuzzRequests asks with any lease id: none is an internal error, and what is
// not a lease's id is nobody's.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{"", "/", "lend/creds/app/x", "auth/token/create/h", "auth/token/create/hff.root", "auth//h/", "\x00", "a/b.c"} {
		f.Add(s)
	}
	w := newWorld(f, mem.Open(), newLender())
	c := w.call()
	f.Fuzz(func(t *testing.T, id string) {
		if len(id) > 2000 {
			return
		}
		if _, err := w.s.Lookup(c, &lease.LookupRequest{LeaseID: id}); api.KindOf(err) != api.Invalid {
			t.Errorf("look-up: %v", err)
		}
		if _, err := w.s.Renew(c, &lease.RenewRequest{LeaseID: id}); api.KindOf(err) != api.Invalid {
			t.Errorf("renewal: %v", err)
		}
		if _, err := w.s.RevokeLease(c, &lease.RevokeRequest{URLLeaseID: id}); id != "" && err != nil {
			t.Errorf("revocation: %v", err)
		}
	})
}

// counted counts what is read.
type counted struct {
	store.Store
	mu      sync.Mutex
	entries int
}

func (c *counted) Get(ctx context.Context, key string) (store.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries++
	return c.Store.Get(ctx, key)
}

func (c *counted) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := c.Store.List(ctx, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries += len(es)
	return es, err
}

// A start reads as much with a hundred thousand leases as with none.
func TestStartReadsNoLeases(t *testing.T) {
	reads := func(leases int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			phys := mem.Open()
			w := newWorld(t, phys, newLender())
			fill(t, phys, leases)
			c := &counted{Store: phys}
			again := newWorld(t, c, w.engine)
			stop := again.runs(func(_ schedule.Item, err error) { t.Error(err) })
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			n = c.entries
		})
		return n
	}
	few, many := reads(1), reads(100_000)
	if few == 0 || many > few+1 {
		t.Errorf("%d entries were read with one lease, %d with many", few, many)
	}
}

// fill writes rows as leases have them, with values that nobody reads.
func fill(t *testing.T, phys store.Store, n int) {
	t.Helper()
	var ws []store.Write
	flush := func() {
		if _, err := phys.Commit(t.Context(), nil, ws); err != nil {
			t.Fatal(err)
		}
		ws = nil
	}
	for i := range n {
		at := time.Now().Add(time.Hour + time.Duration(i)).UnixNano()
		ws = append(ws, store.Write{Key: fmt.Sprintf("d/root/lease/id/lend/creds/app/%07d", i), Value: []byte("x")},
			store.Write{Key: fmt.Sprintf("d/root/due/%019d/lease/%07d", at, i), Value: []byte("x")})
		if len(ws) == store.MaxWrites {
			flush()
		}
	}
	if len(ws) > 0 {
		flush()
	}
}

// A path that is revoked again while the sweep of it is at work is revoked anew: the sweep may be past what was lent since.
func TestPathRevokedWhileItIsSwept(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.lend(1000*time.Hour, 0)
		_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend"})
		w.must(err)
		var again sync.Once
		w.engine.asked = func(context.Context, string) error {
			again.Do(func() {
				w.lend(1000*time.Hour, 0)
				_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend"})
				w.must(err)
			})
			return nil
		}
		w.later(time.Minute)
		w.nothing()
	})
}

// Sweeps that were recorded before those of a path had a row still run.
func TestSweepWithoutARow(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.lend(1000*time.Hour, 0)
		_, err := store.Update(t.Context(), w.bar, func(tx *store.Tx) error {
			data := fmt.Appendf(nil, `{"prefix":"lend/","before":%q}`, time.Now().Format(time.RFC3339Nano))
			return schedule.Add(tx, schedule.Item{Namespace: namespace.RootID, At: time.Now(), Kind: "lease-sweep", ID: "OLD", Data: data})
		})
		w.must(err)
		w.later(time.Minute)
		w.nothing()
	})
}
