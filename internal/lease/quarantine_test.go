package lease_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// isolate puts a world into the quarantine of a restore.
func (w *world) isolate(id string) {
	w.t.Helper()
	w.must(lease.Isolate(w.t.Context(), w.bar, lease.Quarantine{ID: id, Since: time.Now(), Taken: time.Now()}))
	w.fresh()
}

func (w *world) resume() *lease.QuarantineAnswer {
	w.t.Helper()
	a, err := w.s.EndQuarantine(w.call(), nil)
	w.must(err)
	w.fresh()
	return a
}

// due is how many rows of leases the schedule has.
func (w *world) due() (n int) {
	for _, key := range w.rows() {
		if strings.HasPrefix(key, "root/due/") {
			n++
		}
	}
	return n
}

// What came with a snapshot ends and is not taken back before the quarantine ends,
// however it ends: by its time, by its token's end, by being revoked, with and without
// waiting, below a prefix, and by force. What was lent since is taken back meanwhile.
// Without a quarantine all of it is taken back at once.
func TestQuarantine(t *testing.T) {
	for name, held := range map[string]bool{"held": true, "control": false} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				many := 3 * schedule.Together
				for range many {
					w.lend(time.Hour, 0)
				}
				revoked, _ := w.lend(100*time.Hour, 0)
				waited, _ := w.lend(100*time.Hour, 0)
				forced, _ := w.lend(100*time.Hour, 0)
				_, dies := w.lend(100*time.Hour, 0)
				if held {
					w.isolate("one")
				}
				own, ownName := w.lend(2*time.Hour, 0)
				if _, err := w.renew(own, time.Hour); err != nil {
					t.Errorf("renewing what is this store's: %v", err)
				}
				w.must(w.s.Revoke(t.Context(), namespace.RootID, revoked.ID, false))
				refused(t, "waiting for one", held, w.s.Revoke(t.Context(), namespace.RootID, waited.ID, true))
				_, err := w.s.RevokeForce(w.call(), &lease.ForceRequest{Prefix: forced.ID})
				refused(t, "one by force", held, err)
				w.later(24 * time.Hour)
				if w.engine.has(ownName) {
					t.Error("what was lent in quarantine was not taken back at its time")
				}
				if _, err := w.renew(revoked, time.Hour); err == nil {
					t.Error("a lease that was revoked was renewed")
				}
				w.must(w.tokens.Revoke(t.Context(), namespace.RootID, w.holder.ID))
				w.later(time.Hour)
				if held {
					if n := w.engine.count(); n != many+4 || !w.engine.has(dies) {
						t.Errorf("%d things are still lent, not %d", n, many+4)
					}
					if n := w.due(); n > 0 {
						t.Errorf("%d rows of the schedule stand in the way of others", n)
					}
					if a := w.resume(); a.Held || a.Resumed == nil {
						t.Errorf("%+v", a)
					}
					w.later(time.Minute)
				}
				if n := w.engine.count(); n > 0 {
					t.Errorf("%d things are still lent in the end", n)
				}
			})
		})
	}
}

// refused fails unless who waits for a lease is told that it is held, and how to go on.
func refused(t *testing.T, what string, held bool, err error) {
	t.Helper()
	var told *api.Error
	if held && (!errors.As(err, &told) || told.Kind != api.Unavailable || !strings.Contains(told.Hint, lease.Resume)) || !held && err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// A quarantine that has ended does not begin again by the same restore, and does by
// another: then what was lent in the first is held too.
func TestQuarantineIsOneForEachRestore(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.isolate("one")
		_, first := w.lend(time.Hour, 0)
		w.resume()
		w.isolate("one")
		if q, err := w.s.Quarantine(t.Context()); err != nil || q.Holds() {
			t.Fatalf("it began again: %+v, %v", q, err)
		}
		w.isolate("two")
		w.later(2 * time.Hour)
		if !w.engine.has(first) {
			t.Error("a copy of a copy took back what the first one lent")
		}
		w.resume()
		w.later(time.Minute)
		if w.engine.has(first) {
			t.Error("nothing was taken back in the end")
		}
	})
}

// A lease is not parked by a node that has not heard that the quarantine has ended: it
// would stay parked.
func TestNothingIsParkedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, phys := newLender(), mem.Open()
		late := &slowToPark{Store: phys}
		w := newWorld(t, late, e)
		other := newWorld(t, phys, e)
		w.lend(time.Hour, 0)
		w.isolate("one")
		time.Sleep(time.Hour)
		late.meanwhile = sync.OnceFunc(func() {
			other.resume()
			other.later(5 * time.Second) // what is parked is put back, which is nothing yet; less than a claim lasts
		})
		stop := w.runs(func(schedule.Item, error) {})
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if n := w.engine.count(); n > 0 {
			t.Errorf("%d leases stay parked", n)
		}
	})
}

