package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// TestSealedSaysNotWhenToAskAgain: clients wait where they are told how long, and a sealed
// server is none that unseals itself meanwhile.
func TestSealedSaysNotWhenToAskAgain(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "PUT", "sys/seal", servertest.Root, "")
	a := s.Want(t, 503, "GET", "secret/data/a", servertest.Root, "")
	if after, ok := a.Header["Retry-After"]; ok || !strings.Contains(a.Text(), "Vault is sealed") {
		t.Errorf("Retry-After: %q, %s", after, a.Body)
	}
}
