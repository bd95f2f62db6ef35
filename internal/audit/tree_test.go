package audit

import (
	"errors"
	"testing"
	"testing/synctest"
)

// TestDevicesEndTogether: of several tenants none waits for another's device, nor do the root's.
func TestDevicesEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := &Tree{open: map[string]*Branch{"a": {}, "b": {}}}
		meet, failed := make(chan struct{}), errors.New("failed")
		err := tree.each(func() error { <-meet; <-meet; return nil }, func(*Branch) error { meet <- struct{}{}; return failed })
		if !errors.Is(err, failed) {
			t.Errorf("what the devices say: %v", err)
		}
	})
}
