package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/test/softkey"
)

const passkeyOrigin = "https://vault.example.com"

// keyed makes the user ann, who registers a passkey with a token of theirs, and has logins by userpass need it.
func keyed(t *testing.T, s *servertest.Server, root string) (method, entity string, key *softkey.Authenticator) {
	t.Helper()
	s.Want(t, 204, "POST", "sys/policies/acl/own", root, `{"policy":"path \"identity/mfa/method/webauthn/*\" { capabilities = [\"update\"] }"}`)
	s.Want(t, 204, "POST", "sys/auth/userpass", root, `{"type":"userpass"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/ann", root, `{"password":"correct horse","token_policies":"own"}`)
	in := login(t, s, 200)
	entity, token := in.String("auth", "entity_id"), in.String("auth", "client_token")
	method = s.Want(t, 200, "POST", "identity/mfa/method/webauthn", root, `{"relying_party_id":"vault.example.com","origins":["`+passkeyOrigin+`"]}`).String("data", "method_id")
	s.Want(t, 204, "POST", "identity/mfa/login-enforcement/people", root, `{"mfa_method_ids":["`+method+`"],"auth_method_types":["userpass"]}`)
	key, err := softkey.New(passkeyOrigin)
	if err != nil {
		t.Fatal(err)
	}
	begun := s.Want(t, 200, "POST", "identity/mfa/method/webauthn/register", token, `{"method_id":"`+method+`"}`)
	made, err := key.Create(asked(t, begun))
	if err != nil {
		t.Fatal(err)
	}
	id := begun.String("data", "registration_id")
	s.Want(t, 403, "POST", "identity/mfa/method/webauthn/finish", "", fmt.Sprintf(`{"registration_id":%q,"credential":%s}`, id, made))
	s.Want(t, 200, "POST", "identity/mfa/method/webauthn/finish", token, fmt.Sprintf(`{"registration_id":%q,"name":"phone","credential":%s}`, id, made))
	return method, entity, key
}

// asked is what a browser is to do.
func asked(t *testing.T, a *servertest.Answer) []byte {
	t.Helper()
	b, err := json.Marshal(a.Field("data", "public_key"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func showing(id, method, answer string) string {
	return fmt.Sprintf(`{"mfa_request_id":%q,"mfa_payload":{%q:[%q]}}`, id, method, answer)
}

// A login with a passkey on the nodes of a fleet: of an answer that is shown many times at once, one is let in; and
// nothing of it stands in a log.
func TestPasskeyOnAFleet(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b := nodes.all[0], nodes.all[1]
	method, entity, key := keyed(t, a, nodes.root)
	for range 5 {
		waiting := login(t, a, 200)
		if text := waiting.Text(); !strings.Contains(text, `{"any":[{"type":"webauthn","id":"`+method+`","uses_passcode":false}]}`) {
			t.Fatalf("a login that needs a passkey is answered %s", text)
		}
		id := waiting.String("auth", "mfa_requirement", "mfa_request_id")
		asks := b.Want(t, 200, "POST", "sys/mfa/passkey/challenge", "", fmt.Sprintf(`{"mfa_request_id":%q,"method_id":%q}`, id, method))
		answer, err := key.Get(asked(t, asks))
		if err != nil {
			t.Fatal(err)
		}
		var in atomic.Int64
		var work sync.WaitGroup
		for i := range 9 {
			work.Go(func() {
				got, err := nodes.all[i%3].Try("POST", "sys/mfa/validate", "", showing(id, method, answer))
				if err == nil && got.Status == 200 && got.String("auth", "entity_id") == entity && got.String("auth", "client_token") != "" {
					in.Add(1)
				}
			})
		}
		work.Wait()
		if in.Load() != 1 {
			t.Fatalf("%d of 9 were let in", in.Load())
		}
		b.Want(t, 403, "POST", "sys/mfa/validate", "", showing(id, method, answer))
		challenge := asks.String("data", "public_key", "challenge")
		for _, s := range nodes.all {
			for what, log := range map[string]string{"the audit log": string(s.Audit.Bytes()), "the log": string(s.Log.Bytes())} {
				if strings.Contains(log, challenge) || strings.Contains(log, id) {
					t.Errorf("%s shows what it must not", what)
				}
			}
		}
	}
}

// A link to the page is all that strangers get; and whatever is wrong, there is one refusal.
func TestPasskeyTellsNothing(t *testing.T) {
	s := servertest.Start(t)
	method, entity, _ := keyed(t, s, servertest.Root)
	page := s.Want(t, 200, "GET", "sys/mfa/passkey", "", "")
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
		if got := page.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	policy := page.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none';", "script-src 'sha256-", "form-action http://127.0.0.1:*;", "frame-ancestors 'none';", "base-uri 'none';"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %s", policy, want)
		}
	}
	s.Want(t, 204, "POST", "auth/userpass/users/bob", servertest.Root, `{"password":"correct horse"}`)
	bob := s.Want(t, 200, "POST", "auth/userpass/login/bob", "", `{"password":"correct horse"}`).String("auth", "mfa_requirement", "mfa_request_id")
	ann := login(t, s, 200).String("auth", "mfa_requirement", "mfa_request_id")
	for what, body := range map[string]string{
		"an identifier that is none": fmt.Sprintf(`{"mfa_request_id":"e5fae6ae-0000-4000-8000-000000000000","method_id":%q}`, method),
		"somebody without a passkey": fmt.Sprintf(`{"mfa_request_id":%q,"method_id":%q}`, bob, method),
		"another method":             fmt.Sprintf(`{"mfa_request_id":%q,"method_id":%q}`, ann, entity),
		"a method that is none":      fmt.Sprintf(`{"mfa_request_id":%q,"method_id":"x"}`, ann),
	} {
		if a := s.Want(t, 403, "POST", "sys/mfa/passkey/challenge", "", body); !strings.Contains(a.Text(), `"errors":["permission denied"]`) {
			t.Errorf("%s: %s", what, a.Body)
		}
	}
	right := s.Want(t, 200, "POST", "identity/mfa/method/webauthn/admin-register", servertest.Root, `{"method_id":"`+method+`","entity_id":"`+entity+`"}`, "X-Vault-Wrap-TTL", "60s")
	id := s.Want(t, 200, "POST", "sys/wrapping/unwrap", right.String("wrap_info", "token"), "").String("data", "registration_id")
	s.Want(t, 200, "POST", "sys/mfa/passkey/register", "", `{"registration_id":"`+id+`"}`)
	s.Want(t, 403, "POST", "sys/mfa/passkey/register", "", `{"registration_id":"e5fae6ae-0000-4000-8000-000000000000"}`)
	s.Want(t, 403, "POST", "sys/mfa/passkey/register", "", `{"registration_id":""}`)
	if log := string(s.Audit.Bytes()); strings.Contains(log, id) {
		t.Error("the audit log shows a right to register a passkey")
	}
}

// What the policies of a namespace let somebody from above do in it is nothing about their second factors, which are of the
// namespace above.
func TestSecondFactorsAreOfTheirNamespace(t *testing.T) {
	s := servertest.Start(t)
	root := servertest.Root
	method, entity, _ := keyed(t, s, root)
	s.Want(t, 204, "DELETE", "identity/mfa/login-enforcement/people", root, "")
	s.Want(t, 204, "POST", "auth/userpass/users/ann", root, `{"password":"correct horse","token_policies":"default"}`)
	token := login(t, s, 200).String("auth", "client_token")
	totp := s.Want(t, 200, "POST", "identity/mfa/method/totp", root, `{"issuer":"Acme"}`).String("data", "method_id")
	tenants(t, s, root, "team")
	s.Want(t, 204, "POST", "sys/policies/acl/g", root, `{"policy":"path \"identity/mfa/*\" { capabilities = [\"update\",\"list\",\"delete\"] }"}`, in("team")...)
	s.Want(t, 200, "POST", "identity/group", root, `{"name":"g","policies":["g"],"member_entity_ids":["`+entity+`"]}`, in("team")...)
	list := "identity/mfa/method/webauthn/" + method + "/entity/" + entity
	before := s.Want(t, 200, "LIST", list, root, "")
	own := "identity/mfa/method/webauthn/" + method + "/passkey"
	for path, body := range map[string]string{"identity/mfa/method/webauthn/register": `{"method_id":"` + method + `"}`, "identity/mfa/method/totp/generate": `{"method_id":"` + totp + `"}`} {
		s.Want(t, 403, "POST", path, token, body)
		s.Want(t, 400, "POST", path, token, body, in("team")...)
	}
	s.Want(t, 403, "LIST", own, token, "")
	s.Want(t, 400, "LIST", own, token, "", in("team")...)
	id := fmt.Sprint(before.Field("data", "keys").([]any)[0])
	s.Want(t, 403, "DELETE", own+"/"+id, token, "")
	s.Want(t, 400, "DELETE", own+"/"+id, token, "", in("team")...)
	if after := s.Want(t, 200, "LIST", list, root, ""); fmt.Sprint(after.Field("data")) != fmt.Sprint(before.Field("data")) {
		t.Errorf("the passkeys were %s and are %s", before.Text(), after.Text())
	}
}
