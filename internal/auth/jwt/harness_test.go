package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// site is a mount of the method to send requests to, as the gate does.
type site struct{ *authtest.Mount }

func newSite(t testing.TB) *site { return &site{authtest.Open(t, Engine)} }

// twin is another node on the same store.
func (s *site) twin() *site { return &site{s.Twin()} }

func (s *site) login(role, token string) (*api.Auth, error) {
	s.Helper()
	return s.Login("login", m{"role": role, "jwt": token})
}

type m = authtest.Fields

// ring are keys of issuers, made once.
type ring struct {
	rsa, other *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}

var keyring = sync.OnceValue(func() *ring {
	one, other, err := authtest.Keys()
	p256, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err3 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, err4 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		panic(err)
	}
	return &ring{one, other, p256, p384, ed}
})

// saying are the claims of an ordinary token, with changes; a nil takes one away.
func saying(changes m) m {
	return authtest.Changed(m{"iss": "https://issuer.example", "sub": "alice", "aud": "strongroom", "iat": authtest.Epoch.Unix(), "exp": authtest.Epoch.Add(5 * time.Minute).Unix()}, changes)
}

// token is an ordinary token, with changes.
func token(t testing.TB, changes m) string {
	t.Helper()
	return authtest.Sign(t, "RS256", keyring().rsa, "", saying(changes))
}

// static is a site with the RSA key and a role.
func static(t testing.TB, role m) *site {
	t.Helper()
	s := newSite(t)
	s.Must(api.Write, "config", m{"jwt_validation_pubkeys": []string{authtest.PEM(t, keyring().rsa.Public())}, "bound_issuer": "https://issuer.example"})
	s.Must(api.Write, "role/r", ordinary(role))
	return s
}

// ordinary is an ordinary role, with changes.
func ordinary(changes m) m {
	return authtest.Changed(m{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom", "token_policies": "dev"}, changes)
}
