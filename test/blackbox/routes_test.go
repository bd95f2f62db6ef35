package blackbox

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// unauthenticated is every endpoint that answers somebody without a token.
// A line more in this list is a decision, not an accident.
//
// In the ceremonies of keys, a token or an unseal key is asked for by the endpoint
// itself; how far they have come is told to all, as of unsealing. sys/decode-token
// only reckons with what it is given.
const unauthenticated = `
update auth/aws/login
update auth/azure/login
update sys/mfa/validate
read sys/mfa/passkey
update sys/mfa/passkey/challenge
update sys/mfa/passkey/finish
update sys/mfa/passkey/register
update sys/mfa/totp/finish
update sys/mfa/totp/register
update auth/cert/login
update auth/gcp/login
update auth/kubernetes/login
delete sys/generate-root
delete sys/generate-root/attempt
delete sys/rekey-recovery-key/init
delete sys/rekey-recovery-key/verify
delete sys/rekey/init
delete sys/rekey/verify
read sys/generate-root
read sys/generate-root/attempt
read sys/rekey-recovery-key/init
read sys/rekey-recovery-key/verify
read sys/rekey/init
read sys/rekey/verify
update sys/generate-root
update sys/generate-root/attempt
update sys/generate-root/update
update sys/rekey-recovery-key/init
update sys/rekey-recovery-key/update
update sys/rekey-recovery-key/verify
update sys/rekey/init
update sys/rekey/update
update sys/rekey/verify
read sys/health
read sys/init
read sys/internal/specs/openapi
read sys/internal/ui/mounts
read sys/internal/ui/mounts/{path...}
read sys/internal/ui/namespaces
read sys/leader
read sys/seal-status
read sys/wrapping/lookup
update sys/decode-token
update sys/init
update sys/storage/raft/snapshot
update sys/storage/raft/snapshot-force
update sys/internal/specs/openapi
update sys/unseal
update sys/wrapping/lookup
read auth/jwt/oidc/callback
update auth/jwt/cel/login
update auth/approle/login
update auth/cert/login
read identity/oidc/.well-known/keys
read identity/oidc/.well-known/openid-configuration
read identity/oidc/provider/{name}/.well-known/keys
read identity/oidc/provider/{name}/.well-known/openid-configuration
read identity/oidc/provider/{name}/sign-in
update identity/oidc/provider/{name}/sign-in
read identity/oidc/provider/{name}/userinfo
update identity/oidc/provider/{name}/token
update identity/oidc/provider/{name}/userinfo
update auth/jwt/login
update auth/jwt/oidc/auth_url
update auth/jwt/oidc/callback
update auth/jwt/oidc/poll
read auth/oidc/oidc/callback
update auth/oidc/cel/login
update auth/oidc/login
update auth/oidc/oidc/auth_url
update auth/oidc/oidc/callback
update auth/oidc/oidc/poll
update auth/ldap/login/{username...}
update auth/radius/login
update auth/radius/login/{urlusername}
update auth/userpass/login/{username}
`

// surface is every endpoint that the server has, by operation and path, as the
// server itself binds them: none can be left out here.
func surface(t *testing.T) map[string]*api.Endpoint {
	t.Helper()
	engines, err := server.Engines()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*api.Endpoint{}
	add := func(prefix string, eps []*api.Endpoint) {
		for _, e := range eps {
			all[e.Op.String()+" "+prefix+e.Pattern] = e
		}
	}
	at := map[string]string{"system": "sys/", "token": "auth/token/", "cubbyhole": "cubbyhole/", "identity": "identity/", "kv": "kv1/"}
	for _, e := range engines {
		prefix, known := at[e.Type]
		if e.Auth && !known {
			prefix, known = "auth/"+e.Type+"/", true // as furnished has it
		}
		if !known {
			t.Fatalf("say where the engine %q is mounted", e.Type)
		}
		add(prefix, e.Endpoints)
		if e.Type == "kv" {
			add("secret/", e.Variant(map[string]string{"version": "2"}))
		}
	}
	return all
}

var methods = map[api.Op]string{api.Read: "GET", api.Write: "POST", api.Patch: "PATCH", api.Delete: "DELETE", api.List: "LIST", api.Scan: "SCAN"}

// filled is a pattern with names for its placeholders.
func filled(pattern string) string {
	segs := strings.Split(pattern, "/")
	for i, s := range segs {
		if strings.HasPrefix(s, "{") {
			segs[i] = "zz"
		}
	}
	return strings.Join(segs, "/")
}

func TestCVE_2023_0665_EveryRouteAsks(t *testing.T) {
	s := furnished(t)
	powerless := s.Policy(t, "", "powerless", `path "nothing" { capabilities = ["read"] }`)
	for name, e := range surface(t) {
		if strings.Contains(unauthenticated, "\n"+name+"\n") {
			continue
		}
		_, path, _ := strings.Cut(name, " ")
		for _, token := range []string{"", "bogus", powerless} {
			a := s.Do(t, methods[e.Op], filled(path), token, "", "Content-Type", "application/merge-patch+json")
			if e.Has(api.Bearer) { // a wrapping token is all that is asked for, and none was shown
				if a.Status != 403 && a.Status != 400 || a.Field("data") != nil {
					t.Errorf("%s with token %q: %d %s", name, token, a.Status, a.Body)
				}
				continue
			}
			if a.Status != 403 || a.Text() != `{"errors":["permission denied"]}`+"\n" {
				t.Errorf("%s with token %q: %d %s", name, token, a.Status, a.Body)
			}
		}
	}
}

