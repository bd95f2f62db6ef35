package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// limitedRoles are two AppRole roles and, for each, a secret id that is good as often as asked for.
func limitedRoles(t *testing.T, s *servertest.Server) (in func(status int, role string) *servertest.Answer) {
	t.Helper()
	s.Want(t, 204, "POST", "sys/auth/approle", servertest.Root, `{"type":"approle"}`)
	s.Want(t, 204, "POST", "sys/auth/approle/tune", servertest.Root, `{"user_lockout_config":{"lockout_disable":true}}`)
	secrets := map[string]string{"nobody": "x"}
	for _, role := range []string{"ci", "cd"} {
		s.Want(t, 204, "POST", "auth/approle/role/"+role, servertest.Root, `{"role_id":"id-of-`+role+`","token_policies":"default"}`)
		secrets[role] = s.Want(t, 200, "POST", "auth/approle/role/"+role+"/secret-id", servertest.Root, `{"num_uses":5}`).String("data", "secret_id")
	}
	return func(status int, role string) *servertest.Answer {
		t.Helper()
		return s.Want(t, status, "POST", "auth/approle/login", "", `{"role_id":"id-of-`+role+`","secret_id":"`+secrets[role]+`"}`)
	}
}

// A rate limit of an AppRole role meets the logins that show its role id, and nothing else. Role
// ids that nobody has use none of it up, and are answered as without it.
func TestRateLimitOfAnAppRole(t *testing.T) {
	s := servertest.Start(t)
	in := limitedRoles(t, s)
	unknown := in(400, "nobody")
	s.Want(t, 204, "POST", "sys/quotas/config", servertest.Root, `{"enable_rate_limit_response_headers":true}`)
	s.Want(t, 204, "POST", "sys/quotas/rate-limit/ci", servertest.Root, `{"path":"auth/approle","role":"ci","rate":3,"interval":"1h","group_by":"none"}`)
	same := func() {
		t.Helper()
		for range 5 {
			if a := in(400, "nobody"); a.Text() != unknown.Text() || a.Header.Get("X-Ratelimit-Limit") != "" {
				t.Errorf("an unknown role id is answered %s with %v, without the limit %s", a.Body, a.Header, unknown.Body)
			}
		}
		s.Want(t, 400, "POST", "auth/approle/login", "", `{"role_id":"","secret_id":"x"}`)
		s.Want(t, 400, "POST", "auth/approle/login", "", `{}`)
	}
	same()
	for range 3 {
		if a := in(200, "ci"); a.Header.Get("X-Ratelimit-Limit") != "3" {
			t.Errorf("a login within the limit has %v", a.Header)
		}
	}
	in(429, "ci")
	same()
	in(200, "cd")
	for _, path := range []string{"auth/approle/role/ci", "auth/approle/role/ci/role-id"} {
		s.Want(t, 200, "GET", path, servertest.Root, "")
	}
	s.Want(t, 204, "POST", "auth/approle/role/ci", servertest.Root, `{"role_id":"id-of-other"}`)
	s.Want(t, 429, "POST", "auth/approle/login", "", `{"role_id":"id-of-other","secret_id":"x"}`) // it is the role's, whatever its id
	if a := in(400, "ci"); a.Text() != unknown.Text() {
		t.Errorf("a role id that is no more is answered %s", a.Body)
	}
	s.Want(t, 204, "DELETE", "sys/quotas/rate-limit/ci", servertest.Root, "")
	s.Want(t, 400, "POST", "auth/approle/login", "", `{"role_id":"id-of-other","secret_id":"x"}`)
}

