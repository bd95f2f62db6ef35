package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
)

const secret = "tr0ub4dor&3"

// dev is a development server with an audit file, called without a network.
type dev struct {
	t     *testing.T
	h     http.Handler
	audit string
	log   *logged
}

// logged is what the server's own log says.
type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func newDev(t *testing.T) *dev {
	t.Helper()
	d := &dev{t: t, log: &logged{}}
	dir := t.TempDir()
	d.audit = filepath.Join(dir, "audit.log")
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := server.Open(t.Context(), &server.Config{DevRoot: api.NewSecret("root"), AuditDirs: []string{dir},
		Listeners: []server.Listener{{Address: "127.0.0.1:0"}}}, log, io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	d.h = s.Handler()
	d.want(204, d.ask("POST", "sys/audit/file", `{"type":"file","options":{"file_path":"`+d.audit+`"}}`, "root"))
	d.want(200, d.ask("POST", "secret/data/app", `{"data":{"password":"`+secret+`"}}`, "root"))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

type answer struct {
	status int
	text   string
	Data   map[string]any
	Auth   map[string]any
	Wrap   struct {
		Token, Accessor string
	} `json:"wrap_info"`
	RequestID string `json:"request_id"`
	Warnings  []string
}

// ask makes a request; headers are names and values.
func (d *dev) ask(method, path, body, token string, headers ...string) *answer {
	r := httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	a := &answer{status: w.Code, text: w.Body.String()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), a); err != nil {
			d.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return a
}

func (d *dev) want(status int, a *answer) *answer {
	d.t.Helper()
	if a.status != status {
		d.t.Fatalf("status %d, want %d: %s", a.status, status, a.text)
	}
	return a
}

const ttl = "X-Vault-Wrap-TTL"

func (d *dev) wrapped() *answer {
	d.t.Helper()
	a := d.want(200, d.ask("GET", "secret/data/app", "", "root", ttl, "60"))
	if strings.Contains(a.text, secret) || a.RequestID != "" || a.Wrap.Token == "" {
		d.t.Fatalf("not wrapped: %s", a.text)
	}
	return a
}

// TestWrappingTokenIsNoCaller tries everything else with a wrapping token, where
// each answer is a refusal, and then still takes the answer out.
func TestWrappingTokenIsNoCaller(t *testing.T) {
	d := newDev(t)
	w := d.wrapped().Wrap.Token
	for _, try := range []struct{ method, path, body string }{
		{"GET", "secret/data/app", ""}, {"GET", "auth/token/lookup-self", ""}, {"POST", "auth/token/create", "{}"}, {"POST", "auth/token/renew-self", ""},
		{"POST", "auth/token/revoke-self", ""}, {"GET", "cubbyhole/response", ""}, {"PUT", "cubbyhole/x", `{"a":1}`}, {"LIST", "cubbyhole/", ""},
		{"POST", "sys/capabilities-self", `{"paths":["secret/data/app"]}`}, {"GET", "sys/mounts", ""}, {"POST", "sys/wrapping/wrap", `{"a":1}`},
		{"GET", "sys/internal/ui/mounts", ""}, {"GET", "sys/internal/specs/openapi", ""}, {"GET", "nosuch/x", ""},
		{"POST", "sys/wrapping/unwrap", `{"token":"other"}`}, {"POST", "sys/wrapping/rewrap", `{"token":"other"}`},
	} {
		for _, wrap := range []string{"", "60"} {
			if a := d.ask(try.method, try.path, try.body, w, ttl, wrap); a.status != 403 || strings.Contains(a.text, secret) {
				t.Errorf("%s %s: %d %s", try.method, try.path, a.status, a.text)
			}
		}
	}
	a := d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", w))
	if got := a.Data["data"].(map[string]any)["password"]; got != secret || a.RequestID == "" {
		t.Errorf("unwrapped %s", a.text)
	}
	if a := d.want(400, d.ask("POST", "sys/wrapping/unwrap", "", w)); !strings.Contains(a.text, "wrapping token is not valid or does not exist") {
		t.Error(a.text)
	}
}

// TestUnwrapAsks lets policies judge a caller that names a token, and nobody that
// shows it.
func TestUnwrapAsks(t *testing.T) {
	d := newDev(t)
	none := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["nosuch"],"no_default_policy":true}`, "root")).Auth["client_token"].(string)
	usual := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["default"]}`, "root")).Auth["client_token"].(string)
	w := d.wrapped().Wrap.Token
	body := `{"token":"` + w + `"}`
	for _, caller := range []string{"", "bad", none} {
		d.want(403, d.ask("POST", "sys/wrapping/unwrap", body, caller))
		d.want(403, d.ask("POST", "sys/wrapping/rewrap", body, caller))
		d.want(200, d.ask("POST", "sys/wrapping/lookup", body, caller))
	}
	d.want(403, d.ask("POST", "sys/wrapping/rewrap", body, usual))
	d.want(403, d.ask("POST", "sys/wrapping/unwrap", "", ""))
	d.want(400, d.ask("POST", "sys/wrapping/unwrap", "", usual))
	d.want(200, d.ask("POST", "sys/wrapping/unwrap", body, usual))
	w = d.wrapped().Wrap.Token
	d.want(200, d.ask("POST", "sys/wrapping/unwrap", `{"token":"`+w+`"}`, w))
}

