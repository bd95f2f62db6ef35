package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
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
	storetest.RunEngine(t, storetest.Config{Open: func(t testing.TB, dir string) store.Store {
		o := options(dir)
		o.KeepCommits = 500
		return openTest(t, o)
	}})
}
