package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// ask sends a request and reads the answer.
func ask(t *testing.T, method, url, token, body string, headers ...string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

func TestMetricsNeedAToken(t *testing.T) {
	n := serveNode(t, Listener{Address: "127.0.0.1:0"})
	url := n.URLs[0] + metricsPath
	if code, _, body := ask(t, "GET", url, "", ""); code != http.StatusForbidden || strings.Contains(body, "vault.core") {
		t.Fatalf("without a token: %d %s", code, body)
	}
	if code, kind, body := ask(t, "GET", url, "root", ""); code != 200 || kind != "application/json" || !strings.Contains(body, `"Name":"vault.core.unsealed","Value":1`) {
		t.Fatalf("%d %s %s", code, kind, body)
	}
	if code, kind, body := ask(t, "GET", url+"?format=prometheus", "root", ""); code != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") || !strings.Contains(body, "\nvault_core_unsealed 1\n") {
		t.Fatalf("%d %s %s", code, kind, body)
	}
	if code, _, body := ask(t, "GET", url+"?format=xml", "root", ""); code != 400 || !strings.Contains(body, "ask for prometheus") {
		t.Fatalf("%d %s", code, body)
	}
}

func TestListenersOfMetrics(t *testing.T) {
	for _, try := range []struct {
		name          string
		listener      Listener
		open, metrics int // status without and with a token
		other         int
	}{
		{"usual", Listener{}, 403, 200, 200},
		{"open", Listener{OpenMetrics: true, Headers: ResponseHeaders{"200": {"X-A": {"a"}}}}, 200, 200, 200},
		{"none", Listener{NoMetrics: true}, 404, 404, 200},
		{"only", Listener{OnlyMetrics: true}, 403, 200, 404},
	} {
		t.Run(try.name, func(t *testing.T) {
			try.listener.Address = "127.0.0.1:0"
			url := serveNode(t, try.listener).URLs[0]
			for token, want := range map[string]int{"": try.open, "root": try.metrics} {
				if code, _, body := ask(t, "GET", url+metricsPath+"?format=prometheus", token, ""); code != want {
					t.Errorf("token %q: %d %s", token, code, body)
				}
			}
			if code, _, _ := ask(t, "GET", url+"/v1/sys/health", "", ""); code != try.other {
				t.Errorf("health: %d", code)
			}
			if code, _, body := ask(t, "GET", url+metricsPath+"?format=x", "root", ""); try.listener.OpenMetrics && (code != 400 || !strings.Contains(body, "errors")) {
				t.Errorf("%d %s", code, body)
			}
		})
	}
}

// Another spelling of the path opens nothing.
func TestMetricsByOtherSpellings(t *testing.T) {
	for _, l := range []Listener{{NoMetrics: true}, {OnlyMetrics: true}} {
		l.Address = "127.0.0.1:0"
		url := serveNode(t, l).URLs[0]
		for _, path := range []string{"/v1/sys//metrics", "/v1/sys/metrics/", "/v1/sys/./metrics", "/v1/sys/x/../metrics", "/v1//sys/metrics", "/v1/sys/%6detrics/"} {
			if code, _, body := ask(t, "GET", url+path, "root", ""); code == 200 || strings.Contains(body, "vault.core") {
				t.Errorf("%s: %d", path, code)
			}
		}
	}
}

