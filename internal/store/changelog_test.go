package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// TestLongestKeysAreLogged: layers make keys longer than what callers may use.
func TestLongestKeysAreLogged(t *testing.T) {
	key := strings.Repeat("k", store.MaxKeyBytes+store.LayerKeyBytes)
	changes, err := store.DecodeChanges(3, store.AppendChange(nil, []string{key}))
	if err != nil || len(changes) != 1 || changes[0].Rev != 3 || changes[0].Keys[0] != key {
		t.Errorf("the longest key is logged as %v, %v", len(changes), err)
	}
	for _, bad := range []string{"", "\x00", "\x01\x00", "\x01\x05abc", "\xff"} {
		if _, err := store.DecodeChanges(3, []byte(bad)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("a row %q is read, %v", bad, err)
		}
	}
}

// TestResetEndsFeeds: after a Reset no feed goes on as if it had missed nothing.
func TestResetEndsFeeds(t *testing.T) {
	h := store.NewHistory(10, 5)
	none := func(context.Context, store.Rev) ([]store.Change, error) { return nil, store.ErrCompacted }
	f, err := h.Follow(t.Context(), 5, none)
	if err != nil {
		t.Fatal(err)
	}
	h.Append(store.Change{Rev: 6, Keys: []string{"a"}})
	h.Reset(100)
	if c, err := f.Next(t.Context()); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("after a reset a feed reports %v, %v", c, err)
	}
	if _, err := h.Follow(t.Context(), 99, none); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a feed from before a reset opens with %v", err)
	}
	if f, err = h.Follow(t.Context(), 100, none); err != nil {
		t.Fatal(err)
	}
	h.Append(store.Change{Rev: 101, Keys: []string{"b"}})
	if c, err := f.Next(t.Context()); err != nil || c.Rev != 101 {
		t.Errorf("after a reset a new feed reports %v, %v", c, err)
	}
}
