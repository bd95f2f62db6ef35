package pebble

import (
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

// open opens a store on disk and closes it when the test ends.
func openTest(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
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
		return openTest(t, dir, Options{KeepCommits: 2500})
	}})
}
