package wrapping_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// address is where the node of world is reached.
const address = "https://vault.example:8200"

// asJWT asks that what a call wraps get a token in JWT form.
func asJWT(c *api.Call) *api.Call {
	c.WrapJWT = true
	return c
}

func (w *world) wrapJWT(a *api.Answer, ttl time.Duration) *api.WrapInfo {
	w.t.Helper()
	info, err := w.s.Wrap(asJWT(w.call(token.RootNamespace, api.Secret{}, ttl)), "secret/data/app", a)
	w.must(err)
	return info
}

// part is a part of a JWT as it is read.
func (w *world) part(info *api.WrapInfo, n int) map[string]any {
	w.t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(info.Token.Reveal(), ".")[n])
	w.must(err)
	out := map[string]any{}
	w.must(json.Unmarshal(b, &out))
	return out
}

// TestJWT takes answers out by a token in JWT form, shown and named, which can be
// looked up and exchanged as any other.
func TestJWT(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, shown := range []bool{true, false} {
			info := w.wrapJWT(small(1), time.Minute)
			header, c := w.part(info, 0), w.part(info, 1)
			inner, isText := c["jti"].(string)
			if !isText || !maps.Equal(header, map[string]any{"alg": "ES512", "typ": "JWT"}) {
				t.Fatalf("header %v, claims %v", header, c)
			}
			now := float64(time.Now().Unix())
			if want := map[string]any{"accessor": info.Accessor, "addr": address, "iat": now, "exp": now + 60, "jti": inner, "type": "wrapping"}; !maps.Equal(c, want) {
				t.Errorf("claims %v, want %v", c, want)
			}
			look, err := w.s.LookupSelf(w.call(token.RootNamespace, info.Token, 0), &api.None{})
			w.must(err)
			if look.CreationPath != "secret/data/app" {
				t.Errorf("%+v", look)
			}
			next, err := w.s.Rewrap(asJWT(w.call(token.RootNamespace, info.Token, 0)), &wrapping.TokenRequest{})
			w.must(err)
			if w.part(next, 1)["type"] != "wrapping" {
				t.Error("exchanged for another form")
			}
			_, err = w.unwrap(info.Token, shown)
			w.refuses(err)
			a, err := w.unwrap(next.Token, shown)
			w.must(err)
			if string(a.Data) != string(small(1).Data) {
				t.Errorf("got %s", a.Data)
			}
			_, err = w.unwrap(next.Token, shown)
			w.refuses(err)
			inside := w.wrapJWT(small(2), time.Minute)
			_, err = w.unwrap(api.NewSecret(w.part(inside, 1)["jti"].(string)), shown) // it is the token
			w.must(err)
		}
		w.nothing()
	})
}

// TestJWTEnds at the moment when its token does, and not before.
func TestJWTEnds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		time.Sleep(900 * time.Millisecond) // seconds of a JWT are whole
		info, late := w.wrapJWT(small(1), time.Second), w.wrapJWT(small(2), time.Second)
		time.Sleep(999 * time.Millisecond)
		_, err := w.unwrap(info.Token, false)
		w.must(err)
		time.Sleep(time.Millisecond)
		_, err = w.unwrap(late.Token, false)
		w.refuses(err)
	})
}

// TestJWTOneOfManyGetsIt races callers with one JWT, and its inner token.
func TestJWTOneOfManyGetsIt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 5 {
			info := w.wrapJWT(small(i), time.Minute)
			inner := api.NewSecret(w.part(info, 1)["jti"].(string))
			n := race(t, w, info.Token, func(ready *sync.WaitGroup) bool {
				ready.Done()
				ready.Wait()
				text := info.Token
				if i%2 == 1 {
					text = inner
				}
				_, err := w.unwrap(text, i%3 == 0)
				return err == nil
			})
			if n != 1 {
				t.Fatalf("%d of 64 got the answer", n)
			}
			w.nothing()
		}
	})
}

// TestJWTOfManyNodes makes the first tokens of a cluster at once on several nodes:
// each node takes the tokens of all, and so does one that starts later.
func TestJWTOfManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := mem.Open()
		nodes := []*world{newWorld(t, disk)}
		for range 3 {
			nodes = append(nodes, newWorld(t, disk))
		}
		made := make([]*api.WrapInfo, 8)
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() {
				w := nodes[i%len(nodes)]
				var err error
				if made[i], err = w.s.Wrap(asJWT(w.call(token.RootNamespace, api.Secret{}, time.Minute)), "p", small(i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		nodes = append(nodes, newWorld(t, disk))
		for i, info := range made {
			for _, w := range nodes {
				_, err := w.s.LookupSelf(w.call(token.RootNamespace, info.Token, 0), &api.None{})
				w.must(err)
			}
			_, err := nodes[(i+1)%len(nodes)].unwrap(info.Token, false)
			nodes[0].must(err)
		}
	})
}

