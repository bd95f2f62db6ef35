package server_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/test/engine"
)

// lending is a server with an engine that lends, mounted at lend/.
func lending(t *testing.T, options ...servertest.Option) (*servertest.Server, *servertest.Lender) {
	t.Helper()
	l := &servertest.Lender{}
	s := servertest.Start(t, append(options, servertest.WithLender(l))...)
	s.Want(t, 204, "POST", "sys/mounts/lend", servertest.Root, `{"type":"lender"}`)
	return s, l
}

// soon waits for what happens in the background.
func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain waited for %s", what)
		}
	}
}

func TestLeaseIsAnsweredAsClientsExpect(t *testing.T) {
	s, _ := lending(t)
	a := s.Want(t, 200, "GET", "lend/creds/app", servertest.Root, "")
	id := a.String("lease_id")
	if !strings.HasPrefix(id, "lend/creds/app/") || a.Field("renewable") != true || a.Field("lease_duration") != float64(2764800) {
		t.Fatalf("%s", a.Body)
	}
	if !strings.Contains(string(s.Audit.Bytes()), `"lease_id":"`+id) {
		t.Error("the audit line of the answer does not name the lease")
	}
	b := s.Want(t, 200, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""))
	if b.String("data", "id") != id || b.String("data", "path") != "lend/creds/app" || b.Field("data", "renewable") != true ||
		b.Field("data", "last_renewal") != nil || b.Field("data", "ttl").(float64) < 2764790 {
		t.Errorf("%s", b.Body)
	}
	r := s.Want(t, 200, "PUT", "sys/leases/renew", servertest.Root, servertest.LeaseBody(id, `,"increment":60`))
	if r.String("lease_id") != id || r.Field("lease_duration") != float64(60) || r.Field("renewable") != true || r.Field("data") != nil {
		t.Errorf("%s", r.Body)
	}
	s.Want(t, 200, "PUT", "sys/leases/renew/"+id, servertest.Root, `{"increment":"90s"}`)
	s.Want(t, 200, "PUT", "sys/renew/"+id, servertest.Root, ``)
	s.Want(t, 204, "PUT", "sys/leases/revoke", servertest.Root, servertest.LeaseBody(id, `,"sync":true`))
	s.Want(t, 400, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""))
}

func TestLeaseMistakes(t *testing.T) {
	s, _ := lending(t)
	id, _ := s.Borrow(t, "lend", servertest.Root, "")
	fixed, _ := s.Borrow(t, "lend", servertest.Root, `{"fixed":true}`)
	for _, c := range []struct {
		path, body, message string
	}{
		{"leases/lookup", `{}`, "lease_id must be specified"},
		{"leases/lookup", `{"lease_id":"lend/nope"}`, "invalid lease"},
		{"leases/renew", `{}`, "lease_id must be specified"},
		{"leases/renew", `{"lease_id":"lend/nope"}`, "lease not found"},
		{"leases/renew", servertest.LeaseBody(fixed, ""), "lease is not renewable"},
		{"leases/renew", servertest.LeaseBody(id, `,"increment":"-5"`), "increment: must not be negative"},
		{"leases/renew/" + fixed, servertest.LeaseBody(id, ""), "names another lease"},
		{"leases/revoke/" + fixed, servertest.LeaseBody(id, ""), "names another lease"},
		{"leases/revoke", `{}`, "lease_id must be specified"},
		{"leases/revoke-prefix/", `{}`, ""},
	} {
		a := s.Want(t, 400, "PUT", "sys/"+c.path, servertest.Root, c.body)
		if !strings.Contains(a.Text(), c.message) {
			t.Errorf("%s %s: %s", c.path, c.body, a.Body)
		}
	}
	s.Want(t, 204, "PUT", "sys/leases/revoke", servertest.Root, `{"lease_id":"lend/nope"}`)
	s.Want(t, 400, "GET", "sys/leases/count?type=other", servertest.Root, "")
	s.Want(t, 400, "GET", "sys/leases?limit=0", servertest.Root, "")
}

