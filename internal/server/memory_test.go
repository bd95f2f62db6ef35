package server

import "testing"

// Large bodies and what is made of them do not count as alive, so that one burst
// does not give the next one leave to take more; what grows beside them does.
func TestLargeBodiesAreNotCalm(t *testing.T) {
	const mib = 1 << 20
	var h heap
	collected := 0
	for i, c := range []struct {
		bodies      int64
		alive, want uint64
		collects    int
	}{
		{0, 20 * mib, 20 * mib, 0},
		{128 * mib, 200 * mib, 20 * mib, 0},
		{32 * mib, 200 * mib, 72 * mib, 0}, // some of what is alive may be the others' that are gone
		{128 * mib, 900 * mib, 388 * mib, 0},
		{0, 30 * mib, 30 * mib, 1},
		{0, 40 * mib, 40 * mib, 1},
	} {
		got := h.look(c.bodies, func() { collected++ }, func() uint64 { return c.alive })
		if got != c.want || collected != c.collects {
			t.Errorf("look %d: %d MiB and %d collections, want %d and %d", i, got/mib, collected, c.want/mib, c.collects)
		}
	}
}
