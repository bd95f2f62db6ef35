package server_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// A namespace's description tells that it is sealed.
func TestSealedNamespaceIsDescribedSo(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, shamir)
	for _, sealed := range []bool{false, true} {
		if got := s.Want(t, 200, "GET", "sys/namespaces/team", servertest.Root, "").Field("data", "sealed"); got != sealed {
			t.Errorf("sealed is %v, want %v", got, sealed)
		}
		s.Do(t, "POST", "sys/namespaces/team/seal", servertest.Root, "")
	}
}
