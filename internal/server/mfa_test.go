package server_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// second is a second factor of a user of userpass, on some nodes.
type second struct {
	root, method, key string
	entity            string
}

// enforced makes the user ann, gives them a secret, and has logins by userpass need it.
func enforced(t *testing.T, s *servertest.Server, root string) *second {
	t.Helper()
	s.Want(t, 204, "POST", "sys/auth/userpass", root, `{"type":"userpass"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/ann", root, `{"password":"correct horse","token_policies":"dev","token_ttl":"1h"}`)
	f := &second{root: root, entity: login(t, s, 200).String("auth", "entity_id")}
	f.method = s.Want(t, 200, "POST", "identity/mfa/method/totp", root, `{"issuer":"Acme","method_name":"app"}`).String("data", "method_id")
	s.Want(t, 204, "POST", "identity/mfa/login-enforcement/people", root, `{"mfa_method_ids":["`+f.method+`"],"auth_method_types":["userpass"]}`)
	f.enroll(t, s)
	return f
}

func (f *second) enroll(t *testing.T, s *servertest.Server) {
	t.Helper()
	made := s.Want(t, 200, "POST", "identity/mfa/method/totp/admin-generate", f.root, `{"method_id":"`+f.method+`","entity_id":"`+f.entity+`"}`)
	u, err := url.Parse(made.String("data", "url"))
	if err != nil || made.String("data", "barcode") == "" {
		t.Fatalf("%v: %s", err, made.Body)
	}
	f.key = u.Query().Get("secret")
}

func (f *second) code(t *testing.T, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCodeCustom(f.key, at, totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func login(t *testing.T, s *servertest.Server, status int, headers ...string) *servertest.Answer {
	t.Helper()
	return s.Want(t, status, "POST", "auth/userpass/login/ann", "", `{"password":"correct horse"}`, headers...)
}

// asks is the identifier of a login that waits.
func (f *second) asks(t *testing.T, a *servertest.Answer) string {
	t.Helper()
	text := a.Text()
	id := a.String("auth", "mfa_requirement", "mfa_request_id")
	want := `"mfa_constraints":{"people":{"any":[{"type":"totp","id":"` + f.method + `","uses_passcode":true,"name":"app"}]}}`
	if a.Field("auth", "client_token") != "" || id == "" || !strings.Contains(text, want) || a.Field("auth", "policies") != nil || a.Field("warnings") == nil {
		t.Fatalf("a login that needs a second factor is answered %s", text)
	}
	return id
}

func (f *second) validate(id, code string) string {
	return fmt.Sprintf(`{"mfa_request_id":%q,"mfa_payload":{%q:[%q]}}`, id, f.method, code)
}

// A login by password and passcode, in one request and in two, on the nodes of a fleet: a passcode is
// taken once on all of them, and the first request to a node that has just started needs it too.
func TestSecondFactors(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b := nodes.all[0], nodes.all[1]
	f := enforced(t, a, nodes.root)
	now := time.Now()
	waits := f.asks(t, login(t, b, 200))
	b.Want(t, 403, "POST", "sys/mfa/validate", "", f.validate(waits, "12345x"))
	b.Want(t, 403, "POST", "sys/mfa/validate", "", f.validate("e5fae6ae-0000-4000-8000-000000000000", f.code(t, now)))
	in := a.Want(t, 200, "POST", "sys/mfa/validate", "", f.validate(waits, f.code(t, now)))
	if in.String("auth", "entity_id") != f.entity || in.Field("auth", "mfa_requirement") != nil {
		t.Errorf("completed as %s", in.Body)
	}
	token := in.String("auth", "client_token")
	look := b.Want(t, 200, "GET", "auth/token/lookup-self", token, "")
	if look.String("data", "path") != "auth/userpass/login/ann" || look.String("data", "display_name") != "userpass-ann" || look.Field("data", "creation_ttl") != 3600.0 || !strings.Contains(look.Text(), `"dev"`) {
		t.Errorf("the token is %s", look.Body)
	}
	b.Want(t, 403, "POST", "sys/mfa/validate", "", f.validate(waits, f.code(t, now.Add(30*time.Second))))
	login(t, b, 403, "X-Vault-MFA", "app:"+f.code(t, now)) // it has been taken
	started := nodes.start(t)
	nodes.unseal(t, started)
	f.asks(t, login(t, started, 200))
	for _, s := range append(nodes.all, started) {
		for what, log := range map[string]string{"the audit log": string(s.Audit.Bytes()), "the log": string(s.Log.Bytes())} {
			if strings.Contains(log, f.key) || strings.Contains(log, waits) || strings.Contains(log, "12345x") {
				t.Errorf("%s shows what it must not", what)
			}
		}
	}
}

// CVE-2025-6014 over HTTP: of many logins with one passcode, at once on three nodes and in
// different spellings, one is let in.
func TestCVE_2025_6014_OneOfMany(t *testing.T) {
	nodes := startNodes(t, 3)
	f := enforced(t, nodes.all[0], nodes.root)
	code := f.code(t, time.Now())
	spelled := []string{code, " " + code, code + " ", code[:2] + " " + code[2:], "０" + code[1:]}
	var in atomic.Int64
	var work sync.WaitGroup
	for i := range 60 {
		work.Go(func() {
			header := "app:" + spelled[i%len(spelled)]
			if i%4 == 3 {
				header = f.method + ":" + code
			}
			if a, err := nodes.all[i%3].Try("POST", "auth/userpass/login/ann", "", `{"password":"correct horse"}`, "X-Vault-MFA", header); err == nil && a.Status == 200 && a.String("auth", "client_token") != "" {
				in.Add(1)
			}
		})
	}
	work.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 60 were let in", in.Load())
	}
}

// CVE-2025-6015 over HTTP: wrong passcodes, at once on three nodes, are counted together, each of them once. When there were as
// many as the method allows, the right one opens no node either; when one more is allowed, it does.
func TestCVE_2025_6015_OnThreeNodes(t *testing.T) {
	const wrongs = 24
	nodes := startNodes(t, 3)
	f := enforced(t, nodes.all[0], nodes.root)
	for _, allowed := range []int{wrongs, wrongs + 1} {
		nodes.all[1].Want(t, 200, "POST", "identity/mfa/method/totp/"+f.method, nodes.root, fmt.Sprintf(`{"issuer":"Acme","period":"1h","max_validation_attempts":%d}`, allowed))
		nodes.all[1].Want(t, 204, "POST", "identity/mfa/method/totp/admin-destroy", nodes.root, `{"method_id":"`+f.method+`","entity_id":"`+f.entity+`"}`)
		f.enroll(t, nodes.all[2])
		code, err := totp.GenerateCodeCustom(f.key, time.Now(), totp.ValidateOpts{Period: 3600, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			t.Fatal(err)
		}
		try := func(node int, code string) int {
			a, err := nodes.all[node].Try("POST", "auth/userpass/login/ann", "", `{"password":"correct horse"}`, "X-Vault-MFA", "app:"+code)
			if err != nil {
				t.Error(err)
				return 0
			}
			return a.Status
		}
		wrong := string('0'+(code[0]-'0'+1)%10) + code[1:]
		var work sync.WaitGroup
		for i := range wrongs {
			work.Go(func() {
				if got := try(i%3, wrong); got != 403 {
					t.Errorf("a wrong passcode is answered with %d", got)
				}
			})
		}
		work.Wait()
		if got := try(1, code); (got == 200) != (allowed > wrongs) {
			t.Errorf("of %d allowed, after %d wrong ones: the right one is answered with %d", allowed, wrongs, got)
		}
	}
}

// CVE-2025-6013: whatever the spelling of the name, the login is one person's, and the
// passcode is asked for.
func TestCVE_2025_6013_SpellingsAreAsked(t *testing.T) {
	s := servertest.Start(t)
	f := enforced(t, s, servertest.Root)
	s.Want(t, 204, "POST", "identity/mfa/login-enforcement/people", servertest.Root, `{"auth_method_types":[],"identity_entity_ids":["`+f.entity+`"]}`)
	f.asks(t, login(t, s, 200))
	for _, name := range []string{"Ann", "ANN", "aNn", "%20ann", "ann%20", "ann%C2%A0", "%C3%A0nn", "ann%00", "ann/"} {
		a := s.Do(t, "POST", "auth/userpass/login/"+name, "", `{"password":"correct horse"}`)
		if a.Status == 200 {
			f.asks(t, a)
		}
		if a.String("auth", "client_token") != "" {
			t.Errorf("%q was let in without a passcode", name)
		}
	}
}

// What has changed between the two phases is not let in: the user is gone, the mount is
// gone, or has other policies.
func TestSecondFactorsLookAgain(t *testing.T) {
	s := servertest.Start(t)
	f := enforced(t, s, servertest.Root)
	changes := [][3]string{{"POST", "auth/userpass/users/ann", `{"token_policies":"other"}`}, {"POST", "identity/entity/id/" + f.entity, `{"disabled":true}`}, {"DELETE", "auth/userpass/users/ann", ""}, {"DELETE", "sys/auth/userpass", ""}}
	for i, c := range changes {
		switch i {
		case 1:
			s.Want(t, 204, "POST", "auth/userpass/users/ann", servertest.Root, `{"token_policies":"dev"}`)
		case 2:
			s.Want(t, 204, "POST", "identity/entity/id/"+f.entity, servertest.Root, `{"disabled":false}`)
		case 3:
			s.Want(t, 204, "POST", "auth/userpass/users/ann", servertest.Root, `{"password":"correct horse","token_policies":"dev"}`)
		}
		s.Want(t, 204, "POST", "identity/mfa/method/totp/admin-destroy", servertest.Root, `{"method_id":"`+f.method+`","entity_id":"`+f.entity+`"}`)
		f.enroll(t, s)
		waits := f.asks(t, login(t, s, 200))
		s.Want(t, 204, c[0], c[1], servertest.Root, c[2])
		if a := s.Do(t, "POST", "sys/mfa/validate", "", f.validate(waits, f.code(t, time.Now()))); a.Status != 403 {
			t.Errorf("%s %s: %d %s", c[0], c[1], a.Status, a.Body)
		}
	}
}

// A wrapped login is wrapped when it is completed, and an answer that asks for a
// passcode never is.
func TestSecondFactorsWrapped(t *testing.T) {
	s := servertest.Start(t)
	f := enforced(t, s, servertest.Root)
	waits := f.asks(t, login(t, s, 200, "X-Vault-Wrap-TTL", "60s"))
	a := s.Want(t, 200, "POST", "sys/mfa/validate", "", f.validate(waits, f.code(t, time.Now())))
	token := a.String("wrap_info", "token")
	if token == "" || a.Field("auth") != nil {
		t.Fatalf("the answer is not wrapped: %s", a.Body)
	}
	if in := s.Want(t, 200, "POST", "sys/wrapping/unwrap", token, ""); in.String("auth", "entity_id") != f.entity {
		t.Errorf("unwrapped: %s", in.Body)
	}
}
