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
		t.Run("revocation", func(t *testing.T) { revocationIsSeen(t, f, *revocations) })
		t.Run("pause", func(t *testing.T) { pausedNodeForgets(t, f, *pauses) })
		t.Run("uses", func(t *testing.T) { usesAreExact(t, f, *trials) })
		t.Run("ceremonies", func(t *testing.T) { ceremoniesHold(t, f, s, *ceremony, nothing) })
		t.Run("history", func(t *testing.T) {
			h := perform(f, s, 300, f.troubles(t, s, *rounds, time.Second/3, *longest))
			h.judge(t)
			h.sees(t)
		})
	})
}
