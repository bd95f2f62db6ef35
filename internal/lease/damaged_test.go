package lease_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// damaged is a world of which rows are damaged below the barrier.
type damaged struct {
	*world
	phys store.Store
	was  []store.Write
}

func eachDamaged(t *testing.T, fn func(t *testing.T, w *damaged)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		phys := mem.Open()
		fn(t, &damaged{world: newWorld(t, phys, newLender()), phys: phys})
	})
}

// damage flips a bit of each row whose key has a part.
func (w *damaged) damage(part string) {
	w.t.Helper()
	es, err := w.phys.List(w.t.Context(), store.Range{})
	w.must(err)
	var bad []store.Write
	for _, e := range es {
		if strings.Contains(e.Key, part) {
			v := slices.Clone(e.Value)
			v[len(v)-1] ^= 1
			w.was, bad = append(w.was, store.Write{Key: e.Key, Value: e.Value}), append(bad, store.Write{Key: e.Key, Value: v})
		}
	}
	if len(bad) != 1 {
		w.t.Fatalf("%d rows have %s", len(bad), part)
	}
	_, err = w.phys.Commit(w.t.Context(), nil, bad)
	w.must(err)
	w.fresh()
}

func (w *damaged) putBack() {
	w.t.Helper()
	_, err := w.phys.Commit(w.t.Context(), nil, w.was)
	w.must(err)
	w.fresh()
}

// works lets scheduled work run for a while, which may fail, and reports how often it did.
func (w *damaged) works(d time.Duration) (failed int) {
	stop := w.runs(func(schedule.Item, error) { failed++ })
	time.Sleep(d)
	synctest.Wait()
	stop()
	return failed
}

func tail(id string) string { return id[strings.LastIndexByte(id, '/'):] }

// What a damaged row is of does not keep others from being taken back, whoever shows that they are to be told of it, and it is
// taken back itself once the row was put back.
func TestDamagedRow(t *testing.T) {
	eachDamaged(t, func(t *testing.T, w *damaged) {
		l, lent := w.lend(time.Hour, 0)
		for range 30 {
			w.lend(time.Hour, 0)
		}
		w.damage("/lease/id/" + l.ID)
		_, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend", Sync: true})
		if api.KindOf(err) != api.Damaged || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), l.ID) {
			t.Errorf("revoking what is below a path returned %v", err)
		}
		if w.engine.count() != 1 || !w.engine.has(lent) {
			t.Errorf("%d are lent", w.engine.count())
		}
		w.works(time.Minute)
		w.putBack()
		if w.works(30 * time.Minute); w.engine.has(lent) {
			t.Error("it is lent still, though its row was put back")
		}
		w.nothing()
	})
}

// The leases of a token that is revoked end with it, whichever row is damaged of one of them: the others at once, and that one when
// the row is put back.
func TestDamagedRowsOfATokensLeases(t *testing.T) {
	for name, row := range map[string]string{"lease": "/lease/id/lend/creds/app", "holding": "/lease/of/"} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				l, lent := w.lend(100*time.Hour, 0)
				if name == "holding" {
					row += w.holder.ID + "/" + namespace.RootID
				}
				w.damage(row + tail(l.ID))
				for range 30 {
					w.lend(100*time.Hour, 0)
				}
				w.must(w.tokens.Revoke(t.Context(), namespace.RootID, w.holder.ID))
				if failed := w.works(time.Minute); failed == 0 || w.engine.count() != 1 || !w.engine.has(lent) {
					t.Errorf("%d are lent, and it was told of %d times; want that of the damaged row alone", w.engine.count(), failed)
				}
				w.putBack()
				if w.works(30 * time.Minute); w.engine.count() != 0 {
					t.Error("it is lent still, though its row was put back")
				}
				w.nothing()
			})
		})
	}
}

