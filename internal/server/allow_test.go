package server_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// TestAllow has every 405 name the methods that its path takes (RFC 9110, section 15.5.6), as the hint does, and nothing
// of a path be told to who may not ask.
func TestAllow(t *testing.T) {
	s := servertest.Start(t)
	const root, every = servertest.Root, "DELETE, GET, LIST, PATCH, POST, PUT, SCAN"
	for _, c := range []struct{ method, path, token, allow string }{
		{"LIST", "sys/locked-users", root, "GET"},
		{"GET", "sys/mfa/validate", root, "POST, PUT"},
		{"POST", "identity/entity/id", root, "GET, LIST"},
		{"LIST", "identity/entity/id/x", root, "DELETE, GET, POST, PUT"},
		{"LIST", "secret/data/a", root, "DELETE, GET, PATCH, POST, PUT"}, // refused by the engine
		{"POST", "sys/mounts", root, "DELETE, GET"},
		{"DELETE", "sys/seal-status", root, "GET"}, // of those that answer while it is sealed
		{"DELETE", "sys/health", root, "GET, HEAD"},
		// What is no operation is refused before anything is known of the path.
		{"HEAD", "secret/data/a", "", every},
		{"TRACE", "nowhere", "", every},
	} {
		if a := s.Do(t, c.method, c.path, c.token, ""); a.Status != 405 || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want 405, %q", c.method, c.path, a.Status, a.Header.Get("Allow"), c.allow)
		}
	}
	few := s.Policy(t, "", "few", `path "sys/mounts" { capabilities = ["read"] }`)
	for what, a := range map[string]*servertest.Answer{
		"without a token": s.Do(t, "LIST", "sys/locked-users", "", ""),
		"without rights":  s.Do(t, "LIST", "sys/locked-users", few, ""),
		"a good answer":   s.Do(t, "GET", "sys/mounts", root, ""),
	} {
		if a.Status == 405 || len(a.Header.Values("Allow")) > 0 {
			t.Errorf("%s: %d, Allow %q", what, a.Status, a.Header.Values("Allow"))
		}
	}
}