// forge is a JWT made by hand.
func forge(header, payload string, sign func(input string) []byte) string {
	e := base64.RawURLEncoding.EncodeToString
	input := e([]byte(header)) + "." + e([]byte(payload))
	return input + "." + e(sign(input))
}

// es512 signs as RFC 7518, section 3.4.
func es512(t *testing.T, key *ecdsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha512.Sum512([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 66)), s.FillBytes(make([]byte, 66))...)
	}
}

func mac(h func() hash.Hash, key []byte) func(string) []byte {
	return func(input string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(input))
		return m.Sum(nil)
	}
}

// stored is the key of the cluster.
func (w *world) stored() *ecdsa.PrivateKey {
	w.t.Helper()
	e, err := w.bar.Get(context.Background(), "root/wrapping-jwt/key")
	w.must(err)
	key, err := x509.ParsePKCS8PrivateKey(e.Value)
	w.must(err)
	return key.(*ecdsa.PrivateKey)
}

// forgeries are what is not to be taken for a wrapping token that has the payload,
// and without a name, what is.
func forgeries(t *testing.T, w *world, payload string) map[string]string {
	key := w.stored()
	other, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	w.must(err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	w.must(err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	none := func(string) []byte { return nil }
	const usual = `{"alg":"ES512","typ":"JWT"}`
	e := base64.RawURLEncoding
	x, y := e.EncodeToString(other.X.FillBytes(make([]byte, 66))), e.EncodeToString(other.Y.FillBytes(make([]byte, 66)))
	jwk := `{"kty":"EC","crv":"P-521","x":"` + x + `","y":"` + y + `"}`
	with := func(name, value string) string {
		c := map[string]json.RawMessage{}
		w.must(json.Unmarshal([]byte(payload), &c))
		if delete(c, name); value != "" {
			c[name] = json.RawMessage(value)
		}
		members := make([]string, 0, len(c))
		for k, v := range c {
			members = append(members, fmt.Sprintf("%q:%s", k, v))
		}
		return forge(usual, "{"+strings.Join(members, ",")+"}", es512(t, key))
	}
	good := forge(usual, payload, es512(t, key))
	past := fmt.Sprint(time.Now().Unix() - 1)
	return map[string]string{
		"":                     good, // the control
		"none":                 forge(`{"alg":"none"}`, payload, none),
		"None":                 forge(`{"alg":"NONE","typ":"JWT"}`, payload, none),
		"no algorithm":         forge(`{"typ":"JWT"}`, payload, es512(t, key)),
		"no signature":         forge(usual, payload, none),
		"HS256 of public DER":  forge(`{"alg":"HS256"}`, payload, mac(sha256.New, der)),
		"HS256 of public PEM":  forge(`{"alg":"HS256"}`, payload, mac(sha256.New, public)),
		"HS512 of public PEM":  forge(`{"alg":"HS512"}`, payload, mac(sha512.New, public)),
		"HS256 of nothing":     forge(`{"alg":"HS256"}`, payload, mac(sha256.New, nil)),
		"ES384 named":          forge(`{"alg":"ES384"}`, payload, es512(t, key)),
		"another key":          forge(usual, payload, es512(t, other)),
		"its own key":          forge(`{"alg":"ES512","jwk":`+jwk+`}`, payload, es512(t, other)),
		"key by name":          forge(`{"alg":"ES512","kid":"../../../dev/null"}`, payload, es512(t, other)),
		"key by address":       forge(`{"alg":"ES512","jku":"http://127.0.0.1:1/"}`, payload, es512(t, other)),
		"critical":             forge(`{"alg":"ES512","crit":["strange"],"strange":1}`, payload, es512(t, key)),
		"two algorithms":       forge(`{"alg":"none","alg":"ES512"}`, payload, es512(t, key)),
		"zeroes":               forge(usual, payload, func(string) []byte { return make([]byte, 132) }),
		"expired":              with("exp", past),
		"wrong type":           with("type", `"access"`),
		"no type":              with("type", ""),
		"no end":               with("exp", ""),
		"no token":             with("jti", ""),
		"end as text":          with("exp", `"never"`),
		"end beyond counting":  with("exp", "1e400"),
		"changed payload":      strings.Replace(good, ".", ".e", 1),
		"cut short":            good[:len(good)-4],
		"longer":               good + "AAAA",
		"three more parts":     good + "." + good,
		"encrypted":            "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJwMmMiOjIxNDc0ODM2NDh9.AAAA.AAAA.AAAA.AAAA",
		"PBES2 of 2^31 rounds": forge(`{"alg":"PBES2-HS256+A128KW","p2c":2147483648,"p2s":"AAAA","enc":"A128GCM"}`, payload, none),
		"compressed":           forge(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, payload, none),
		"a million dots":       "eyJ" + strings.Repeat(".", 1<<20),
		"a million and two":    "eyJ" + strings.Repeat("A", 1<<20) + ".AAAA.AAAA",
		"long, rightly signed": with("pad", `"`+strings.Repeat("x", wrapping.MaxJWT)+`"`),
		"deep":                 "eyJ" + e.EncodeToString([]byte(strings.Repeat(`{"a":`, 700)))[3:] + ".AAAA.AAAA",
		"no parts":             "eyJ..",
		"wrong base64":         "eyJ=.=.=",
		"claims are no object": forge(usual, `[1]`, es512(t, key)),
		"claims are not JSON":  forge(usual, `{`, es512(t, key)),
		"header is not JSON":   "eyJhbGci.AAAA.AAAA",
		"nested":               forge(`{"alg":"ES512","cty":"JWT"}`, good, es512(t, key)),
	}
}

// TestJOSEClass is the class of CVE-2016-9122, CVE-2024-51744, CVE-2025-30204,
// CVE-2025-27144, CVE-2024-28180, GHSA-2c7c-3mj9-8fqh and CVE-2026-34986: a
// signature of another kind is believed, an error of checking it is overlooked, and
// a header costs memory, time or a crash. Nothing of it opens what a real one opens
// afterwards, nor costs more than a few hundred KiB.
func TestJOSEClass(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		c := w.part(w.wrapJWT(small(1), time.Minute), 1)
		b, err := json.Marshal(c)
		w.must(err)
		forged := forgeries(t, w, string(b))
		real := forged[""]
		delete(forged, "")
		for name, text := range forged {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, shown := range []bool{true, false} {
				if _, err := w.unwrap(api.NewSecret(text), shown); api.KindOf(err) != api.Invalid || err.Error() != refusal {
					t.Errorf("%s: %v", name, err)
				}
			}
			runtime.ReadMemStats(&after)
			if most := uint64(len(text) + 1<<19); after.TotalAlloc-before.TotalAlloc > 2*most {
				t.Errorf("%s took %d bytes", name, after.TotalAlloc-before.TotalAlloc)
			}
		}
		a, err := w.unwrap(api.NewSecret(real), false) // control
		w.must(err)
		if string(a.Data) != string(small(1).Data) {
			t.Errorf("got %s", a.Data)
		}
	})
}

