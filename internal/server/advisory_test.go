package server_test

import (
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// absent has every type of what other servers were attacked through refused as unknown, as a mount and as a method, in any
// spelling. Whoever adds one of them adds the tests of its advisories in place of this.
func absent(t *testing.T, types ...string) {
	t.Helper()
	s := servertest.Start(t)
	for _, kind := range types {
		for _, name := range []string{kind, strings.ToUpper(kind), " " + kind, kind + "-plugin", "vault-plugin-auth-" + kind} {
			body := `{"type":"` + name + `","config":{},"plugin_name":"` + name + `"}`
			for _, path := range []string{"sys/auth/x", "sys/mounts/x"} {
				if a := s.Do(t, "POST", path, servertest.Root, body); a.Status != 400 {
					t.Errorf("%s of type %q: %d %s", path, name, a.Status, a.Body)
				}
			}
		}
	}
	s.Want(t, 204, "POST", "sys/auth/x", servertest.Root, `{"type":"userpass"}`)
}

// SAML was got round by how XML is read and signed. No method takes it, and nothing that is linked reads signed XML.
// Control: with Type of userpass set to "saml", or a module of the list in go.mod, it fails.
func TestCVE_2020_26290_NoSAML(t *testing.T) {
	absent(t, "saml")
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"goxmldsig", "gosaml2", "crewjam/saml", "go-saml", "xmlsec", "etree", "dexidp/dex"} {
		if strings.Contains(string(text), module) {
			t.Errorf("%s is linked", module)
		}
	}
}

// One-time passwords for SSH let in at hosts that they were not made for. There are none.
func TestCVE_2020_24359_NoOneTimePasswordsForSSH(t *testing.T) { absent(t, "ssh") }

// CVE-2021-38554 had a page keep secrets between the sessions of two people. Nothing that is answered, whoever asks, is kept
// by a browser or gives it anything to keep, and no path is a page of an interface.
// Control: without noStore in the answer's headers it fails.
func TestCVE_2021_38554_BrowsersKeepNothing(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/mounts/kv", servertest.Root, `{"type":"kv"}`)
	s.Want(t, 204, "POST", "kv/a", servertest.Root, `{"v":"x"}`)
	for _, path := range []string{"kv/a", "kv/none", "auth/token/lookup-self", "sys/health", "sys/seal-status", "../", "../ui/", "../ui/vault/secrets", "../index.html", "sys/nowhere"} {
		for _, token := range []string{servertest.Root, "", "wrong"} {
			a := s.Do(t, "GET", path, token, "", "Accept", "text/html", "Cookie", "token="+servertest.Root)
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Set-Cookie") != "" || a.Header.Get("Etag") != "" {
				t.Errorf("%s: %d %v", path, a.Status, a.Header)
			}
			if strings.Contains(a.Header.Get("Content-Type"), "html") || a.Status == 200 && token == "" && !strings.HasPrefix(path, "sys/") {
				t.Errorf("%s is answered to a browser without a token: %d %v", path, a.Status, a.Header)
			}
		}
	}
}

// CVE-2023-32082 and CVE-2026-73499 had questions about a lease, and ranges of names, show what the lease holds. Who may look
// at leases, and no more, sees when they end and never what was lent.
// Control: with the names of those who were lent to added to an answer about a lease, it fails.
func TestCVE_2023_32082_LeasesShowNothingLent(t *testing.T) {
	s, _ := lending(t)
	id, user := s.Borrow(t, "lend", servertest.Root, "")
	token := s.Policy(t, "", "leases", `path "sys/leases*" { capabilities = ["create", "read", "update", "list", "sudo"] }`)
	for _, ask := range [][3]string{{"PUT", "sys/leases/lookup", servertest.LeaseBody(id, "")}, {"LIST", "sys/leases/lookup/lend/creds/app", ""}, {"LIST", "sys/leases/lookup/", ""},
		{"GET", "sys/leases?include_child_namespaces=true", ""}, {"GET", "sys/leases/count", ""}, {"PUT", "sys/leases/renew", servertest.LeaseBody(id, "")}} {
		if a := s.Do(t, ask[0], ask[1], token, ask[2]); a.Status != 200 || strings.Contains(a.Text(), user) {
			t.Errorf("%s %s: %d %s", ask[0], ask[1], a.Status, a.Body)
		}
	}
	s.Want(t, 403, "GET", "lend/creds/app", token, "")
	weak := s.Policy(t, "", "prefix", `path "sys/leases/lookup/lend/creds/ap" { capabilities = ["list", "sudo"] }`)
	for _, path := range []string{"lend/creds/app", "lend/creds/ap/../app", "lend/creds/ap%2f..%2fapp", "lend/creds/ap%00", "lend/creds", ""} {
		if a := s.Do(t, "LIST", "sys/leases/lookup/"+path, weak, ""); a.Status < 400 {
			t.Errorf("a range beside the one that is allowed, %q: %d %s", path, a.Status, a.Body)
		}
	}
}
