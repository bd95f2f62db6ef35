package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A store whose files were removed is refused, not taken for a new one whose
// initialisation would answer anybody with new keys.
func TestLostStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	w := start(t, Config{DataDir: dir, LocalSlot: true})
	w.end()
	startFor(t, Config{DataDir: dir, LocalSlot: true}).end() // the control: whole, it is opened
	if err := os.RemoveAll(filepath.Join(dir, storeDir)); err != nil {
		t.Fatal(err)
	}
	c := Config{DataDir: dir, LocalSlot: true, Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	if _, err := Open(t.Context(), &c, quiet(), os.Stderr, time.Now); !errors.Is(err, ErrLost) {
		t.Fatalf("a lost store gave %v", err)
	}
}
