package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server and a client for it that never pauses; waits gets the
// pauses it would have made.
func serve(t *testing.T, h http.HandlerFunc, change func(*Config)) (c *Client, waits *[]time.Duration) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	waits = new([]time.Duration)
	cfg := Config{
		Address: srv.URL, Token: "hunter2",
		Wait: func(d time.Duration, _ <-chan struct{}) { *waits = append(*waits, d) },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, waits
}

func reply(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func TestEveryRequestSaysWhoAndWhere(t *testing.T) {
	var got *http.Request
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		reply(w, 200, `{"request_id":"r1","data":{"n":12345678901234567890}}`)
	}, nil)
	s, err := c.WithNamespace("team").WithWrapTTL("5m").WithHeader("X-Extra", "1").
		List(t.Context(), "/secret/metadata/a b%", Page{After: "k", Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-Vault-Token": "hunter2", "X-Vault-Request": "true", "X-Vault-Namespace": "team",
		"X-Vault-Wrap-Ttl": "5m", "X-Extra": "1",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("header %s = %q, want %q", name, v, want)
		}
	}
	if want := "/v1/secret/metadata/a%20b%25?after=k&limit=3&list=true"; got.URL.String() != want {
		t.Errorf("url = %s, want %s", got.URL, want)
	}
	if n := s.Data["n"]; n != json.Number("12345678901234567890") {
		t.Errorf("number = %v, not exact", n)
	}
}

func TestCopiesDoNotChangeTheOriginal(t *testing.T) {
	c, err := New(Config{Token: "a", Header: http.Header{"X-A": {"1"}}})
	if err != nil {
		t.Fatal(err)
	}
	d := c.WithToken("b").WithNamespace("ns").WithHeader("X-A", "2")
	if c.Token() != "a" || c.Namespace() != "" || len(c.cfg.Header["X-A"]) != 1 {
		t.Errorf("the original changed: %v %v", c.Namespace(), c.cfg.Header)
	}
	if d.Token() != "b" || d.Namespace() != "ns" || len(d.cfg.Header["X-A"]) != 2 {
		t.Error("the copy did not change")
	}
}

func TestWhatIsRetried(t *testing.T) {
	for _, tc := range []struct {
		name     string
		call     func(context.Context, *Client) error
		status   int
		attempts int32
	}{
		{"read 502", read, 502, 3},
		{"read 503 that says why and not how long", read, 503, 1},
		{"read 500", read, 500, 3},
		{"read 429", read, 429, 3},
		{"read 501", read, 501, 1},
		{"read 400", read, 400, 1},
		{"read 404", read, 404, 1},
		{"write 503", write, 503, 1},
		{"delete 503", remove, 503, 1},
		{"patch 429", patch, 429, 3},
		{"once 503", leader, 503, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var attempts atomic.Int32
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				attempts.Add(1)
				reply(w, tc.status, `{"errors":["no"]}`)
			}, nil)
			err := tc.call(t.Context(), c)
			var apiErr *Error
			if !errors.As(err, &apiErr) || apiErr.Status != tc.status {
				t.Errorf("error = %v", err)
			}
			if n := attempts.Load(); n != tc.attempts {
				t.Errorf("%d attempts, want %d", n, tc.attempts)
			}
		})
	}
}

// TestWhatStays has servers that are not able say so: where waiting helps it is waited, and
// where it does not the answer is passed on at once. A rate that is exceeded passes by itself.
func TestWhatStays(t *testing.T) {
	for _, tc := range []struct {
		name        string
		status      int
		body, after string
		attempts    int32
	}{
		{"sealed", 503, `{"errors":["Vault is sealed"]}`, "", 1},
		{"starting", 503, `{"errors":["this node does not serve yet"]}`, "1", 3},
		{"a proxy's page", 503, `<html>Service Unavailable</html>`, "", 3},
		{"a proxy's JSON", 503, `{"message":"no backend"}`, "", 3},
		{"no reason", 503, `{"errors":[]}`, "", 3},
		{"as many leases as there may be", 429, `{"errors":["request path \"a\": lease count quota exceeded"]}`, "", 1},
		{"leases, of which some will end", 429, `{"errors":["request path \"a\": lease count quota exceeded"]}`, "1", 3},
		{"too often", 429, `{"errors":["request path \"a\": rate limit quota exceeded"]}`, "", 3},
	} {
		var attempts atomic.Int32
		c, waits := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			attempts.Add(1)
			if tc.after != "" {
				w.Header().Set("Retry-After", tc.after)
			}
			reply(w, tc.status, tc.body)
		}, nil)
		err := read(t.Context(), c)
		var answered *Error
		if n := attempts.Load(); !errors.As(err, &answered) || answered.Status != tc.status || n != tc.attempts || len(*waits) != int(n)-1 {
			t.Errorf("%s: %v after %d attempts, want %d", tc.name, err, n, tc.attempts)
		}
	}
}