// slowToPark is a store in which something happens before the first lease is parked.
type slowToPark struct {
	store.Store
	meanwhile func()
}

func (s *slowToPark) Commit(ctx context.Context, c []store.Check, ws []store.Write) (store.Rev, error) {
	if slices.ContainsFunc(ws, func(w store.Write) bool { return strings.Contains(w.Key, "/lease/parked/") && !w.Delete }) {
		s.meanwhile()
	}
	return s.Store.Commit(ctx, c, ws)
}

// What is damaged of one lease that is held keeps no other from being taken back: a row of a
// lease, and one that says it is parked.
func TestHeldBesideDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phys := mem.Open()
		w := newWorld(t, phys, newLender())
		var ids []string
		for range 10 {
			l, _ := w.lend(time.Hour, 0)
			ids = append(ids, l.ID)
		}
		slices.Sort(ids)
		w.isolate("one")
		w.later(2 * time.Hour)
		_, err := w.bar.Commit(t.Context(), nil, []store.Write{{Key: "root/lease/id/" + ids[0], Value: []byte("{")}})
		w.must(err)
		es, err := phys.List(t.Context(), store.Range{})
		w.must(err)
		for _, e := range es {
			if strings.HasSuffix(e.Key, "lease/parked/root/"+ids[5]) {
				e.Value = slices.Clone(e.Value)
				e.Value[len(e.Value)-1] ^= 1
				_, err := phys.Commit(t.Context(), nil, []store.Write{{Key: e.Key, Value: e.Value}})
				w.must(err)
			}
		}
		w.resume()
		told := 0
		stop := w.runs(func(it schedule.Item, err error) {
			if told++; !strings.Contains(err.Error(), ids[0]) {
				t.Errorf("%s: %v", it.Kind, err)
			}
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		if n := w.engine.count(); n != 1 || told == 0 {
			t.Errorf("%d of 10 are still lent, and it was told of %d times; want the damaged one alone", n, told)
		}
	})
}

// What came with a snapshot and ends while it is renewed is not taken back either: an engine
// is asked to make it live on, and not to end it.
func TestRenewalOfWhatIsHeld(t *testing.T) {
	for name, held := range map[string]bool{"held": true, "control": false} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				l, lent := w.lend(time.Hour, 0)
				if held {
					w.isolate("one")
				}
				w.engine.renewing = func() { w.must(w.s.Revoke(context.Background(), namespace.RootID, l.ID, false)) }
				if _, err := w.renew(l, time.Hour); api.KindOf(err) != api.Invalid {
					t.Errorf("the renewal returned %v", err)
				}
				if w.engine.has(lent) != held || (w.engine.times(lent) == 0) != held {
					t.Errorf("it is lent still: %v, and its end was asked for %d times", w.engine.has(lent), w.engine.times(lent))
				}
			})
		})
	}
}

// A lease whose mount may be the one that a damaged row is of is neither renewed nor ended:
// nobody has given the mount up.
func TestLeaseOfADamagedMount(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		l, lent := w.lend(time.Hour, 0)
		const row = "root/mount/at/lend/"
		e, err := w.bar.Get(t.Context(), row)
		w.must(err)
		c := w.call()
		put := func(v []byte) {
			_, err := w.bar.Commit(t.Context(), nil, []store.Write{{Key: row, Value: v}})
			w.must(err)
			w.fresh()
		}
		put([]byte("{"))
		if _, err := w.s.Renew(c, &lease.RenewRequest{LeaseID: l.ID}); !errors.Is(err, store.ErrCorrupt) || strings.Contains(err.Error(), "revoke-force") {
			t.Errorf("renewing returned %v", err)
		}
		if err := w.s.Revoke(t.Context(), namespace.RootID, l.ID, true); err == nil || strings.Contains(err.Error(), "revoke-force") {
			t.Errorf("revoking returned %v", err)
		}
		if !w.engine.has(lent) {
			t.Error("it was taken back without its mount")
		}
		put(e.Value)
		w.later(time.Hour)
		if w.engine.has(lent) {
			t.Error("it was not taken back once the row was put back")
		}
	})
}
