package server_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestNamespacesAreNotTold asks what needs no token in a namespace that exists
// and in one that does not, with no token and with one that has no rights there:
// the answers must not differ.
func TestNamespacesAreNotTold(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/here", "", "root"))
	a := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["default"]}`, "root"))
	weak, ok := a.Auth["client_token"].(string)
	if !ok {
		t.Fatal("no token")
	}
	own := regexp.MustCompile(`"request_id":"[^"]*"`)
	for _, token := range []string{"", "bogus", weak} {
		for _, q := range []struct{ method, path, body string }{
			{"GET", "sys/internal/ui/mounts", ""}, {"GET", "sys/internal/ui/mounts/secret/x", ""}, {"GET", "sys/internal/ui/mounts/sys/x", ""},
			{"GET", "sys/internal/specs/openapi", ""}, {"POST", "sys/internal/specs/openapi", ""},
			{"GET", "sys/wrapping/lookup", ""}, {"POST", "sys/wrapping/lookup", `{"token":"x"}`}, {"POST", "sys/wrapping/unwrap", ""},
			{"POST", "sys/wrapping/unwrap", `{"token":"x"}`}, {"GET", "sys/health", ""}, {"GET", "sys/seal-status", ""},
			{"GET", "sys/init", ""}, {"GET", "sys/mounts", ""}, {"GET", "sys/internal/ui/mounts?help=1", ""}, {"GET", "secret/x", ""},
		} {
			for _, inPath := range []bool{true, false} {
				ask := func(ns string) (int, string) {
					var a *answer
					if inPath {
						a = d.ask(q.method, ns+"/"+q.path, q.body, token)
					} else {
						a = d.ask(q.method, q.path, q.body, token, "X-Vault-Namespace", ns)
					}
					return a.status, own.ReplaceAllString(a.text, "")
				}
				code, text := ask("here")
				if c, other := ask("nosuch"); c != code || strings.ReplaceAll(other, "nosuch", "here") != text {
					t.Errorf("token %q, path %v: %s %s: %d %.200s, where it is missing %d %.200s", token[:min(5, len(token))], inPath, q.method, q.path, code, text, c, other)
				}
			}
		}
	}
	d.want(404, d.ask("GET", "sys/internal/ui/mounts", "", "root", "X-Vault-Namespace", "nosuch"))
}
