package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// Why a login was refused is told to who may explain refusals, and never to who logs in.
func TestRefusedLoginsAreExplained(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	f := enforced(t, s, root)
	s.Want(t, 204, "POST", "sys/auth/approle", root, `{"type":"approle"}`)
	s.Want(t, 204, "POST", "auth/approle/role/ci", root, `{"role_id":"ci"}`)
	far := s.Want(t, 200, "POST", "auth/approle/role/ci/secret-id", root, `{"cidr_list":"10.0.0.0/8"}`).String("data", "secret_id")
	s.Want(t, 204, "POST", "auth/userpass/users/bob", root, `{"password":"correct horse"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/eve", root, `{"password":"correct horse"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/dan", root, `{"password":"correct horse"}`)
	dan := s.Want(t, 200, "POST", "auth/userpass/login/dan", "", `{"password":"correct horse"}`).String("auth", "entity_id")
	s.Want(t, 204, "POST", "identity/mfa/login-enforcement/people", root, `{"auth_method_types":[],"identity_entity_ids":["`+f.entity+`","`+dan+`"]}`)
	bob := s.Want(t, 200, "POST", "auth/userpass/login/bob", "", `{"password":"correct horse"}`).String("auth", "entity_id")
	s.Want(t, 204, "POST", "identity/entity/id/"+bob, root, `{"disabled":true}`)
	for range 5 {
		s.Want(t, 400, "POST", "auth/userpass/login/eve", "", `{"password":"tr0ub4dor"}`)
	}
	s.Want(t, 200, "POST", "sys/namespaces/team", root, `{}`)
	weak := s.Policy(t, "", "weak", `path "secret/*" { capabilities = ["read"] }`)
	for _, c := range []struct {
		status             int
		path, body, reason string
		headers            []string
	}{
		{403, "auth/approle/login", `{"role_id":"ci","secret_id":"` + far + `"}`, "cidr_list of the secret id", nil},
		{400, "auth/approle/login", `{"role_id":"ci","secret_id":"nothing"}`, "no such secret id", nil},
		{400, "auth/approle/login", `{"role_id":"nobody","secret_id":"nothing"}`, "no role has the role id", nil},
		{400, "auth/userpass/login/ann", `{"password":"tr0ub4dor"}`, "password is wrong", nil},
		{400, "auth/userpass/login/nobody", `{"password":"tr0ub4dor"}`, "no such user", nil},
		{400, "auth/userpass/login/eve", `{"password":"correct horse"}`, "account is locked", nil},
		{403, "auth/userpass/login/bob", `{"password":"correct horse"}`, "disabled", nil},
		{403, "auth/userpass/login/ann", `{"password":"correct horse"}`, "second factor is missing or wrong", []string{"X-Vault-MFA", f.method + ":1"}},
		{403, "auth/userpass/login/dan", `{"password":"correct horse"}`, "has no secret for app", []string{"X-Vault-MFA", f.method + ":000000"}},
		{403, "auth/nope/login/carl", `{"password":"tr0ub4dor"}`, "no handler for route", nil},
		{403, "auth/userpass/login/carl", `{"password":"tr0ub4dor"}`, "no handler for route", []string{"X-Vault-Namespace", "team"}},
		{403, "auth/userpass/login/carl", `{"password":"tr0ub4dor"}`, "namespace not found", []string{"X-Vault-Namespace", "nowhere"}},
	} {
		a := s.Want(t, c.status, "POST", c.path, "", c.body, c.headers...)
		if strings.Contains(string(a.Body), c.reason) {
			t.Errorf("%s tells its caller why: %s", c.path, a.Body)
		}
		id := a.Header.Get("X-Request-Id")
		x := s.Want(t, 200, "POST", "sys/policies/explain", root, `{"request_id":"`+id+`"}`)
		if why := x.String("data", "cause"); !strings.Contains(why, c.reason) {
			t.Errorf("%s %s: cause %q, want %q", c.path, c.body, why, c.reason)
		}
		s.Want(t, 403, "POST", "sys/policies/explain", weak, `{"request_id":"`+id+`"}`)
	}
}
