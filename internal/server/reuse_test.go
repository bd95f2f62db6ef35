package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// robot is an AppRole role that logs in without a secret id, and whose repeated logins get one token.
const robot = `{"role_id":"robot","bind_secret_id":false,"token_bound_cidrs":"127.0.0.0/8","token_policies":"dev","token_ttl":"1h","token_reuse":true}`

func robots(t *testing.T, s *servertest.Server, root, ns string) {
	t.Helper()
	s.Want(t, 204, "POST", ns+"sys/auth/approle", root, `{"type":"approle"}`)
	s.Want(t, 204, "POST", ns+"auth/approle/role/robot", root, robot)
}

func robotIn(t *testing.T, s *servertest.Server, ns string, headers ...string) *servertest.Answer {
	t.Helper()
	return s.Want(t, 200, "POST", ns+"auth/approle/login", "", `{"role_id":"robot"}`, headers...)
}

func clientToken(a *servertest.Answer) string { return a.String("auth", "client_token") }

// A role says whether its logins may get the token of the one before, and does not unless asked to.
func TestReuseOnTheWire(t *testing.T) {
	clock := newClock()
	s := servertest.StartAt(t, clock.Now)
	s.Want(t, 200, "POST", "sys/namespaces/team", servertest.Root, "")
	for _, ns := range []string{"", "team/"} {
		robots(t, s, servertest.Root, ns)
		first := robotIn(t, s, ns)
		clock.add(10 * time.Minute)
		s.Audit.Reset()
		second := robotIn(t, s, ns)
		if clientToken(first) == "" || clientToken(first) != clientToken(second) || second.Field("auth", "lease_duration") != 3000.0 || second.String("auth", "accessor") != first.String("auth", "accessor") {
			t.Errorf("%q: the login again is answered %s", ns, second.Body)
		}
		if n := strings.Count(string(s.Audit.Bytes()), `"reused":true`); n != 2 {
			t.Errorf("%q: the answer's entry says %d times that the token was there, want twice: %s", ns, n, s.Audit.Bytes())
		}
		if strings.Contains(string(s.Audit.Bytes()), clientToken(first)) {
			t.Errorf("%q: the audit log shows the token", ns)
		}
		s.Want(t, 200, "GET", ns+"auth/token/lookup-self", clientToken(second), "")
		other := s.Want(t, 200, "POST", ns+"auth/approle/login", "", `{"role_id":"robot"}`, "X-Vault-Wrap-TTL", "60s")
		inner := s.Want(t, 200, "POST", "sys/wrapping/unwrap", other.String("wrap_info", "token"), "")
		if clientToken(inner) == clientToken(first) || clientToken(inner) == "" {
			t.Errorf("%q: the wrapped answer holds the token of others", ns)
		}
		s.Want(t, 204, "POST", ns+"auth/approle/role/robot", servertest.Root, `{"token_reuse":false}`)
		if a := robotIn(t, s, ns); clientToken(a) == clientToken(first) {
			t.Errorf("%q: control: a role that does not say so gets the same token", ns)
		}
		s.Want(t, 204, "POST", ns+"auth/approle/role/robot", servertest.Root, `{"token_reuse":true,"token_policies":"dev,more"}`)
		if a := robotIn(t, s, ns); clientToken(a) == clientToken(first) || !strings.Contains(a.Text(), `"more"`) {
			t.Errorf("%q: after the role has changed the answer is %s", ns, a.Body)
		}
		if a := s.Want(t, 200, "GET", ns+"auth/approle/role/robot", servertest.Root, ""); a.Field("data", "token_reuse") != true {
			t.Errorf("%q: the role is %s", ns, a.Body)
		}
		for field, role := range map[string]string{"token_num_uses": `{"token_num_uses":3}`, "token_type": `{"token_type":"batch"}`} {
			if a := s.Want(t, 400, "POST", ns+"auth/approle/role/robot", servertest.Root, role); !strings.Contains(a.Text(), "token_reuse") {
				t.Errorf("%q: %s: %s", ns, field, a.Body)
			}
		}
		s.Want(t, 204, "POST", ns+"sys/auth/approle/tune", servertest.Root, `{"token_type":"batch"}`)
		if a, b := robotIn(t, s, ns), robotIn(t, s, ns); clientToken(a) == clientToken(b) || a.String("auth", "token_type") != "batch" {
			t.Errorf("%q: two logins get one batch token", ns)
		}
	}
}

