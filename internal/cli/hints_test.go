package cli

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSchemeAndCertificateHints uses servers of either scheme, whose errors come
// from the standard library.
func TestSchemeAndCertificateHints(t *testing.T) {
	quiet := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	plain, secure := httptest.NewServer(http.HandlerFunc(quiet)), httptest.NewTLSServer(http.HandlerFunc(quiet))
	defer plain.Close()
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(s *httptest.Server) string { _, h, _ := strings.Cut(s.URL, "://"); return h }
	f := newFake(t, nil)
	for _, tc := range []struct{ line, want string }{
		{"-address=http://" + host(secure) + " write -f a", "export STRONGROOM_ADDR=https://" + host(secure)},
		{"-address=https://" + host(plain) + " write -f a", "export STRONGROOM_ADDR=http://" + host(plain)},
		{"-address=https://" + host(secure) + " write -f a", "STRONGROOM_CACERT"},
		{"-address=https://" + host(secure) + " -tls-server-name=elsewhere -ca-cert=" + ca + " write -f a", "-tls-server-name"},
		{"-address=http://nowhere.invalid:1 write -f a", ""},
	} {
		r := run(t, f, t.TempDir(), tc.line)
		if r.code != exitServer || !strings.Contains(r.stderr, "\nhint: ") || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%s: exit code %d, %s", tc.line, r.code, r.stderr)
		}
	}
	r := run(t, f, t.TempDir(), "-address="+secure.URL+" -ca-cert="+ca+" write -f a")
	if r.code != exitOK {
		t.Errorf("with the CA's file: exit code %d, %s", r.code, r.stderr)
	}
}

// TestQuotaHints: what helps against a lease count does not help against a rate limit.
func TestQuotaHints(t *testing.T) {
	f := newFake(t, map[string]answer{"PUT a": refused(429, "request path \"a\": lease count quota exceeded"), "PUT b": refused(429, "rate limit quota exceeded")})
	limit := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(limit.Close)
	for _, tc := range []struct{ line, want string }{
		{"write -f a", "hint: there are as many tokens and leases as a quota lets there be"},
		{"write -f b", "how often you may ask: wait"},
		{"-address=" + limit.URL + " write -f a", "how often you may ask: try again in 1m30s"},
	} {
		if r := run(t, f, t.TempDir(), tc.line); r.code != exitServer || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%q: exit code %d: %s", tc.line, r.code, r.stderr)
		}
	}
}

// TestHintsAfterRefusals: words that are refused come with what to do.
func TestHintsAfterRefusals(t *testing.T) {
	f := newFake(t, map[string]answer{
		"PUT auth/userpass/login/ann":      refused(400, "invalid username or password"),
		"PUT auth/approle/login":           refused(400, "invalid role or secret ID"),
		"PUT auth/token/lookup":            refused(403, "bad token"),
		"DELETE sys/key-slots/x":           refused(404, "no key slot has this id"),
		"PUT sys/init":                     refused(400, "secret_threshold: must be between 1 and secret_shares"),
		"GET sys/rekey/init":               refused(400, "this server unseals itself: the keys that people hold are its recovery keys"),
		"GET sys/policies/acl/root":        data(`{"name":"root","policy":""}`),
		"GET sys/auth":                     data(`{"token/":{"type":"token"}}`),
		"GET sys/mounts":                   data(`{}`),
		"GET sys/internal/ui/mounts/a":     refused(403, "permission denied"),
		"GET sys/plugins/catalog/secret/x": {404, `{"errors":[]}`},
	})
	for line, want := range map[string]string{
		"login -method=userpass username=ann password=x": "locked out for a while",
		"login -method=approle role_id=x secret_id=y":    "hint: check what you logged in with, -path and -namespace",
		"token lookup x":              "hint: the token asked about has ended, or is misspelt",
		"operator key-slot remove x":  "hint: strongroom operator key-slot list",
		"operator init -key-shares=1": "hint: -key-threshold is how many of the -key-shares",
		"operator rekey -status":      "hint: the keys that people hold are its recovery keys: -target=recovery",
		"policy read root":            "The policy root has no text.",
		"auth help x":                 "hint: auth list shows",
		"secrets disable -dry-run x":  "There is no secrets engine at x/\nhint: check the path's spelling: secrets list",
		"plugin info secret x":        "There is no plugin secret/x\nhint: check the name's spelling: plugin list",
		"kv put secret/a =x":          "Error: data: a value has no name before its =",
	} {
		r := run(t, f, t.TempDir(), line)
		if !strings.Contains(r.stderr, want) || (r.code == exitOK) != (line == "policy read root") {
			t.Errorf("%s: exit code %d: %s%s", line, r.code, r.stdout, r.stderr)
		}
	}
}

