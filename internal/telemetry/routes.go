package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under sys/ that are about metrics.
func Routes() []api.Route[*Meter] {
	return []api.Route[*Meter]{api.Handle(api.Read, "metrics", (*Meter).Metrics, api.RootOnly)}
}

// MetricsRequest asks for the server's metrics.
type MetricsRequest struct {
	Format string `json:"format"` // prometheus for the text that Prometheus reads; empty for JSON.
}

// Metrics tells how the server fares: in numbers that Prometheus reads, or as JSON.
func (m *Meter) Metrics(_ *api.Call, q *MetricsRequest) (*api.Raw, error) {
	return m.Read(q.Format)
}

// Read is the metrics in a format: "prometheus", or "" for JSON.
func (m *Meter) Read(format string) (*api.Raw, error) {
	if format != "" && format != "prometheus" {
		return nil, &api.Error{Kind: api.Invalid, Message: "format: unknown", Hint: "ask for prometheus, or leave it out for JSON"}
	}
	families, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering metrics: %w", err)
	}
	if format == "" {
		return m.asJSON(families)
	}
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			return nil, fmt.Errorf("writing metrics: %w", err)
		}
	}
	return &api.Raw{ContentType: string(expfmt.NewFormat(expfmt.TypeTextPlain)), Body: out.Bytes()}, nil
}

// The JSON form is that of Vault, whose source is the package go-metrics.
type (
	document struct {
		Timestamp string
		Gauges    []gauge
		Points    []struct{}
		Counters  []sample
		Samples   []sample
	}
	gauge struct {
		Name   string
		Value  float64
		Labels map[string]string
	}
	sample struct {
		Name                              string
		Count                             uint64
		Rate, Sum, Min, Max, Mean, Stddev float64
		Labels                            map[string]string
	}
)

func (m *Meter) asJSON(families []*dto.MetricFamily) (*api.Raw, error) {
	doc := document{Timestamp: m.now().UTC().Format("2006-01-02 15:04:05 +0000 UTC"), Gauges: []gauge{}, Points: []struct{}{}, Counters: []sample{}, Samples: []sample{}}
	dotted := map[string]string{}
	for _, n := range vaultNames() {
		dotted[underscored(n)] = n
	}
	for _, f := range families {
		name := f.GetName()
		if d := dotted[name]; d != "" {
			name = d
		}
		for _, one := range f.Metric {
			doc.add(name, one)
		}
	}
	sort.SliceStable(doc.Gauges, func(i, j int) bool { return doc.Gauges[i].Name < doc.Gauges[j].Name })
	body, err := json.Marshal(doc)
	return &api.Raw{ContentType: "application/json", Body: append(body, '\n')}, err
}

// add puts one metric where it belongs. What the language and the process tell of
// themselves is in the other format only.
func (d *document) add(name string, m *dto.Metric) {
	if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
		return
	}
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	switch {
	case m.Gauge != nil:
		d.Gauges = append(d.Gauges, gauge{name, m.Gauge.GetValue(), labels})
	case m.Counter != nil:
		n := m.Counter.GetValue()
		d.Counters = append(d.Counters, sample{Name: name, Count: uint64(n), Sum: n, Labels: labels})
	case m.Summary != nil:
		d.Samples = append(d.Samples, times(name, m.Summary.GetSampleCount(), m.Summary.GetSampleSum(), labels))
	case m.Histogram != nil:
		d.Samples = append(d.Samples, times(name, m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum(), labels))
	}
}

func times(name string, count uint64, sum float64, labels map[string]string) sample {
	s := sample{Name: name, Count: count, Sum: sum, Labels: labels}
	if count > 0 {
		s.Mean = sum / float64(count)
	}
	return s
}
