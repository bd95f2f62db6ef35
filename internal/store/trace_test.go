package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// TestUnknownIsNothingElse: an unknown outcome is what its cause is, but never that nothing was written.
func TestUnknownIsNothingElse(t *testing.T) {
	err := fmt.Errorf("above: %w", store.Unknown(fmt.Errorf("%w: %w", store.ErrUnreachable, context.Canceled)))
	if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnreachable) {
		t.Errorf("%v: unknown %v, cancelled %v, unreachable %v", err, errors.Is(err, store.ErrUnknown), errors.Is(err, context.Canceled), errors.Is(err, store.ErrUnreachable))
	}
}

// TestTrace: what is noted is whether anything was changed, or may have been.
func TestTrace(t *testing.T) {
	write := []store.Write{{Key: "k"}}
	for _, c := range []struct {
		writes []store.Write
		err    error
		want   bool
	}{
		{write, nil, true},
		{nil, nil, false},
		{write, store.ErrConflict, false},
		{write, fmt.Errorf("x: %w", store.ErrFull), false},
		{write, store.ErrUnreachable, false},
		{write, store.ErrTooLarge, false},
		{write, store.Unknown(store.ErrConflict), true},
		{write, store.ErrStopped, true},
		{write, context.Canceled, true},
		{write, errors.New("anything else"), true},
	} {
		ctx, tr := store.Traced(t.Context())
		store.Note(ctx, c.writes, c.err)
		if tr.Changed() != c.want {
			t.Errorf("%d writes and %v: changed is %v", len(c.writes), c.err, tr.Changed())
		}
		if tr.Reset(); tr.Changed() {
			t.Error("Reset forgets nothing")
		}
	}
	store.Note(t.Context(), write, nil) // nobody asks
}
