package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

// node is one node of a fleet under test, on data that others share.
type node struct {
	*Fleet
	store *storetest.Mortal
	self  Member
	gone  error // what Outdated was told
	stop  context.CancelFunc
	done  chan struct{}
}

func newNode(data *mem.Data, id string, newest int) *node {
	n := &node{store: &storetest.Mortal{Store: data.Open()}, self: Member{ID: id, Name: "host-" + id, Started: time.Now()}}
	n.Fleet = &Fleet{Store: n.store, ID: id, Self: func(context.Context) Member { return n.self }, Newest: newest, Oldest: 1,
		Outdated: func(err error) { n.gone = err }, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	return n
}

func (n *node) join(t *testing.T) {
	t.Helper()
	if err := n.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (n *node) run(t *testing.T) {
	t.Helper()
	n.join(t)
	ctx, stop := context.WithCancel(t.Context())
	n.stop, n.done = stop, make(chan struct{})
	go func() {
		defer close(n.done)
		n.Run(ctx)
	}()
	synctest.Wait()
}

// end lets the node take leave.
func (n *node) end() {
	n.stop()
	<-n.done
}

// kill ends the node as a kill does: nothing of it reaches the store any more.
func (n *node) kill() {
	n.store.Doom(0, false)
	n.end()
}

// seen is what a node sees of all nodes.
func (n *node) seen(t *testing.T) (out []string) {
	t.Helper()
	members, err := n.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		state := "open"
		switch {
		case m.Lost(n.Now()):
			state = "lost"
		case m.Sealed:
			state = "sealed"
		}
		out = append(out, m.ID+" "+state)
	}
	return out
}

func (n *node) want(t *testing.T, want ...string) {
	t.Helper()
	if got := n.seen(t); !slices.Equal(got, want) {
		t.Errorf("%s sees %q, want %q", n.self.ID, got, want)
	}
}

// wantClocks compares what a node makes of all nodes' clocks, within two beats.
func (n *node) wantClocks(t *testing.T, want ...time.Duration) {
	t.Helper()
	members, err := n.Members(t.Context())
	if err != nil || len(members) != len(want) {
		t.Fatalf("%d members, %v", len(members), err)
	}
	for i, m := range members {
		if off := m.Clock - want[i]; off.Abs() > 2*beatEvery || want[i] == 0 && m.Clock != 0 {
			t.Errorf("%s takes the clock of %s to be ahead by %v, want %v", n.self.ID, m.ID, m.Clock, want[i])
		}
	}
}

func (n *node) wantFormat(t *testing.T, want int) {
	t.Helper()
	if got, err := Stored(t.Context(), n.store); err != nil || got != want {
		t.Errorf("the store is in format %d, %v; want %d", got, err, want)
	}
}

// TestNodesComeAndGo has nodes seal, leave and be killed, and others see it.
func TestNodesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		a, b, c := newNode(data, "a", 1), newNode(data, "b", 1), newNode(data, "c", 1)
		for _, n := range []*node{a, b, c} {
			n.run(t)
		}
		a.want(t, "a open", "b open", "c open")
		b.self.Sealed = true
		b.Changed()
		synctest.Wait()
		c.want(t, "a open", "b sealed", "c open")
		b.kill()
		c.end()
		a.want(t, "a open", "b sealed")
		time.Sleep(lostAfter + time.Second)
		a.want(t, "a open", "b lost")
		time.Sleep(forgetAfter)
		a.want(t, "a open")
		e, err := a.store.Get(t.Context(), nodePrefix+"b")
		if err != nil || e.Exists() {
			t.Errorf("the row of a node that has long gone is still there: %v", err)
		}
		a.end()
	})
}

// TestAloneIsQuiet has a node that nobody listens to write nothing while it idles.
func TestAloneIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(mem.New(mem.Options{}), "a", 1)
		n.Alone = true
		n.run(t)
		before, _ := n.store.Sync(t.Context())
		time.Sleep(24 * time.Hour)
		if after, _ := n.store.Sync(t.Context()); after != before {
			t.Errorf("an idle node alone went from revision %d to %d", before, after)
		}
		n.want(t, "a open")
		n.end()
	})
}