func TestLeasesAreListed(t *testing.T) {
	s, _ := lending(t)
	s.Want(t, 404, "LIST", "sys/leases/lookup/lend", servertest.Root, "")
	id, _ := s.Borrow(t, "lend", servertest.Root, "")
	for path, want := range map[string]string{"": `["auth/","lend/"]`, "/lend": `["creds/"]`, "/lend/": `["creds/"]`,
		"/lend/creds/app": `["` + id[len("lend/creds/app/"):] + `"]`, "/auth/token": `["root/"]`} {
		a := s.Want(t, 200, "LIST", "sys/leases/lookup"+path, servertest.Root, "")
		if !strings.Contains(a.Text(), `"keys":`+want) {
			t.Errorf("%q: %s", path, a.Body)
		}
	}
	s.Want(t, 404, "LIST", "sys/leases/lookup/lend/cre", servertest.Root, "")
	s.Borrow(t, "lend", servertest.Root, "")
	if a := s.Want(t, 200, "LIST", "sys/leases/lookup/lend/creds/app?limit=1", servertest.Root, ""); len(a.Field("data", "keys").([]any)) != 1 {
		t.Errorf("%s", a.Body)
	}
}

func TestTokensAreLeases(t *testing.T) {
	s, _ := lending(t)
	made := s.Want(t, 200, "POST", "auth/token/create", servertest.Root, `{"ttl":"1h","policies":["default"]}`)
	text := made.String("auth", "client_token")
	a := s.Want(t, 200, "LIST", "sys/leases/lookup/auth/token/create", servertest.Root, "")
	id := "auth/token/create/" + a.Field("data", "keys").([]any)[0].(string)
	b := s.Want(t, 200, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""))
	if b.String("data", "path") != "auth/token/create" || b.Field("data", "renewable") != true || b.Field("data", "ttl").(float64) < 3500 {
		t.Errorf("%s", b.Body)
	}
	s.Want(t, 400, "PUT", "sys/leases/renew", servertest.Root, servertest.LeaseBody(id, ""))
	s.Want(t, 200, "GET", "auth/token/lookup-self", text, "")
	s.Want(t, 204, "PUT", "sys/leases/revoke", servertest.Root, servertest.LeaseBody(id, ""))
	s.Want(t, 403, "GET", "auth/token/lookup-self", text, "")

	text = s.Want(t, 200, "POST", "auth/token/create", servertest.Root, `{"ttl":"1h"}`).String("auth", "client_token")
	s.Want(t, 204, "PUT", "sys/leases/revoke-prefix/auth/token/create", servertest.Root, `{"sync":true}`)
	s.Want(t, 403, "GET", "auth/token/lookup-self", text, "")
	s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "")
}

// A lease dies with the token that asked for it, also through a parent; a
// sibling's lives.
func TestLeaseDiesWithItsToken(t *testing.T) {
	s, l := lending(t)
	parent := s.Policy(t, "", "borrower", `path "lend/*" { capabilities = ["read","update"] }
		path "auth/token/create" { capabilities = ["update"] }`)
	child := s.Want(t, 200, "POST", "auth/token/create", parent, `{"policies":["borrower"]}`).String("auth", "client_token")
	batch := s.Want(t, 200, "POST", "auth/token/create", parent, `{"policies":["borrower"],"type":"batch","ttl":"60s"}`).String("auth", "client_token")
	_, own := s.Borrow(t, "lend", parent, "")
	_, below := s.Borrow(t, "lend", child, "")
	id, ofBatch := s.Borrow(t, "lend", batch, `{"ttl":"1h"}`)
	_, others := s.Borrow(t, "lend", servertest.Root, "")
	if a := s.Want(t, 200, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, "")); a.Field("data", "ttl").(float64) > 60 {
		t.Errorf("CVE-2020-25816: a lease outlives its batch token: %s", a.Body)
	}
	if a := s.Want(t, 200, "PUT", "sys/leases/renew", servertest.Root, servertest.LeaseBody(id, `,"increment":3600`)); a.Field("lease_duration").(float64) > 60 {
		t.Errorf("CVE-2020-25816: a renewed lease outlives its batch token: %s", a.Body)
	}
	s.Want(t, 204, "POST", "auth/token/revoke", servertest.Root, `{"token":"`+parent+`"}`)
	soon(t, "the leases of the token to end", func() bool { return l.Live() == 1 })
	if l.Has(own) || l.Has(below) || l.Has(ofBatch) || !l.Has(others) {
		t.Error("the wrong leases ended")
	}
}

