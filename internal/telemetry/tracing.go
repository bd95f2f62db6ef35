package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	otel "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing says where traces go.
type Tracing struct {
	Endpoint string  // of a collector that takes OTLP over HTTP; empty: as OTEL_EXPORTER_OTLP_* in the environment say
	Ratio    float64 // of the traces that no caller's traceparent decides about; 0: all
	Service  string  // name of the service
	Version  string  // of the service
	Log      *slog.Logger
}

// InEnvironment reports whether the environment asks for traces, as
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables has it.
func InEnvironment(getenv func(string) string) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// sendTime is how long a collector may take for one batch.
const sendTime = 10 * time.Second

// Trace begins to trace requests. It is called before the first of them.
func (m *Meter) Trace(ctx context.Context, t Tracing) error {
	var options []otlptracehttp.Option
	if t.Endpoint != "" {
		u, err := url.Parse(t.Endpoint)
		if err != nil {
			return fmt.Errorf("otlp_endpoint: %w", err)
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHTTPClient(&http.Client{Timeout: sendTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}))
	}
	exporter, err := otlptrace.New(ctx, otlptracehttp.NewClient(options...))
	if err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	m.traceTo(&quietExporter{exporter, t.Log}, t)
	return nil
}

// traceTo has an exporter send the traces, in the background and in batches.
func (m *Meter) traceTo(to sdk.SpanExporter, t Tracing) {
	if t.Ratio == 0 {
		t.Ratio = 1
	}
	m.provider = sdk.NewTracerProvider(sdk.WithBatcher(to), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(t.Ratio))),
		sdk.WithResource(resource.NewSchemaless(attribute("service.name", t.Service), attribute("service.version", t.Version))))
	m.tracer = m.provider.Tracer("github.com/strongroom/strongroom")
}

// quietExporter tells the server's log, and no other, of what cannot be sent.
type quietExporter struct {
	sdk.SpanExporter
	log *slog.Logger
}

// ExportSpans sends spans.
func (e *quietExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.log.Warn("traces were not sent", slog.Int("spans", len(spans)), slog.Any("error", err))
	}
	return nil
}

func attribute(name, value string) otel.KeyValue { return otel.String(name, value) }

// parent makes a context that of the caller's span, if the request names one in
// traceparent (https://www.w3.org/TR/trace-context/). Its tracestate is left
// alone: it is free text.
func parent(ctx context.Context, h http.Header) context.Context {
	carrier := propagation.MapCarrier{"traceparent": h.Get("Traceparent")}
	if carrier["traceparent"] == "" {
		return ctx
	}
	caller := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, carrier))
	return trace.ContextWithRemoteSpanContext(ctx, caller)
}