// collector keeps what is sent to it.
type collector struct {
	mu   sync.Mutex
	sent bytes.Buffer
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.sent.ReadFrom(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// Traces, metrics and the log of requests tell of a request's steps, and of
// nothing that was sent with it.
func TestTelemetryTellsNoSecret(t *testing.T) {
	to := &collector{}
	collecting := httptest.NewServer(to)
	defer collecting.Close()
	var log logLines
	c := &Config{DevRoot: api.NewSecret("root-canary"), LogRequests: "info", Listeners: []Listener{{Address: "127.0.0.1:0"}},
		Telemetry: Telemetry{Endpoint: collecting.URL, Service: "vaults"}}
	s, err := Open(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)), io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	const caller = "0123456789abcdef0123456789abcdef"
	headers := []string{"Traceparent", "00-" + caller + "-0123456789abcdef-01", "Tracestate", "a=canary", "Baggage", "canary=1", "User-Agent", "canary", "X-Vault-Namespace", ""}
	for _, try := range []struct {
		method, path, token, body string
		code                      int
	}{
		{"POST", "/v1/secret/data/canary-path", "root-canary", `{"data":{"canary-key":"canary-value"}}`, 200},
		{"GET", "/v1/secret/data/canary-path", "root-canary", "", 200},
		{"GET", "/v1/secret/data/canary-none", "root-canary", "", 404},
		{"GET", "/v1/canary-mount/x", "root-canary", "", 404},
		{"POST", "/v1/auth/token/lookup", "root-canary", `{"token":"canary-token"}`, 403},
		{"GET", "/v1/secret/data/canary-path", "canary-wrong", "", 403},
		{"POST", "/v1/sys/policies/acl/canary", "root-canary", `{"policy":"canary {"}`, 400},
	} {
		if code, _, body := ask(t, try.method, hs.URL+try.path, try.token, try.body, headers...); code != try.code {
			t.Errorf("%s %s: %d %s", try.method, try.path, code, body)
		}
	}
	text, err := s.meter.Read("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := s.meter.Read("")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sent := to.sent.String()
	for where, said := range map[string]string{"traces": sent, "metrics": string(text.Body), "metrics in JSON": string(asJSON.Body), "the log": log.String()} {
		if i := strings.Index(said, "canary"); i >= 0 {
			t.Errorf("%s say %q", where, said[max(0, i-60):min(len(said), i+40)])
		}
	}
	id, err := hex.DecodeString(caller)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"vaults", "request", "fresh", "locate", "identify", "authorise", "audit request", "answer", "store commit", "audit answer", "strongroom.request_id", string(id)} {
		if !strings.Contains(sent, want) {
			t.Errorf("traces lack %q", want)
		}
	}
	if got := strings.Count(log.String(), "completed request"); got != 7 {
		t.Errorf("%d requests were logged", got)
	}
}

// A collector that is away is told of in the log and keeps no request.
func TestCollectorAway(t *testing.T) {
	var log logLines
	away := httptest.NewServer(http.NotFoundHandler())
	defer away.Close()
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}, Telemetry: Telemetry{Endpoint: away.URL}}
	s, err := Open(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)), io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	if code, _, _ := ask(t, "GET", hs.URL+"/v1/auth/token/lookup-self", "root", ""); code != 200 {
		t.Fatal(code)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "traces were not sent") {
		t.Fatal(log.String())
	}
}

// What no audit device takes is counted, and the device is shown to be down.
func TestAuditFailuresAreCounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}, Audit: logFile(filepath.Join(dir, "audit.log"))}
	s, err := Open(t.Context(), &c, quiet(), io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err == nil {
		t.Fatal("the audit file is still there")
	}
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	if code, _, body := ask(t, "GET", hs.URL+"/v1/auth/token/lookup-self", "root", ""); code == 200 {
		t.Fatalf("answered though it was not written down: %s", body)
	}
	raw, err := s.meter.Read("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"vault_audit_log_request_failure 1", `strongroom_audit_device_up{device="main/"} 0`, `status="unavailable"} 1`} {
		if !strings.Contains(string(raw.Body), want) {
			t.Errorf("lacks %s", want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What counting adds to a read: less than a microsecond.
func BenchmarkKVReadThroughGate(b *testing.B) {
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	s, err := Open(b.Context(), c, slog.New(slog.DiscardHandler), io.Discard, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	serve := func(method, body string) {
		r := httptest.NewRequest(method, "/v1/secret/data/a", strings.NewReader(body)).WithContext(context.Background())
		r.Header.Set("X-Vault-Token", "root")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
	serve("POST", `{"data":{"a":"b"}}`)
	b.Run("counted", func(b *testing.B) {
		for b.Loop() {
			serve("GET", "")
		}
	})
	s.gate.Observe(nil)
	b.Run("not counted", func(b *testing.B) {
		for b.Loop() {
			serve("GET", "")
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