func TestLastUseGetsNoLease(t *testing.T) {
	s, l := lending(t)
	s.Policy(t, "", "borrower", `path "lend/*" { capabilities = ["read","update"] }`)
	text := s.Want(t, 200, "POST", "auth/token/create", servertest.Root, `{"policies":["borrower"],"num_uses":2}`).String("auth", "client_token")
	s.Borrow(t, "lend", text, "")
	a := s.Want(t, 400, "POST", "lend/creds/app", text, "")
	if strings.Contains(a.Text(), "username") || !strings.Contains(a.Text(), "one use left") {
		t.Errorf("%s", a.Body)
	}
	if !engine.Chosen().Fleet() { // there the schedule clears a used-up token away, later
		soon(t, "both leases to end", func() bool { return l.Live() == 0 })
	}
}

// CVE-2026-45808, CVE-2026-55774: who learns the id of another namespace's
// lease can do nothing with it, and learns nothing by it.
func TestForeignLeaseIsUnknown(t *testing.T) {
	s, l := lending(t)
	ns := []string{"X-Vault-Namespace", "team"}
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, "")
	s.Want(t, 204, "POST", "sys/mounts/lend", servertest.Root, `{"type":"lender"}`, ns...)
	id, name := s.Borrow(t, "lend", servertest.Root, "", ns...)
	rootID, rootName := s.Borrow(t, "lend", servertest.Root, "")
	foreign := id[:strings.LastIndexByte(id, '.')]
	for _, c := range []struct {
		id     string
		header []string
	}{{id, nil}, {foreign, nil}, {foreign, ns}, {rootID, ns}, {rootID + id[strings.LastIndexByte(id, '.'):], ns}} {
		nope := c.id[:len(c.id)-9] + "AAAAAAAAA"
		for _, p := range []string{"leases/lookup", "leases/renew", "leases/revoke", "renew", "revoke", "leases/renew/", "leases/revoke/", "renew/", "revoke/"} {
			path, other, body, otherBody := "sys/"+p, "sys/"+p, servertest.LeaseBody(c.id, `,"sync":true`), servertest.LeaseBody(nope, `,"sync":true`)
			if strings.HasSuffix(p, "/") {
				path, other, body, otherBody = path+c.id, other+nope, `{"sync":true}`, `{"sync":true}`
			}
			a, b := s.Do(t, "PUT", path, servertest.Root, body, c.header...), s.Do(t, "PUT", other, servertest.Root, otherBody, c.header...)
			if a.Status != b.Status || a.Text() != b.Text() || a.Status == 200 {
				t.Errorf("%s of %s: %d %s, of one that does not exist: %d %s", p, c.id, a.Status, a.Body, b.Status, b.Body)
			}
		}
	}
	s.Want(t, 204, "PUT", "sys/leases/revoke-prefix/lend", servertest.Root, `{"sync":true}`)
	if l.Has(rootName) || !l.Has(name) {
		t.Error("a prefix reaches into another namespace, or not into its own")
	}
	if a := s.Want(t, 200, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""), ns...); a.String("data", "namespace_path") != "team/" {
		t.Errorf("%s", a.Body)
	}
}