// A mount that is disabled stays until what a damaged row is of was taken back, or is given up by force.
func TestDamagedRowKeepsItsMount(t *testing.T) {
	for name, force := range map[string]bool{"put back": false, "given up": true} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				l, lent := w.lend(time.Hour, 0)
				w.lend(time.Hour, 0)
				w.damage("/lease/id/" + l.ID)
				id := l.MountID
				_, err := w.mounts.Disable(t.Context(), namespace.RootID, "lend/")
				w.must(err)
				w.fresh()
				if err := w.s.ClearMount(t.Context(), namespace.RootID, id, false); !errors.Is(err, store.ErrCorrupt) || w.engine.count() != 1 || !w.engine.has(lent) {
					t.Errorf("clearing the mount returned %v, and %d are lent", err, w.engine.count())
				}
				if !force {
					w.putBack()
				}
				if err := w.s.ClearMount(t.Context(), namespace.RootID, id, force); err != nil || w.engine.has(lent) != force {
					t.Errorf("clearing it again returned %v, and it is lent: %v", err, w.engine.has(lent))
				}
				w.later(2 * time.Hour)
			})
		})
	}
}

// there reports whether a row whose key has a part is there.
func (w *damaged) there(part string) bool {
	w.t.Helper()
	es, err := w.phys.List(w.t.Context(), store.Range{})
	w.must(err)
	return slices.ContainsFunc(es, func(e store.Entry) bool { return strings.Contains(e.Key, part) })
}

// A damaged row of a mount that lives is no other mount's matter which was at its path before: it does not keep that one from
// being cleared, and is not given up with it.
func TestDamagedRowOfAMountsSuccessor(t *testing.T) {
	for name, force := range map[string]bool{"patient": false, "by force": true} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				w.engine.breakWith(errors.New("away"))
				old, gone := w.lend(time.Hour, 0)
				_, err := w.mounts.Disable(t.Context(), namespace.RootID, "lend/")
				w.must(err)
				w.fresh()
				w.must(w.mounts.Enable(t.Context(), namespace.RootID, &mount.Entry{Path: "lend/", Type: "lender"}))
				l, lent := w.lend(100*time.Hour, 0)
				w.damage("/lease/id/" + l.ID)
				w.engine.breakWith(nil)
				if err := w.s.ClearMount(t.Context(), namespace.RootID, old.MountID, force); err != nil || w.engine.has(gone) {
					t.Errorf("clearing the mount returned %v, and what it lent is lent: %v", err, w.engine.has(gone))
				}
				if !w.there("/lease/id/"+l.ID) || !w.engine.has(lent) {
					t.Fatal("the lease of the mount that lives was given up")
				}
				w.putBack()
				w.later(101 * time.Hour)
				w.nothing()
			})
		})
	}
}

// What a damaged row is of is given up by its own identifier, which those who are told of the row have, and by the path of others;
// nothing else goes with it.
func TestDamagedRowIsGivenUp(t *testing.T) {
	for name, prefix := range map[string]func(id string) string{
		"by its id":   func(id string) string { return id },
		"by its path": func(id string) string { return strings.TrimSuffix(id, tail(id)) },
	} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				w.engine.breakWith(errors.New("broken"))
				l, lent := w.lend(time.Minute, 0)
				w.works(2 * time.Hour)
				if !w.there("/lease/stuck/" + l.ID) {
					t.Fatal("the lease is not irrevocable")
				}
				w.engine.breakWith(nil)
				other, _ := w.lend(time.Hour, 0)
				w.damage("/lease/id/" + l.ID)
				_, err := w.s.RevokeForce(w.call(), &lease.ForceRequest{Prefix: prefix(l.ID)})
				if err != nil || w.there("/lease/id/"+l.ID) || !w.engine.has(lent) {
					t.Errorf("giving it up returned %v; its row is there: %v", err, w.there("/lease/id/"+l.ID))
				}
				if w.there("/lease/stuck/" + l.ID) {
					t.Error("it counts as irrevocable still")
				}
				if byID := name == "by its id"; w.there("/lease/id/"+other.ID) != byID {
					t.Error("the other lease ended by the first one's id, or not by its path")
				}
				w.later(2 * time.Hour)
			})
		})
	}
}

