// Package telemetry owns what a server tells of how it fares: its metrics, the
// traces of requests through the gate, the engines and the store, and the log of
// requests. Labels and attributes are names from the program itself, such as of an
// operation, a type of engine or a step, and request ids: never a path, a token or
// anything else that a caller has sent.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

// Meter counts and follows what a server does. It is safe for concurrent use.
type Meter struct {
	now        func() time.Time
	registry   *prometheus.Registry
	requests   *prometheus.HistogramVec
	series     atomic.Pointer[map[class]*series]
	inFlight   atomic.Int64
	failed     [2]atomic.Uint64 // audit entries that no device took, of requests and of answers
	tokens     [2]atomic.Uint64 // tokens made and revoked
	leases     atomic.Uint64    // leases that answers came with
	store      stored
	population atomic.Pointer[population] // nil: not yet, or not any more

	tracer   trace.Tracer // nil: nothing is traced
	provider *sdk.TracerProvider

	log   *slog.Logger // of requests; nil: they are not logged
	level slog.Level
}

// class is what requests are counted by.
type class struct {
	op   api.Op
	kind outcome
	// engine is the type of mount, empty where the gate has found none. It is from
	// the table of engines, so that there are few.
	engine string
}

// outcome is 0 for an answer and one more than its kind for a failure.
type outcome uint8

// String is the outcome as labels have it.
func (o outcome) String() string {
	if o == 0 {
		return "ok"
	}
	return api.Kind(o - 1).String()
}

func outcomeOf(err error) outcome {
	if err == nil {
		return 0
	}
	return outcome(api.KindOf(err)) + 1
}

// series is the metrics of a class.
type series struct{ took prometheus.Observer }

// Source is what a Meter asks of a server when it is read. Its fields may be nil.
type Source struct {
	Unsealed func() bool
	Cache    func() (misses uint64)
	Devices  func() []Device
	Expiry   func() []Certificate
	Damaged  func() int // damaged rows that the node does without
}

// Device is how an audit device fares.
type Device struct {
	Path string
	Lost uint64 // entries it did not take
	Up   bool
}

// Certificate is that of a listener.
type Certificate struct {
	Listener string
	NotAfter time.Time
}

// buckets are bounds of a request's duration, in seconds.
func buckets() []float64 {
	return []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}
}

// New makes a Meter that asks source when it is read.
func New(source Source, now func() time.Time) *Meter {
	m := &Meter{now: now, registry: prometheus.NewRegistry()}
	m.series.Store(&map[class]*series{})
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strongroom_request_duration_seconds",
		Help: "How long requests took, in seconds.", Buckets: buckets()}, []string{"operation", "mount_type", "status"})
	m.store.commits = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strongroom_store_commit_duration_seconds",
		Help: "How long commits to the store took until they were durable, in seconds.", Buckets: buckets()}, []string{"status"})
	m.registry.MustRegister(m.requests, m.store.commits, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGauges(m, source), newSummaries(m))
	return m
}

// LogRequests has every request logged at a level.
func (m *Meter) LogRequests(log *slog.Logger, level slog.Level) { m.log, m.level = log, level }

// TokenRevoked counts a token that was revoked or has expired.
func (m *Meter) TokenRevoked() { m.tokens[1].Add(1) }

// of is the series of a class, which is made at its first request.
func (m *Meter) of(c class) *series {
	for {
		all := m.series.Load()
		if s := (*all)[c]; s != nil {
			return s
		}
		next := make(map[class]*series, len(*all)+1)
		for k, v := range *all {
			next[k] = v
		}
		next[c] = &series{m.requests.WithLabelValues(c.op.String(), c.engine, c.kind.String())}
		if m.series.CompareAndSwap(all, &next) {
			return next[c]
		}
	}
}

// Begin counts a request in, and begins its trace.
func (m *Meter) Begin(ctx context.Context, r *gate.Request) context.Context {
	m.inFlight.Add(1)
	if m.tracer == nil {
		return ctx
	}
	ctx, _ = m.tracer.Start(parent(ctx, r.Headers), "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute("strongroom.request_id", r.ID), attribute("strongroom.operation", r.Op.String())))
	return ctx
}

// End counts a request out.
func (m *Meter) End(ctx context.Context, r *gate.Request, resp *gate.Response, took time.Duration) {
	m.inFlight.Add(-1)
	c := class{r.Op, outcomeOf(resp.Err), resp.MountType}
	m.of(c).took.Observe(took.Seconds())
	if resp.Auth != nil {
		m.tokens[0].Add(1)
	}
	if resp.LeaseID != "" {
		m.leases.Add(1)
	}
	if m.log != nil && m.log.Enabled(ctx, m.level) {
		m.log.LogAttrs(ctx, m.level, "completed request", slog.String("request_id", r.ID), slog.String("operation", r.Op.String()),
			slog.String("mount_type", c.engine), slog.String("status", c.kind.String()), slog.Duration("duration", took))
	}
	if m.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute("strongroom.mount_type", c.engine), attribute("strongroom.status", c.kind.String()))
	finish(span, resp.Err)
}

// Tracing reports whether steps are to be told.
func (m *Meter) Tracing() bool { return m.tracer != nil }

// Step begins a step of a request. It is called only while Tracing.
func (m *Meter) Step(ctx context.Context, name string) (context.Context, func(error)) {
	ctx, span := m.tracer.Start(ctx, name)
	return ctx, func(err error) { finish(span, err) }
}

// AuditFailed counts an entry that no audit device has taken.
func (m *Meter) AuditFailed(answer bool) {
	if answer {
		m.failed[1].Add(1)
		return
	}
	m.failed[0].Add(1)
}

// finish ends a span. Of an error it tells the kind, since its text may name what
// was asked for.
func finish(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, api.KindOf(err).String())
	}
	span.End()
}

// Close sends the traces that have not been sent.
func (m *Meter) Close(ctx context.Context) error {
	if m.provider == nil {
		return nil
	}
	if err := m.provider.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
