package server

import (
	"context"
	"runtime"
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

// bodyCost is how many times its size a large body may take while it is worked on.
const bodyCost = 4

// heap is what is known of the garbage collector's heap.
type heap struct {
	calm   uint64 // bytes that were alive when there were no large bodies
	bodies int64  // bytes that large bodies held before the last look
}

// tuneGarbage adjusts the garbage collector to the live heap until ctx ends. GOGC in
// the environment turns it off, GOMEMLIMIT the part about bursts. bodies is the most that
// large bodies have held since it was last asked.
func tuneGarbage(ctx context.Context, getenv func(string) string, bodies func() int64) {
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
	var h heap
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			alive := h.look(bodies(), runtime.GC, live)
			debug.SetGCPercent(garbagePercent(alive))
			if !limited {
				debug.SetMemoryLimit(int64(2*alive) + burstBytes)
			}
		}
	}
}

// live is how many bytes the last collection found alive.
func live() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// look is how many bytes are alive apart from large bodies and what is made of
// them: else one burst would give the next one leave to take twice as much. When the
// last of them are gone it collects first, since what was found alive before is not.
func (h *heap) look(bodies int64, collect func(), live func() uint64) uint64 {
	if bodies == 0 && h.bodies > 0 {
		collect()
	}
	h.bodies = bodies
	alive := live()
	if bodies == 0 {
		h.calm = alive
		return alive
	}
	return max(h.calm, alive-min(alive, uint64(bodyCost*bodies)))
}

// garbagePercent is GOGC for a live heap of so many bytes.
func garbagePercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(mostPercent, max(leastPercent, garbageBytes*100/live)))
}
