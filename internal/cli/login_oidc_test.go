package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// oidcServer plays a server at which a role logs in by polling; refuses is which addresses to come back to it does not take.
func oidcServer(t *testing.T, refuses func(redirect string) bool) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Redirect string `json:"redirect_uri"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		f.requests = append(f.requests, r.URL.Path+" "+body.Redirect)
		switch {
		case strings.HasSuffix(r.URL.Path, "/oidc/poll"):
			io.WriteString(w, `{"auth":{"client_token":"s.1","policies":["default"]}}`)
		case refuses(body.Redirect):
			io.WriteString(w, `{"data":{"auth_url":""}}`)
		default:
			io.WriteString(w, `{"data":{"auth_url":"https://provider.example.com/","state":"st","poll_interval":"1","user_code":"AB-CD"}}`)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// TestLoginOfDirectRole: the role alone says that the browser goes from the provider to the server.
func TestLoginOfDirectRole(t *testing.T) {
	f := oidcServer(t, func(redirect string) bool { return strings.Contains(redirect, "localhost") })
	r := run(t, f, t.TempDir(), "login -method=oidc role=staff port=0 skip_browser=true")
	if r.code != exitOK || !strings.Contains(r.stdout, "s.1") {
		t.Fatalf("exit code %d: %s%s\n%q", r.code, r.stdout, r.stderr, f.requests)
	}
	if want := f.URL + "/v1/auth/oidc/oidc/callback"; len(f.requests) != 3 || !strings.HasSuffix(f.requests[1], want) {
		t.Errorf("it asked %q, want the second to name %s", f.requests, want)
	}
	refused := oidcServer(t, func(string) bool { return true })
	r = run(t, refused, t.TempDir(), "login -method=oidc role=staff port=0")
	if r.code != exitLocal || !strings.Contains(r.stderr, "/oidc/callback in allowed_redirect_uris") {
		t.Errorf("a role that takes neither: exit code %d: %s", r.code, r.stderr)
	}
}

// TestLoginByDeviceNeedsNoPort: nothing comes back to a program that polls, so a port that is taken is in nobody's way.
func TestLoginByDeviceNeedsNoPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	line := fmt.Sprintf("login -method=oidc listenaddress=127.0.0.1 port=%d skip_browser=true", port)
	f := oidcServer(t, func(string) bool { return false })
	r := run(t, f, t.TempDir(), line)
	if r.code != exitOK || !strings.Contains(r.stderr, "AB-CD") || !strings.Contains(r.stdout, "s.1") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	refused := oidcServer(t, func(string) bool { return true })
	if r := run(t, refused, t.TempDir(), line); r.code != exitLocal || !strings.Contains(r.stderr, "address already in use") {
		t.Errorf("a login that needs the port: exit code %d: %s", r.code, r.stderr)
	}
}

// TestHintsOfLogins: what is said of a refused login is about logins, and a namespace's seal is not the server's.
func TestHintsOfLogins(t *testing.T) {
	sealed := refused(400, "the namespace cannot be sealed: it has no seal of its own")
	f := newFake(t, map[string]answer{
		"PUT auth/corp/login/ann":        refused(403, "permission denied"),
		"PUT sys/mfa/passkey/register":   refused(403, "permission denied"),
		"PUT sys/mfa/validate":           refused(403, "permission denied"),
		"PUT sys/namespaces/plain/seal":  sealed,
		"POST sys/namespaces/plain/seal": sealed,
		"GET sys/auth":                   refused(503, "the namespace is sealed"),
		"PUT a":                          refused(503, "Vault is sealed"),
	})
	for _, tc := range []struct{ line, want, not string }{
		{"login -namespace=team -method=userpass -path=corp username=ann password=x", "auth/corp/ in the namespace team", "token may be"},
		{"mfa passkey add -registration-id=wrong", "right to register is misspelt", "token may be"},
		{"write sys/mfa/validate mfa_request_id=x", "the passcode was wrong", "token may be"},
		{"namespace seal plain", "", "operator unseal"},
		{"read sys/auth", "", "operator unseal"},
		{"write -f a", "operator unseal", ""},
	} {
		r := run(t, f, t.TempDir(), tc.line)
		if r.code != exitServer || !strings.Contains(r.stderr, tc.want) || tc.not != "" && strings.Contains(r.stderr, tc.not) {
			t.Errorf("%q: exit code %d: %s", tc.line, r.code, r.stderr)
		}
	}
}
