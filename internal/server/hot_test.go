package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// reads counts what a store is asked for beside its revision.
type reads struct {
	store.Engine
	number *atomic.Int64
}

func (r *reads) Get(ctx context.Context, key string) (store.Entry, error) {
	r.number.Add(1)
	return r.Engine.Get(ctx, key)
}

func (r *reads) List(ctx context.Context, rg store.Range) ([]store.Entry, error) {
	r.number.Add(1)
	return r.Engine.List(ctx, rg)
}

// TestHotSecretsAreReadFromMemory reads secrets of a store that nodes share, again:
// nothing but its revision is asked of it, and what is written is read at once.
func TestHotSecretsAreReadFromMemory(t *testing.T) {
	data, number := mem.New(mem.Options{}), &atomic.Int64{}
	one := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return &reads{data.Open(), number}, nil }}
	})
	path := func(i int) string { return fmt.Sprintf("secret/data/s%d", i%10) }
	for i := range 10 {
		one.Want(t, 200, "PUT", path(i), servertest.Root, `{"data":{"n":1}}`)
		one.Want(t, 200, "GET", path(i), servertest.Root, "")
	}
	round := func() int64 {
		before := number.Load()
		for i := range 300 {
			one.Want(t, 200, "GET", path(i), servertest.Root, "")
		}
		return number.Load() - before
	}
	n := round()
	for tries := 1; n > 30 && tries < 4; tries++ { // what runs in the background reads too, and has requests beside it ask the store
		n = round()
	}
	if n > 30 {
		t.Errorf("300 reads of hot secrets asked the store %d times", n)
	}
	for i := range 20 {
		one.Want(t, 200, "PUT", path(0), servertest.Root, fmt.Sprintf(`{"data":{"n":%d}}`, i))
		if got := one.Want(t, 200, "GET", path(0), servertest.Root, "").Field("data", "data", "n"); got != float64(i) {
			t.Fatalf("read %v after %d was written", got, i)
		}
	}
}
