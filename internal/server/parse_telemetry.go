package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Telemetry says where traces of requests go. Metrics are there for who reads
// sys/metrics, whatever it says.
type Telemetry struct {
	Endpoint string  // of an OpenTelemetry collector, as a URL (OTLP over HTTP); empty: as OTEL_* in the environment says, or nowhere
	Ratio    float64 // of the requests that are traced which no caller's traceparent decides about: above 0 and up to 1; 0: all
	Service  string  // name of the service in traces; empty: strongroom

	Environment bool // OTEL_* in the environment asks for traces
}

// ignoredTelemetry reports whether a Vault configuration may have a setting that
// means nothing here: others are served what they read at sys/metrics.
func ignoredTelemetry(key string) bool {
	switch key {
	case "usage_gauge_period", "maximum_gauge_cardinality", "disable_hostname", "enable_hostname_label", "prometheus_retention_time",
		"metrics_prefix", "lease_metrics_epsilon", "num_lease_metrics_buckets", "add_lease_metrics_namespace_labels", "filter_default",
		"prefix_filter", "add_mount_point_rollback_metrics":
		return true
	}
	return false
}

func (r *reader) readTelemetry(b *block) {
	t := &r.config.Telemetry
	for _, s := range b.settings {
		switch key := keyOf(s, 0); {
		case key == "otlp_endpoint":
			t.Endpoint = r.text(s)
			r.checkSetting(s, checkEndpoint(t.Endpoint))
		case key == "trace_ratio":
			ratio, err := strconv.ParseFloat(r.text(s), 64)
			if err != nil || !(ratio > 0 && ratio <= 1) {
				r.fault(s, "trace_ratio: must be above 0 and up to 1")
			}
			t.Ratio = ratio
		case key == "service_name":
			t.Service = r.text(s)
		case ignoredTelemetry(key):
			r.config.Ignored = append(r.config.Ignored, "telemetry "+key)
		case strings.HasPrefix(key, "stats") || strings.HasPrefix(key, "dogstatsd") || strings.HasPrefix(key, "circonus") || strings.HasPrefix(key, "stackdriver"):
			r.fault(s, "telemetry: %s: metrics are not sent anywhere; leave this out and have a Prometheus or a collector read sys/metrics", key)
		default:
			r.fault(s, "telemetry: unknown setting %q; it takes otlp_endpoint, trace_ratio and service_name", key)
		}
	}
}

func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("must be a URL such as http://127.0.0.1:4318")
	}
	return nil
}

// position is where the parser of HCL says that it stopped.
var position = regexp.MustCompile(`^At (\d+):\d+: `)

// again is how it says that a setting stands twice in one place.
var again = regexp.MustCompile(`^The argument "(.*)" at (\d+):\d+ was already set`)

// syntaxError is the parser's, with the file and, where it has one, its line.
func syntaxError(name string, src []byte, err error) error {
	if at := (*json.SyntaxError)(nil); errors.As(err, &at) {
		return fmt.Errorf("%s:%d: not JSON: %w", name, lineAt(src, at.Offset), err)
	}
	text := err.Error()
	if m := again.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: %s: is given twice", name, m[2], m[1])
	}
	if m := position.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: %s", name, m[1], strings.TrimPrefix(text, m[0]))
	}
	return fmt.Errorf("%s: %w", name, err)
}
