package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// TestErase erases more than one commit can, and nothing beside it.
func TestErase(t *testing.T) {
	s := mem.Open()
	defer s.Close()
	ctx := context.Background()
	n := store.MaxWrites + 1
	for i := range n {
		if _, err := s.Commit(ctx, nil, []store.Write{{Key: fmt.Sprintf("a/%d", i), Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(ctx, nil, []store.Write{{Key: "a", Value: []byte("x")}, {Key: "a0", Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Erase(ctx, s, "a/"); err != nil {
			t.Fatal(err)
		}
		es, err := s.List(ctx, store.Range{KeysOnly: true})
		if err != nil || len(es) != 2 || es[0].Key != "a" || es[1].Key != "a0" {
			t.Errorf("left: %v, %v", es, err)
		}
	}
}
