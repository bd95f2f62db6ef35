package chaos

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lending has nodes lend files.
func lending(t *testing.T) func(int, *spec) {
	dir := t.TempDir()
	return func(_ int, s *spec) { s.Lends = dir }
}

// loan is a name that was lent to a token of its own.
type loan struct{ token, lease, name string }

// borrow has a path lend a name.
func (c *client) borrow(t testing.TB, path, token string) loan {
	t.Helper()
	var got struct {
		LeaseID string `json:"lease_id"`
		Data    struct{ Name string }
	}
	must(t, newHolder(c, token).call("POST", path, `{"ttl":"20h"}`, &got))
	return loan{token, got.LeaseID, got.Data.Name}
}

// lives reports whether what was lent has not been taken back.
func (f *fleet) lives(l loan) bool {
	_, err := os.Stat(filepath.Join(f.nodes[0].spec.Lends, l.name))
	return err == nil
}

// lent are probes of leases.
func (f *fleet) lent(t *testing.T, c *client, operators []string) []probe {
	t.Helper()
	must(t, c.call("POST", "sys/mounts/lends", `{"type":"lender"}`, nil))
	must(t, c.call("PUT", "sys/policies/acl/borrower", `{"policy":"path \"lends/*\" { capabilities = [\"create\", \"update\"] } path \"leaves/*\" { capabilities = [\"create\", \"update\"] }"}`, nil))
	var all []probe
	for range 2 {
		token, err := c.issue(`,"policies":["borrower"]`)
		must(t, err)
		l := c.borrow(t, "lends/creds/x", token)
		all = append(all, probe{name: "lease", rests: []string{"/lease/id/" + l.lease}, ask: func(c *client) (right bool, lie string) {
			for _, token := range operators {
				a, err := newHolder(c, token).ask("POST", "sys/leases/lookup", map[string]string{"lease_id": l.lease})
				switch {
				case err != nil || a.status == http.StatusForbidden: // that token's row is damaged
				case a.status == http.StatusOK && a.number("data", "ttl") > 0:
					right = true
				default:
					lie = fmt.Sprintf("a lease is answered with %d: %v", a.status, a.body)
				}
			}
			return right, lie
		}})
	}
	return all
}

// nothingIsForgotten damages the rows by which it is known what a token has, and ends what they are of: each is taken back at the
// latest after its row was put back, and none is said to have ended while it may live. What is beside a damaged one ends at once.
func nothingIsForgotten(t *testing.T, f *fleet, e editor, _ []probe) {
	t.Helper()
	c := f.client(0, f.root)
	must(t, c.call("POST", "sys/mounts/leaves", `{"type":"lender"}`, nil))
	borrow := func(path, token string) loan {
		if token == "" {
			var err error
			token, err = c.issue(`,"policies":["borrower"]`)
			must(t, err)
		}
		return c.borrow(t, path, token)
	}
	byID, byHolder, byPath, byMount := borrow("lends/creds/y", ""), borrow("lends/creds/y", ""), borrow("lends/creds/z", ""), borrow("leaves/creds/y", "")
	beside := []loan{borrow("lends/creds/y", byID.token), borrow("lends/creds/y", byID.token), borrow("lends/creds/y", byHolder.token)}
	var old, changed []row
	for _, r := range e.rows(t) {
		for prefix, loans := range map[string][]loan{"d/root/lease/id/": {byID, byPath, byMount}, "d/root/lease/of/": {byHolder}} {
			for _, l := range loans {
				if strings.HasPrefix(r.key, prefix) && strings.HasSuffix(r.key, l.lease[strings.LastIndex(l.lease, "/"):]) {
					v := bytes.Clone(r.value)
					v[len(v)/2] ^= 1
					old, changed = append(old, r), append(changed, row{r.key, v})
				}
			}
		}
	}
	if len(old) != 4 {
		t.Fatalf("%d rows of leases were found", len(old))
	}
	f.damage(t, e, nil, "rows of leases", old, changed, func(cold *client) {
		for _, l := range []loan{byID, byHolder} {
			must(t, cold.call("POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, l.token), nil))
		}
		if status, text, err := cold.send("PUT", "sys/leases/revoke-prefix/lends/creds/z", `{"sync":true}`); err != nil || status < http.StatusInternalServerError {
			t.Errorf("what a damaged row is of was not taken back, and that it should be is answered with %d %s, %v", status, text, err)
		}
		if err := cold.call("DELETE", "sys/mounts/leaves", "", nil); err != nil {
			t.Log(err) // it is told, and goes on
		}
		for _, l := range beside {
			if err := await("what lies beside a damaged row is taken back", func() bool { return !f.lives(l) }); err != nil {
				t.Error(err)
			}
		}
	})
	for what, l := range map[string]loan{"lease": byID, "lease of a token": byHolder, "lease of a mount that was disabled": byMount} {
		if err := await("the "+what+" whose row was damaged is taken back", func() bool { return !f.lives(l) }); err != nil {
			t.Error(err)
		}
	}
}
