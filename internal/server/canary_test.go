package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// Secrets that logins, roles, unseal keys and locks are sent with, in their place or out of
// it, are in no refusal, nor in the audit log or the server's.
func TestAuthMethodsKeepSecrets(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	for _, m := range []string{"userpass", "approle", "jwt", "ldap", "radius", "kubernetes", "aws", "cert"} {
		s.Want(t, 204, "POST", "sys/auth/"+m, root, `{"type":"`+m+`"}`)
	}
	s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir)
	s.Want(t, 204, "POST", "auth/userpass/users/alice", root, `{"password":"right-password"}`)
	const canary = "c4n4ry-Zm9vYmFyYmF6"
	q := `"` + canary + `"`
	var bodies []string
	for _, field := range []string{"password", "password_hash", "secret_id", "secret_id_accessor", "jwt", "bindpass", "secret", "token_reviewer_jwt", "oidc_client_secret", "key", "unlock_key", "token", "state", "code", "id_token", "client_nonce", "nothing"} {
		for _, v := range []string{q, "[" + q + "]", `{"x":` + q + `}`} {
			bodies = append(bodies, `{"role":"r","role_id":"r","username":"alice","`+field+`":`+v+`}`)
		}
	}
	bodies = append(bodies, q, `{"password":`+q, canary, `{"iam_http_request_method":"POST","iam_request_url":`+q+`,"iam_request_body":`+q+`,"iam_request_headers":`+q+`}`, `{"cel_program":{"expression":`+q+`}}`)
	paths := []string{"auth/userpass/login/alice", "auth/userpass/users/alice", "auth/userpass/users/alice/password", "auth/approle/login", "auth/approle/role/r", "auth/approle/role/r/custom-secret-id",
		"auth/approle/role/r/secret-id/lookup", "auth/approle/role/r/secret-id-accessor/destroy", "auth/jwt/login", "auth/jwt/config", "auth/jwt/cel/login", "auth/jwt/cel/role/r", "auth/jwt/oidc/poll", "auth/ldap/config", "auth/ldap/login/alice",
		"auth/radius/config", "auth/radius/login", "auth/kubernetes/config", "auth/kubernetes/login", "auth/aws/login", "auth/aws/config/client", "auth/cert/login", "sys/namespaces/team/unseal", "sys/namespaces/api-lock/unlock/team"}
	for _, path := range paths {
		for _, body := range bodies {
			for _, token := range []string{"", root} {
				if a := s.Do(t, "POST", path, token, body); a.Status >= 400 && strings.Contains(a.Text(), canary) {
					t.Errorf("%s %s: %s", path, body, a.Text())
				}
			}
		}
	}
	for _, line := range strings.Split(string(s.Audit.Bytes())+string(s.Log.Bytes()), "\n") {
		if strings.Contains(line, canary) {
			t.Errorf("written down: %s", line)
		}
	}
}
