package mfa_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/test/softkey"
)

// statements are attestation statements, in CBOR, that lack what their format needs, have too little of it, or are of no
// known form.
func statements() map[string][]byte {
	said := func(format string, statement ...byte) []byte {
		b := append([]byte{0x63, 'f', 'm', 't', 0x60 | byte(len(format))}, format...)
		return append(append(b, 0x67, 'a', 't', 't', 'S', 't', 'm', 't'), statement...)
	}
	x5c, alg := []byte{0x63, 'x', '5', 'c'}, []byte{0x63, 'a', 'l', 'g', 0x26}
	sig, ver := []byte{0x63, 's', 'i', 'g', 0x41, 0x00}, []byte{0x63, 'v', 'e', 'r', 0x63, '2', '.', '0'}
	in := func(n byte, parts ...[]byte) []byte {
		b := []byte{0xa0 | n}
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	return map[string][]byte{
		"tpm without certificates":      said("tpm", in(4, alg, sig, ver, append(x5c, 0x80))...),
		"tpm with an empty certificate": said("tpm", in(4, alg, sig, ver, append(x5c, 0x81, 0x40))...),
		"tpm with an empty area": said("tpm", in(6, alg, sig, ver, append(x5c, 0x81, 0x41, 0x30),
			[]byte{0x67, 'p', 'u', 'b', 'A', 'r', 'e', 'a', 0x40}, []byte{0x68, 'c', 'e', 'r', 't', 'I', 'n', 'f', 'o', 0x40})...),
		"packed without certificates": said("packed", in(3, alg, sig, append(x5c, 0x80))...),
		"packed of itself":            said("packed", in(2, alg, sig)...),
		"android-key with a text":     said("android-key", in(3, alg, sig, append(x5c, 0x81, 0x61, 'x'))...),
		"apple without anything":      said("apple", 0xa0),
		"fido-u2f":                    said("fido-u2f", in(2, sig, append(x5c, 0x80))...),
		"compound of nothing":         said("compound", 0x80),
		"of no known form":            said("x", 0xa0),
		"none with something":         said("none", in(1, sig)...),
	}
}

// CVE-2026-40097: what an authenticator states of who made it crashes nothing: it is not read.
func TestCVE_2026_40097_StatementsAreNotRead(t *testing.T) {
	k := newKeyring(t, 1, `,"max_passkeys":16`)
	for what, statement := range statements() {
		a := must(softkey.New(origin))(t)
		a.Statement = statement
		id, asked := k.begin(k.entity)
		if _, err := k.finish(k.entity, id, must(a.Create(asked))(t)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// form is what a browser writes of a response.
func form(response map[string][]byte) []byte {
	texts := map[string]string{}
	for name, b := range response {
		texts[name] = base64.RawURLEncoding.EncodeToString(b)
	}
	b, err := json.Marshal(map[string]any{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": texts})
	if err != nil {
		panic(err) // of texts
	}
	return b
}

// parts are the bytes of a response that a browser has written.
func parts(t testing.TB, text string) map[string][]byte {
	t.Helper()
	var whole struct {
		Response map[string]any `json:"response"`
	}
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for name, v := range whole.Response {
		if text, ok := v.(string); ok {
			out[name] = must(base64.RawURLEncoding.DecodeString(text))(t)
		}
	}
	return out
}

// FuzzCreation reads anything as what a browser has made, or as the parts of it: it is refused as malformed, or has what is needed
// of it.
func FuzzCreation(f *testing.F) {
	for _, s := range append([][]byte{nil}, values(statements())...) {
		a := must(softkey.New(origin))(f)
		a.Statement = s
		made := must(a.Create([]byte(`{"challenge":"AAAA","rp":{"id":"vault.example.com"},"user":{"id":"AAAA"}}`)))(f)
		p := parts(f, made)
		f.Add("", p["attestationObject"], p["clientDataJSON"])
		f.Add(made, []byte(nil), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, whole string, object, client []byte) {
		b := []byte(whole)
		if whole == "" {
			b = form(map[string][]byte{"attestationObject": object, "clientDataJSON": client})
		}
		p, err := mfa.ParseCreation(b)
		if err != nil && (api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), "credential: ")) {
			t.Fatal(err)
		}
		if err == nil && (len(p.Response.AttestationObject.AuthData.AttData.CredentialID) == 0 || p.Response.AttestationObject.Format != "none") {
			t.Fatal("without what is needed")
		}
		if err == nil {
			mfa.Accept(p)
		}
	})
}

// FuzzAssertion reads anything as what a passkey has answered, or as the parts of it: it is no answer, or judged.
func FuzzAssertion(f *testing.F) {
	a := must(softkey.New(origin))(f)
	must(a.Create([]byte(`{"user":{"id":"AAAA"}}`)))(f)
	answer := must(a.Assert([]byte(`{"challenge":"AAAA","rpId":"vault.example.com"}`)))(f)
	p := parts(f, answer)
	f.Add("", p["authenticatorData"], p["clientDataJSON"], p["signature"])
	for _, s := range []string{answer, "e30", "{}"} {
		f.Add(s, []byte(nil), []byte(nil), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, whole string, data, client, signature []byte) {
		if whole == "" {
			whole = string(form(map[string][]byte{"authenticatorData": data, "clientDataJSON": client, "signature": signature, "userHandle": data}))
		}
		p, err := mfa.ParseAssertion(whole)
		if err == nil && mfa.Verify(p) {
			t.Fatal("a passkey that nobody has is taken")
		}
	})
}

func values[K comparable, V any](m map[K]V) (out []V) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func TestPasskeyMethodsAreJudged(t *testing.T) {
	w := newWorld(t, 1)
	usual := `"relying_party_id":"vault.example.com","origins":["` + origin + `"]`
	for fields, text := range map[string]string{
		`"origins":["https://a.example.com"]`:                                "relying_party_id: missing",
		`"relying_party_id":"vault.example.com"`:                             "origins: missing",
		`"relying_party_id":"10.0.0.1","origins":["https://10.0.0.1"]`:       "relying_party_id: want a domain",
		`"relying_party_id":"A.example.com","origins":["https://x"]`:         "relying_party_id: want a domain",
		`"relying_party_id":"https://a.com","origins":["https://a.com"]`:     "relying_party_id: want a domain",
		`"relying_party_id":"a.com:8200","origins":["https://a.com"]`:        "relying_party_id: want a domain",
		`"relying_party_id":"a.com","origins":["http://a.com"]`:              "origins: want https",
		`"relying_party_id":"a.com","origins":["https://evil-a.com"]`:        "origins: the host",
		`"relying_party_id":"a.com","origins":["https://a.com/x"]`:           "origins: want scheme",
		`"relying_party_id":"a.com","origins":["https://u@a.com"]`:           "origins: want scheme",
		`"relying_party_id":"a.com","origins":["a.com"]`:                     "origins: want scheme",
		`"relying_party_id":"localhost","origins":["http://127.0.0.1:8200"]`: "origins: want https",
		usual + `,"user_verification":"maybe"`:                               "user_verification",
		usual + `,"max_passkeys":17`:                                         "max_passkeys",
		usual + `,"max_passkeys":0`:                                          "max_passkeys",
		usual + `,"max_validation_attempts":0`:                               "max_validation_attempts",
		usual + `,"relying_party_display_name":" x"`:                         "relying_party_display_name",
		usual + `,"method_name":" x"`:                                        "method_name",
	} {
		w.refused(api.Write, "mfa/method/webauthn", "{"+fields+"}", text)
	}
	id := w.do(api.Write, "mfa/method/webauthn", `{"relying_party_id":"localhost","origins":["http://localhost:8200/"],"method_name":"Keys"}`)["method_id"].(string)
	w.refused(api.Write, "mfa/method/webauthn/"+id, `{"relying_party_id":"example.com"}`, "relying_party_id: cannot be changed")
	w.refused(api.Write, "mfa/method/totp", `{"issuer":"Acme","method_name":"kEYS"}`, "method_name")
	m := w.do(api.Read, "mfa/method/webauthn/"+id, "")
	for field, want := range map[string]any{"type": "webauthn", "relying_party_id": "localhost", "relying_party_display_name": "localhost", "user_verification": "required", "max_passkeys": 8.0, "max_validation_attempts": 5.0, "name": "Keys", "period": 30.0, "digits": nil, "skew": nil} {
		if m[field] != want {
			t.Errorf("%s is %v, want %v", field, m[field], want)
		}
	}
}

// A method of one type is none of the other.
func TestTypesAreApart(t *testing.T) {
	w := newWorld(t, 1)
	app, keys, entity := w.method(""), w.passkeyMethod(""), w.person("ann")
	for path, id := range map[string]string{"mfa/method/webauthn/": app, "mfa/method/totp/": keys} {
		for _, op := range []api.Op{api.Read, api.Write} {
			if _, err := w.try(w.nodes[0], w.call("root"), op, path+id, ""); api.KindOf(err) != api.NotFound {
				t.Errorf("%s %s: %v", op, path, err)
			}
		}
		w.do(api.Delete, path+id, "")
		if m := w.do(api.Read, "mfa/method/"+id, ""); m["id"] != id {
			t.Errorf("%s deletes what is of another type", path)
		}
	}
	both := `","entity_id":"` + entity + `"}`
	for _, path := range []string{"totp/admin-generate", "totp/admin-destroy"} {
		w.refused(api.Write, "mfa/method/"+path, `{"method_id":"`+keys+both, "method_id: no such method")
	}
	for _, path := range []string{"webauthn/admin-register", "webauthn/admin-destroy"} {
		w.refused(api.Write, "mfa/method/"+path, `{"method_id":"`+app+both, "method_id: no such method")
	}
	for path, want := range map[string]int{"mfa/method": 2, "mfa/method/totp": 1, "mfa/method/webauthn": 1} {
		if got := len(w.do(api.List, path, "")["keys"].([]any)); got != want {
			t.Errorf("%s lists %d", path, got)
		}
	}
}
