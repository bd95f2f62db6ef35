package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// result is one row of the table: a workload at a number of clients, for each target by name.
type result struct {
	Workload string
	Clients  int
	By       map[string]round
}

// measure runs every workload at every number of clients, round by round and target by target in turn. The first target is the
// server; a bare handler answers as it does.
func (o *options) measure(targets []*target) ([]result, error) {
	for _, t := range targets {
		if err := t.prepare(); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", t.name, err)
		}
	}
	var results []result
	chosen := slices.DeleteFunc(slices.Clone(workloads), func(wl workload) bool { return o.only != "" && !slices.Contains(strings.Split(o.only, ","), wl.slug) })
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only: there is no workload %q", o.only)
	}
	for _, wl := range chosen {
		for _, clients := range o.clients {
			r, err := o.row(targets, wl, clients)
			if err != nil {
				return nil, err
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// row measures one workload; a short first round of each target is not counted, but warms it up.
func (o *options) row(targets []*target, wl workload, clients int) (result, error) {
	rounds := map[string][]round{}
	for _, t := range targets {
		if !t.bare {
			continue
		}
		if err := wl.teach(targets[0], t); err != nil {
			return result{}, err
		}
	}
	for _, t := range targets {
		if _, err := drive(t, wl, clients, o.each/5); err != nil {
			return result{}, err
		}
	}
	for range o.rounds {
		for _, t := range targets {
			r, err := drive(t, wl, clients, o.each)
			if err != nil {
				return result{}, err
			}
			rounds[t.name] = append(rounds[t.name], r)
		}
	}
	by := map[string]round{}
	for name, all := range rounds {
		by[name] = middle(all)
	}
	return result{wl.name, clients, by}, nil
}

// middle is the median of each figure.
func middle(all []round) round {
	return round{
		Throughput: median(all, func(r round) float64 { return r.Throughput }),
		P50:        median(all, func(r round) time.Duration { return r.P50 }),
		P99:        median(all, func(r round) time.Duration { return r.P99 }),
		CPU:        median(all, func(r round) time.Duration { return r.CPU }),
		Size:       all[0].Size,
		Database:   median(all, func(r round) time.Duration { return r.Database }),
		Trips:      median(all, func(r round) float64 { return r.Trips }),
		Reads:      median(all, func(r round) float64 { return r.Reads }),
		Commits:    median(all, func(r round) float64 { return r.Commits }),
	}
}

func median[T cmp.Ordered](all []round, figure func(round) T) T {
	values := make([]T, len(all))
	for i, r := range all {
		values[i] = figure(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// markdown is the table of the results.
func markdown(results []result) string {
	var b strings.Builder
	_, hasPeer := results[0].By["peer"]
	b.WriteString("| operation | clients | requests/s | p50 | p99 | CPU/request | bare handler | ratio |")
	if hasPeer {
		b.WriteString(" peer requests/s | peer CPU/request | throughput over peer | CPU under peer |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", strings.Count(b.String(), "|")-1) + "\n")
	for _, r := range results {
		us, bare := r.By["strongroom"], r.By["bare"]
		fmt.Fprintf(&b, "| %s | %d | %.0f | %s | %s | %s | %s | %.2f |", r.Workload, r.Clients,
			us.Throughput, micros(us.P50), micros(us.P99), micros(us.CPU), micros(bare.CPU), float64(us.CPU)/float64(bare.CPU))
		if hasPeer {
			peer := r.By["peer"]
			fmt.Fprintf(&b, " %.0f | %s | %.1f | 1/%.1f |", peer.Throughput, micros(peer.CPU),
				us.Throughput/peer.Throughput, float64(peer.CPU)/float64(us.CPU))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}
