package chaos

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	engines  = flag.String("engines", "postgres,etcd", "what the fleets keep their data in: postgres, etcd (members within the nodes), external (an etcd by itself)")
	rounds   = flag.Int("rounds", 1, "how often each kind of trouble befalls each fleet")
	ceremony = flag.Duration("ceremony", 4*time.Second, "how long keys are rotated, replaced and sealed on each fleet")
	longest  = flag.Duration("longest", 1200*time.Millisecond, "how long one trouble lasts at most")
)

// onFleets runs a test on a fleet of each engine.
func onFleets(t *testing.T, test func(t *testing.T, f *fleet, s uint64)) {
	t.Helper()
	for engine := range strings.SplitSeq(*engines, ",") {
		t.Run(engine, func(t *testing.T) { test(t, newFleet(t, engine, nil), drawn(t)) })
	}
}

// TestFleet has one fleet for each engine, on which one thing after the other happens.
func TestFleet(t *testing.T) {
	onFleets(t, func(t *testing.T, f *fleet, s uint64) {
		t.Run("revocation", func(t *testing.T) { revocationIsSeen(t, f) })
		t.Run("pause", func(t *testing.T) { pausedNodeForgets(t, f) })
		t.Run("uses", func(t *testing.T) { usesAreExact(t, f) })
		t.Run("ceremonies", func(t *testing.T) { ceremoniesHold(t, f, s) })
		t.Run("history", func(t *testing.T) {
			h := perform(f, s, f.troubles(t, s, *rounds, time.Second/3, *longest))
			h.judge(t, 300)
			h.sees(t)
		})
	})
}

// TestBrokenFleet is the control: of three nodes one answers from what it remembers. Every check must find that.
func TestBrokenFleet(t *testing.T) {
	f := newFleet(t, "postgres", func(i int, s *spec) { s.Stale = i == 2 })
	h := perform(f, drawn(t), calm(time.Second))
	if illegal, _ := h.verdict(); len(illegal) == 0 {
		t.Errorf("%d operations on a fleet with a node that is behind look well: the check sees nothing", h.total)
	}
	if v := f.withdrawals(20, 4); v.stale == 0 {
		t.Errorf("a node that is behind lets nothing through of %d withdrawals: the check sees nothing", v.n)
	}
}