// CVE-2020-7220, CVE-2026-42186: what was lent by a mount or in a namespace is
// taken back when that goes.
func TestLeasesDieWithMountAndNamespace(t *testing.T) {
	s, l := lending(t)
	for range 60 {
		s.Borrow(t, "lend", servertest.Root, "")
	}
	s.Want(t, 204, "DELETE", "sys/mounts/lend", servertest.Root, "")
	soon(t, "the leases of the mount to end", func() bool { return l.Live() == 0 })
	soon(t, "their rows to go", func() bool { return s.Do(t, "LIST", "sys/leases/lookup/lend", servertest.Root, "").Status == 404 })

	ns := []string{"X-Vault-Namespace", "team"}
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, "")
	s.Want(t, 204, "POST", "sys/mounts/lend", servertest.Root, `{"type":"lender"}`, ns...)
	l.Break(errors.New("the database is down"))
	s.Borrow(t, "lend", servertest.Root, "", ns...)
	s.Want(t, 200, "DELETE", "sys/namespaces/team", servertest.Root, "")
	soon(t, "the failure to be told of", func() bool { return strings.Contains(string(s.Log.Bytes()), "the database is down") })
	l.Break(nil)
	soon(t, "the leases of the namespace to end", func() bool { return l.Live() == 0 })
	soon(t, "the namespace to go", func() bool { return s.Do(t, "GET", "sys/namespaces/team", servertest.Root, "").Status == 404 })
}

func TestMovedMountEndsItsLeases(t *testing.T) {
	s, l := lending(t)
	s.Borrow(t, "lend", servertest.Root, "")
	s.Want(t, 200, "POST", "sys/remount", servertest.Root, `{"from":"lend","to":"loan"}`)
	_, name := s.Borrow(t, "loan", servertest.Root, "")
	soon(t, "the lease of the old path to end", func() bool { return l.Live() == 1 })
	if !l.Has(name) {
		t.Error("the lease of the new path ended")
	}
}

// What an engine does not take back stays until it does, or until it is forced.
func TestForce(t *testing.T) {
	s, l := lending(t)
	l.Break(errors.New("the database is down"))
	id, name := s.Borrow(t, "lend", servertest.Root, "")
	if a := s.Want(t, 503, "PUT", "sys/leases/revoke", servertest.Root, servertest.LeaseBody(id, `,"sync":true`)); strings.Contains(a.Text(), "database") {
		t.Errorf("an engine's own words are told: %s", a.Body)
	}
	s.Want(t, 503, "PUT", "sys/leases/revoke-prefix/lend", servertest.Root, `{"sync":true}`)
	s.Want(t, 400, "PUT", "sys/leases/renew", servertest.Root, servertest.LeaseBody(id, ""))
	s.Want(t, 200, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""))
	s.Want(t, 204, "PUT", "sys/leases/revoke-force/lend", servertest.Root, "")
	s.Want(t, 400, "PUT", "sys/leases/lookup", servertest.Root, servertest.LeaseBody(id, ""))
	if !l.Has(name) {
		t.Error("the engine was said to be broken")
	}
}

func TestWrappedLease(t *testing.T) {
	s, _ := lending(t)
	w := s.Want(t, 200, "POST", "lend/creds/app", servertest.Root, "", "X-Vault-Wrap-TTL", "60")
	if w.String("lease_id") != "" || w.Field("lease_duration") != float64(0) {
		t.Errorf("%s", w.Body)
	}
	a := s.Want(t, 200, "POST", "sys/wrapping/unwrap", w.String("wrap_info", "token"), "")
	if !strings.HasPrefix(a.String("lease_id"), "lend/creds/app/") || a.Field("renewable") != true || a.String("data", "username") == "" {
		t.Errorf("%s", a.Body)
	}
}

// An answer that could not be written down was not given, so what it lent is
// taken back.
func TestUnauditedLeaseIsTakenBack(t *testing.T) {
	s, l := lending(t)
	s.Audit.Break(func(line []byte) error {
		if bytes.Contains(line, []byte(`"type":"response"`)) {
			return errors.New("no space left")
		}
		return nil
	})
	s.Want(t, 503, "POST", "lend/creds/app", servertest.Root, "")
	soon(t, "the lease to end", func() bool { return l.Live() == 0 })
}
