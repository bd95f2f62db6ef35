package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// wrapIn has something wrapped in a namespace, and answers the wrapping token.
func wrapIn(t testing.TB, s *servertest.Server, ns string) string {
	t.Helper()
	return s.Want(t, 200, "POST", "sys/wrapping/wrap", servertest.Root, `{"v":"kept in `+ns+`"}`, "X-Vault-Namespace", ns, "X-Vault-Wrap-TTL", "600").String("wrap_info", "token")
}

// unwraps are the ways to what is behind a wrapping token, from another namespace than its own.
func unwraps(s *servertest.Server, t testing.TB, token string) map[string]*servertest.Answer {
	body := `{"token":"` + token + `"}`
	return map[string]*servertest.Answer{
		"lookup":          s.Do(t, "POST", "sys/wrapping/lookup", "", body),
		"unwrap by root":  s.Do(t, "POST", "sys/wrapping/unwrap", servertest.Root, body),
		"unwrap by token": s.Do(t, "POST", "sys/wrapping/unwrap", token, ""),
		"rewrap":          s.Do(t, "POST", "sys/wrapping/rewrap", servertest.Root, body),
	}
}

// An answer that was wrapped in a namespace which is locked, or lies below one that is
// locked or sealed, is not had from another namespace.
func TestWrappedAnswersOfClosedNamespaces(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	keys := keysOf(t, s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir))
	s.Want(t, 200, "POST", "sys/namespaces/low", root, shamir, "X-Vault-Namespace", "team") // it has a key of its own
	for _, ns := range []string{"team", "team/low"} {
		token := wrapIn(t, s, ns)
		key := s.Want(t, 200, "POST", "sys/namespaces/api-lock/lock/team", root, "").String("data", "unlock_key")
		for how, a := range unwraps(s, t, token) {
			if a.Status != 503 || strings.Contains(a.Text(), "kept in") {
				t.Errorf("%s, team being locked: %s: %d %s", ns, how, a.Status, a.Text())
			}
		}
		s.Want(t, 204, "POST", "sys/namespaces/api-lock/unlock/team", root, `{"unlock_key":"`+key+`"}`)
		s.Want(t, 200, "POST", "sys/wrapping/unwrap", token, "")
		token = wrapIn(t, s, ns)
		s.Want(t, 204, "POST", "sys/namespaces/team/seal", root, "")
		for how, a := range unwraps(s, t, token) {
			if a.Status != 503 || strings.Contains(a.Text(), "kept in") {
				t.Errorf("%s, team being sealed: %s: %d %s", ns, how, a.Status, a.Text())
			}
		}
		for _, k := range keys[:2] {
			s.Want(t, 200, "POST", "sys/namespaces/team/unseal", root, `{"key":"`+k+`"}`)
		}
		s.Want(t, 200, "POST", "sys/wrapping/unwrap", token, "")
	}
}

// What is mounted in a namespace that is closed is not told from one above.
func TestMountsOfClosedNamespaces(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir)
	s.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv","description":"of the team"}`, "X-Vault-Namespace", "team")
	s.Want(t, 200, "GET", "sys/internal/ui/mounts/team/kv/", root, "")
	key := s.Want(t, 200, "POST", "sys/namespaces/api-lock/lock/team", root, "").String("data", "unlock_key")
	s.Want(t, 503, "GET", "sys/internal/ui/mounts/team/kv/", root, "")
	weak := s.Policy(t, "", "weak", `path "secret/*" { capabilities = ["read"] }`)
	s.Want(t, 403, "GET", "sys/internal/ui/mounts/team/kv/", weak, "")
	s.Want(t, 204, "POST", "sys/namespaces/api-lock/unlock/team", root, `{"unlock_key":"`+key+`"}`)
	s.Want(t, 200, "GET", "sys/internal/ui/mounts/team/kv/", root, "")
	s.Want(t, 204, "POST", "sys/namespaces/team/seal", root, "")
	s.Want(t, 503, "GET", "sys/internal/ui/mounts/team/kv/", root, "")
	s.Want(t, 403, "GET", "sys/internal/ui/mounts/team/kv/", weak, "")
}
