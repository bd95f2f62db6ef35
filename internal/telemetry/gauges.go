package telemetry

import (
	"math"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are metrics that are read where they lie. Those named vault_ are named as
// dashboards that were made for Vault look for them; see
// https://developer.hashicorp.com/vault/docs/internals/telemetry/metrics/all.
type gauges struct {
	meter  *Meter
	source Source
	plain  []plain
	lost   *prometheus.Desc
	up     *prometheus.Desc
	expiry *prometheus.Desc
	census [3]*prometheus.Desc // tokens, leases, and how old the numbers are
}

// plain is a metric without labels.
type plain struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*reading) float64
}

// reading is what one look at the server has found.
type reading struct {
	memory   runtime.MemStats
	unsealed bool
	misses   uint64
	damaged  int
}

// vaultNames are the names of metrics as Vault's own form has them, whose dots
// Prometheus does not take.
func vaultNames() []string {
	return []string{"vault.core.unsealed", "vault.core.active", "vault.core.in_flight_requests", "vault.core.handle_request",
		"vault.audit.log_request_failure", "vault.audit.log_response_failure", "vault.barrier.put", "vault.token.creation", "vault.token.count", "vault.expire.num_leases",
		"vault.cache.miss", "vault.runtime.alloc_bytes", "vault.runtime.sys_bytes", "vault.runtime.heap_objects",
		"vault.runtime.malloc_count", "vault.runtime.free_count", "vault.runtime.num_goroutines", "vault.runtime.total_gc_pause_ns", "vault.runtime.total_gc_runs"}
}

// underscored is a dotted name as Prometheus has it.
func underscored(dotted string) string { return strings.ReplaceAll(dotted, ".", "_") }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(underscored(name), help, labels, nil)
}

