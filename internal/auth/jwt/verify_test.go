package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/jws"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func claimsText(t testing.TB, changes m) string {
	t.Helper()
	b, err := json.Marshal(saying(changes))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mac signs with a secret, as one who takes a public key for it would verify.
func mac(secret, head, claims string) string {
	signed := b64(head) + "." + b64(claims)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// TestForgedTokens tries what has let strangers in elsewhere.
func TestForgedTokens(t *testing.T) {
	s := static(t, nil)
	k := keyring()
	good, pem, text := token(t, nil), authtest.PEM(t, k.rsa.Public()), claimsText(t, nil)
	if _, err := s.login("r", good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	jwk := `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(k.other.N.Bytes()) + `","e":"AQAB"}`
	for name, raw := range map[string]string{
		"no algorithm":             b64(`{"alg":"none"}`) + "." + parts[1] + ".",
		"no algorithm, signed":     b64(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"None":                     b64(`{"alg":"NoNe"}`) + "." + parts[1] + ".",
		"public key as secret":     mac(pem, `{"alg":"HS256"}`, text),
		"trimmed key as secret":    mac(strings.TrimSpace(pem), `{"alg":"HS256"}`, text),
		"empty secret":             mac("", `{"alg":"HS256"}`, text),
		"other key":                authtest.Sign(t, "RS256", k.other, "", saying(nil)),
		"other kind of key":        authtest.Sign(t, "ES256", k.p256, "", saying(nil)),
		"other claims":             parts[0] + "." + b64(claimsText(t, m{"sub": "root"})) + "." + parts[2],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               good + ".x",
		"five parts":               good + ".x.y",
		"JSON form":                `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"key of its own":           forged(t, k.other, `{"alg":"RS256","jwk":`+jwk+`}`, text),
		"address of keys":          forged(t, k.other, `{"alg":"RS256","jku":"https://evil.example/keys"}`, text),
		"certificate of its own":   forged(t, k.other, `{"alg":"RS256","x5c":["AAAA"],"x5u":"https://evil.example/"}`, text),
		"kid is a path":            forged(t, k.other, `{"alg":"RS256","kid":"../../../../dev/null"}`, text),
		"kid is a number":          forged(t, k.rsa, `{"alg":"RS256","kid":7}`, text),
		"crit":                     forged(t, k.rsa, `{"alg":"RS256","crit":["exp"]}`, text),
		"b64":                      forged(t, k.rsa, `{"alg":"RS256","b64":false,"crit":["b64"]}`, text),
		"algorithm twice":          forged(t, k.rsa, `{"alg":"RS256","alg":"none"}`, text),
		"claim twice":              forged(t, k.rsa, `{"alg":"RS256"}`, strings.Replace(text, `{`, `{"sub":"root",`, 1)),
		"claim twice, deeper":      forged(t, k.rsa, `{"alg":"RS256"}`, strings.Replace(text, `{`, `{"x":{"a":1,"a":2},`, 1)),
		"claims are a list":        forged(t, k.rsa, `{"alg":"RS256"}`, `[`+text+`]`),
		"claims and more":          forged(t, k.rsa, `{"alg":"RS256"}`, text+text),
		"claims are nothing":       forged(t, k.rsa, `{"alg":"RS256"}`, ``),
		"claims are null":          forged(t, k.rsa, `{"alg":"RS256"}`, `null`),
		"claims nested deeply":     forged(t, k.rsa, `{"alg":"RS256"}`, strings.Replace(text, `{`, `{"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`,`, 1)),
		"claims of many values":    forged(t, k.rsa, `{"alg":"RS256"}`, strings.Replace(text, `{`, `{"x":[1`+strings.Repeat(",1", jws.MaxValues)+`],`, 1)),
		"not UTF-8":                forged(t, k.rsa, `{"alg":"RS256"}`, strings.Replace(text, `alice`, "alice\xff", 1)),
		"too long":                 token(t, m{"x": strings.Repeat("x", jws.MaxToken)}),
		"another issuer":           token(t, m{"iss": "https://issuer.example.evil"}),
		"no issuer":                token(t, m{"iss": nil}),
		"issuer is a list":         token(t, m{"iss": []string{"https://issuer.example"}}),
		"padding":                  parts[0] + "=." + parts[1] + "." + parts[2],
		"line break in the header": parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2],
		"empty":                    ".",
	} {
		if a, err := s.login("r", raw); err == nil {
			t.Errorf("%s was let in: %+v", name, a)
		}
	}
}

// forged signs any text under any header.
func forged(t testing.TB, key *rsa.PrivateKey, head, claims string) string {
	t.Helper()
	signed := b64(head) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestAlgorithmsOfKeys signs by every algorithm, and wants each key to be good for its own alone.
func TestAlgorithmsOfKeys(t *testing.T) {
	k := keyring()
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]any{"RS256": k.rsa, "RS384": k.rsa, "RS512": k.rsa, "PS256": k.rsa, "PS384": k.rsa, "PS512": k.rsa,
		"ES256": k.p256, "ES384": k.p384, "ES512": p521, "EdDSA": k.ed}
	s := newSite(t)
	s.Must(api.Write, "role/r", ordinary(nil))
	all := []string{authtest.PEM(t, k.rsa.Public()), authtest.PEM(t, k.p256.Public()), authtest.PEM(t, k.p384.Public()), authtest.PEM(t, p521.Public()), authtest.PEM(t, k.ed.Public())}
	for alg, key := range keys {
		raw := authtest.Sign(t, alg, key, "", saying(nil))
		s.Must(api.Write, "config", m{"jwt_validation_pubkeys": all})
		if _, err := s.login("r", raw); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		others := []string{}
		for other := range keys {
			if other != alg {
				others = append(others, other)
			}
		}
		s.Must(api.Write, "config", m{"jwt_validation_pubkeys": all, "jwt_supported_algs": others})
		if _, err := s.login("r", raw); err == nil {
			t.Errorf("%s was let in where it is not supported", alg)
		}
	}
	for _, alg := range []string{"none", "HS256", "RS1", "rs256", ""} {
		s.Refused(api.Write, "config", m{"jwt_validation_pubkeys": all, "jwt_supported_algs": []string{alg}}, api.Invalid, "jwt_supported_algs")
	}
}
