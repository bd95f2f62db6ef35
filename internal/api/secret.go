package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that must not be seen: a token, a password, key material.
// It prints as [redacted] in every verb and marshaller; Reveal, which can be
// searched for, is the one way to its text.
type Secret struct {
	_    [0]func() // == does not compile: it would take as long as the texts agree
	text string
}

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal is the secret's text.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

// Len is the length of the text, in bytes.
func (s Secret) Len() int { return len(s.text) }

// Equal compares in constant time (for texts of one length).
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.text), []byte(o.text)) == 1
}

// String is [redacted].
func (s Secret) String() string { return redacted }

// GoString is [redacted].
func (s Secret) GoString() string { return redacted }

// Format prints [redacted] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText is [redacted].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue is [redacted].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Disclosed is a secret that an answer hands to its caller, such as a token's
// own text or a generated key. It is written to the wire as it is, and hashed in
// the audit log; a request never carries one.
type Disclosed string

// Disclose lets a secret out in an answer.
func (s Secret) Disclose() Disclosed { return Disclosed(s.text) }

// String is [redacted]: only the wire shows the text.
func (d Disclosed) String() string { return redacted }

// GoString is [redacted].
func (d Disclosed) GoString() string { return redacted }

// Format prints [redacted] for every verb.
func (d Disclosed) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue is [redacted].
func (d Disclosed) LogValue() slog.Value { return slog.StringValue(redacted) }

// Digest is the keyed hash of a secret (HMAC-SHA-256) as hexadecimal text: what is
// kept in place of one that must be recognised, and need not be read again.
func Digest(key []byte, s Secret) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s.text))
	return hex.EncodeToString(m.Sum(nil))
}
