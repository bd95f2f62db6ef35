package barrier

import (
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

// namespaced is a store whose keys all lie in one part of a barrier, and that
// closes the barrier with itself, as the suite expects of a store.
type namespaced struct {
	store.Store
	below *Barrier
}

func (n namespaced) Close() error { return n.below.phys.Close() }

func TestContract(t *testing.T) {
	data := map[string]*mem.Data{}
	storetest.Run(t, storetest.Config{Open: func(t testing.TB, dir string) store.Store {
		if data[dir] == nil {
			data[dir] = mem.New(mem.Options{KeepCommits: 500})
		}
		b := unsealed(t, data[dir].Open())
		return namespaced{store.Sub(b, "root/t/"), b}
	}})
}
