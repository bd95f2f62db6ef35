package jwt

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

// algorithms are what a token may be signed with: signatures by a private key
// alone. With a secret that is shared, a public key could be taken for the secret.
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// algorithmsOf are the algorithms that a public key can verify; none for a key
// that is not taken. An issuer that names another for the key is not believed.
func algorithmsOf(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA && k.E >= 3 {
			return algorithms()[:6]
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
var errForm = wrong("it is not a signed token in compact form")

// header is what a token says of how it is signed.
type header struct {
	alg string
	kid string // which key; empty: it does not say
}

// headerOf reads the first part of a token. What else stands there, such as keys
// and addresses of keys, is not looked at.
func headerOf(raw string) (header, error) {
	if len(raw) > maxToken {
		return header{}, wrong("it is longer than %d bytes", maxToken)
	}
	first, rest, _ := strings.Cut(raw, ".")
	if strings.Count(rest, ".") != 1 || strings.ContainsFunc(raw, foreign) {
		return header{}, errForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return header{}, errForm
	}
	body, err := api.ParseBodyWithin(b, 200)
	if err != nil {
		return header{}, errForm
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if body.Get(name) != nil {
			return header{}, wrong("its header wants what is not known here")
		}
	}
	claims, err := parseClaims(b)
	if err != nil {
		return header{}, errForm
	}
	var h header
	var okAlg, okKid bool
	h.alg, okAlg = claims["alg"].(string)
	if h.kid, okKid = claims["kid"].(string); !okAlg || !okKid && claims["kid"] != nil {
		return header{}, errForm
	}
	return h, nil
}

// foreign reports whether a character has no place in a token (RFC 7515 2: base64url, without line breaks).
func foreign(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// candidates are the keys that may have signed a token: those it names, or all when it
// names none, or none of the keys has a name.
func candidates(keys []key, kid string) []key {
	named := slices.ContainsFunc(keys, func(k key) bool { return k.ID != "" })
	if kid == "" || !named {
		return keys
	}
	var out []key
	for _, k := range keys {
		if k.ID == kid {
			out = append(out, k)
		}
	}
	return out
}

// errSignature is for a token that none of the keys has signed.
var errSignature = wrong("it is signed by no key of the issuer")

// verify checks a token's signature and answers what it signs. The algorithm is one that is
// allowed, and that the key is for.
func verify(raw string, h header, keys []key, allowed []string) ([]byte, error) {
	if !slices.Contains(allowed, h.alg) || !slices.Contains(algorithms(), h.alg) {
		return nil, wrong("it is signed by an algorithm that is not allowed")
	}
	alg := jose.SignatureAlgorithm(h.alg)
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{alg})
	if err != nil || len(signed.Signatures) != 1 || signed.Signatures[0].Protected.Algorithm != h.alg {
		return nil, errForm
	}
	for _, k := range keys {
		if k.Alg != "" && k.Alg != h.alg {
			continue
		}
		public, err := k.public()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(algorithmsOf(public), h.alg) {
			continue
		}
		if payload, err := signed.Verify(public); err == nil {
			return payload, nil
		}
	}
	return nil, errSignature
}
