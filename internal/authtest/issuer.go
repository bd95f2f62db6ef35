package authtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// pair makes the two keys, once: each takes its time.
var pair = sync.OnceValues(func() ([2]*rsa.PrivateKey, error) {
	one, err := rsa.GenerateKey(rand.Reader, 2048)
	other, err2 := rsa.GenerateKey(rand.Reader, 2048)
	return [2]*rsa.PrivateKey{one, other}, errors.Join(err, err2)
})

// Keys are two RSA keys, the same in all tests of a program.
func Keys() (one, other *rsa.PrivateKey, err error) {
	keys, err := pair()
	return keys[0], keys[1], err
}

// Key is one of the two keys: 0 or 1.
func Key(t testing.TB, which int) *rsa.PrivateKey {
	t.Helper()
	keys, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	return keys[which]
}

// Sign makes a token of claims, which may be JSON text. An empty kid names no key.
func Sign(t testing.TB, alg string, key any, kid string, claims any) string {
	t.Helper()
	raw, ok := claims.(string)
	if !ok {
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(b)
	}
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// KeySet is how keys are shown, by their names.
func KeySet(keys map[string]crypto.PublicKey) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for kid, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: kid, Key: k, Use: "sig"})
	}
	return set
}

// PEM is a public key as text.
func PEM(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// CA is the certificate of a server by TLS, as text.
func CA(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// JSON answers a request. Who asked may have gone away.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return
	}
}

// Issuer shows keys over HTTP, at /keys, and says there are at /.well-known/openid-configuration. /away leads to them, too.
type Issuer struct {
	*httptest.Server

	mu    sync.Mutex
	state State
	asked map[string]int
}

// State is what an issuer answers.
type State struct {
	Keys  map[string]crypto.PublicKey // by kid
	Down  bool                        // answers so, but that it is out of order
	Name  string                      // what it calls itself; empty: its address
	JWKS  string                      // where it says that its keys are; empty: where they are
	Raw   []byte                      // in place of the keys
	While func()                      // runs while it answers
}

// Publish starts an issuer, by TLS.
func Publish(t testing.TB, keys map[string]crypto.PublicKey) *Issuer {
	t.Helper()
	p := &Issuer{state: State{Keys: keys}, asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

// Change changes what the issuer answers.
func (p *Issuer) Change(fn func(*State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.state)
}

// Asked is how often a path was asked for.
func (p *Issuer) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// CA is the certificate of the issuer's server.
func (p *Issuer) CA() string { return CA(p.Server) }

// ServeHTTP answers.
func (p *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	now := p.state
	p.mu.Unlock()
	if now.Name == "" {
		now.Name = p.URL
	}
	if now.JWKS == "" {
		now.JWKS = p.URL + "/keys"
	}
	if now.While != nil {
		now.While()
	}
	status := http.StatusOK
	if now.Down {
		status = http.StatusInternalServerError
	}
	switch {
	case r.URL.Path == "/away":
		http.Redirect(w, r, "/keys", http.StatusFound)
	case r.URL.Path == "/keys" && now.Raw != nil:
		if _, err := w.Write(now.Raw); err != nil {
			return
		}
	case r.URL.Path == "/keys":
		JSON(w, status, KeySet(now.Keys))
	case r.URL.Path == "/.well-known/openid-configuration":
		JSON(w, status, Fields{"issuer": now.Name, "jwks_uri": now.JWKS})
	default:
		http.NotFound(w, r)
	}
}
