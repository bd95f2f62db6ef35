package server

import (
	"io"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// A server on a directory that it has locked knows that it is alone on its store.
func TestAloneOnADirectory(t *testing.T) {
	here := []Listener{{Address: "127.0.0.1:0"}}
	for name, c := range map[string]*Config{"directory": {DataDir: t.TempDir(), Listeners: here}, "control": {DevRoot: api.NewSecret("root"), Listeners: here}} {
		s, err := Open(t.Context(), c, quiet(), io.Discard, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if alone := s.runner(nil, nil).Alone; alone != (name == "directory") {
			t.Errorf("on a %s: alone is %v", name, alone)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
