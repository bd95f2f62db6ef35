package audit

import (
	"context"
	"errors"
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
