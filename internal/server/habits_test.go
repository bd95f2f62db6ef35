package server_test

import (
	"strings"
	"testing"
)

// A token looks itself up, renews and revokes itself in whichever namespace below
// its own the client is set to, by the policies of its own.
func TestSelfInAnotherNamespace(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/n1", "", "root"))
	weak := d.token("auth/token/create", `{"policies":["default"],"ttl":"1h"}`, "root")
	in := []string{"X-Vault-Namespace", "n1"}
	d.want(200, d.ask("GET", "auth/token/lookup-self", "", weak, in...))
	d.want(200, d.ask("POST", "auth/token/renew-self", "", weak, in...))
	d.want(200, d.ask("GET", "n1/auth/token/lookup-self", "", weak))
	none := d.token("auth/token/create", `{"policies":["none"],"no_default_policy":true}`, "root")
	d.want(403, d.ask("GET", "auth/token/lookup-self", "", none, in...))
	d.want(403, d.ask("GET", "auth/token/accessors", "", weak, in...))
	d.want(204, d.ask("POST", "auth/token/revoke-self", "", weak, in...))
	d.want(403, d.ask("GET", "auth/token/lookup-self", "", weak))
}

// What names a namespace further below is refused in words; above all, deleting it
// does not pretend to have done so.
func TestNamespacesAreNamedOneAtATime(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/a", "", "root"))
	d.want(200, d.ask("POST", "sys/namespaces/b", "", "root", "X-Vault-Namespace", "a"))
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if a := d.want(400, d.ask(method, "sys/namespaces/a/b", "", "root")); !strings.Contains(a.text, "cannot contain /") {
			t.Errorf("%s: %s", method, a.text)
		}
	}
	d.want(200, d.ask("GET", "sys/namespaces/b", "", "root", "X-Vault-Namespace", "a"))
}

// Clients ask in which mount a path lies before they read it; the path may begin
// with namespaces. Who has no rights there learns nothing.
func TestMountOfAPathThatBeginsWithNamespaces(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/a", "", "root"))
	d.want(200, d.ask("POST", "sys/namespaces/b", "", "root", "X-Vault-Namespace", "a"))
	d.want(204, d.ask("POST", "a/b/sys/mounts/kv", `{"type":"kv","options":{"version":"2"}}`, "root"))
	weak := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	for path, ns := range map[string]string{"a/b/kv/x": "", "b/kv/x": "a", "kv/x": "a/b"} {
		a := d.want(200, d.ask("GET", "sys/internal/ui/mounts/"+path, "", "root", "X-Vault-Namespace", ns))
		if want := strings.TrimSuffix(path, "x"); a.Data["path"] != want {
			t.Errorf("%s in %q is in %v, want %s", path, ns, a.Data["path"], want)
		}
		d.want(403, d.ask("GET", "sys/internal/ui/mounts/"+path, "", weak, "X-Vault-Namespace", ns))
		d.want(403, d.ask("GET", "sys/internal/ui/mounts/"+path, "", "", "X-Vault-Namespace", ns))
	}
	d.want(403, d.ask("GET", "sys/internal/ui/mounts/a/c/kv/x", "", weak))
}

// A stranger learns of a mount that is made visible only what a login form needs.
func TestStrangersSeeTheOutlineOfAMount(t *testing.T) {
	d := newDev(t)
	d.want(204, d.ask("POST", "sys/mounts/secret/tune", `{"listing_visibility":"unauth","default_lease_ttl":"77s"}`, "root"))
	for token, all := range map[string]bool{"": false, "root": true} {
		a := d.want(200, d.ask("GET", "sys/internal/ui/mounts", "", token))
		if got := strings.Contains(a.text, "77") && strings.Contains(a.text, "kv_"); got != all || !strings.Contains(a.text, `"type":"kv"`) {
			t.Errorf("with token %q: %s", token, a.text)
		}
	}
}

// Who asks for a type that there is not is told which there are.
func TestTypesThatThereAre(t *testing.T) {
	d := newDev(t)
	if a := d.want(400, d.ask("POST", "sys/mounts/x", `{"type":"transit-not"}`, "root")); !strings.Contains(a.text, "kv") {
		t.Error(a.text)
	}
}

// What a token keeps for itself lies in its own namespace, whichever it asks, so
// that all of it goes with the token.
func TestCubbyholeOfAnotherNamespaceDiesToo(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/n1", "", "root"))
	in := []string{"X-Vault-Namespace", "n1"}
	make := func() string {
		return d.token("auth/token/create", `{"policies":["default"],"ttl":"1h","id":"named-by-hand"}`, "root")
	}
	mine := make()
	d.want(204, d.ask("POST", "cubbyhole/a", `{"v":"`+secret+`"}`, mine, in...))
	d.want(204, d.ask("POST", "n1/cubbyhole/b", `{"v":"`+secret+`"}`, mine))
	for _, path := range []string{"cubbyhole/a", "cubbyhole/b", "n1/cubbyhole/a"} {
		d.want(200, d.ask("GET", path, "", mine))
		d.want(404, d.ask("GET", path, "", "root"))
	}
	d.want(204, d.ask("POST", "auth/token/revoke-self", "", mine, in...))
	again := make()
	d.want(404, d.ask("LIST", "cubbyhole", "", again))
	d.want(404, d.ask("LIST", "cubbyhole", "", again, in...))
}

// A token that renews itself through a namespace with other limits has its own.
func TestRenewalThroughAnotherNamespace(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/n1", "", "root"))
	d.want(204, d.ask("POST", "sys/auth/token/tune", `{"default_lease_ttl":"30m","max_lease_ttl":"1h"}`, "root"))
	d.want(204, d.ask("POST", "sys/auth/token/tune", `{"default_lease_ttl":"80000h","max_lease_ttl":"90000h"}`, "root", "X-Vault-Namespace", "n1"))
	weak := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	a := d.want(200, d.ask("POST", "auth/token/renew-self", `{"increment":"80000h"}`, weak, "X-Vault-Namespace", "n1"))
	if got, ok := a.Auth["lease_duration"].(float64); !ok || got > 3600 {
		t.Errorf("renewed for %v seconds, want at most 3600", a.Auth["lease_duration"])
	}
}