// TestFormatGate walks through a rolling upgrade: the store moves to the newer
// format once the last old node has gone, and not before.
func TestFormatGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		old, fresh, third := newNode(data, "old", 1), newNode(data, "fresh", 2), newNode(data, "third", 3)
		old.run(t)
		fresh.run(t)
		third.run(t)
		time.Sleep(10 * beatEvery)
		fresh.wantFormat(t, 1)
		old.end()
		time.Sleep(2 * beatEvery)
		fresh.wantFormat(t, 2)
		fresh.kill()
		time.Sleep(lostAfter / 2)
		third.wantFormat(t, 2) // fresh is not lost yet
		time.Sleep(lostAfter)
		third.wantFormat(t, 3)
		third.end()
	})
}

// TestAWrongClockIsNoDeath has an old node, whose clock is five minutes behind, live beside a new one: it is not shown as lost, but with
// what its clock says, and the store keeps its format until it has really ended.
func TestAWrongClockIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		old, fresh := newNode(data, "old", 1), newNode(data, "fresh", 2)
		old.Now = func() time.Time { return time.Now().Add(-5 * time.Minute) }
		old.run(t)
		fresh.run(t)
		time.Sleep(10 * lostAfter)
		fresh.wantFormat(t, 1)
		fresh.want(t, "fresh open", "old open")
		fresh.wantClocks(t, 0, -5*time.Minute)
		old.wantClocks(t, 5*time.Minute, 0)
		if old.gone != nil {
			t.Errorf("the living node was told to end: %v", old.gone)
		}
		old.kill()
		time.Sleep(lostAfter + 2*beatEvery)
		fresh.wantFormat(t, 2)
		fresh.want(t, "fresh open", "old lost")
		fresh.end()
	})
}

// TestAClockOfAnotherDay has an old node whose clock is days behind: its row stays, and with it the store's format.
func TestAClockOfAnotherDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		old, fresh := newNode(data, "old", 1), newNode(data, "fresh", 2)
		old.Now = func() time.Time { return time.Now().Add(-2 * forgetAfter) }
		old.run(t)
		fresh.run(t)
		for range 3 * lostAfter / time.Second {
			time.Sleep(time.Second)
			if e, err := fresh.store.Get(t.Context(), nodePrefix+"old"); err != nil || !e.Exists() {
				t.Fatalf("the row of a living node is gone: %v", err)
			}
		}
		fresh.wantFormat(t, 1)
		fresh.wantClocks(t, 0, -2*forgetAfter)
		old.end()
		fresh.end()
	})
}

// TestAPausedWatchJudgesNoClock has a node that did not look for minutes find a row changed that was written while it was paused: that it is
// late says nothing of the other's clock.
func TestAPausedWatchJudgesNoClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		watch, other := newNode(data, "a", 1), newNode(data, "b", 1)
		watch.join(t)
		other.run(t)
		watch.want(t, "a open", "b open")
		time.Sleep(2 * lostAfter)
		other.kill()
		time.Sleep(2 * lostAfter)
		watch.want(t, "a open", "b lost")
		watch.wantClocks(t, 0, 0)
	})
}

// TestTooOldIsRefusedUntouched starts a version that is too old for the store, and
// one that has moved on too far.
func TestTooOldIsRefusedUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		fresh := newNode(data, "fresh", 2)
		fresh.run(t)
		fresh.end()
		before, _ := fresh.store.Sync(t.Context())
		old, beyond := newNode(data, "old", 1), newNode(data, "beyond", 4)
		beyond.Oldest = 3
		for _, n := range []*node{old, beyond} {
			if err := n.Join(t.Context()); !errors.Is(err, ErrFormat) {
				t.Errorf("%s joins with %v", n.self.ID, err)
			}
		}
		if err := Check(t.Context(), old.store); !errors.Is(err, ErrFormat) {
			t.Errorf("Check returns %v", err)
		}
		if after, _ := fresh.store.Sync(t.Context()); after != before {
			t.Error("a version that cannot read the store has written to it")
		}
	})
}

// TestPausedNodeFindsItselfOutdated pauses an old node for so long that the others
// move on without it. It must end, and not pull the store back.
func TestPausedNodeFindsItselfOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		old, fresh := newNode(data, "old", 1), newNode(data, "fresh", 2)
		old.join(t)
		fresh.run(t)
		time.Sleep(lostAfter + 2*beatEvery)
		fresh.wantFormat(t, 2)
		if err := old.beat(t.Context()); !errors.Is(err, ErrFormat) || !errors.Is(old.gone, ErrFormat) {
			t.Errorf("its next sign of life ends with %v and it was told %v", err, old.gone)
		}
		fresh.wantFormat(t, 2)
		fresh.end()
	})
}

