package chaos

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	for _, engine := range []string{"postgres", "etcd", "external"} {
		t.Run(engine, func(t *testing.T) {
			start := time.Now()
			f := newFleet(t, engine, nil)
			t.Logf("started in %v", time.Since(start))
			perform(f, rand.Uint64(), calm(3*time.Second)).judge(t, 500)
		})
	}
}
func TestStale(t *testing.T) {
	for _, engine := range []string{"postgres", "etcd", "external"} {
		t.Run(engine, func(t *testing.T) {
			f := newFleet(t, engine, func(i int, s *spec) { s.Stale = i == 2 })
			h := perform(f, rand.Uint64(), calm(2*time.Second))
			illegal, _ := h.verdict()
			t.Logf("%d ops, illegal %v, surprises %q", h.total, illegal, h.surprise)
		})
	}
}

func TestTrouble(t *testing.T) {
	for _, engine := range []string{"postgres", "etcd", "external"} {
		t.Run(engine, func(t *testing.T) {
			f := newFleet(t, engine, nil)
			s := rand.Uint64()
			t.Logf("seed %d", s)
			perform(f, s, f.troubles(t, s, 1, time.Second, 2*time.Second)).judge(t, 500)
		})
	}
}
