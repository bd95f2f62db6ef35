package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// at is a node on one machine at an address.
func at(data *mem.Data, id, host, address string) *node {
	n := newNode(data, id, 1)
	n.self.Name, n.self.Address, n.self.Ready = host, address, true
	return n
}

// listed is what a node lists, each with its state and its earlier lives.
func (n *node) listed(t *testing.T) (out []string) {
	t.Helper()
	got, err := n.nodes(&api.Call{Context: t.Context()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range got.Nodes {
		text := i.ID + " " + i.State
		for _, e := range i.Earlier {
			text += " after " + e.ID
		}
		out = append(out, text)
	}
	return out
}

func (n *node) wantListed(t *testing.T, want ...string) {
	t.Helper()
	if got := n.listed(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s lists %q, want %q", n.self.ID, got, want)
	}
}

// TestRestartedNodeIsOne kills a node and starts it again, twice: it is listed once, as soon
// as the life before is known to be silent, and its row goes when it is lost.
func TestRestartedNodeIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		other := at(data, "b", "two", "http://two")
		other.run(t)
		first := at(data, "a1", "one", "http://one")
		first.run(t)
		first.kill()
		time.Sleep(time.Second)
		second := at(data, "a2", "one", "http://one")
		second.run(t)
		other.wantListed(t, "a1 active", "a2 active", "b active") // a1 could be alive
		time.Sleep(2 * beatEvery)
		synctest.Wait()
		other.wantListed(t, "a2 active after a1", "b active")
		second.kill()
		time.Sleep(time.Second)
		third := at(data, "a3", "one", "http://one")
		third.run(t)
		time.Sleep(2 * beatEvery)
		third.wantListed(t, "a3 active after a2 after a1", "b active")
		time.Sleep(lostAfter + 2*beatEvery)
		third.wantListed(t, "a3 active", "b active")
		third.end()
		other.end()
	})
}

// TestEarlierLivesGoAlong: when a node that was killed before is ended, its earlier life is not listed as lost. It counts until it
// is, all the same; and so does a node whose member of the store was removed.
func TestEarlierLivesGoAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		other, removed := at(data, "b", "two", "http://two"), at(data, "c", "three", "http://three")
		removed.self.StoreMember = "1f"
		other.run(t)
		removed.run(t)
		first := at(data, "a1", "one", "http://one")
		first.run(t)
		first.kill()
		time.Sleep(time.Second)
		second := at(data, "a2", "one", "http://one")
		second.run(t)
		time.Sleep(2 * beatEvery)
		second.end()
		removed.kill()
		if err := other.Depart(t.Context(), "1f"); err != nil {
			t.Fatal(err)
		}
		other.wantListed(t, "b active")
		other.want(t, "a1 open", "c open", "b open") // they count
		time.Sleep(lostAfter + 2*beatEvery)
		other.want(t, "b open")
		other.wantListed(t, "b active")
		other.end()
	})
}

// TestNodesThatLiveAreNotOne has two nodes of one machine at two addresses, two that give
// one address as theirs, and two of machines without a name: none is taken for another's past,
// also when it has ended.
func TestNodesThatLiveAreNotOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		all := []*node{at(data, "a", "one", "http://one:1"), at(data, "b", "one", "http://one:2"), at(data, "c", "x", "http://all"), at(data, "d", "x", "http://all")}
		for _, n := range all {
			n.run(t)
			time.Sleep(7 * time.Second)
		}
		nameless := at(data, "e", "", "http://none")
		nameless.run(t)
		nameless.kill()
		time.Sleep(time.Second)
		again := at(data, "f", "", "http://none")
		again.run(t)
		for range 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			all[3].wantListed(t, "e active", "f active", "a active", "b active", "c active", "d active")
		}
		all[1].kill()
		all[2].kill()
		time.Sleep(time.Second)
		third := at(data, "g", "one", "http://one:3")
		third.run(t)
		time.Sleep(lostAfter + time.Second)
		all[3].wantListed(t, "e lost", "f active", "a active", "b lost", "g active", "c lost", "d active")
		time.Sleep(goneAfter)
		all[3].wantListed(t, "e gone", "f active", "a active", "b gone", "g active", "c gone", "d active")
		for _, n := range []*node{all[0], all[3], again, third} {
			n.end()
		}
	})
}

// TestPausedTwinCountsStill has a node that is silent, at whose place another has begun,
// count as one that may be unsealed: only lists take it for ended.
func TestPausedTwinCountsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		first, second := at(data, "a1", "one", "http://one"), at(data, "a2", "one", "http://one")
		first.join(t)
		time.Sleep(time.Second)
		second.self.Started = time.Now()
		second.run(t)
		time.Sleep(2 * beatEvery)
		second.wantListed(t, "a2 active after a1")
		if open, err := second.unsealed(t.Context()); err != nil || len(open) != 1 {
			t.Errorf("%d may be unsealed, %v; want a1", len(open), err)
		}
		second.end()
	})
}

// TestAloneKnowsItsPast has a server that has its store for itself list no life but its own.
func TestAloneKnowsItsPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New(mem.Options{})
		first, second := at(data, "a1", "one", "http://one"), at(data, "a2", "renamed", "http://else")
		first.Alone, second.Alone = true, true
		first.run(t)
		first.kill()
		second.join(t)
		second.wantListed(t, "a2 active after a1")
		second.run(t)
		second.wantListed(t, "a2 active")
		second.end()
	})
}

// damage makes a node's row say nothing.
func damage(t *testing.T, s store.Store, id, text string) {
	t.Helper()
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: nodePrefix + id, Value: []byte(text)}}); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedRowHoldsTheFormat damages the row of an old node: it is not taken for absent, so
// that the store keeps the format that the node reads. One that was left alone is of a dead node.
func TestDamagedRowHoldsTheFormat(t *testing.T) {
	for _, text := range []string{"{", "null", `{"id":"old"}`, `{"id":"else","format":2,"seen":"2026-01-02T03:04:05Z"}`} {
		synctest.Test(t, func(t *testing.T) {
			data := mem.New(mem.Options{})
			old, fresh := newNode(data, "old", 1), newNode(data, "fresh", 2)
			old.run(t)
			fresh.join(t)
			damage(t, fresh.store, "old", text)
			err := fresh.beat(t.Context())
			if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), nodePrefix+"old") {
				t.Errorf("%s: raising the format beside a damaged row: %v", text, err)
			}
			fresh.wantFormat(t, 1)
			time.Sleep(beatEvery) // the living node puts its row right
			synctest.Wait()
			if err := fresh.beat(t.Context()); err != nil {
				t.Error(err)
			}
			fresh.wantFormat(t, 1)
			old.kill()
			damage(t, fresh.store, "old", text)
			fresh.run(t)
			time.Sleep(lostAfter - beatEvery)
			fresh.wantFormat(t, 1)
			time.Sleep(3 * beatEvery)
			fresh.wantFormat(t, 2)
			time.Sleep(forgetAfter)
			if e, err := fresh.store.Get(t.Context(), nodePrefix+"old"); err != nil || e.Exists() {
				t.Errorf("%s: a damaged row that was left for a day is still there: %v", text, err)
			}
			fresh.end()
		})
	}
}
