package chaos

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	// quotaMiB is the smallest quota of a member, and what it is raised to.
	quotaMiB, raisedMiB = 64, 128
	// quotaBallast is how large a value is that is to fill a quota; quotaEager how many may be taken.
	quotaBallast, quotaEager = 600 << 10, 200
	// nearQuota is after how many values it is near, so that it is warned of.
	nearQuota = quotaMiB << 20 / quotaBallast * 85 / 100
	// disarms is how soon a fleet writes again whose quota was raised.
	disarms = 40 * time.Second
)

// warns waits until a node says something of its store in its health.
func warns(c *client, of string) error {
	var last string
	err := awaitFor(20*time.Second, "a node says that its store "+of, func() bool {
		status, text, err := newClient(c.url, "").send("GET", "sys/health", "")
		last = fmt.Sprintf("%d %s %v", status, text, err)
		return err == nil && status == http.StatusOK && strings.Contains(string(text), of)
	})
	if err != nil {
		return fmt.Errorf("%w; it says %s", err, last)
	}
	return nil
}

// fullQuota writes until members of etcd are at their quota, looks at what the nodes say before and then, raises the quota of one
// node after another, and writes again.
func fullQuota(t testing.TB, f *fleet, raised int64, within time.Duration) {
	t.Helper()
	b, clients := newBallast(quotaBallast), f.clients()
	for k := 0; !b.add(clients[k%fleetSize]); k++ {
		if k == nearQuota {
			must(t, warns(clients[0], "MiB of its quota"))
		}
		if k > quotaEager {
			t.Errorf("%d values are taken", k)
			break
		}
	}
	t.Logf("after %d values: %v", b.made, b.said)
	for _, c := range clients {
		must(t, warns(c, "has reached its quota"))
		if !b.add(c) {
			t.Error("a store at its quota takes a value")
		}
		status, text, err := c.send("GET", "plain/ballast-1", "")
		if b.say("a read", status, text, err); status != http.StatusOK {
			t.Errorf("a store at its quota cannot be read: %d %v", status, err)
		}
	}
	for _, n := range f.nodes {
		n.spec.QuotaMiB = raised
		must(t, os.WriteFile(n.file, []byte(n.spec.config()), 0o600))
		must(t, n.kill())
		must(t, f.restart(n))
	}
	for _, c := range f.clients() {
		must(t, awaitFor(within, "a fleet with a larger quota writes", func() bool { return !b.add(c) }))
	}
	for answer, n := range b.said {
		t.Logf("%d times %.300s", n, answer)
	}
	for _, odd := range b.odd[:min(3, len(b.odd))] {
		t.Error(odd)
	}
	t.Logf("%d of %d large values were acknowledged", len(b.acked), b.made)
	if lost := b.lost(f.client(1, f.root)); len(lost) > 0 {
		t.Errorf("lost at a quota: %s", brief(lost))
	}
}

// TestQuota fills members of etcd to their quota. It is told before, who writes is told why not, reads go on, nothing that was
// acknowledged is lost, and once the quota is larger the fleet writes again by itself.
func TestQuota(t *testing.T) {
	t.Parallel() // like the two controls that wait as long
	fullQuota(t, newFleet(t, "etcd", func(_ int, s *spec) { s.QuotaMiB = quotaMiB }), raisedMiB, disarms)
}

// TestQuotaControl is the control: a quota that is written into the configuration and is no larger.
func TestQuotaControl(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "etcd", func(_ int, s *spec) { s.QuotaMiB = quotaMiB })
	caught(t, func(t testing.TB) { fullQuota(t, f, quotaMiB, disarms/2) }, "a fleet with a larger quota writes")
}