// TestJoiningRacesTheMove has an old node join while a new one moves the store:
// one of the two is refused, in either order.
func TestJoiningRacesTheMove(t *testing.T) {
	for round := range 200 {
		data := mem.New(mem.Options{})
		old, fresh := newNode(data, "old", 1), newNode(data, "fresh", 2)
		fresh.join(t)
		joined := make(chan error, 1)
		go func() { joined <- old.Join(t.Context()) }()
		if err := fresh.raise(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := <-joined
		now, _ := Stored(t.Context(), fresh.store)
		if err == nil && now == 2 || err != nil && now == 1 {
			t.Fatalf("round %d: the old node joins with %v and the store is in format %d", round, err, now)
		}
	}
}

// TestSealOrder has every node see an order that was given after it was unsealed,
// and none see one from before, though its row was written anew.
func TestSealOrder(t *testing.T) {
	s := mem.Open()
	ctx := t.Context()
	open := func() (*Orders, *store.Cache) {
		cache, err := store.NewCache(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cache.Close(); err != nil {
				t.Error(err)
			}
		})
		o, err := NewOrders(ctx, s, cache)
		if err != nil {
			t.Fatal(err)
		}
		return o, cache
	}
	told := func(o *Orders, cache *store.Cache) string {
		_, err := cache.Fresh(ctx)
		seal, serr := o.Seal(ctx)
		return fmt.Sprint(seal, errors.Join(err, serr))
	}
	a, cacheA := open()
	giver, cacheG := open()
	if got := told(a, cacheA); got != "false <nil>" {
		t.Errorf("before any order: %s", got)
	}
	if err := giver.GiveSeal(ctx); err != nil {
		t.Fatal(err)
	}
	if got := told(a, cacheA); got != "true <nil>" {
		t.Errorf("after the order: %s", got)
	}
	if got := told(giver, cacheG); got != "false <nil>" {
		t.Errorf("who gave the order is told: %s", got)
	}
	b, cacheB := open()
	_, err := store.Update(ctx, s, func(tx *store.Tx) error {
		e, err := tx.Get(sealKey)
		tx.Put(sealKey, e.Value)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := told(b, cacheB); got != "false <nil>" {
		t.Errorf("unsealed after the order, whose row was written anew: %s", got)
	}
}

// TestAwaitSealed waits for the others, and names who does not answer.
func TestAwaitSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		a, b, c := newNode(data, "a", 1), newNode(data, "b", 1), newNode(data, "c", 1)
		a.run(t)
		b.run(t)
		c.run(t)
		go func() {
			time.Sleep(time.Second)
			b.self.Sealed = true
			b.Changed()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		open, err := a.AwaitSealed(ctx)
		if err != nil || len(open) != 1 || open[0].ID != "c" {
			t.Errorf("not sealed: %v, %v; want c", open, err)
		}
		c.self.Sealed = true
		c.Changed()
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if open, err := a.AwaitSealed(ctx); err != nil || len(open) != 0 {
			t.Errorf("not sealed: %v, %v", open, err)
		}
		for _, n := range []*node{a, b, c} {
			n.end()
		}
	})
}

// TestAWrongClockIsNoSeal has all nodes ordered to seal beside one whose clock is five minutes behind: that it has not sealed is told. One that
// has really ended is waited for no more.
func TestAWrongClockIsNoSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		a, b := newNode(data, "a", 1), newNode(data, "b", 1)
		b.Now = func() time.Time { return time.Now().Add(-5 * time.Minute) }
		a.run(t)
		b.run(t)
		time.Sleep(2 * lostAfter)
		if open, err := a.unsealed(t.Context()); err != nil || len(open) != 1 || open[0].ID != "b" {
			t.Errorf("not sealed: %v, %v; want b", open, err)
		}
		b.kill()
		time.Sleep(lostAfter + 2*beatEvery)
		if open, err := a.unsealed(t.Context()); err != nil || len(open) != 0 {
			t.Errorf("not sealed: %v, %v, and it has ended", open, err)
		}
		a.end()
	})
}

// FuzzRows reads rows that somebody else has written.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"id":"a","lag":12,"seen":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMember(store.Entry{Key: nodePrefix + "a", Value: b, Rev: 1})
		if err == nil && m.ID != "a" {
			t.Errorf("the row of a reads as %q", m.ID)
		}
		if _, err := readFormat(store.Entry{Key: formatKey, Value: b, Rev: 1}, nil); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("readFormat: %v", err)
		}
	})
}
