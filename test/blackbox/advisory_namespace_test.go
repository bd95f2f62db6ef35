package blackbox

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCVE_2020_35453_GoverningNamespace(t *testing.T) {
	s := furnished(t)
	tree := []string{"a", "a/b", "a/b/c", "d"}
	for _, ns := range tree {
		parent, name := "", ns
		if i := strings.LastIndexByte(ns, '/'); i >= 0 {
			parent, name = ns[:i], ns[i+1:]
		}
		s.Want(t, 200, "POST", "sys/namespaces/"+name, root, `{}`, "X-Vault-Namespace", parent)
		s.Want(t, 204, "POST", "sys/mounts/kv1", root, `{"type":"kv"}`, "X-Vault-Namespace", ns)
		s.Want(t, 204, "POST", "kv1/a", root, `{"k":"v"}`, "X-Vault-Namespace", ns)
	}
	all := `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`
	for _, home := range tree {
		token := s.Policy(t, home, "everything", all)
		for _, where := range append(tree, "") {
			want := 403
			if where == home || strings.HasPrefix(where, home+"/") {
				want = 200
			}
			s.Want(t, want, "GET", "kv1/a", token, "", "X-Vault-Namespace", where)
			s.Want(t, want, "GET", strings.TrimPrefix(where+"/kv1/a", "/"), token, "")
		}
		s.Want(t, 403, "GET", "sys/policies/acl/default", token, "")
	}
}

func TestCVE_2026_55775_NamespaceNamedRoot(t *testing.T) {
	s := furnished(t)
	for _, name := range []string{"root", "ROOT", "Root", "./", "", "/", ".", "..", "root/", "%2e", "r%6fot", "root%20", "root%00", "ro%6ft/", "sys", "auth", "cubbyhole"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			a := s.Raw(t, method, []byte(method+" /v1/sys/namespaces/"+name+" HTTP/1.1\r\nHost: x\r\nX-Vault-Token: "+root+
				"\r\nContent-Type: application/merge-patch+json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"))
			if a.Status < 300 && !(method == "DELETE" && a.Field("data") == nil) {
				t.Errorf("%s %q: %d %s", method, name, a.Status, a.Body)
			}
		}
	}
	s.Want(t, 404, "LIST", "sys/namespaces", root, "") // none was made
	s.Want(t, 200, "GET", "kv1/a", root, "")
}

