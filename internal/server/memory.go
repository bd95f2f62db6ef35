package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the garbage collector may leave lying about: a small heap may grow to
// five times what is alive before it is collected, a large one to twice. The
// sum of both stays near garbageBytes while little is alive, which is what
// makes collections rare without making an idle server big.
const (
	garbageBytes  = 96 << 20
	leastPercent  = 100
	mostPercent   = 400
	garbagePeriod = 5 * time.Second
)

// tuneGarbage adjusts the collector to the live heap until ctx ends. GOGC in
// the environment turns it off.
func tuneGarbage(ctx context.Context, getenv func(string) string) {
	if getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(mostPercent)
	t := time.NewTicker(garbagePeriod)
	defer t.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			metrics.Read(live)
			debug.SetGCPercent(garbagePercent(live[0].Value.Uint64()))
		}
	}
}

// garbagePercent is GOGC for a live heap of so many bytes.
func garbagePercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(mostPercent, max(leastPercent, garbageBytes*100/live)))
}
