package jwt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// FuzzClaims has any claims held against any role: nothing panics, and what is bound is there.
func FuzzClaims(f *testing.F) {
	f.Add(`{"sub":"a","aud":["x"],"exp":1893553445}`, `{"sub":"a"}`, "/aud/0", false)
	f.Add(`{"a":[{"b":1e400}],"c":null}`, `{"/a/0/b":1}`, "/a/0/b", false)
	f.Add(`{"r":"repo:o/x"}`, `{"r":["repo:o/*"]}`, "r", true)
	f.Add(`{"a":[[]],"b":{}}`, `{"a":[true],"b":"x"}`, "/a/00/~01", false)
	f.Fuzz(func(t *testing.T, said, bound, at string, globs bool) {
		c, err := parseClaims([]byte(said))
		if err != nil {
			return
		}
		r := &role{TokenTerms: api.TokenTerms{}, Type: typeJWT, User: at, UserPointer: true, ClaimsType: exactMatch, Callback: byClient,
			Claims: json.RawMessage(bound), Audiences: []string{"x"}, Groups: at}
		if globs {
			r.ClaimsType = globMatch
		}
		if r.check() != nil {
			return
		}
		who, err := r.admit(c, &config{})
		if err != nil {
			return
		}
		if !plain(who.Name) || c.at(at) != any(who.Name) {
			t.Errorf("%q is let in by %q", who.Name, at)
		}
		for name := range numbers(r.Claims) {
			if c.at(name) == nil {
				t.Errorf("%q is bound and not there", name)
			}
		}
		if err := (leeways{}).valid(c, epoch); err == nil && c["exp"] == nil && c["iat"] == nil && c["nbf"] == nil {
			t.Error("a token without times is valid")
		}
	})
}

// FuzzToken has any text taken for a token: none is signed by our key but by it.
func FuzzToken(f *testing.F) {
	public, err := newKey("one", "", keyring().rsa.Public())
	if err != nil {
		f.Fatal(err)
	}
	good := sign(f, "RS256", keyring().rsa, "one", saying(nil))
	payload := strings.Split(good, ".")[1]
	f.Add(good)
	f.Add(b64(`{"alg":"none"}`) + "." + payload + ".")
	f.Add(b64(`{"alg":"RS256","crit":[]}`) + "." + payload + ".AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := headerOf(raw)
		if err != nil {
			return
		}
		if _, err := verify(raw, h, []key{public}, algorithms()); err == nil && strings.Split(raw, ".")[1] != payload {
			t.Errorf("%q is let in", raw)
		}
	})
}

// FuzzKeys reads any set of keys and keeps none that could not verify.
func FuzzKeys(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys([]byte(text))
		if err != nil {
			return
		}
		for _, k := range keys {
			public, err := k.public()
			if err != nil || algorithmsOf(public) == nil {
				t.Errorf("a key that verifies nothing is kept: %v", err)
			}
		}
	})
}