// TestJWTBeforeAnyKey asks a cluster that has made none: no key is made for it.
func TestJWTBeforeAnyKey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		w.must(err)
		_, err = w.unwrap(api.NewSecret(forge(`{"alg":"ES512"}`, `{"type":"wrapping","exp":9999999999,"jti":"x"}`, es512(t, key))), true)
		w.refuses(err)
		w.nothing()
		if e, err := w.bar.Get(t.Context(), "root/wrapping-jwt/key"); err != nil || e.Exists() {
			t.Errorf("a stranger had a key made: %v", err)
		}
	})
}

// FuzzJWT shows anything as a wrapping token: only the one that was made opens
// what it stands for, and everything else is refused in one way.
func FuzzJWT(f *testing.F) {
	w := newWorld(f, mem.Open())
	info := w.wrapJWT(small(1), time.Hour)
	right := info.Token.Reveal()
	for _, s := range []string{right, right[:len(right)-1], "eyJ..", "eyJhbGciOiJub25lIn0.e30.", strings.Replace(right, ".", "..", 1), right + "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := w.s.Lookup(w.call(token.RootNamespace, api.Secret{}, 0), &wrapping.TokenRequest{Token: api.NewSecret(text)})
		switch {
		case text == "" || text == right:
		case err == nil:
			if a, b := strings.Split(text, "."), strings.Split(right, "."); len(a) != 3 || a[0] != b[0] || a[1] != b[1] {
				t.Errorf("%q opens it", text)
			}
		case api.KindOf(err) != api.Invalid || err.Error() != refusal:
			t.Errorf("%q: %v", text, err)
		}
	})
}