func newGauges(m *Meter, s Source) *gauges {
	g := &gauges{meter: m, source: s,
		lost: desc("strongroom.audit_device_lost_entries_total", "Entries that an audit device did not take.", "device"),
		up:   desc("strongroom.audit_device_up", "Whether an audit device took the last entry.", "device"),
		census: [3]*prometheus.Desc{
			desc("vault.token.count", "Service tokens of the whole cluster, as last counted; those too that have expired and are not cleared away."),
			desc("vault.expire.num_leases", "Leases of the whole cluster, tokens apart, as last counted."),
			desc("strongroom.count_age_seconds", "How long ago tokens and leases were counted, in seconds.")},
		expiry: desc("strongroom.listener_certificate_expiry_seconds", "When a listener's certificate ends, in seconds since 1970.", "listener")}
	gauge := func(name, help string, read func(*reading) float64) {
		g.plain = append(g.plain, plain{desc(name, help), prometheus.GaugeValue, read})
	}
	counter := func(name, help string, read func(*reading) float64) {
		g.plain = append(g.plain, plain{desc(name, help), prometheus.CounterValue, read})
	}
	gauge("vault.core.unsealed", "Whether the server is unsealed.", func(r *reading) float64 { return truth(r.unsealed) })
	gauge("vault.core.active", "Whether the server serves: every unsealed one does.", func(r *reading) float64 { return truth(r.unsealed) })
	gauge("vault.core.in_flight_requests", "Requests that are being served.", func(*reading) float64 { return float64(m.inFlight.Load()) })
	counter("vault.audit.log_request_failure", "Requests that no audit device took, and that were refused.", func(*reading) float64 { return float64(m.failed[0].Load()) })
	counter("vault.audit.log_response_failure", "Answers that no audit device took, and that were kept back.", func(*reading) float64 { return float64(m.failed[1].Load()) })
	counter("vault.token.creation", "Tokens that were made by requests.", func(*reading) float64 { return float64(m.tokens[0].Load()) })
	counter("strongroom.tokens_revoked_total", "Service tokens that were revoked or have expired.", func(*reading) float64 { return float64(m.tokens[1].Load()) })
	counter("strongroom.leases_made_total", "Leases that answers came with.", func(*reading) float64 { return float64(m.leases.Load()) })
	counter("vault.cache.miss", "Reads that the caches of rows had to ask the store for.", func(r *reading) float64 { return float64(r.misses) })
	gauge("strongroom.damaged_rows", "Damaged rows that this node has met and does without; its log names each.", func(r *reading) float64 { return float64(r.damaged) })
	counter("strongroom.store_gets_total", "Entries that were read from the store.", func(*reading) float64 { return float64(m.store.gets.Load()) })
	counter("strongroom.store_lists_total", "Ranges that were read from the store.", func(*reading) float64 { return float64(m.store.lists.Load()) })
	counter("strongroom.store_syncs_total", "How often the store was asked for its revision.", func(*reading) float64 { return float64(m.store.syncs.Load()) })
	counter("strongroom.store_sync_trips_total", "Round trips to a store in another process that those questions shared.", func(*reading) float64 { return float64(m.store.syncTrips()) })
	gauge("vault.runtime.alloc_bytes", "Bytes of the heap in use.", func(r *reading) float64 { return float64(r.memory.HeapAlloc) })
	gauge("vault.runtime.sys_bytes", "Bytes had from the operating system.", func(r *reading) float64 { return float64(r.memory.Sys) })
	gauge("vault.runtime.heap_objects", "Objects on the heap.", func(r *reading) float64 { return float64(r.memory.HeapObjects) })
	gauge("vault.runtime.malloc_count", "Objects ever made.", func(r *reading) float64 { return float64(r.memory.Mallocs) })
	gauge("vault.runtime.free_count", "Objects ever freed.", func(r *reading) float64 { return float64(r.memory.Frees) })
	gauge("vault.runtime.num_goroutines", "Goroutines.", func(*reading) float64 { return float64(runtime.NumGoroutine()) })
	gauge("vault.runtime.total_gc_pause_ns", "Pauses of the garbage collector altogether, in nanoseconds.", func(r *reading) float64 { return float64(r.memory.PauseTotalNs) })
	gauge("vault.runtime.total_gc_runs", "Runs of the garbage collector.", func(r *reading) float64 { return float64(r.memory.NumGC) })
	return g
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, p := range g.plain {
		out <- p.desc
	}
	out <- g.lost
	out <- g.up
	out <- g.expiry
	for _, d := range g.census {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	r := &reading{}
	runtime.ReadMemStats(&r.memory)
	if g.source.Unsealed != nil {
		r.unsealed = g.source.Unsealed()
	}
	if g.source.Cache != nil {
		r.misses = g.source.Cache()
	}
	if g.source.Damaged != nil {
		r.damaged = g.source.Damaged()
	}
	for _, p := range g.plain {
		out <- prometheus.MustNewConstMetric(p.desc, p.kind, p.read(r))
	}
	g.collectCensus(out)
	if g.source.Devices != nil {
		for _, d := range g.source.Devices() {
			out <- prometheus.MustNewConstMetric(g.lost, prometheus.CounterValue, float64(d.Lost), d.Path)
			out <- prometheus.MustNewConstMetric(g.up, prometheus.GaugeValue, truth(d.Up), d.Path)
		}
	}
	if g.source.Expiry != nil {
		for _, c := range g.source.Expiry() {
			out <- prometheus.MustNewConstMetric(g.expiry, prometheus.GaugeValue, float64(c.NotAfter.Unix()), c.Listener)
		}
	}
}

// collectCensus tells nothing until there is something: 0 would be a number.
func (g *gauges) collectCensus(out chan<- prometheus.Metric) {
	c := g.meter.population.Load()
	if c == nil {
		return
	}
	for i, n := range []float64{float64(c.tokens), float64(c.leases), math.Floor(g.meter.now().Sub(c.at).Seconds())} {
		out <- prometheus.MustNewConstMetric(g.census[i], prometheus.GaugeValue, n)
	}
}