func TestTokenFiles(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{"HOME": home}
	a := testApp()
	a.getenv = func(k string) string { return env[k] }
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(otherTokenFile, "s.other\n")
	if got := a.token().Reveal(); got != "s.other" {
		t.Errorf("only the other clients' file: %q", got)
	}
	write(tokenFile, "s.old")
	if err := a.storeToken("s.new"); err != nil {
		t.Fatal(err)
	}
	if got := a.token().Reveal(); got != "s.new" {
		t.Errorf("after storing: %q", got)
	}
	info, err := os.Stat(filepath.Join(home, tokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others can read the token", info.Mode(), err)
	}
	entries, err := os.ReadDir(home)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	env["VAULT_TOKEN"] = "s.env"
	if got := a.token().Reveal(); got != "s.env" {
		t.Errorf("the environment does not win: %q", got)
	}
	delete(env, "VAULT_TOKEN")
	if err := a.forgetToken(); err != nil {
		t.Fatal(err)
	}
	if got := a.token().Reveal(); got != "s.other" {
		t.Errorf("after forgetting: %q", got)
	}
	if err := a.forgetToken(); err != nil {
		t.Errorf("forgetting nothing: %v", err)
	}
	env["HOME"] = ""
	if err := a.storeToken("s.x"); err == nil {
		t.Error("stored without a home directory")
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0s", "90": "1m30s", "1h30m": "1h30m", "2d": "48h", "-1": "-1s", "3600": "1h", "5400": "1h30m", "3601": "1h0m1s",
	} {
		d, err := parseDuration(in)
		if err != nil || humanSeconds(int64(d.Seconds())) != want {
			t.Errorf("%s: %s, %v; want %s", in, humanSeconds(int64(d.Seconds())), err, want)
		}
	}
	for _, bad := range []string{"", "x", "1w", "d", "99999999999999999999", "9223372036854775807", "9223372036854775807d"} {
		if d, err := parseDuration(bad); err == nil {
			t.Errorf("%q was taken for %v", bad, d)
		}
	}
}

func TestDurationsOfFields(t *testing.T) {
	for field, want := range map[string]string{
		"token_ttl": "5m", "interval": "5m", "block_interval": "5m", "connection_timeout": "5m", "ocsp_this_update_max_age": "5m",
		"max_leases": "300", "page": "300", "interval_of": "300",
	} {
		if got := plain(showDuration(field, json.Number("300"))); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("90")
	f.Add("2d")
	f.Add("-1h30m")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err == nil && strings.HasPrefix(s, "-") && d > 0 {
			t.Fatalf("%q became %v", s, d)
		}
	})
}

func TestSplitMount(t *testing.T) {
	for _, tc := range []struct {
		whole, mount, at, path string
		ok                     bool
	}{
		{"secret/a/b", "secret/", "secret", "a/b", true},
		{"secret", "secret/", "secret", "", true},
		{"kv/team/a", "kv/team/", "kv/team", "a", true},
		{"kv/a", "ns1/kv/", "kv", "a", true}, // the namespace came in a header
		{"ns1/kv/a", "ns1/kv/", "ns1/kv", "a", true},
		{"secretive/a", "secret/", "secret/", "", false},
		{"a", "", "", "", false},
	} {
		at, path, ok := split(tc.whole, tc.mount)
		if at != tc.at || path != tc.path || ok != tc.ok {
			t.Errorf("split(%q, %q) = %q, %q, %v", tc.whole, tc.mount, at, path, ok)
		}
	}
}

// TestHintsOfSecondFactors: a passcode without its method is told here, and a wrong one is thought of where one was given.
func TestHintsOfSecondFactors(t *testing.T) {
	f := newFake(t, map[string]answer{"PUT auth/userpass/login/ann": refused(403, "permission denied")})
	for _, tc := range []struct {
		mfa, want string
		code      int
		sent      int
	}{
		{"-mfa=123456", "want METHOD:PASSCODE", exitLocal, 0},
		{"-mfa=:123456", "want METHOD:PASSCODE", exitLocal, 0},
		{"-mfa=app:", "want METHOD:PASSCODE", exitLocal, 0},
		{"-mfa=app:123456", "-mfa names no method that the login needs", exitServer, 1},
	} {
		f.requests = nil
		r := run(t, f, t.TempDir(), tc.mfa+" login -method=userpass username=ann password=pw")
		if r.code != tc.code || len(f.requests) != tc.sent || !strings.Contains(r.stderr, tc.want) || strings.Contains(r.stderr, "123456") {
			t.Errorf("%s: exit code %d, %d requests: %s", tc.mfa, r.code, len(f.requests), r.stderr)
		}
	}
}
