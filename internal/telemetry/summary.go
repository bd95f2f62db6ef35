package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// window is the least time that quantiles are about. Between two readings that lie
// further apart, it is the time between them.
const window = 10 * time.Second

// summaries show durations as Vault does: in milliseconds, with quantiles. They
// are reckoned from the histograms when they are read, so that a request pays for
// one histogram only.
type summaries struct {
	now func() time.Time

	mu  sync.Mutex
	all []*summary // guarded by mu
}

// summary is one of them, with what was read before.
type summary struct {
	desc  *prometheus.Desc
	of    prometheus.Collector
	began tally // at the reading that began the window
	last  tally // at a later one, at which the next window begins
}

// tally is the sum of histograms at one time.
type tally struct {
	at     time.Time
	count  uint64
	sum    float64  // seconds
	counts []uint64 // cumulative, by bucket
	bounds []float64
}

func newSummaries(m *Meter) *summaries {
	return &summaries{now: m.now, all: []*summary{
		{desc: desc("vault.core.handle_request", "How long requests took, in milliseconds."), of: m.requests},
		{desc: desc("vault.barrier.put", "How long commits to the store took, in milliseconds."), of: m.store.commits},
	}}
}

// Describe implements prometheus.Collector.
func (s *summaries) Describe(out chan<- *prometheus.Desc) {
	for _, one := range s.all {
		out <- one.desc
	}
}

// Collect implements prometheus.Collector.
func (s *summaries) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		out <- one.read(s.now())
	}
}

func (s *summary) read(now time.Time) prometheus.Metric {
	t := total(s.of, now)
	if now.Sub(s.last.at) >= window {
		s.began, s.last = s.last, t
	}
	quantiles := map[float64]float64{}
	for _, q := range []float64{0.5, 0.9, 0.99} {
		quantiles[q] = t.quantile(q, &s.began) * 1000
	}
	return prometheus.MustNewConstSummary(s.desc, t.count, t.sum*1000, quantiles)
}

// total sums the histograms of a collector.
func total(c prometheus.Collector, now time.Time) tally {
	t := tally{at: now}
	ch := make(chan prometheus.Metric)
	go func() {
		defer close(ch)
		c.Collect(ch)
	}()
	for metric := range ch {
		var one dto.Metric
		if err := metric.Write(&one); err != nil || one.Histogram == nil {
			continue
		}
		t.add(one.Histogram)
	}
	return t
}

func (t *tally) add(h *dto.Histogram) {
	t.count += h.GetSampleCount()
	t.sum += h.GetSampleSum()
	if t.counts == nil {
		t.counts, t.bounds = make([]uint64, len(h.Bucket)), make([]float64, len(h.Bucket))
	}
	for i, b := range h.Bucket {
		t.counts[i] += b.GetCumulativeCount()
		t.bounds[i] = b.GetUpperBound()
	}
}

// quantile is that of what came after before, in seconds, by interpolation within
// a bucket; 0 when nothing came.
func (t *tally) quantile(q float64, before *tally) float64 {
	rank := q * float64(t.count-before.count)
	if rank == 0 {
		return 0
	}
	var low, under float64
	for i, bound := range t.bounds {
		n := t.counts[i]
		if i < len(before.counts) {
			n -= before.counts[i]
		}
		if over := float64(n); over >= rank {
			return low + (bound-low)*(rank-under)/(over-under)
		}
		low, under = bound, float64(n)
	}
	return low
}