// Who needs no token is told no more of a namespace that is not there, or is sealed, than of one where nothing is right.
func TestStrangersLearnOfNoNamespace(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "sys/namespaces/open", servertest.Root, "")
	s.Want(t, 200, "POST", "sys/namespaces/closed", servertest.Root, `{"seal":"seal \"shamir\" {\n  shares = 1\n  threshold = 1\n}"}`)
	s.Want(t, 204, "POST", "sys/namespaces/closed/seal", servertest.Root, "")
	for name, e := range surface(t) {
		_, path, _ := strings.Cut(name, " ")
		if !strings.HasPrefix(path, "sys/mfa/") || !e.Has(api.Public) || e.Op != api.Write {
			continue
		}
		const wrong = `{"registration_id":"e5fae6ae-0000-4000-8000-000000000000","mfa_request_id":"e5fae6ae-0000-4000-8000-000000000000","method_id":"e5fae6ae-0000-4000-8000-000000000000",
			"passcode":"123456","mfa_payload":{"e5fae6ae-0000-4000-8000-000000000000":["123456"]},"credential":{}}`
		open := s.Do(t, methods[e.Op], path, "", wrong, "X-Vault-Namespace", "open")
		if open.Status >= 500 {
			t.Errorf("%s: %d %s", name, open.Status, open.Body)
		}
		for _, ns := range []string{"nosuch", "closed"} {
			if a := s.Do(t, methods[e.Op], path, "", wrong, "X-Vault-Namespace", ns); a.Status != open.Status || a.Text() != open.Text() {
				t.Errorf("%s in %s: %d %s, and in one that is open %d %s", name, ns, a.Status, a.Body, open.Status, open.Body)
			}
		}
	}
}

func TestCVE_2021_27668_UnauthenticatedListIsWhole(t *testing.T) {
	have := surface(t)
	for name, e := range have {
		if listed := strings.Contains(unauthenticated, "\n"+name+"\n"); listed != e.Has(api.Public|api.Open) {
			t.Errorf("%s: listed as unauthenticated: %v, declared so: %v", name, listed, !listed)
		}
	}
	for name := range strings.FieldsFuncSeq(unauthenticated, func(r rune) bool { return r == '\n' }) {
		if have[name] == nil {
			t.Errorf("%s is listed and does not exist", name)
		}
	}
}

func TestSealedServerAnswersOnlyTheList(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "PUT", "sys/seal", root, "")
	answers := map[string]bool{"read sys/health": true, "read sys/init": true, "read sys/leader": true, "read sys/seal-status": true, "update sys/init": true, "update sys/unseal": true,
		"update sys/storage/raft/snapshot": true, "update sys/storage/raft/snapshot-force": true}
	for name, e := range surface(t) {
		_, path, _ := strings.Cut(name, " ")
		for _, token := range []string{"", root} {
			a := s.Do(t, methods[e.Op], filled(path), token, "", "Content-Type", "application/merge-patch+json")
			if sealed := a.Status == 503 && strings.Contains(a.Text(), "sealed"); sealed == answers[name] && name != "read sys/health" && name != "read sys/seal-status" {
				t.Errorf("%s while sealed: %d %s", name, a.Status, a.Body)
			}
		}
	}
	uninitialised := func(c *server.Config) { c.DevRoot = api.Secret{} }
	fresh := servertest.Start(t, uninitialised)
	fresh.Want(t, 501, "GET", "sys/health", "", "")
	fresh.Want(t, 503, "GET", "secret/data/a", root, "")
}

func TestCVE_2025_4656_NoUnauthenticatedCeremony(t *testing.T) {
	s := furnished(t)
	for _, path := range []string{"rekey/init", "rekey/update", "rekey/verify", "rekey/backup", "rekey-recovery-key/init", "generate-root/attempt", "generate-root/update",
		"rotate", "rotate/root/init", "rotate/recovery/init", "key-slots", "key-slots/x", "seal", "step-down", "replication/status", "storage/raft/join", "storage/raft/remove-peer", "license", "raw/x", "pprof/", "monitor", "in-flight-req"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "LIST"} {
			if method == "GET" && strings.Contains(unauthenticated, "\nread sys/"+path+"\n") {
				continue // it changes nothing
			}
			if a := s.Do(t, method, "sys/"+path, "", `{}`); a.Status != 403 {
				t.Errorf("%s sys/%s: %d %s", method, path, a.Status, a.Body)
			}
		}
	}
	for _, path := range []string{"../debug/pprof/", "../metrics", "../", "../ui/"} {
		if a := s.Do(t, "GET", path, "", ""); a.Status < 400 {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}

func TestCVE_2020_25594_NobodyLearnsMounts(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "sys/mounts/hidden-mount", root, `{"type":"kv"}`)
	powerless := s.Policy(t, "", "powerless", `path "nothing" { capabilities = ["read"] }`)
	for _, path := range []string{"sys/internal/specs/openapi", "sys/internal/ui/mounts", "sys/internal/ui/mounts/hidden-mount/x", "sys/health", "sys/leader", "sys/seal-status", "hidden-mount/x", "sys/mounts"} {
		for _, token := range []string{"", powerless} {
			a := s.Do(t, "GET", path, token, "")
			if strings.Contains(a.Text(), "hidden-mount") || strings.Contains(a.Text(), "kv1") {
				t.Errorf("%s with token %q names a mount", path, token)
			}
		}
	}
	if a := s.Want(t, 200, "GET", "sys/internal/ui/mounts", root, ""); !strings.Contains(a.Text(), "hidden-mount") {
		t.Errorf("control: %s", a.Body)
	}
}
