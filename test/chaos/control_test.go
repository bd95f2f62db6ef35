package chaos

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// witness is a test that fails by writing down why.
type witness struct {
	testing.TB

	mu   sync.Mutex
	said []string
}

func (w *witness) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, s)
}

// Error implements testing.TB.
func (w *witness) Error(args ...any) { w.note(fmt.Sprint(args...)) }

// Errorf implements testing.TB.
func (w *witness) Errorf(format string, args ...any) { w.note(fmt.Sprintf(format, args...)) }

// Fatal implements testing.TB.
func (w *witness) Fatal(args ...any) {
	w.note(fmt.Sprint(args...))
	runtime.Goexit()
}

// Fatalf implements testing.TB.
func (w *witness) Fatalf(format string, args ...any) {
	w.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// caught is the control of a check: it has to fail on what is broken, and for these reasons.
func caught(t *testing.T, check func(t testing.TB), reasons ...string) {
	t.Helper()
	w := &witness{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		check(w)
	}()
	<-ended
	for _, reason := range reasons {
		i := slices.IndexFunc(w.said, func(s string) bool { return strings.Contains(s, reason) })
		if i < 0 {
			t.Errorf("the check does not see that %q, but %d other things: %.2000s", reason, len(w.said), w.said)
			continue
		}
		t.Logf("caught: %.200s", w.said[i])
	}
}

// everyNode has a fault.
func everyNode(wrong fault) func(int, *spec) { return func(_ int, s *spec) { s.Fault = wrong } }

// TestBrokenFleet is the control of the checks of TestFleet: each is made on a fleet that breaks what it is about.
func TestBrokenFleet(t *testing.T) {
	t.Run("a node answers from what it remembers", func(t *testing.T) {
		f, s := newFleet(t, "postgres", func(i int, s *spec) {
			if i == 2 {
				s.Fault = stale
			}
		}), drawn(t)
		caught(t, func(t testing.TB) { performUntilWrong(f, s, calm(time.Second)).judge(t) }, "no single copy answers so")
		caught(t, func(t testing.TB) { revocationIsSeen(t, f, 60) }, "uses of what was taken away")
		caught(t, func(t testing.TB) { pausedNodeForgets(t, f, fleetSize) }, "uses of what was taken away while a node was paused")
	})
	t.Run("uses are counted side by side", func(t *testing.T) {
		f := newFleet(t, "postgres", everyNode(careless))
		caught(t, func(t testing.TB) { usesAreExact(t, f, 12) }, "uses were let through")
	})
}

// TestBrokenCeremonies is the control of what TestFleet checks of keys.
func TestBrokenCeremonies(t *testing.T) {
	const lasts = time.Second
	t.Run("a rotation is lost", func(t *testing.T) {
		f, s := newFleet(t, "postgres", nil), drawn(t)
		f.tries = 3
		ring := f.rowsOf(t, "core/keyring")
		caught(t, func(tb testing.TB) { ceremoniesHold(tb, f, s, lasts, func() { f.rewrite(t, ring) }) }, "the key ring has no epoch")
	})
	t.Run("an aborted rekey ends the old keys", func(t *testing.T) {
		f, s := newFleet(t, "postgres", everyNode(deadly)), drawn(t)
		f.tries = 3
		caught(t, func(t testing.TB) { ceremoniesHold(t, f, s, lasts, nothing) }, "the keys of before an aborted rekey do not unseal")
	})
	t.Run("secrets are torn, replaced keys are not retired, orders to seal and root tokens are lost", func(t *testing.T) {
		f, s := newFleet(t, "postgres", everyNode(vain)), drawn(t)
		f.tries = 3
		tear := func() {
			rows := f.rowsOf(t, "d/root/m/")
			for i := range rows {
				rows[i].value = bytes.Clone(rows[i].value)
				rows[i].value[len(rows[i].value)-1]++
			}
			f.rewrite(t, rows)
		}
		caught(t, func(t testing.TB) { ceremoniesHold(t, f, s, 5*lasts, tear) }, "cannot be read", "an unseal key that was replaced counts",
			"a node that was sealed answers 200", "a new root token is not one")
	})
}

// TestBrokenDamage is the control of TestDamage: a row is put back to what it was, and rows are taken away, which is no damage that a row
// by itself shows. What is then answered is not so, and has to be noticed.
func TestBrokenDamage(t *testing.T) {
	f := newFleet(t, "postgres", lending(t))
	c := f.client(0, f.root)
	must(t, c.call("PUT", "plain/s", `{"n":1}`, nil))
	before := f.rowsOf(t, "d/root/m/")
	must(t, c.call("PUT", "plain/s", `{"n":2}`, nil))
	known := []probe{{name: "plain", ask: func(c *client) (bool, string) { return c.knows("plain/s", []string{f.root}, 2, "data", "n") }}}
	caught(t, func(t testing.TB) {
		f.damage(t, postgresEditor{f}, known, "put back", f.rowsOf(t, "d/root/m/"), before, func(*client) {})
	}, "plain/s is answered with 200")
	known = f.furnished(t)
	for _, part := range []string{enforcements, "/lockout/", "/quota/rate-limit/", "/quota/lease-count/", "/oidc/key/mine", "/lease/id/"} {
		_, err := f.pg.SQL(fmt.Sprintf(`delete from strongroom.entries where encode(front, 'escape') like '%%%s%%'`, part))
		must(t, err)
	}
	caught(t, func(t testing.TB) { f.damage(t, postgresEditor{f}, known, "taken away", nil, nil, func(*client) {}) },
		"a login passes without its second factor", "auth/doors/login/kim lets through who is kept out", "plain/slow is answered with 200", "auth/approle/login is answered with 200 where the limit is reached",
		"a token that counts is answered with map[active:false", "is not published", "a lease is answered with 400")
}

// rowsOf are the rows in PostgreSQL whose keys begin so.
func (f *fleet) rowsOf(t testing.TB, prefix string) []row {
	t.Helper()
	return slices.DeleteFunc(postgresEditor{f}.rows(t), func(r row) bool { return !strings.HasPrefix(r.key, prefix) })
}

// rewrite writes rows behind the nodes' backs.
func (f *fleet) rewrite(t testing.TB, rows []row) {
	t.Helper()
	for _, r := range rows {
		postgresEditor{f}.write(t, r)
	}
}
