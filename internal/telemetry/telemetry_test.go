package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newMeter() (*Meter, *clock) {
	c := &clock{time.Unix(1e9, 0)}
	return New(Source{Unsealed: func() bool { return true }, Cache: func() uint64 { return 7 },
		Devices: func() []Device { return []Device{{"file/", 3, false}} },
		Expiry:  func() []Certificate { return []Certificate{{"127.0.0.1:1", time.Unix(2e9, 0)}} }}, c.now), c
}

func (m *Meter) request(op api.Op, engine string, err error, auth *api.Auth, took time.Duration) {
	r := &gate.Request{ID: "id", Op: op, Headers: http.Header{}}
	ctx := m.Begin(context.Background(), r)
	m.End(ctx, r, &gate.Response{Err: err, MountType: engine, Auth: auth}, took)
}

func text(t *testing.T, m *Meter) string {
	t.Helper()
	raw, err := m.Read("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw.Body)
}

func TestMetrics(t *testing.T) {
	m, _ := newMeter()
	m.request(api.Read, "kv", nil, nil, 3*time.Millisecond)
	m.request(api.Read, "kv", nil, nil, 3*time.Millisecond)
	m.request(api.Write, "token", nil, &api.Auth{}, time.Millisecond)
	m.request(api.Read, "", api.ErrDenied(), nil, time.Millisecond)
	m.request(api.Read, "kv", errors.New("odd"), nil, time.Millisecond)
	m.End(m.Begin(t.Context(), &gate.Request{}), &gate.Request{Op: api.Read}, &gate.Response{MountType: "lender", LeaseID: "a/b"}, 0)
	m.Begin(context.Background(), &gate.Request{})
	m.TokenRevoked()
	m.AuditFailed(false)
	m.AuditFailed(true)
	m.AuditFailed(true)
	s := m.Store(mem.Open())
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "a", Value: []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []store.Check{{Key: "a", Rev: 99}}, nil); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	got := text(t, m)
	for _, want := range []string{
		`strongroom_request_duration_seconds_count{mount_type="kv",operation="read",status="ok"} 2`,
		`strongroom_request_duration_seconds_bucket{mount_type="kv",operation="read",status="ok",le="0.0025"} 0`,
		`strongroom_request_duration_seconds_bucket{mount_type="kv",operation="read",status="ok",le="0.005"} 2`,
		`strongroom_request_duration_seconds_count{mount_type="",operation="read",status="denied"} 1`,
		`strongroom_request_duration_seconds_count{mount_type="kv",operation="read",status="internal"} 1`,
		`vault_core_handle_request_count 6`, `strongroom_leases_made_total 1`, `vault_core_handle_request_sum 9`, `vault_core_in_flight_requests 1`, `vault_core_unsealed 1`,
		`vault_token_creation 1`, `strongroom_tokens_revoked_total 1`, `vault_audit_log_request_failure 1`, `vault_audit_log_response_failure 2`,
		`vault_cache_miss 7`, `strongroom_audit_device_up{device="file/"} 0`, `strongroom_audit_device_lost_entries_total{device="file/"} 3`,
		`strongroom_listener_certificate_expiry_seconds{listener="127.0.0.1:1"} 2e+09`,
		`strongroom_store_commit_duration_seconds_count{status="ok"} 1`, `strongroom_store_commit_duration_seconds_count{status="conflict"} 1`,
		`vault_barrier_put_count 2`, "go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// The JSON form has Vault's fields and names.
func TestJSON(t *testing.T) {
	m, c := newMeter()
	m.population.Store(&population{at: c.now()})
	m.request(api.Read, "kv", nil, nil, 3*time.Millisecond)
	raw, err := m.Metrics(nil, &MetricsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(raw.Body, &doc); err != nil || doc.Timestamp != "2001-09-09 01:46:40 +0000 UTC" || raw.ContentType != "application/json" {
		t.Fatalf("%s: %v", raw.Body, err)
	}
	found := map[string]bool{}
	for _, g := range doc.Gauges {
		found[g.Name] = true
	}
	for _, c := range doc.Counters {
		found[c.Name] = true
	}
	for _, s := range doc.Samples {
		found[s.Name] = true
		if s.Name == "vault.core.handle_request" && (s.Count != 1 || s.Sum != 3 || s.Mean != 3) {
			t.Errorf("%+v", s)
		}
	}
	for _, name := range append(vaultNames(), "strongroom_request_duration_seconds") {
		if !found[name] {
			t.Errorf("lacks %s", name)
		}
	}
	if found["go_goroutines"] || len(found) < 20 {
		t.Errorf("%v", found)
	}
	if _, err := m.Read("bogus"); api.KindOf(err) != api.Invalid {
		t.Errorf("an unknown format gave %v", err)
	}
}

// Quantiles are of the time since a reading at least ten seconds ago.
func TestQuantiles(t *testing.T) {
	m, c := newMeter()
	quantile := func() float64 {
		for line := range strings.Lines(text(t, m)) {
			if v, ok := strings.CutPrefix(line, `vault_core_handle_request{quantile="0.99"} `); ok {
				var f float64
				if err := json.Unmarshal([]byte(v), &f); err != nil {
					t.Fatal(err)
				}
				return f
			}
		}
		t.Fatal("no quantile")
		return 0
	}
	for range 100 {
		m.request(api.Read, "kv", nil, nil, 200*time.Millisecond)
	}
	if q := quantile(); q < 100 || q > 250 {
		t.Errorf("of slow requests: %v", q)
	}
	c.at = c.at.Add(15 * time.Second)
	for range 100 {
		m.request(api.Read, "kv", nil, nil, 200*time.Microsecond)
	}
	if q := quantile(); q > 1 {
		t.Errorf("of fast requests, after slow ones: %v", q)
	}
	c.at = c.at.Add(15 * time.Second)
	if q := quantile(); q != 0 {
		t.Errorf("of none: %v", q)
	}
}

func TestQuantileBetweenBounds(t *testing.T) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Buckets: []float64{1, 2, 4}})
	for _, v := range []float64{.5, 1.5, 3, 3, 9} {
		h.Observe(v)
	}
	all := total(h, time.Unix(1, 0))
	for q, want := range map[float64]float64{0.2: 1, 0.4: 2, 0.6: 3, 0.8: 4, 1: 4} {
		if got := all.quantile(q, &tally{}); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
}

func TestRequestLog(t *testing.T) {
	m, _ := newMeter()
	var out strings.Builder
	m.LogRequests(slog.New(slog.NewJSONHandler(&out, nil)), slog.LevelInfo)
	m.request(api.Read, "kv", api.ErrDenied(), nil, time.Millisecond)
	if !strings.Contains(out.String(), `"msg":"completed request","request_id":"id","operation":"read","mount_type":"kv","status":"denied","duration":1000000}`) {
		t.Fatal(out.String())
	}
}

// A caller's trace is taken up; what is free text in a request is not.
func TestTraces(t *testing.T) {
	m, _ := newMeter()
	spans := tracetest.NewInMemoryExporter()
	m.traceTo(&quietExporter{spans, slog.New(slog.DiscardHandler)}, Tracing{Service: "s", Version: "v"})
	r := &gate.Request{ID: "id", Op: api.Write, Path: "secret/canary", Token: api.NewSecret("canary"), Headers: http.Header{
		"Traceparent": {"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}, "Tracestate": {"a=canary"}, "Baggage": {"b=canary"}}}
	ctx := m.Begin(t.Context(), r)
	inner, end := m.Step(ctx, "answer")
	if _, err := m.Store(mem.Open()).Commit(inner, nil, []store.Write{{Key: "canary", Value: []byte("canary")}}); err != nil {
		t.Fatal(err)
	}
	failure := api.Errorf(api.Conflict, "canary")
	end(failure)
	m.End(ctx, r, &gate.Response{Err: failure, MountType: "kv"}, time.Millisecond)
	if err := m.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkSpans(t, spans.GetSpans())
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func checkSpans(t *testing.T, got tracetest.SpanStubs) {
	t.Helper()
	if len(got) != 3 || got[0].Name != "store commit" || got[1].Name != "answer" || got[2].Name != "request" {
		t.Fatalf("%+v", got)
	}
	for i, s := range got {
		if s.SpanContext.TraceID().String() != "0123456789abcdef0123456789abcdef" || s.SpanContext.TraceState().Len() != 0 {
			t.Errorf("%s is of %+v", s.Name, s.SpanContext)
		}
		if i < 2 && s.Parent.SpanID() != got[i+1].SpanContext.SpanID() {
			t.Errorf("%s is not within %s", s.Name, got[i+1].Name)
		}
		written, err := json.Marshal(s)
		if err != nil || strings.Contains(string(written), "canary") {
			t.Errorf("%s, %v", written, err)
		}
	}
	if got[2].Parent.SpanID().String() != "0123456789abcdef" || got[1].Status.Description != "conflict" {
		t.Errorf("%+v, %+v", got[2].Parent, got[1].Status)
	}
}

func TestEnvironment(t *testing.T) {
	for _, try := range []struct {
		env string
		on  bool
	}{{"", false}, {"OTEL_EXPORTER_OTLP_ENDPOINT=http://x", true}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://x", true},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x OTEL_SDK_DISABLED=true", false}, {"OTEL_EXPORTER_OTLP_ENDPOINT=http://x OTEL_TRACES_EXPORTER=none", false}} {
		getenv := func(name string) string {
			for pair := range strings.FieldsSeq(try.env) {
				if n, v, _ := strings.Cut(pair, "="); n == name {
					return v
				}
			}
			return ""
		}
		if InEnvironment(getenv) != try.on {
			t.Errorf("%s: not %v", try.env, try.on)
		}
	}
}

// What counting costs each request: it must stay far below a microsecond.
func BenchmarkRequest(b *testing.B) {
	m, _ := newMeter()
	m.now = time.Now
	r, resp := &gate.Request{ID: "id", Op: api.Read}, &gate.Response{MountType: "kv"}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		began := m.now()
		c := m.Begin(ctx, r)
		m.End(c, r, resp, m.now().Sub(began))
	}
}

// Counting allocates nothing.
func TestRequestAllocatesNothing(t *testing.T) {
	m, _ := newMeter()
	r, resp := &gate.Request{ID: "id", Op: api.Read}, &gate.Response{MountType: "kv"}
	if n := testing.AllocsPerRun(100, func() { m.End(m.Begin(t.Context(), r), r, resp, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
