package audit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// TestDevicesEndTogether: of several tenants none waits for another's device, nor do the root's.
func TestDevicesEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := &Tree{open: map[string]*Branch{"a": {}, "b": {}}}
		meet, failed := make(chan struct{}), errors.New("failed")
		err := tree.each(func() error { <-meet; <-meet; return nil }, func(*Branch) error { meet <- struct{}{}; return failed })
		if !errors.Is(err, failed) {
			t.Errorf("what the devices say: %v", err)
		}
	})
}

// TestSweepPassesOverWhatFails: that it is not known of one namespace whether requests reach it keeps no device of another open that has none any more.
func TestSweepPassesOverWhatFails(t *testing.T) {
	s := mem.Open()
	defer func() { must(t, s.Close()) }()
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: MarkPrefix + "marked", Value: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	cache, err := store.NewCache(t.Context(), s)
	must(t, err)
	defer func() { must(t, cache.Close()) }()
	failed := errors.New("failed")
	tree := NewTree(s, cache, nil, Env{}, Hooks{Open: func(context.Context, string) (bool, error) { return false, failed }})
	_, err = cache.Fresh(t.Context())
	must(t, err)
	for _, id := range []string{"marked", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} { // in any order
		b, err := tree.acquire(api.Namespace{ID: id})
		must(t, err)
		tree.release(b)
	}
	if err := tree.Sweep(t.Context()); !errors.Is(err, failed) {
		t.Errorf("what has failed: %v", err)
	}
	if left := tree.branches(); len(left) != 1 || left[0].ns.ID != "marked" {
		t.Errorf("%d namespaces have their devices open", len(left))
	}
	tree.ending.Wait()
}

// TestMarksSayWhichNamespacesHaveDevices changes the mark of a namespace, in the transactions that enable and disable its devices.
func TestMarksSayWhichNamespacesHaveDevices(t *testing.T) {
	s := mem.Open()
	defer func() { must(t, s.Close()) }()
	cache, err := store.NewCache(t.Context(), s)
	must(t, err)
	defer func() { must(t, cache.Close()) }()
	ends, deleting := errors.New("it is being deleted"), false
	tree := NewTree(s, cache, nil, Env{}, Hooks{Require: func(*store.Tx, string) error {
		if deleting {
			return ends
		}
		return nil
	}})
	row := func(n int) string { return fmt.Sprintf("ns/%s%d", devicePrefix, n) }
	change := func(n int, enabling bool) error {
		_, err := store.Update(t.Context(), s, func(tx *store.Tx) error {
			if enabling {
				tx.Put(row(n), []byte("{}"))
			} else {
				tx.Delete(row(n))
			}
			return tree.mark(tx, "ns", row(n), enabling)
		})
		return err
	}
	marked := func() bool {
		e, err := s.Get(t.Context(), MarkPrefix+"ns")
		must(t, err)
		return e.Exists()
	}
	for n := range maxBelow {
		must(t, change(n, true))
	}
	if err := change(maxBelow, true); api.KindOf(err) != api.Invalid { // whatever the node that is asked has open
		t.Errorf("one more than there may be: %v", err)
	}
	must(t, change(0, true)) // one that is there may be changed
	deleting = true
	if err := change(0, false); !errors.Is(err, ends) {
		t.Errorf("of a namespace that is being deleted: %v", err)
	}
	deleting = false
	for n := range maxBelow {
		if !marked() {
			t.Fatalf("the mark is gone, and %d devices are left", maxBelow-n)
		}
		must(t, change(n, false))
	}
	if marked() {
		t.Error("the mark outlives the devices")
	}
	must(t, change(0, true))
	for range 2 {
		must(t, tree.Forget(t.Context(), "ns"))
		if marked() {
			t.Error("a namespace that is deleted is not forgotten")
		}
	}
}
