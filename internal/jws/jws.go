// Package jws verifies signed tokens (RFC 7515, RFC 7519) that others have issued: which keys and
// algorithms are taken, what a header may say, and a token's times. It knows neither where keys come
// from nor whom a token lets in; it keeps nothing and asks nobody.
package jws

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Bounds of what issuers and those who log in say.
const (
	MaxToken  = 32 << 10 // of a token, in bytes
	MaxValues = 5000     // of a token's claims, or of an issuer's answer
	MaxKeys   = 100      // of an issuer
	maxKid    = 512      // of a key's name, in bytes
)

// Fault is why a token or a key is not taken, in words that may be told.
type Fault string

// Error is the words.
func (f Fault) Error() string { return string(f) }

// Wrong is a Fault.
func Wrong(format string, args ...any) error { return Fault(fmt.Sprintf(format, args...)) }

// Read verifies a token by some keys, and answers what it says. The algorithm is one of those allowed.
func Read(raw string, keys []Key, allowed []string) (Claims, error) {
	raw = strings.TrimSpace(raw)
	h, err := HeaderOf(raw)
	if err != nil {
		return nil, err
	}
	payload, err := Verify(raw, h, Candidates(keys, h.Kid), allowed)
	if err != nil {
		return nil, err
	}
	return ParseClaims(payload)
}

// Unverified is what a token says before anybody has checked it: good for choosing whom to ask
// about it, and for nothing else.
func Unverified(raw string) (Claims, error) {
	raw = strings.TrimSpace(raw)
	if _, err := HeaderOf(raw); err != nil {
		return nil, err
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		return nil, errForm
	}
	return ParseClaims(b)
}