func TestCVE_2026_40264_ForeignAccessor(t *testing.T) {
	s := furnished(t)
	for _, ns := range []string{"ns1", "ns2"} {
		s.Want(t, 200, "POST", "sys/namespaces/"+ns, root, `{}`)
	}
	victim := s.Want(t, 200, "POST", "auth/token/create", root, `{"policies":["default"],"ttl":"1h"}`, "X-Vault-Namespace", "ns1")
	attacker := s.Policy(t, "ns2", "all", `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`)
	accessor, random := victim.String("auth", "accessor"), strings.Repeat("x", len(victim.String("auth", "accessor")))
	if i := strings.IndexByte(accessor, '.'); i >= 0 {
		random = strings.Repeat("x", i) + accessor[i:]
	}
	for _, path := range []string{"auth/token/lookup-accessor", "auth/token/renew-accessor", "auth/token/revoke-accessor", "sys/capabilities-accessor"} {
		ask := func(a string) (int, string) {
			got := s.Do(t, "POST", path, attacker, `{"accessor":"`+a+`","path":"kv1/a"}`, "X-Vault-Namespace", "ns2")
			return got.Status, strings.ReplaceAll(got.Text(), got.String("request_id"), "")
		}
		status, text := ask(accessor)
		wantStatus, wantText := ask(random)
		if status != wantStatus || text != wantText {
			t.Errorf("%s: %d %s, of a random accessor: %d %s", path, status, text, wantStatus, wantText)
		}
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", victim.String("auth", "client_token"), "", "X-Vault-Namespace", "ns1")
}

func TestForeignTokensInBodies(t *testing.T) {
	s := furnished(t)
	for _, ns := range []string{"ns1", "ns2"} {
		s.Want(t, 200, "POST", "sys/namespaces/"+ns, root, `{}`)
	}
	victim := s.Want(t, 200, "POST", "auth/token/create", root, `{"policies":["default"],"ttl":"1h"}`, "X-Vault-Namespace", "ns1").String("auth", "client_token")
	attacker := s.Policy(t, "ns2", "all", `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`)
	for _, path := range []string{"auth/token/lookup", "auth/token/renew", "auth/token/revoke", "auth/token/revoke-orphan", "sys/capabilities"} {
		if a := s.Do(t, "POST", path, attacker, `{"token":"`+victim+`","path":"x"}`, "X-Vault-Namespace", "ns2"); a.Status < 400 && (a.Field("data") != nil || a.Field("auth") != nil) {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", victim, "", "X-Vault-Namespace", "ns1")
}

func TestSingleUseTokens(t *testing.T) {
	s := furnished(t)
	const uses, racers = 3, 64
	token := s.Policy(t, "", "few", `path "kv1/*" { capabilities = ["read"] }`, `"num_uses":3`)
	var won, other atomic.Int64
	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			a, err := s.Try("GET", "kv1/a", token, "")
			switch {
			case err != nil:
				t.Error(err)
			case a.Status == 200:
				won.Add(1)
			case a.Status != 403:
				other.Add(1)
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if won.Load() != uses || other.Load() != 0 {
		t.Errorf("%d of %d uses, %d neither answered nor denied\n%s", won.Load(), uses, other.Load(), s.Log.Bytes())
	}
}

func TestCVE_2020_10660_NextRequestSees(t *testing.T) {
	s := furnished(t)
	for range 20 {
		token := s.Policy(t, "", "fresh", `path "kv1/*" { capabilities = ["read"] }`)
		s.Want(t, 200, "GET", "kv1/a", token, "")
		s.Want(t, 204, "DELETE", "sys/policies/acl/fresh", root, "")
		s.Want(t, 403, "GET", "kv1/a", token, "")
		s.Policy(t, "", "fresh", `path "kv1/*" { capabilities = ["read"] }`)
		s.Want(t, 200, "GET", "kv1/a", token, "")
		s.Want(t, 204, "POST", "auth/token/revoke", root, `{"token":"`+token+`"}`)
		s.Want(t, 403, "GET", "kv1/a", token, "")
	}
}

func TestCVE_2020_7220_DeletedNamespace(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "sys/namespaces/gone", root, `{}`)
	s.Want(t, 204, "POST", "sys/mounts/kv1", root, `{"type":"kv"}`, "X-Vault-Namespace", "gone")
	s.Want(t, 204, "POST", "kv1/a", root, `{"k":"v"}`, "X-Vault-Namespace", "gone")
	token := s.Policy(t, "gone", "all", `path "*" { capabilities = ["create", "read", "update", "sudo"] }`)
	s.Want(t, 200, "GET", "kv1/a", token, "", "X-Vault-Namespace", "gone")
	s.Want(t, 200, "DELETE", "sys/namespaces/gone", root, "")
	s.Want(t, 403, "GET", "kv1/a", token, "", "X-Vault-Namespace", "gone")
	s.Want(t, 403, "GET", "gone/kv1/a", token, "")
	for range 2000 { // the work goes on in the background
		if a := s.Do(t, "POST", "sys/namespaces/gone", root, `{}`); a.Status == 200 {
			break
		}
	}
	s.Want(t, 403, "GET", "kv1/a", token, "", "X-Vault-Namespace", "gone")
	if a := s.Do(t, "GET", "kv1/a", root, "", "X-Vault-Namespace", "gone"); a.Status != 404 {
		t.Errorf("the new namespace has the old one's mount: %d %s", a.Status, a.Body)
	}
	s.Want(t, 404, "GET", "sys/policies/acl/"+url.PathEscape("all"), root, "", "X-Vault-Namespace", "gone")
}
