package server

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// A server whose store nobody else can open knows that it is alone on it.
func TestServerAloneOnItsStore(t *testing.T) {
	shared := func(*slog.Logger) (store.Engine, error) { return mem.Open(), nil }
	for name, c := range map[string]*Config{
		"directory": {DataDir: t.TempDir()}, "memory": {}, "shared": {Shared: &Shared{Engine: shared}},
	} {
		c.Listeners = []Listener{{Address: "127.0.0.1:0"}}
		s, err := Open(t.Context(), c, slog.New(slog.DiscardHandler), io.Discard, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if alone := s.runner(nil, nil).Alone; alone != (name != "shared") {
			t.Errorf("%s: alone is %v", name, alone)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