// TestOneOf64 races unwraps of one token through the whole server.
func TestOneOf64(t *testing.T) {
	d := newDev(t)
	for i := range 5 {
		w := d.wrapped().Wrap.Token
		var got atomic.Int64
		var wg sync.WaitGroup
		for n := range 64 {
			wg.Go(func() {
				body, caller := "", w
				if n%2 == 0 {
					body, caller = `{"token":"`+w+`"}`, "root"
				}
				a := d.ask("POST", "sys/wrapping/unwrap", body, caller)
				if strings.Contains(a.text, "tr0ub4dor") {
					got.Add(1)
				} else if a.status != 400 {
					t.Errorf("a loser got %d %s", a.status, a.text)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Fatalf("round %d: %d of 64 got the secret", i, got.Load())
		}
	}
}

// TestNothingUnwrapped asks for wrapping where it is not possible: no answer holds
// what would have been wrapped.
func TestNothingUnwrapped(t *testing.T) {
	d := newDev(t)
	large := strings.Repeat(secret, 70_000)
	d.want(200, d.ask("POST", "secret/data/large", `{"data":{"password":"`+large+`"}}`, "root"))
	for _, try := range []struct {
		method, path, body string
		status             int
		headers            []string
	}{
		{"GET", "secret/data/large", "", 413, []string{ttl, "60"}},
		{"GET", "secret/data/app", "", 400, []string{ttl, "soon"}},
		{"GET", "secret/data/app", "", 400, []string{ttl, "-5s"}},
		{"POST", "sys/wrapping/wrap", `{"password":"` + secret + `"}`, 400, nil},
		{"POST", "sys/init", `{}`, 400, []string{ttl, "60"}},
	} {
		if a := d.ask(try.method, try.path, try.body, "root", try.headers...); a.status != try.status || strings.Contains(a.text, "tr0ub4dor") {
			t.Errorf("%s %s %v: %d %.200s", try.method, try.path, try.headers, a.status, a.text)
		}
	}
	d.want(404, d.ask("GET", "secret/data/none", "", "root", ttl, "60"))
	d.want(204, d.ask("DELETE", "secret/data/none", "", "root", ttl, "60"))
}

// TestWarningsStayInside wraps an answer with warnings: they come out with it.
func TestWarningsStayInside(t *testing.T) {
	d := newDev(t)
	a := d.want(200, d.ask("POST", "auth/token/create", `{"nosuch":1}`, "root", ttl, "60"))
	if a.Warnings != nil || a.Auth != nil {
		t.Errorf("outside: %s", a.text)
	}
	if a = d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", a.Wrap.Token)); len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "nosuch") {
		t.Errorf("inside: %s", a.text)
	}
	twice := d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", d.wrapped().Wrap.Token, ttl, "30"))
	if strings.Contains(twice.text, secret) || !strings.Contains(twice.text, `"creation_path":"sys/wrapping/unwrap"`) {
		t.Errorf("unwrapped into a new wrapping: %s", twice.text)
	}
	if a = d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", twice.Wrap.Token)); a.Data["data"] == nil {
		t.Error(a.text)
	}
	if a = d.want(200, d.ask("GET", "sys/mounts", "", "root", ttl, "60")); strings.Contains(a.text, "cubbyhole") {
		t.Errorf("a flat answer is repeated beside its wrapping: %s", a.text)
	}
}

// TestWrappingByPolicyAndNamespace bounds the TTL by policy, and unwraps in the
// root namespace what was wrapped in another.
func TestWrappingByPolicyAndNamespace(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/team", "{}", "root"))
	ns := []string{"X-Vault-Namespace", "team"}
	d.want(204, d.ask("POST", "sys/policies/acl/w", `{"policy":"path \"secret/data/app\" { capabilities = [\"read\"] min_wrapping_ttl = \"10s\" max_wrapping_ttl = \"1m\" }"}`, "root"))
	caller := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["w"]}`, "root")).Auth["client_token"].(string)
	for wrap, status := range map[string]int{"": 403, "9": 403, "10": 200, "60s": 200, "61": 403} {
		if a := d.ask("GET", "secret/data/app", "", caller, ttl, wrap); a.status != status || strings.Contains(a.text, secret) {
			t.Errorf("for %q: %d %s", wrap, a.status, a.text)
		}
	}
	a := d.want(200, d.ask("POST", "sys/wrapping/wrap", `{"password":"`+secret+`"}`, "root", append(ns, ttl, "60")...))
	if !strings.Contains(a.text, `"creation_path":"sys/wrapping/wrap"`) || !strings.Contains(a.Wrap.Token, ".") {
		t.Error(a.text)
	}
	if a = d.want(200, d.ask("POST", "sys/wrapping/unwrap", `{"token":"`+a.Wrap.Token+`"}`, "root")); a.Data["password"] != secret {
		t.Error(a.text)
	}
	gone := d.want(200, d.ask("POST", "sys/wrapping/wrap", `{"a":1}`, "root", append(ns, ttl, "60")...))
	d.want(200, d.ask("DELETE", "sys/namespaces/team", "", "root"))
	d.want(400, d.ask("POST", "sys/wrapping/unwrap", "", gone.Wrap.Token))
}

// TestReservedPolicy tries to give wrapping tokens rights, or others their policy.
func TestReservedPolicy(t *testing.T) {
	d := newDev(t)
	body := `{"policy":"path \"*\" { capabilities = [\"read\"] }"}`
	for _, name := range []string{"response-wrapping", "Response-Wrapping"} {
		d.want(400, d.ask("POST", "sys/policies/acl/"+name, body, "root"))
		d.want(400, d.ask("DELETE", "sys/policies/acl/"+name, "", "root"))
		d.want(400, d.ask("POST", "auth/token/create", `{"policies":["`+name+`"]}`, "root"))
		d.want(204, d.ask("POST", "auth/token/roles/r", `{"allowed_policies":["`+name+`"]}`, "root"))
		d.want(400, d.ask("POST", "auth/token/create/r", `{}`, "root"))
		d.want(400, d.ask("POST", "auth/token/create/r", `{"policies":["`+name+`"]}`, "root"))
	}
}

// TestWrappingInTheLogs finds hashes, and neither the secret nor any token.
func TestWrappingInTheLogs(t *testing.T) {
	d := newDev(t)
	outer := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["default"]}`, "root", ttl, "60")).Wrap
	inner := d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", outer.Token)).Auth["client_token"].(string)
	second := d.wrapped().Wrap
	d.want(200, d.ask("POST", "sys/wrapping/unwrap", `{"token":"`+second.Token+`"}`, "root"))
	third := d.want(200, d.ask("POST", "sys/wrapping/rewrap", "", d.wrapped().Wrap.Token)).Wrap
	record, err := os.ReadFile(d.audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{secret, "tr0ub4dor", outer.Token, outer.Accessor, inner, second.Token, third.Token} {
		if bytes.Contains(record, []byte(text)) || strings.Contains(d.log.String(), text) {
			t.Errorf("a log shows %.4s…", text)
		}
	}
	hash := func(text string) string {
		return d.want(200, d.ask("POST", "sys/audit-hash/file", `{"input":"`+text+`"}`, "root")).Data["hash"].(string)
	}
	for text, want := range map[string][]string{
		outer.Token:  {`"wrap_info":{"ttl":60,"token":"` + hash(outer.Token), `"auth":{"client_token":"` + hash(outer.Token)},
		second.Token: {`"data":{"token":"` + hash(second.Token)},
		third.Token:  {`"token":"` + hash(third.Token)},
		inner:        {`"auth":{"client_token":"` + hash(inner)},
	} {
		for _, part := range want {
			if !bytes.Contains(record, []byte(part)) {
				t.Errorf("the log of %.4s… lacks %s", text, part)
			}
		}
	}
	for line := range bytes.Lines(record) {
		if bytes.Contains(line, []byte(`"wrap_info"`)) && bytes.Contains(line, []byte(`"type":"response"`)) && bytes.Contains(line, []byte(`"password"`)) {
			t.Errorf("the record of a wrapped answer also has the answer: %s", line)
		}
	}
}
