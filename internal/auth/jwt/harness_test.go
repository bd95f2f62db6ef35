package jwt

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// site is a mount of the method to send requests to, as the gate does.
type site struct {
	ctx context.Context // of requests; nil: one that does not end
	testing.TB
	engine api.Engine
	router *api.Router
	store  store.Store
	now    time.Time
	remote netip.Addr
}

func newSite(t testing.TB) *site {
	t.Helper()
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{TB: t, engine: e, router: r, store: s, now: epoch, remote: netip.MustParseAddr("192.0.2.1")}
}

// twin is another node on the same store.
func (s *site) twin() *site {
	t := *s
	return &t
}

func (s *site) call() *api.Call {
	ctx := s.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	return &api.Call{Context: ctx, Store: s.store, Now: s.now, Remote: s.remote, Namespace: api.Namespace{ID: "root"},
		Mount: api.Mount{ID: "m", Path: "auth/jwt/", Type: "jwt"}}
}

// do sends a request whose parameters are a Go value, or JSON text.
func (s *site) do(op api.Op, path string, params any) (any, error) {
	s.Helper()
	raw, ok := params.(string)
	if !ok && params != nil {
		b, err := json.Marshal(params)
		if err != nil {
			s.Fatal(err)
		}
		raw = string(b)
	}
	m, err := s.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	body, err := api.ParseBody([]byte(raw))
	if err != nil {
		return nil, err
	}
	req, _, err := m.Endpoint.Decode(&m, body)
	if err != nil {
		return nil, err
	}
	return m.Endpoint.Invoke(s.call(), req)
}

// must is do for what has to succeed.
func (s *site) must(op api.Op, path string, params any) any {
	s.Helper()
	v, err := s.do(op, path, params)
	if err != nil {
		s.Fatalf("%v %s: %v", op, path, err)
	}
	return v
}

// refused wants a request to be refused with a message.
func (s *site) refused(op api.Op, path string, params any, kind api.Kind, says string) {
	s.Helper()
	v, err := s.do(op, path, params)
	if err == nil || api.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		s.Errorf("%v %s: %v, %v; want %v that says %q", op, path, v, err, kind, says)
	}
}

func (s *site) login(role, token string) (*api.Auth, error) {
	s.Helper()
	v, err := s.do(api.Write, "login", m{"role": role, "jwt": token})
	if err != nil {
		return nil, err
	}
	return v.(*api.Auth), nil
}

type m = map[string]any

// ring are keys of issuers, made once: an RSA key takes its time.
type ring struct {
	rsa, other *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}

var keyring = sync.OnceValue(func() *ring {
	var r ring
	var err error
	must := func() {
		if err != nil {
			panic(err)
		}
	}
	r.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must()
	r.other, err = rsa.GenerateKey(rand.Reader, 2048)
	must()
	r.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must()
	r.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must()
	_, r.ed, err = ed25519.GenerateKey(rand.Reader)
	must()
	return &r
})

func pemOf(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign makes a token of claims, which may be JSON text.
func sign(t testing.TB, alg string, key any, kid string, what any) string {
	t.Helper()
	raw, ok := what.(string)
	if !ok {
		b, err := json.Marshal(what)
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

// saying are the claims of an ordinary token, with changes; a nil takes one away.
func saying(changes m) m {
	out := m{"iss": "https://issuer.example", "sub": "alice", "aud": "strongroom", "iat": epoch.Unix(), "exp": epoch.Add(5 * time.Minute).Unix()}
	for k, v := range changes {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

// token is an ordinary token, with changes.
func token(t testing.TB, changes m) string {
	t.Helper()
	return sign(t, "RS256", keyring().rsa, "", saying(changes))
}

// static is a site with the RSA key and a role.
func static(t testing.TB, role m) *site {
	t.Helper()
	s := newSite(t)
	s.must(api.Write, "config", m{"jwt_validation_pubkeys": []string{pemOf(t, keyring().rsa.Public())}, "bound_issuer": "https://issuer.example"})
	s.must(api.Write, "role/r", ordinary(role))
	return s
}

// with is an ordinary role, with changes.
func ordinary(changes m) m {
	out := m{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom", "token_policies": "dev"}
	for k, v := range changes {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}