// In quarantine what a damaged row is of is held, whether others are or not: who clears its mount is told so, and nobody gives it up
// by force.
func TestDamagedRowIsHeld(t *testing.T) {
	for name, others := range map[string]int{"alone": 0, "beside another": 1} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				l, lent := w.lend(100*time.Hour, 0)
				for range others {
					w.lend(100*time.Hour, 0)
				}
				w.isolate("one")
				w.damage("/lease/id/" + l.ID)
				for _, prefix := range []string{l.ID, "lend"} {
					if _, err := w.s.RevokeForce(w.call(), &lease.ForceRequest{Prefix: prefix}); !errors.Is(err, lease.ErrQuarantined) || !strings.Contains(err.Error(), lease.Resume) {
						t.Errorf("giving up %s returned %v", prefix, err)
					}
				}
				_, err := w.mounts.Disable(t.Context(), namespace.RootID, "lend/")
				w.must(err)
				w.fresh()
				for _, force := range []bool{false, true} {
					if err := w.s.ClearMount(t.Context(), namespace.RootID, l.MountID, force); !errors.Is(err, lease.ErrQuarantined) || !errors.Is(err, store.ErrCorrupt) {
						t.Errorf("clearing the mount, by force: %v, returned %v", force, err)
					}
				}
				if !w.there("/lease/id/"+l.ID) || !w.engine.has(lent) || w.engine.count() != 1+others {
					t.Fatal("it was given up, or something was taken back")
				}
				_, err = w.s.EndQuarantine(&api.Call{Context: t.Context(), Now: time.Now()}, nil)
				w.must(err)
				w.fresh()
				if w.works(time.Hour); !w.there("/lease/id/" + l.ID) {
					t.Fatal("it was given up once the quarantine had ended, by what had been refused")
				}
				w.putBack()
				w.later(time.Hour)
				w.must(w.s.ClearMount(t.Context(), namespace.RootID, l.MountID, false))
				if w.there("/lease/id/") || w.engine.count() != 0 {
					t.Error("something is lent still")
				}
			})
		})
	}
}

// However often a path is revoked below which a row is damaged, one sweep of it goes on, which is about what there was at the last time;
// and it comes to its end once the row was put back.
func TestDamagedRowOfAPathRevokedAgain(t *testing.T) {
	for name, sync := range map[string]bool{"waiting": true, "not waiting": false} {
		t.Run(name, func(t *testing.T) {
			eachDamaged(t, func(t *testing.T, w *damaged) {
				l, _ := w.lend(1000*time.Hour, 0)
				w.damage("/lease/id/" + l.ID)
				before := w.due()
				var late string
				for range 20 {
					_, late = w.lend(1000*time.Hour, 0)
					time.Sleep(time.Second)
					if _, err := w.s.RevokePrefix(w.call(), &lease.PrefixRequest{Prefix: "lend", Sync: sync}); (api.KindOf(err) == api.Damaged) != sync {
						t.Error(err)
					}
				}
				if w.works(time.Hour); w.due() != before+1 || w.engine.has(late) {
					t.Errorf("%d sweeps go on; want one. The last lease is lent: %v", w.due()-before, w.engine.has(late))
				}
				w.putBack()
				w.later(time.Hour)
				w.nothing()
			})
		})
	}
}

// The lists that tell what cannot be taken back tell of a damaged row, and tidying goes on past it.
func TestDamagedRowsOfListsOfLeases(t *testing.T) {
	eachDamaged(t, func(t *testing.T, w *damaged) {
		w.engine.breakWith(errors.New("broken"))
		l, _ := w.lend(time.Minute, 0)
		w.lend(time.Minute, 0)
		w.works(2 * time.Hour)
		w.damage("/lease/id/" + l.ID)
		a, err := w.s.ListIrrevocable(w.call(), &lease.StuckRequest{Type: "irrevocable", Limit: "none"})
		w.must(err)
		if a.LeaseCount != 2 || !slices.ContainsFunc(a.Leases, func(s *lease.Stuck) bool { return s.LeaseID == l.ID && s.Error == "the row of the lease is damaged" }) {
			t.Errorf("%d are listed: %+v", a.LeaseCount, a.Leases)
		}
		w.engine.breakWith(nil)
		_, err = w.s.Tidy(w.call(), nil)
		w.must(err)
		stop := w.runs(func(it schedule.Item, err error) {
			if it.Kind == "lease-tidy" {
				t.Error(err)
			}
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
	})
}