// clock is a clock that tests move.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock() *clock {
	c, now := &clock{}, time.Now()
	c.now.Store(&now)
	return c
}

// Now is the time.
func (c *clock) Now() time.Time { return *c.now.Load() }

func (c *clock) add(d time.Duration) {
	now := c.Now().Add(d)
	c.now.Store(&now)
}

// Uses of a secret id are counted also where its token is handed out again, and one that is
// used up gets none.
func TestReuseCountsSecretIDs(t *testing.T) {
	s := servertest.Start(t)
	robots(t, s, servertest.Root, "")
	s.Want(t, 204, "POST", "auth/approle/role/robot", servertest.Root, `{"bind_secret_id":true}`)
	sid := s.Want(t, 200, "POST", "auth/approle/role/robot/secret-id", servertest.Root, `{"num_uses":3}`).String("data", "secret_id")
	body := `{"role_id":"robot","secret_id":"` + sid + `"}`
	seen := map[string]bool{}
	for range 3 {
		seen[clientToken(s.Want(t, 200, "POST", "auth/approle/login", "", body))] = true
	}
	if len(seen) != 1 {
		t.Errorf("three logins got %d tokens", len(seen))
	}
	s.Want(t, 400, "POST", "auth/approle/login", "", body)
}

// Who has shown a second factor gets a token of their own, and that is handed to nobody.
func TestReuseWithSecondFactors(t *testing.T) {
	clock := newClock()
	s := servertest.StartAt(t, clock.Now)
	f := enforced(t, s, servertest.Root)
	s.Want(t, 204, "POST", "auth/userpass/users/ann", servertest.Root, `{"token_reuse":true}`)
	seen := map[string]bool{}
	for range 2 {
		clock.add(time.Minute)
		seen[clientToken(login(t, s, 200, "X-Vault-MFA", "app:"+f.code(t, clock.Now())))] = true
		clock.add(time.Minute)
		seen[clientToken(s.Want(t, 200, "POST", "sys/mfa/validate", "", f.validate(f.asks(t, login(t, s, 200)), f.code(t, clock.Now()))))] = true
	}
	s.Want(t, 204, "DELETE", "identity/mfa/login-enforcement/people", servertest.Root, "")
	a := clientToken(login(t, s, 200))
	if seen[a] || seen[""] || len(seen) != 4 {
		t.Errorf("logins with a second factor got %d tokens; one without got one of them: %v", len(seen), seen[a])
	}
	if clientToken(login(t, s, 200)) != a {
		t.Error("control: a login without a second factor does not get the token of the one before")
	}
	s.Want(t, 204, "POST", "identity/mfa/login-enforcement/people", servertest.Root, `{"mfa_method_ids":["`+f.method+`"],"auth_method_types":["userpass"]}`)
	f.asks(t, login(t, s, 200)) // what is there already is no way round it
}

// A person who is disabled, or whom another has become, gets no token that is there.
func TestReuseGoesWithTheEntity(t *testing.T) {
	s := servertest.Start(t)
	robots(t, s, servertest.Root, "")
	first := robotIn(t, s, "")
	entity := first.String("auth", "entity_id")
	s.Want(t, 204, "POST", "identity/entity/id/"+entity, servertest.Root, `{"disabled":true}`)
	s.Want(t, 403, "POST", "auth/approle/login", "", `{"role_id":"robot"}`)
	s.Want(t, 204, "POST", "identity/entity/id/"+entity, servertest.Root, `{"disabled":false,"policies":["extra"]}`)
	if a := robotIn(t, s, ""); clientToken(a) != clientToken(first) || !strings.Contains(a.Text(), `"identity_policies":["extra"]`) {
		t.Errorf("what the entity gives is not told with the token that is there: %s", a.Body)
	}
	other := s.Want(t, 200, "POST", "identity/entity", servertest.Root, `{"name":"other"}`).String("data", "id")
	s.Want(t, 204, "POST", "identity/entity/merge", servertest.Root, `{"from_entity_ids":["`+entity+`"],"to_entity_id":"`+other+`"}`)
	if a := robotIn(t, s, ""); a.String("auth", "entity_id") != other || clientToken(a) == clientToken(first) {
		t.Errorf("after a merge: %s", a.Body)
	}
}

