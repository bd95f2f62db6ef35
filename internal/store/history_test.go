package store_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// TestMarksPushNothingOut appends many marks of progress: the commits before them are
// remembered, and a feed reaches the last mark.
func TestMarksPushNothingOut(t *testing.T) {
	h := store.NewHistory(2, 0)
	h.Append(store.Change{Rev: 1, Keys: []string{"k"}})
	for rev := range store.Rev(100) {
		h.Append(store.Change{Rev: rev + 2})
	}
	f, err := h.Feed(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []store.Rev{1, 101} {
		if c, err := f.Next(t.Context()); err != nil || c.Rev != want {
			t.Fatalf("the feed reports %v, %v, want %d", c, err, want)
		}
	}
}
