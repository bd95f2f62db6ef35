package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
)

// Sizes of RSA keys that are taken, in bits: RFC 7518 3.3 wants at least so many, and larger ones
// cost more to try than any issuer has reason for.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Algorithms are what a token may be signed with: signatures by a private key
// alone. With a secret that is shared, a public key could be taken for the secret.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// AlgorithmsOf are the algorithms that a public key can verify; none for a key
// that is not taken. An issuer that names another for the key is not believed.
func AlgorithmsOf(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA && k.E >= 3 {
			return Algorithms()[:6]
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return []string{"EdDSA"}
		}
	}
	return nil
}

// errForm is why something is no token that could be looked at.
var errForm = Wrong("it is not a signed token in compact form")

// Header is what a token says of how it is signed.
type Header struct {
	Alg string
	Kid string // which key; empty: it does not say
}

// HeaderOf reads the first part of a token. What else stands there, such as keys
// and addresses of keys, is not looked at.
func HeaderOf(raw string) (Header, error) {
	if len(raw) > MaxToken {
		return Header{}, Wrong("it is longer than %d bytes", MaxToken)
	}
	first, rest, _ := strings.Cut(raw, ".")
	if strings.Count(rest, ".") != 1 || strings.ContainsFunc(raw, foreign) {
		return Header{}, errForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return Header{}, errForm
	}
	body, err := api.ParseBodyWithin(b, 200)
	if err != nil {
		return Header{}, errForm
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if body.Get(name) != nil {
			return Header{}, Wrong("its header wants what is not known here")
		}
	}
	claims, err := ParseClaims(b)
	if err != nil {
		return Header{}, errForm
	}
	var h Header
	var okAlg, okKid bool
	h.Alg, okAlg = claims["alg"].(string)
	if h.Kid, okKid = claims["kid"].(string); !okAlg || !okKid && claims["kid"] != nil {
		return Header{}, errForm
	}
	return h, nil
}

// foreign reports whether a character has no place in a token (RFC 7515 2: base64url, without line breaks).
func foreign(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// Candidates are the keys that may have signed a token: those it names, or all when it
// names none, or none of the keys has a name.
func Candidates(keys []Key, kid string) []Key {
	named := slices.ContainsFunc(keys, func(k Key) bool { return k.ID != "" })
	if kid == "" || !named {
		return keys
	}
	var out []Key
	for _, k := range keys {
		if k.ID == kid {
			out = append(out, k)
		}
	}
	return out
}

// ErrSignature is for a token that none of the keys has signed.
var ErrSignature = Wrong("it is signed by no key of the issuer")

// Verify checks a token's signature and answers what it signs. The algorithm is one that is
// allowed, and that the key is for.
func Verify(raw string, h Header, keys []Key, allowed []string) ([]byte, error) {
	if !slices.Contains(allowed, h.Alg) || !slices.Contains(Algorithms(), h.Alg) {
		return nil, Wrong("it is signed by an algorithm that is not allowed")
	}
	alg := jose.SignatureAlgorithm(h.Alg)
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{alg})
	if err != nil || len(signed.Signatures) != 1 || signed.Signatures[0].Protected.Algorithm != h.Alg {
		return nil, errForm
	}
	for _, k := range keys {
		if k.Alg != "" && k.Alg != h.Alg {
			continue
		}
		public, err := k.Public()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(AlgorithmsOf(public), h.Alg) {
			continue
		}
		if payload, err := signed.Verify(public); err == nil {
			return payload, nil
		}
	}
	return nil, ErrSignature
}
