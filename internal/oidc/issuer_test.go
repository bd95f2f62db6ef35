package oidc_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// Whoever uses several providers is told which has answered (RFC 9207): with a code, and with a refusal that is told to the
// application. What the answer says is what discovery says.
func TestAnswersSayWhoTheyAreFrom(t *testing.T) {
	w := newShop(t)
	w.write("oidc/provider/p", `{"issuer": "https://login.example.com"}`)
	says := w.do(api.Read, "oidc/provider/p/.well-known/openid-configuration", "")
	if says["authorization_response_iss_parameter_supported"] != true || says["issuer"] != "https://login.example.com/v1/identity/oidc/provider/p" {
		t.Fatalf("discovery says %v", says)
	}
	if status, out := w.authorize("p"); status != 200 || out["iss"] != says["issuer"] {
		t.Errorf("a code: %d %v", status, out)
	}
	if status, out := w.asked("p", "scope", "profile"); status != 400 || out["iss"] != says["issuer"] {
		t.Errorf("a refusal that the application is told: %d %v", status, out)
	}
	for _, changes := range [][]string{{"redirect_uri", "https://evil.example.com/"}, {"client_id", "nobody"}} {
		if _, out := w.asked("p", changes...); out["iss"] != nil {
			t.Errorf("%v: a refusal that nobody else is told: %v", changes, out)
		}
	}
	if _, out := w.asked("none"); out["redirect_uri"] != back || out["iss"] != nil {
		t.Errorf("at no provider: %v", out)
	}
	if says := w.do(api.Read, "oidc/.well-known/openid-configuration", ""); says["authorization_response_iss_parameter_supported"] != nil {
		t.Errorf("discovery of identity tokens says %v", says)
	}
}

// A name that an address would have to write otherwise makes an issuer of two spellings, and a page that asks elsewhere.
func TestNamesThatAddressesCanHold(t *testing.T) {
	w := newShop(t)
	bodies := map[string]string{"key": `{"algorithm": "ES256"}`, "role": `{"key": "k"}`, "scope": `{}`, "assignment": `{}`, "client": `{}`, "provider": `{}`}
	for kind, body := range bodies {
		for _, name := range []string{"a?b", "a#b", "a%2fb", "a b", "a&b", "a+b", `a\b`, "a;b", "{a}", "ä", "a\tb", "-a", "a-", "a.", strings.Repeat("a", 129)} {
			_, err := w.try("root", api.Write, "oidc/"+kind+"/"+name, body)
			if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "name: ") {
				t.Errorf("%s %q: %v", kind, name, err)
			}
		}
		for _, name := range []string{"_a", "a.b-c_d", "9"} {
			w.write("oidc/"+kind+"/"+name, "%s", body)
		}
	}
}

// What a provider that was deleted has handed out counts no more, though another has its name.
func TestProviderOfTheSameName(t *testing.T) {
	w := newShop(t)
	access, _ := w.granted(w.code())
	code := w.code()
	w.do(api.Delete, "oidc/provider/p", "")
	w.write("oidc/provider/p", `{"allowed_client_ids": %q, "scopes_supported": "profile"}`, w.id)
	if status, _ := w.userinfo("p", access); status != 401 {
		t.Errorf("an access token of the provider before: %d", status)
	}
	w.fails("invalid_grant", "p", code)
	access, _ = w.granted(w.code())
	w.write("oidc/provider/p", `{"scopes_supported": []}`)
	if status, _ := w.userinfo("p", access); status != 200 {
		t.Errorf("after a change of the provider: %d", status)
	}
}
