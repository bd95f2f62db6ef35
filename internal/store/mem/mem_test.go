package mem_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

func TestContract(t *testing.T) {
	data := map[string]*mem.Data{}
	storetest.RunEngine(t, storetest.Config{Open: func(t testing.TB, dir string) store.Store {
		if data[dir] == nil {
			data[dir] = mem.New(mem.Options{KeepCommits: 500})
		}
		return data[dir].Open()
	}})
}
