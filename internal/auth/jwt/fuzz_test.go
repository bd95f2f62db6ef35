package jwt

import (
	"encoding/json"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/jws"
)

// FuzzClaims has any claims held against any role: nothing panics, and what is bound is there.
func FuzzClaims(f *testing.F) {
	f.Add(`{"sub":"a","aud":["x"],"exp":1893553445}`, `{"sub":"a"}`, "/aud/0", false)
	f.Add(`{"a":[{"b":1e400}],"c":null}`, `{"/a/0/b":1}`, "/a/0/b", false)
	f.Add(`{"r":"repo:o/x"}`, `{"r":["repo:o/*"]}`, "r", true)
	f.Add(`{"a":[[]],"b":{}}`, `{"a":[true],"b":"x"}`, "/a/00/~01", false)
	f.Fuzz(func(t *testing.T, said, bound, at string, globs bool) {
		c, err := jws.ParseClaims([]byte(said))
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
		if !plain(who.Name) || c.At(at) != any(who.Name) {
			t.Errorf("%q is let in by %q", who.Name, at)
		}
		for name := range numbers(r.Claims) {
			if c.At(name) == nil {
				t.Errorf("%q is bound and not there", name)
			}
		}
		if err := (jws.Leeways{}).Valid(c, authtest.Epoch); err == nil && c["exp"] == nil && c["iat"] == nil && c["nbf"] == nil {
			t.Error("a token without times is valid")
		}
	})
}
