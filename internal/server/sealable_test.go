package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

const shamir = `{"seal":"seal \"shamir\" { shares = 3 threshold = 2 }"}`

// keysOf are the unseal keys that an answer shows.
func keysOf(t testing.TB, a *servertest.Answer) []string {
	t.Helper()
	list, _ := a.Field("data", "key_shares").([]any)
	var keys []string
	for _, k := range list {
		keys = append(keys, k.(string))
	}
	if len(keys) != 3 {
		t.Fatalf("%d unseal keys: %s", len(keys), a.Text())
	}
	return keys
}

// tokenOf is a token of a namespace with one policy.
func tokenOf(t testing.TB, s *servertest.Server, root, ns, policy string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"policy": policy})
	if err != nil {
		t.Fatal(err)
	}
	s.Want(t, 204, "POST", "sys/policies/acl/p", root, string(body), "X-Vault-Namespace", ns)
	return s.Want(t, 200, "POST", "auth/token/create", root, `{"policies":["p"]}`, "X-Vault-Namespace", ns).String("auth", "client_token")
}

// A namespace that is sealed through one node is so on all, with what is below it; its
// holders open it through any.
func TestSealedNamespaceOnAllNodes(t *testing.T) {
	f := startNodes(t, 3)
	a, b, c := f.all[0], f.all[1], f.all[2]
	keys := keysOf(t, a.Want(t, 200, "POST", "sys/namespaces/team", f.root, shamir))
	b.Want(t, 200, "POST", "sys/namespaces/low", f.root, "", "X-Vault-Namespace", "team")
	tokens := map[string]string{}
	for _, ns := range []string{"team", "team/low"} {
		b.Want(t, 204, "POST", "sys/mounts/kv", f.root, `{"type":"kv"}`, "X-Vault-Namespace", ns)
		b.Want(t, 204, "POST", "kv/a", f.root, `{"v":"x"}`, "X-Vault-Namespace", ns)
		tokens[ns] = tokenOf(t, b, f.root, ns, `path "kv/*" { capabilities = ["read","list"] }`)
		for _, n := range f.all {
			n.Want(t, 200, "GET", "kv/a", tokens[ns], "", "X-Vault-Namespace", ns)
		}
	}
	a.Want(t, 204, "POST", "sys/namespaces/team/seal", f.root, "")
	for i, n := range f.all {
		for ns, token := range tokens {
			n.Want(t, 503, "GET", "kv/a", token, "", "X-Vault-Namespace", ns)
			n.Want(t, 503, "GET", "kv/a", f.root, "", "X-Vault-Namespace", ns)
			n.Want(t, 503, "GET", ns+"/kv/a", f.root, "")
			n.Want(t, 403, "GET", "kv/a", "", "", "X-Vault-Namespace", ns)
			n.Want(t, 403, "GET", "kv/a", "srs_nothing", "", "X-Vault-Namespace", ns)
			n.Want(t, 503, "POST", "sys/namespaces/new", f.root, "", "X-Vault-Namespace", ns)
		}
		n.Want(t, 400, "DELETE", "sys/namespaces/team", f.root, "")
		if st := n.Want(t, 200, "GET", "sys/namespaces/team/seal-status", f.root, ""); st.Field("data", "sealed") != true || st.Field("data", "t") != 2.0 || st.Field("data", "n") != 3.0 {
			t.Errorf("node %d: %s", i, st.Text())
		}
	}
	c.Want(t, 403, "POST", "sys/namespaces/team/unseal", "", `{"key":"`+keys[0]+`"}`)
	c.Want(t, 400, "POST", "sys/namespaces/team/unseal", f.root, `{"key":"nonsense"}`)
	if st := c.Want(t, 200, "POST", "sys/namespaces/team/unseal", f.root, `{"key":"`+keys[0]+`"}`); st.Field("data", "progress") != 1.0 {
		t.Errorf("after one key: %s", st.Text())
	}
	if st := c.Want(t, 200, "POST", "sys/namespaces/team/unseal", f.root, `{"key":"`+keys[2]+`"}`); st.Field("data", "sealed") != false {
		t.Errorf("after two keys: %s", st.Text())
	}
	for _, n := range f.all {
		for ns, token := range tokens {
			n.Want(t, 200, "GET", "kv/a", token, "", "X-Vault-Namespace", ns)
		}
	}
	for _, n := range f.all {
		for _, k := range keys {
			if strings.Contains(string(n.Audit.Bytes()), k) || strings.Contains(string(n.Log.Bytes()), k) {
				t.Error("an unseal key is in the audit log or the server's")
			}
		}
	}
}

// What a namespace's seal does not take.
func TestSealsThatAreRefused(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	for _, body := range []string{`{"seal":"shamir"}`, `{"seal":"seal \"transit\" {}"}`, `{"seal":"seal \"shamir\" { shares = 3 threshold = 1 }"}`,
		`{"seal":"seal \"shamir\" { shares = 3 threshold = 4 }"}`, `{"seal":"seal \"shamir\" { shares = -1 threshold = 1 }"}`, `{"seal":"{\"seal\":3}"}`,
		`{"pgp_keys":["x"]}`, `{"seal":"seal \"shamir\" { shares = 1 threshold = 1 }","pgp_keys":["x"]}`} {
		s.Want(t, 400, "POST", "sys/namespaces/bad", root, body)
	}
	s.Want(t, 404, "GET", "sys/namespaces/bad", root, "") // nothing of it was made
	s.Want(t, 200, "POST", "sys/namespaces/plain", root, "")
	for _, path := range []string{"plain/seal", "plain/unseal", "none/seal"} {
		want := map[bool]int{true: 404, false: 400}[strings.HasPrefix(path, "none")]
		s.Want(t, want, "POST", "sys/namespaces/"+path, root, `{"key":"x"}`)
	}
	s.Want(t, 400, "GET", "sys/namespaces/plain/seal-status", root, "")
	s.Want(t, 200, "POST", "sys/namespaces/low", root, "", "X-Vault-Namespace", "plain")
	s.Want(t, 400, "PATCH", "sys/namespaces/plain", root, shamir, "Content-Type", "application/merge-patch+json") // low does not take its key
	s.Want(t, 400, "POST", "sys/namespaces/plain", root, shamir)
}

