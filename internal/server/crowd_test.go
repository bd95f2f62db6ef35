package server_test

import (
	"fmt"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// Who manages a namespace and puts an operator from above into more groups than are read
// keeps them out of that namespace and of nothing else; and what those groups deny is not
// forgotten there.
func TestCrowdedNamespaces(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	for _, ns := range []string{"team", "other"} {
		s.Want(t, 200, "POST", "sys/namespaces/"+ns, root, "")
		s.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv"}`, "X-Vault-Namespace", ns)
		s.Want(t, 204, "POST", "kv/a", root, `{"v":"x"}`, "X-Vault-Namespace", ns)
	}
	s.Want(t, 200, "POST", "sys/namespaces/low", root, "", "X-Vault-Namespace", "team")
	admin := s.Policy(t, "team", "admin", `path "*" { capabilities = ["create","read","update","delete","list","sudo"] }`)
	s.Want(t, 204, "POST", "sys/policies/acl/p", root, `{"policy":"path \"*\" { capabilities = [\"read\",\"list\"] }"}`)
	s.Want(t, 204, "POST", "sys/auth/userpass", root, `{"type":"userpass"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/op", root, `{"password":"pass-word","policies":"p"}`)
	login := s.Want(t, 200, "POST", "auth/userpass/login/op", "", `{"password":"pass-word"}`)
	op, entity := login.String("auth", "client_token"), login.String("auth", "entity_id")
	member := func(i int) {
		s.Want(t, 200, "POST", "identity/group", admin, fmt.Sprintf(`{"name":"g%d","member_entity_ids":["%s"]}`, i, entity), "X-Vault-Namespace", "team")
	}
	const most = 1024
	for i := range most {
		member(i)
	}
	s.Want(t, 200, "GET", "kv/a", op, "", "X-Vault-Namespace", "team")
	member(most)
	s.Want(t, 400, "GET", "kv/a", op, "", "X-Vault-Namespace", "team")
	s.Want(t, 400, "GET", "team/kv/a", op, "")
	s.Want(t, 400, "GET", "sys/mounts", op, "", "X-Vault-Namespace", "team/low")
	s.Want(t, 200, "GET", "kv/a", op, "", "X-Vault-Namespace", "other")
	s.Want(t, 200, "GET", "auth/token/lookup-self", op, "")
	s.Want(t, 200, "POST", "auth/userpass/login/op", "", `{"password":"pass-word"}`)
	more := 8200 // more than a request looks at
	if testing.Short() {
		more = 100
	}
	for i := range more {
		member(most + 1 + i)
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", op, "")
	s.Want(t, 200, "POST", "auth/userpass/login/op", "", `{"password":"pass-word"}`)
}
