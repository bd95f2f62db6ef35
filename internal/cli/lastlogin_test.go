package cli

import (
	"strings"
	"testing"
)

func FuzzLastLogin(f *testing.F) {
	f.Add([]byte(`{"method":"userpass","path":"corp","username":"ann"}`))
	f.Add([]byte(`{"method":"none"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		last := parseLastLogin(raw)
		if last == nil {
			return
		}
		if _, ok := loginMethods()[last.Method]; !ok || last.Path == "" || !oneLine(last.Path+last.Username+last.Role) {
			t.Errorf("%q is taken: %+v", raw, last)
		}
	})
}

// TestLastLoginKeepsToItsPlace: plain login goes to the namespace of the last one and says who it is for; a path of
// another mount takes nothing of it.
func TestLastLoginKeepsToItsPlace(t *testing.T) {
	entry := answer{200, `{"auth":{"client_token":"t","policies":["default"]}}`}
	f := newFake(t, map[string]answer{"PUT auth/userpass/login/tina": entry, "PUT auth/corp/login/carl": entry})
	home := t.TempDir()
	r := run(t, f, home, "login -namespace=team -method=userpass -path=auth/userpass/ username=tina password=x")
	if r.code != exitOK || !strings.Contains(r.stdout, "in the namespace team: give them -namespace=team") {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	first := f.requests[0]
	f.requests = nil
	r = run(t, f, home, "login password=x")
	if r.code != exitOK || !strings.Contains(r.stderr, "-method=userpass -path=userpass -namespace=team username=tina") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if len(f.requests) != 1 || f.requests[0] != first || !strings.Contains(first, "X-Vault-Namespace=team") {
		t.Errorf("plain login asks %q, want %q", f.requests, first)
	}
	f.requests = nil
	r = run(t, f, home, "login -path=corp username=carl password=x")
	if r.code != exitLocal || len(f.requests) > 0 || !strings.Contains(r.stderr, "-path=corp needs -method=TYPE") {
		t.Errorf("a path without a method: exit code %d after %q: %s", r.code, f.requests, r.stderr)
	}
	if r = run(t, f, home, "login -method=userpass -path=corp username=carl password=x"); r.code != exitOK {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	r = run(t, f, home, "STRONGROOM_NAMESPACE=team login -method=userpass username=tina password=x")
	if r.code != exitOK || strings.Contains(r.stdout, "give them") {
		t.Errorf("who has set the namespace is told to: %s", r.stdout)
	}
}

// TestRootIsNoNamespace: the root namespace may be named, and later commands need not name it.
func TestRootIsNoNamespace(t *testing.T) {
	f := newFake(t, map[string]answer{"PUT auth/userpass/login/ann": {200, `{"auth":{"client_token":"t","policies":["default"]}}`}, "GET a": refused(403, "permission denied")})
	home := t.TempDir()
	r := run(t, f, home, "login -namespace=root -method=userpass username=ann password=x")
	if r.code != exitOK || strings.Contains(r.stdout, "in the namespace") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r = run(t, f, home, "login password=x"); r.code != exitOK || strings.Contains(r.stderr, "-namespace") {
		t.Errorf("again: exit code %d: %s", r.code, r.stderr)
	}
	if r = run(t, f, home, "STRONGROOM_TOKEN=srs_a.team read -namespace=root a"); !strings.Contains(r.stderr, "the token is of a namespace: give -namespace") {
		t.Errorf("a token of another namespace: %s", r.stderr)
	}
}

// TestLastLoginOfAppRole: the role's identifier is remembered where it is a name, and never what lets in by itself.
func TestLastLoginOfAppRole(t *testing.T) {
	f := newFake(t, map[string]answer{"PUT auth/approle/login": {200, `{"auth":{"client_token":"t","policies":["default"]}}`}})
	for _, tc := range []struct{ first, again, want string }{
		{"login -method=approle role_id=r1 secret_id=s1", "login secret_id=s2", `PUT auth/approle/login {"role_id":"r1","secret_id":"s2"}`},
		{"login -method=approle role_id=r1", "login secret_id=s2", `PUT auth/approle/login {"secret_id":"s2"}`},
	} {
		home := t.TempDir()
		run(t, f, home, tc.first)
		f.requests = nil
		if r := run(t, f, home, tc.again); r.code != exitOK || len(f.requests) != 1 || f.requests[0] != tc.want {
			t.Errorf("after %s: %d, sent %q", tc.first, r.code, f.requests)
		}
	}
}

// TestTokenOfNamespace: shown in no namespace, such a token is not told to be none.
func TestTokenOfNamespace(t *testing.T) {
	f := newFake(t, map[string]answer{"GET auth/token/lookup-self": refused(403, "permission denied"), "GET a": refused(403, "permission denied")})
	const hint = "the token is of a namespace: give -namespace"
	for _, tc := range []struct {
		line string
		want bool
	}{
		{"STRONGROOM_TOKEN=srs_abc.team token lookup", true},
		{"STRONGROOM_TOKEN=hvs.abc.team read a", true},
		{"STRONGROOM_TOKEN=srs_abc.team -namespace=team token lookup", false},
		{"STRONGROOM_TOKEN=srs_abc token lookup", false},
		{"STRONGROOM_TOKEN=hvs.abc token lookup", false},
	} {
		if r := run(t, f, t.TempDir(), tc.line); strings.Contains(r.stderr, hint) != tc.want {
			t.Errorf("%q: %s", tc.line, r.stderr)
		}
	}
}
