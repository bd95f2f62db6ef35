package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign makes a token by the RSA key named one.
func sign(t testing.TB, key *rsa.PrivateKey, claims string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWhichKey has a token that names a key verified by that one alone, and by any where keys have no names.
func TestWhichKey(t *testing.T) {
	right, other := rsaKey(t, 2048), rsaKey(t, 2048)
	raw := sign(t, right, `{"sub":"a"}`)
	for name, c := range map[string]struct {
		id, alg string
		key     *rsa.PrivateKey
		takes   bool
	}{
		"that one": {"one", "RS256", right, true}, "of no name": {"", "", right, true}, "of another name": {"two", "", right, false},
		"for another algorithm": {"one", "RS384", right, false}, "another of that name": {"one", "", other, false},
	} {
		k, err := NewKey(c.id, c.alg, c.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if said, err := Read(" "+raw+"\n", []Key{k}, Algorithms()); (err == nil) != c.takes || c.takes && said.Text("sub") != "a" {
			t.Errorf("%s: %v, %v", name, said, err)
		}
		if _, err := Read(raw, []Key{k}, []string{"PS256"}); err == nil {
			t.Errorf("%s: an algorithm that is not allowed is taken", name)
		}
	}
}

// TestRFC7515Examples verifies the examples of the RFC's appendix A with their own keys.
func TestRFC7515Examples(t *testing.T) {
	const rs256 = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
		"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	const es256 = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
		"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	keys, err := ParseKeys([]byte(`{"keys":[
		{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},
		{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, raw := range []string{rs256, es256} {
		h, err := HeaderOf(raw)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Read(raw, keys, Algorithms())
		if err != nil || c.Text("iss") != "joe" || c["http://example.com/is_root"] != true {
			t.Errorf("%s: %v, %v", h.Alg, c, err)
		}
		if _, err := Verify(raw[:len(raw)-4]+"AAAA", h, keys, Algorithms()); err == nil {
			t.Errorf("%s: another signature is taken", h.Alg)
		}
		if err := (Leeways{}).Valid(c, epoch); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("%s: of the year 2011: %v", h.Alg, err)
		}
		if err := (Leeways{}).Valid(c, time.Unix(1300819380, 0).Add(-time.Minute)); err != nil {
			t.Errorf("%s: in its time: %v", h.Alg, err)
		}
	}
}

func TestKeysThatAreNotTaken(t *testing.T) {
	small := rsaKey(t, 1024)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pemOf(t, rsaKey(t, 2048).Public())
	for name, text := range map[string]string{"small": pemOf(t, small.Public()), "P-224": pemOf(t, p224.Public()), "two": good + good, "none": "x", "other": strings.ReplaceAll(good, "PUBLIC", "PRIVATE")} {
		k, err := ParsePEM(text)
		if err == nil && name != "other" {
			t.Errorf("%s is taken: %+v", name, k)
		}
	}
	for name, set := range map[string]string{
		"secret":        `{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}]}`,
		"twice":         `{"keys":[],"keys":[]}`,
		"no list":       `{"keys":{}}`,
		"none":          `{}`,
		"not an object": `[]`,
	} {
		if k, err := ParseKeys([]byte(set)); err == nil {
			t.Errorf("%s: %+v", name, k)
		}
	}
}

// FuzzToken has any text taken for a token: none is signed by our key but by it.
func FuzzToken(f *testing.F) {
	private := rsaKey(f, 2048)
	public, err := NewKey("one", "", private.Public())
	if err != nil {
		f.Fatal(err)
	}
	good := sign(f, private, `{"sub":"alice"}`)
	payload := strings.Split(good, ".")[1]
	f.Add(good)
	f.Add(b64(`{"alg":"none"}`) + "." + payload + ".")
	f.Add(b64(`{"alg":"RS256","crit":[]}`) + "." + payload + ".AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := HeaderOf(raw)
		if err != nil {
			return
		}
		if _, err := Verify(raw, h, []Key{public}, Algorithms()); err == nil && strings.Split(raw, ".")[1] != payload {
			t.Errorf("%q is let in", raw)
		}
	})
}

// FuzzKeys reads any set of keys and keeps none that could not verify.
func FuzzKeys(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys([]byte(text))
		if err != nil {
			return
		}
		for _, k := range keys {
			public, err := k.Public()
			if err != nil || AlgorithmsOf(public) == nil {
				t.Errorf("a key that verifies nothing is kept: %v", err)
			}
		}
	})
}