// A namespace is given its seal later, and its data is as it was; nobody gives it another.
func TestSealsComeLater(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	s.Want(t, 200, "POST", "sys/namespaces/team", root, "")
	s.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv"}`, "X-Vault-Namespace", "team")
	s.Want(t, 204, "POST", "kv/a", root, `{"v":"x"}`, "X-Vault-Namespace", "team")
	patch := []string{"Content-Type", "application/merge-patch+json"}
	keys := keysOf(t, s.Want(t, 200, "PATCH", "sys/namespaces/team", root, shamir, patch...))
	s.Want(t, 400, "PATCH", "sys/namespaces/team", root, shamir, patch...)
	s.Want(t, 204, "POST", "sys/namespaces/team/seal", root, "")
	s.Want(t, 503, "GET", "kv/a", root, "", "X-Vault-Namespace", "team")
	for _, k := range keys[1:] {
		s.Want(t, 200, "POST", "sys/namespaces/team/unseal", root, `{"key":"`+k+`"}`)
	}
	s.Want(t, 200, "GET", "kv/a", root, "", "X-Vault-Namespace", "team")
}

// A sealed namespace whose keys are lost is given up, with what is below it.
func TestDeleteSealed(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	s.Want(t, 200, "POST", "sys/namespaces/team", root, shamir)
	s.Want(t, 200, "POST", "sys/namespaces/low", root, "", "X-Vault-Namespace", "team")
	s.Want(t, 400, "DELETE", "sys/namespaces/team/delete-sealed", root, "") // it is not
	s.Want(t, 204, "POST", "sys/namespaces/team/seal", root, "")
	weak := s.Policy(t, "", "weak", `path "sys/namespaces/*" { capabilities = ["delete"] }`)
	s.Want(t, 403, "DELETE", "sys/namespaces/team/delete-sealed", weak, "")
	s.Want(t, 400, "DELETE", "sys/namespaces/team/delete-sealed", root, "") // low is there
	s.Want(t, 200, "DELETE", "sys/namespaces/team/delete-sealed?force=true", root, "")
	waitFor(t, "the namespace is gone", func() bool {
		a, err := s.Try("LIST", "sys/namespaces", root, "")
		return err == nil && a.Status == 404
	})
	s.Want(t, 200, "POST", "sys/namespaces/team", root, "")
	s.Want(t, 404, "LIST", "sys/namespaces", root, "", "X-Vault-Namespace", "team")
}

// A locked namespace, and what is below, answers nothing but what unlocks it.
func TestLockedNamespace(t *testing.T) {
	f := startNodes(t, 2)
	a, b := f.all[0], f.all[1]
	a.Want(t, 200, "POST", "sys/namespaces/team", f.root, "")
	a.Want(t, 200, "POST", "sys/namespaces/low", f.root, "", "X-Vault-Namespace", "team")
	token := tokenOf(t, a, f.root, "team", `path "*" { capabilities = ["read","update","list"] }`)
	key := a.Want(t, 200, "POST", "sys/namespaces/api-lock/lock/team", f.root, "").String("data", "unlock_key")
	a.Want(t, 400, "POST", "sys/namespaces/api-lock/lock", f.root, "")
	for _, n := range f.all {
		for _, ns := range []string{"team", "team/low"} {
			n.Want(t, 503, "LIST", "sys/policies/acl", f.root, "", "X-Vault-Namespace", ns)
			n.Want(t, 503, "GET", ns+"/sys/mounts", f.root, "")
		}
		n.Want(t, 503, "GET", "auth/token/lookup-self", token, "", "X-Vault-Namespace", "team")
		n.Want(t, 403, "GET", "sys/policies/acl", "", "", "X-Vault-Namespace", "team")
		n.Want(t, 200, "LIST", "sys/policies/acl", f.root, "")
		if info := n.Want(t, 200, "GET", "sys/namespaces/team", f.root, ""); info.Field("data", "locked") != true {
			t.Errorf("it is not told: %s", info.Text())
		}
	}
	b.Want(t, 400, "POST", "sys/namespaces/api-lock/unlock", token, `{"unlock_key":"wrong"}`, "X-Vault-Namespace", "team")
	b.Want(t, 400, "POST", "sys/namespaces/api-lock/unlock", token, "", "X-Vault-Namespace", "team")
	b.Want(t, 204, "POST", "sys/namespaces/api-lock/unlock", token, `{"unlock_key":"`+key+`"}`, "X-Vault-Namespace", "team")
	a.Want(t, 200, "GET", "auth/token/lookup-self", token, "", "X-Vault-Namespace", "team")
	a.Want(t, 200, "POST", "sys/namespaces/api-lock/lock", f.root, "", "X-Vault-Namespace", "team")
	a.Want(t, 204, "POST", "sys/namespaces/api-lock/unlock/team", f.root, "") // sudo in the root namespace
	a.Want(t, 200, "GET", "auth/token/lookup-self", token, "", "X-Vault-Namespace", "team")
}
