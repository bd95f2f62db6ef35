package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// compare measures the same program on several stores, in turns.
func (o *options) compare(w io.Writer, bin, dir string) (err error) {
	var targets []*target
	for name := range strings.SplitSeq(o.engines, ",") {
		server, e, failed := startOn(bin, filepath.Join(dir, name), name)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, server.Kill(), e.Close()) }()
		root := server.RootToken()
		targets = append(targets, &target{name: name, addr: server.Addr, token: root, root: root, pid: server.PID(), database: e.Postgres})
	}
	results, err := o.measure(targets)
	if err != nil {
		return err
	}
	if o.json {
		return o.print(w, results)
	}
	_, err = io.WriteString(w, comparison(targets, results))
	return err
}

// comparison is the table of a comparison of stores.
func comparison(targets []*target, results []result) string {
	var b strings.Builder
	first := targets[0].name
	fmt.Fprintf(&b, "| operation | clients | store | requests/s | p50 | p99 | CPU/request | over %s | database's CPU/request | trips of Sync/request | reads/request | commits/request |\n", first)
	b.WriteString("|" + strings.Repeat("---|", strings.Count(b.String(), "|")-1) + "\n")
	for _, r := range results {
		for _, t := range targets {
			us := r.By[t.name]
			database := ""
			if t.database != nil {
				database = micros(us.Database)
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %.0f | %s | %s | %s | %.2f | %s | %.3f | %.2f | %.2f |\n", r.Workload, r.Clients, t.name, us.Throughput,
				micros(us.P50), micros(us.P99), micros(us.CPU), float64(us.CPU)/float64(r.By[first].CPU), database, us.Trips, us.Reads, us.Commits)
		}
	}
	return b.String()
}

// counts are what a server and its database have counted so far.
type counts struct {
	database              time.Duration // CPU of its processes
	trips, reads, commits float64
}

// counts reads the counters of a server that was given a token for it.
func (t *target) counts() (c counts, err error) {
	if t.database != nil {
		for _, pid := range t.database.PIDs() {
			if used, err := cpuTime(pid); err == nil { // one that has just ended counts as nothing
				c.database += used
			}
		}
	}
	if t.root == "" {
		return c, nil
	}
	req, err := http.NewRequest("GET", "http://"+t.addr+"/v1/sys/metrics?format=prometheus", nil)
	if err != nil {
		return c, err
	}
	req.Header.Set("X-Vault-Token", t.root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return c, err
	}
	for _, m := range families["strongroom_store_sync_trips_total"].GetMetric() {
		c.trips += m.GetCounter().GetValue()
	}
	for _, name := range []string{"strongroom_store_gets_total", "strongroom_store_lists_total"} {
		for _, m := range families[name].GetMetric() {
			c.reads += m.GetCounter().GetValue()
		}
	}
	for _, m := range families["strongroom_store_commit_duration_seconds"].GetMetric() {
		c.commits += float64(m.GetHistogram().GetSampleCount())
	}
	return c, nil
}
