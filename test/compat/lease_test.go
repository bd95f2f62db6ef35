package compat

import (
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/test/process"
)

// eachBorrower runs the test body with each client against a server of its own that has an engine which lends.
func eachBorrower(t *testing.T, body func(t *testing.T, c *client, l *servertest.Lender)) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &servertest.Lender{}
			s := servertest.Start(t, servertest.WithLender(l))
			c := make(t, &process.Server{Addr: s.Addr, URL: s.URL})
			c.setToken(servertest.Root)
			ok(t, c.sys.Mount("lend", &vault.MountInput{Type: "lender"}))
			body(t, c, l)
		})
	}
}

// borrow asks for a user name.
func (c *client) borrow(t *testing.T, role string, terms map[string]any) (s *vault.Secret, user string) {
	t.Helper()
	s = must(c.logical.Write("lend/creds/"+role, terms))(t)
	user, _ = s.Data["username"].(string)
	if !strings.HasPrefix(s.LeaseID, "lend/creds/"+role+"/") || user == "" {
		t.Fatalf("%+v", s)
	}
	return s, user
}

func TestLeaseLife(t *testing.T) {
	eachBorrower(t, func(t *testing.T, c *client, l *servertest.Lender) {
		s, user := c.borrow(t, "app", map[string]any{"ttl": "1h", "max_ttl": "2h"})
		equal(t, "lease seconds", s.LeaseDuration, 3600)
		equal(t, "renewable", s.Renewable, true)
		look := must(c.sys.Lookup(s.LeaseID))(t)
		equal(t, "id", look.Data["id"], any(s.LeaseID))
		equal(t, "path", look.Data["path"], any("lend/creds/app"))
		equal(t, "last renewal", look.Data["last_renewal"], nil)
		r := must(c.sys.Renew(s.LeaseID, 1800))(t)
		equal(t, "renewed lease", r.LeaseID, s.LeaseID)
		equal(t, "renewed seconds", r.LeaseDuration, 1800)
		equal(t, "renewable still", r.Renewable, true)
		r = must(c.sys.Renew(s.LeaseID, 9*3600))(t)
		if r.LeaseDuration > 7200 || r.LeaseDuration < 7190 || len(r.Warnings) != 1 {
			t.Errorf("renewed beyond the maximum: %d seconds, warnings %v", r.LeaseDuration, r.Warnings)
		}
		ok(t, c.sys.RevokeWithOptions(&vault.RevokeOptions{LeaseID: s.LeaseID, Sync: true}))
		equal(t, "the user is there", l.Has(user), false)
		_, err := c.sys.Lookup(s.LeaseID)
		refused(t, err, 400, "invalid lease")
		_, err = c.sys.Renew(s.LeaseID, 1)
		refused(t, err, 400, "lease not found")
		ok(t, c.sys.Revoke(s.LeaseID))
		fixed, _ := c.borrow(t, "app", map[string]any{"fixed": true})
		equal(t, "fixed renewable", fixed.Renewable, false)
		_, err = c.sys.Renew(fixed.LeaseID, 1)
		refused(t, err, 400, "lease is not renewable")
	})
}

func TestLeasePrefixes(t *testing.T) {
	eachBorrower(t, func(t *testing.T, c *client, l *servertest.Lender) {
		_, app := c.borrow(t, "app", nil)
		_, apple := c.borrow(t, "apple", nil)
		keys := must(c.logical.List("sys/leases/lookup/lend/creds"))(t)
		equal(t, "paths", keys.Data["keys"], any([]any{"app/", "apple/"}))
		ok(t, c.sys.RevokeWithOptions(&vault.RevokeOptions{LeaseID: "lend/creds/app/", Prefix: true, Sync: true}))
		equal(t, "the user below the prefix is there", l.Has(app), false)
		equal(t, "the user beside the prefix is there", l.Has(apple), true)
		ok(t, c.sys.RevokeForce("lend"))
		equal(t, "users", l.Live(), 0)
		c.borrow(t, "app", nil)
		ok(t, c.sys.RevokePrefix("lend/creds"))
		weak := c.bearer(t, `path "sys/leases/*" { capabilities = ["update", "list"] }`)
		refused(t, weak.sys.RevokePrefix("lend"), 403, "permission denied")
		refused(t, weak.sys.RevokeForce("lend"), 403, "permission denied")
		_, err := weak.logical.List("sys/leases/lookup/lend")
		refused(t, err, 403, "permission denied")
	})
}

// TestLeaseWatcher lets the client keep a lease of a few seconds alive beyond its first lifetime, and then to its end.
func TestLeaseWatcher(t *testing.T) {
	eachBorrower(t, func(t *testing.T, c *client, l *servertest.Lender) {
		s, _ := c.borrow(t, "app", map[string]any{"ttl": "4s", "max_ttl": "7s"})
		w := c.watch(t, &vault.LifetimeWatcherInput{Secret: s})
		if left := w.renewed(); left < 1 || left > 7 {
			t.Errorf("renewed for %d seconds, want 1 to 7", left)
		}
		equal(t, "users meanwhile", l.Live(), 1)
		ok(t, w.done())
	})
}