// A lease count of an AppRole role counts the tokens of its logins, and refuses one before a use
// of its secret id is counted.
func TestLeaseCountOfAnAppRole(t *testing.T) {
	s := servertest.Start(t)
	in := limitedRoles(t, s)
	s.Want(t, 204, "POST", "sys/quotas/lease-count/ci", servertest.Root, `{"path":"auth/approle","role":"CI","max_leases":2}`)
	first := in(200, "ci")
	in(200, "ci")
	for range 20 {
		in(429, "ci")
	}
	in(200, "cd")
	in(400, "nobody")
	if n := count(t, s, servertest.Root, "ci"); n != 2 {
		t.Errorf("the role has %v tokens, want 2", n)
	}
	s.Want(t, 204, "POST", "auth/token/revoke-self", clientToken(first), "")
	in(200, "ci")
	in(429, "ci")
}

// A quota for a role that is misspelled is taken, as the role may come later, and warned of.
func TestQuotaOfNoRole(t *testing.T) {
	s := servertest.Start(t)
	limitedRoles(t, s)
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, `{}`)
	for _, at := range []struct{ ns, kind string }{{"", "jwt"}, {"team", "approle"}, {"", "cert"}, {"", "kubernetes"}} {
		s.Want(t, 204, "POST", "sys/auth/"+at.kind, servertest.Root, `{"type":"`+at.kind+`"}`, "X-Vault-Namespace", at.ns)
	}
	s.Want(t, 204, "POST", "auth/approle/role/ours", servertest.Root, `{}`, "X-Vault-Namespace", "team")
	for _, c := range []struct {
		path, role string
		there      bool
	}{
		{"auth/approle", "ci", true}, {"auth/approle", "CI", true}, {"auth/approle", "c1", false}, {"team/auth/approle", "ours", true}, {"team/auth/approle", "ci", false},
		{"auth/jwt", "x", false}, {"auth/cert", "x", false}, {"auth/kubernetes", "x", false},
	} {
		for kind, terms := range map[string]string{"rate-limit": `"rate":5`, "lease-count": `"max_leases":5`} {
			a := s.Do(t, "POST", "sys/quotas/"+kind+"/q", servertest.Root, `{"path":"`+c.path+`","role":"`+c.role+`",`+terms+`}`)
			if warned := strings.Contains(a.Text(), "no role of that name"); a.Status/100 != 2 || warned == c.there {
				t.Errorf("%s of %s at %s: %d %s", kind, c.role, c.path, a.Status, a.Body)
			}
		}
	}
}

// Whoever is refused for a lease count is told what they can do: who logs in has nothing to revoke and no quota to change.
func TestFullQuotaSaysWhatTheReaderCanDo(t *testing.T) {
	s := servertest.Start(t)
	in := limitedRoles(t, s)
	s.Want(t, 204, "POST", "sys/quotas/lease-count/ci", servertest.Root, `{"path":"auth/approle","role":"ci","max_leases":1}`)
	in(200, "ci")
	if a := in(429, "ci"); strings.Contains(a.Text(), "max_leases") || strings.Contains(a.Text(), "revoke") || !strings.Contains(a.Text(), "try again when some have ended") {
		t.Errorf("a login is told %s", a.Body)
	}
	s.Want(t, 204, "POST", "sys/policies/acl/maker", servertest.Root, `{"policy":"path \"auth/token/create\" { capabilities = [\"update\"] }"}`)
	s.Want(t, 204, "POST", "auth/approle/role/cd", servertest.Root, `{"token_policies":"maker"}`)
	holder := in(200, "cd").String("auth", "client_token")
	s.Want(t, 204, "POST", "sys/quotas/lease-count/tokens", servertest.Root, `{"path":"auth/token","max_leases":1}`)
	for range 2 { // there may be others that count
		s.Do(t, "POST", "auth/token/create", holder, `{"policies":"default"}`)
	}
	if a := s.Want(t, 429, "POST", "auth/token/create", holder, `{"policies":"default"}`); !strings.Contains(a.Text(), "revoke some of yours") || !strings.Contains(a.Text(), "max_leases") {
		t.Errorf("the holder of a token is told %s", a.Body)
	}
}
