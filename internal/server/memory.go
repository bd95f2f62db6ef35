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

	// burstBytes is how much a burst of large requests may take, beyond twice what
	// is alive, before their garbage is collected at once.
	burstBytes = 128 << 20
)

// tuneGarbage adjusts the collector to the live heap until ctx ends. GOGC in
// the environment turns it off, GOMEMLIMIT the part about bursts.
func tuneGarbage(ctx context.Context, getenv func(string) string) {
	if getenv("GOGC") != "" {
		return
	}
	limited := getenv("GOMEMLIMIT") != ""
	debug.SetGCPercent(mostPercent)
	if !limited {
		debug.SetMemoryLimit(burstBytes)
	}
	t := time.NewTicker(garbagePeriod)
	defer t.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			metrics.Read(live)
			alive := live[0].Value.Uint64()
			debug.SetGCPercent(garbagePercent(alive))
			if !limited {
				debug.SetMemoryLimit(int64(2*alive) + burstBytes)
			}
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