func read(ctx context.Context, c *Client) error   { _, err := c.Read(ctx, "a", nil); return err }
func write(ctx context.Context, c *Client) error  { _, err := c.Write(ctx, "a", nil); return err }
func patch(ctx context.Context, c *Client) error  { _, err := c.Patch(ctx, "a", nil); return err }
func remove(ctx context.Context, c *Client) error { _, err := c.Delete(ctx, "a", nil); return err }
func leader(ctx context.Context, c *Client) error { _, err := c.Sys().Leader(ctx); return err }

func TestARetrySucceeds(t *testing.T) {
	var attempts atomic.Int32
	c, waits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch attempts.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "3")
			reply(w, 429, `{"errors":["slow down"]}`)
		case 2:
			w.Header().Set("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
			w.Header().Set("Retry-After", "Wed, 21 Oct 2015 07:28:04 GMT")
			reply(w, 503, "")
		case 3:
			w.Header().Set("Retry-After", "86400")
			reply(w, 503, "")
		default:
			reply(w, 200, `{"data":{}}`)
		}
	}, func(cfg *Config) { cfg.MaxRetries = 5 })
	if err := read(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(*waits); got != fmt.Sprint([]time.Duration{3 * time.Second, 4 * time.Second, maxWait}) {
		t.Errorf("waits = %s", got)
	}
}

func TestACancelledWaitEndsTheCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, 503, "") }, func(cfg *Config) {
		cfg.Wait = func(_ time.Duration, done <-chan struct{}) { cancel(); <-done }
	})
	if err := read(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestPausesGrowWithJitterAndStayBounded(t *testing.T) {
	for attempt := range 20 {
		d := pause(attempt, http.Header{})
		full := min(firstWait<<attempt, maxWait)
		if d < full/2 || d > full {
			t.Errorf("pause(%d) = %v, want within [%v, %v]", attempt, d, full/2, full)
		}
	}
}

func TestRedirectsStayOnTheHost(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(true)
	}))
	defer other.Close()
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/away":
			http.Redirect(w, r, other.URL+"/v1/x", http.StatusTemporaryRedirect)
		case "/v1/clean":
			http.Redirect(w, r, "/v1/x", http.StatusTemporaryRedirect)
		case "/v1/loop":
			http.Redirect(w, r, "/v1/loop", http.StatusTemporaryRedirect)
		case "/v1/x":
			body, _ := io.ReadAll(r.Body)
			reply(w, 200, fmt.Sprintf(`{"data":{"method":%q,"token":%q,"body":%q}}`,
				r.Method, r.Header.Get("X-Vault-Token"), body))
		}
	}
	c, _ := serve(t, handler, nil)
	for _, path := range []string{"away", "loop"} {
		if _, err := c.Write(t.Context(), path, map[string]any{"k": 1}); !errors.Is(err, ErrRedirect) {
			t.Errorf("%s: error = %v, want ErrRedirect", path, err)
		}
	}
	if leaked.Load() {
		t.Error("a request went to another host")
	}
	s, err := c.Write(t.Context(), "clean", map[string]any{"k": 1})
	if err != nil {
		t.Fatal(err)
	}
	if s.Data["method"] != "PUT" || s.Data["token"] != "hunter2" || s.Data["body"] != `{"k":1}` {
		t.Errorf("a redirect on the same host changed the request: %v", s.Data)
	}
	never, _ := serve(t, handler, func(cfg *Config) { cfg.NoRedirects = true })
	var apiErr *Error
	if _, err := never.Read(t.Context(), "clean", nil); !errors.As(err, &apiErr) || apiErr.Status != 307 {
		t.Errorf("NoRedirects: error = %v, want status 307", err)
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	for status, want := range map[int]error{
		400: ErrBadRequest, 405: ErrBadRequest, 401: ErrForbidden, 403: ErrForbidden, 404: ErrNotFound,
		409: ErrConflict, 412: ErrConflict, 413: ErrTooLarge, 429: ErrRateLimited, 500: ErrServer,
		501: ErrUnavailable, 503: ErrUnavailable,
	} {
		err := (&Response{Status: status}).asError("GET", "a")
		if !errors.Is(err, want) {
			t.Errorf("%d is not %v", status, want)
		}
	}
	r := &Response{Status: 404, Body: []byte(`{"request_id":"r9","errors":["one","two"],"data":{"metadata":{"version":1}}}`)}
	err := r.asError("GET", "secret/data/a")
	var apiErr *Error
	if !errors.As(err, &apiErr) || apiErr.Secret == nil || apiErr.Secret.Data["metadata"] == nil {
		t.Fatalf("the envelope is lost: %v", err)
	}
	if want := "GET secret/data/a: 404 Not Found: one; two (request r9)"; err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}
	err = (&Response{Status: 400, Body: []byte("Client sent an HTTP request to an HTTPS server.\n")}).asError("GET", "a")
	if !strings.Contains(err.Error(), "HTTPS server") {
		t.Errorf("a plain text is lost: %v", err)
	}
	if err := (&Response{Status: 502, Body: []byte("<html>bad gateway")}).asError("GET", "a"); err == nil ||
		strings.Contains(err.Error(), "html") {
		t.Errorf("a body of a proxy's: %v", err)
	}
}