// What nobody was told of is the next login's, and is not revoked under those who got it meanwhile.
func TestReuseOfWhatWasNotAnswered(t *testing.T) {
	s := servertest.Start(t)
	robots(t, s, servertest.Root, "")
	held := robotIn(t, s, "")
	broken := func(line []byte) error {
		if bytes.Contains(line, []byte(`"type":"response"`)) {
			return errors.New("no space left")
		}
		return nil
	}
	unanswered := func() {
		s.Audit.Break(broken)
		s.Want(t, 503, "POST", "auth/approle/login", "", `{"role_id":"robot"}`)
		s.Audit.Break(nil)
	}
	unanswered()
	if a := robotIn(t, s, ""); clientToken(a) != clientToken(held) {
		t.Error("a login that was not answered has ended the token of those before it")
	}
	s.Want(t, 204, "POST", "auth/token/revoke-self", clientToken(held), "")
	unanswered()
	s.Audit.Reset()
	a := robotIn(t, s, "")
	if !strings.Contains(string(s.Audit.Bytes()), `"reused":true`) {
		t.Error("what a login that was not answered has made is lost")
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", clientToken(a), "")
}

// Of 64 logins at once on three nodes all get one token, which lives.
func TestReuseOnThreeNodes(t *testing.T) {
	f := startNodes(t, 3)
	robots(t, f.all[0], f.root, "")
	for round := range 20 {
		var mu sync.Mutex
		var wg sync.WaitGroup
		got := map[string]int{}
		for i := range 64 {
			wg.Go(func() {
				a, err := f.all[i%3].Try("POST", "auth/approle/login", "", `{"role_id":"robot"}`)
				if err != nil || a.Status != 200 {
					t.Errorf("%v, %v", a, err)
					return
				}
				mu.Lock()
				got[clientToken(a)]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("64 logins got %d tokens, want 1", len(got))
		}
		for token := range got {
			f.all[round%3].Want(t, 200, "GET", "auth/token/lookup-self", token, "")
			f.all[(round+1)%3].Want(t, 204, "POST", "auth/token/revoke-self", token, "")
		}
	}
}

// Logins race on one node against the revocation on another: none that began after the
// revocation was answered gets the token.
func TestReuseAgainstRevocation(t *testing.T) {
	f := startNodes(t, 2)
	robots(t, f.all[0], f.root, "")
	trials := 4000
	if testing.Short() {
		trials = 500
	}
	same, fresh := 0, 0
	for range trials {
		a := tryLogin(t, f.all[0])
		if t.Failed() {
			return
		}
		var gone atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := f.all[0].Try("POST", "auth/token/revoke-self", a, ""); err != nil || r.Status != 204 {
				t.Errorf("%v, %v", r, err)
			}
			gone.Store(true)
		})
		for after := false; !after; {
			after = gone.Load() // before the login begins
			switch b := tryLogin(t, f.all[1]); {
			case b == a && after:
				t.Error("a login got a token that was revoked before it began")
			case b == a:
				same++
			default:
				fresh++
			}
		}
		wg.Wait()
	}
	if same == 0 || fresh < trials {
		t.Errorf("control: %d logins got the token before it went, and %d another", same, fresh)
	}
}

// tryLogin is the token of a login by the robot.
func tryLogin(t *testing.T, s *servertest.Server) string {
	a, err := s.Try("POST", "auth/approle/login", "", `{"role_id":"robot"}`)
	if err != nil || a.Status != 200 {
		t.Errorf("%v, %v", a, err)
		return fmt.Sprint(err)
	}
	return clientToken(a)
}
