package jws

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
)

// Key is a public key of an issuer.
type Key struct {
	ID  string `json:"kid,omitempty"`
	Alg string `json:"alg,omitempty"` // the one algorithm it is for; empty: those of its kind
	DER []byte `json:"der"`           // as in a certificate (PKIX)
}

// Public is the key as the standard library has it.
func (k Key) Public() (any, error) {
	p, err := x509.ParsePKIXPublicKey(k.DER)
	if err != nil {
		return nil, fmt.Errorf("jws: a key cannot be read: %w", err)
	}
	return p, nil
}

// ParsePEM reads a public key, or that of a certificate.
func ParsePEM(text string) (Key, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return Key{}, Wrong("is not one public key in PEM")
	}
	var public any
	var err error
	switch block.Type {
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return Key{}, Wrong("is not a public key in PEM")
	}
	return NewKey("", "", public)
}

// NewKey is a public key that can verify tokens; the name and the algorithm may be empty.
func NewKey(id, alg string, public any) (Key, error) {
	if AlgorithmsOf(public) == nil {
		return Key{}, Wrong("is of a kind or size that is not taken: RSA of %d to %d bits, P-256, P-384, P-521 or Ed25519", minRSA, maxRSA)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	return Key{ID: id, Alg: alg, DER: der}, err
}

// ParseKeys reads a set of keys (RFC 7517). Those that are not for verifying, or of kinds
// that are not taken, are left out: they are none of our business.
func ParseKeys(b []byte) ([]Key, error) {
	if _, err := api.ParseBodyWithin(b, MaxValues); err != nil {
		return nil, Wrong("the keys are not a JSON object")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, Wrong("the keys are not a set of keys")
	}
	var out []Key
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.Use == "enc" || !k.IsPublic() || len(k.KeyID) > maxKid {
			continue
		}
		if made, err := NewKey(k.KeyID, k.Algorithm, k.Key); err == nil {
			out = append(out, made)
		}
	}
	switch {
	case len(out) == 0:
		return nil, Wrong("there is no key among them that could verify a token")
	case len(out) > MaxKeys:
		return nil, Wrong("there are more than %d keys", MaxKeys)
	}
	return out, nil
}
