package postgres

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/storetest"
	"github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
)

// server is what all tests share that do not break it; each has a schema of its own.
var server atomic.Pointer[postgres.Server]

func TestMain(m *testing.M) {
	process.Main(func(string) (int, error) {
		// A random program opens the store several times, and each time costs processes of the server.
		checks := "30"
		if testing.Short() {
			checks = "8"
		}
		if err := flag.Set("rapid.checks", checks); err != nil {
			return 1, err
		}
		s, err := postgres.Start()
		if err != nil {
			return 1, err
		}
		server.Store(s)
		return m.Run(), s.Remove()
	})
}

// options are those of a store on the shared server, in a schema that belongs to name.
func options(name string) Options {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	return Options{Conn: NewConnString(server.Load().URL()), Schema: fmt.Sprintf("t%x", h.Sum64())}
}

// openTest opens a store and closes it when the test ends.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	open := func(t testing.TB, dir string) store.Store {
		o := options(dir)
		o.KeepCommits = 500
		return openTest(t, o)
	}
	storetest.RunEngine(t, storetest.Config{Open: open, Compact: compact})
}

// compact makes a store that keeps 500 commits forget all up to now, several at a time.
func compact(t testing.TB, s store.Store) {
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for n.Add(1) < 1500 {
				if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "compact"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