// TestAnswersWithoutEnvelope: what some endpoints answer bare is the data; what has
// any part of an envelope is one, and errors never are data.
func TestAnswersWithoutEnvelope(t *testing.T) {
	for body, want := range map[string]int{
		`{"sealed":true,"t":3}`:                  2,
		`{"initialized":false}`:                  1,
		`{"data":null,"mount_type":"kv"}`:        0,
		`{"warnings":null,"request_id":""}`:      0,
		`{"auth":null,"x":1}`:                    0,
		`{"errors":[],"x":1}`:                    0,
		`{"data":{"a":1},"sealed":true}`:         1,
		`{"request_id":"r","sealed":true,"t":3}`: 0,
		`{}`:                                     0,
	} {
		c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, body) }, nil)
		s, err := c.Read(t.Context(), "a", nil)
		if err != nil || len(s.Data) != want {
			t.Errorf("%s: %d members of data, %v; want %d", body, len(s.Data), err, want)
		}
	}
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 404, `{"errors":[],"warnings":["mind"]}`) }, nil)
	_, err := c.Read(t.Context(), "a", nil)
	var api *Error
	if !errors.As(err, &api) || len(api.Warnings()) != 1 || api.Secret.Data != nil {
		t.Errorf("a 404 with a warning: %+v", api)
	}
	if none := (&Error{}).Warnings(); len(none) > 0 {
		t.Errorf("warnings of nothing: %v", none)
	}
}

