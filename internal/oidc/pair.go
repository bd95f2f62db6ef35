package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// algorithms are those that keys can be of (RFC 7518, RFC 8037).
var algorithms = [...]jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// rsaBits is the size of RSA keys.
const rsaBits = 2048

// pair is a key that signs.
type pair struct {
	ID  string `json:"kid"`
	Alg string `json:"alg"`
	DER []byte `json:"der"` // PKCS #8
}

// public is the half of a pair that all may know.
type public struct {
	ID    string    `json:"kid"`
	Alg   string    `json:"alg"`
	DER   []byte    `json:"der"`            // PKIX
	Until time.Time `json:"until,omitzero"` // what it has signed counts until then; zero: it signs, or will
}

// newPair makes a key of an algorithm.
func newPair(alg string) (pair, public, error) {
	key, err := generate(jose.SignatureAlgorithm(alg))
	if err != nil {
		return pair{}, public{}, fmt.Errorf("oidc: making a key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, public{}, fmt.Errorf("oidc: encoding a key: %w", err)
	}
	open, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return pair{}, public{}, fmt.Errorf("oidc: encoding a key: %w", err)
	}
	id := api.NewUUID()
	return pair{id, alg, private}, public{ID: id, Alg: alg, DER: open}, nil
}

func generate(alg jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// signer signs with the pair.
func (p pair) signer() (jose.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(p.DER)
	if err != nil {
		return nil, fmt.Errorf("oidc: a key cannot be read: %w", store.ErrCorrupt)
	}
	signing := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(p.Alg), Key: jose.JSONWebKey{Key: key, KeyID: p.ID}}
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("oidc: a key cannot sign: %w", err)
	}
	return signer, nil
}

// live reports whether what the key has signed, or may sign, counts.
func (p *public) live(now time.Time) bool { return p.Until.IsZero() || now.Before(p.Until) }

// web is the key as it is published (RFC 7517).
func (p *public) web() (jose.JSONWebKey, error) {
	key, err := x509.ParsePKIXPublicKey(p.DER)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("oidc: a public key cannot be read: %w", store.ErrCorrupt)
	}
	return jose.JSONWebKey{Key: key, KeyID: p.ID, Algorithm: p.Alg, Use: "sig"}, nil
}