func TestAnswersAreLimited(t *testing.T) {
	size := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, strings.Repeat(" ", size))
	}, func(cfg *Config) { cfg.MaxResponse = 100 })
	size = 100
	if _, err := c.Read(t.Context(), "a", nil); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	size = 101
	if _, err := c.Read(t.Context(), "a", nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestDotSegmentsAreRefused(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("sent", r.URL) }, nil)
	for _, path := range []string{"secret/../sys/seal", ".", "a/./b", ".."} {
		if _, err := c.Read(t.Context(), path, nil); err == nil {
			t.Errorf("%q went through", path)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, `{"data":{"path":"`+r.URL.Path+`"}}`)
	})}
	go srv.Serve(l)
	defer srv.Close()
	c, err := New(Config{Address: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Read(t.Context(), "a", nil)
	if err != nil || s.Data["path"] != "/v1/a" {
		t.Errorf("%v %v", s, err)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"127.0.0.1:8200", "ftp://x", "unix://", "http://", "http://u:hunter2@h", "://"} {
		_, err := New(Config{Address: bad})
		if err == nil {
			t.Errorf("%q was accepted", bad)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows the password: %v", bad, err)
		}
	}
	c, err := New(Config{})
	if err != nil || c.Address() != "https://127.0.0.1:8200" {
		t.Errorf("default: %v %v", c, err)
	}
}

func TestTokenIsNeverPrinted(t *testing.T) {
	cfg := Config{Token: "hunter2", Address: "http://127.0.0.1:1"}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	secret := &Secret{Auth: &Auth{ClientToken: "hunter2"}, Data: map[string]any{"p": "hunter2"}}
	things := []any{
		cfg, &cfg, c, *c, cfg.Token, &cfg.Token, c.Tokens(), c.KV2("secret"), secret, secret.Auth,
		KVSecret{Data: map[string]any{"p": "hunter2"}}, &WrapInfo{Token: "hunter2"}, TokenInfo{ID: "hunter2"}, InitResponse{RootToken: "hunter2"},
		read(t.Context(), c),
	}
	for _, thing := range things {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if out := fmt.Sprintf(verb, thing); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
				t.Errorf("%s of %T prints the token: %s", verb, thing, out)
			}
		}
	}
	if raw, err := json.Marshal(cfg.Token); err != nil || string(raw) != `"[redacted]"` {
		t.Errorf("JSON of the token: %s %v", raw, err)
	}
}

func TestFromEnv(t *testing.T) {
	env := map[string]string{
		"VAULT_ADDR": "http://vault", "BAO_ADDR": "http://bao", "VAULT_TOKEN": "v", "STRONGROOM_NAMESPACE": "s",
		"BAO_NAMESPACE": "b", "VAULT_SKIP_VERIFY": "1", "VAULT_CLIENT_TIMEOUT": "5", "VAULT_MAX_RETRIES": "0",
		"VAULT_HTTP_PROXY": "http://a", "BAO_PROXY_ADDR": "http://b", "VAULT_RATE_LIMIT": "2.5:7", "VAULT_HEADERS": `{"x-team":"blue"}`,
	}
	cfg, err := FromEnv(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Address != "http://bao" || cfg.Token != "v" || cfg.Namespace != "s" || !cfg.SkipVerify ||
		cfg.Timeout != 5*time.Second || cfg.MaxRetries >= 0 || cfg.Proxy != "http://b" || cfg.Rate != 2.5 || cfg.Burst != 7 ||
		cfg.Header.Get("X-Team") != "blue" {
		t.Errorf("cfg = %+v", cfg)
	}
	for name, bad := range map[string]string{
		"SKIP_VERIFY": "perhaps", "CLIENT_TIMEOUT": "soon", "MAX_RETRIES": "x", "DISABLE_REDIRECTS": "?",
		"RATE_LIMIT": "0", "HEADERS": `{"X-Vault-Token":"t"}`,
	} {
		_, err := FromEnv(func(k string) string { return map[string]string{"BAO_" + name: bad}[k] })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: error = %v", name, bad, err)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, `{"data":{}}`)
	}))
	defer srv.Close()
	ca := pemOf(t, srv.Certificate().Raw)
	get := func(cfg Config) error {
		cfg.Address = srv.URL
		c, err := New(cfg)
		if err != nil {
			return err
		}
		return read(t.Context(), c)
	}
	for name, cfg := range map[string]Config{
		"file": {CACert: ca}, "directory": {CAPath: filepath.Dir(ca)}, "skip": {SkipVerify: true},
	} {
		if err := get(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]Config{
		"no CA": {}, "missing file": {CACert: ca + "x"}, "other name": {CACert: ca, TLSServerName: "elsewhere"},
		"certificate without key": {CACert: ca, ClientCert: ca}, "not PEM": {CACertPEM: "x"},
	} {
		if err := get(cfg); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
}
