package seal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// The form of a share, 45 bytes, so that it is 60 characters of base64 without
// padding, or 90 of hexadecimal:
//
//	version 1 B | set id 5 B | threshold 1 B | index 1 B | x 1 B | y 32 B | checksum 4 B
//
// The checksum is the beginning of the SHA-256 of what is before it; it finds
// slips of the hand, not of the mind: commitments in the slot do that.
const (
	shareVersion  = 1
	setBytes      = 5
	checksumBytes = 4
	shareBytes    = 1 + setBytes + 1 + 1 + 1 + secretBytes + checksumBytes
)

// ErrShare says that a text is no share: too short, mistyped, or of an unknown version.
var ErrShare = errors.New("seal: not an unseal key")

// Share is one unseal key of a set. It prints as [redacted].
type Share struct {
	set       [setBytes]byte
	threshold byte
	index     byte // from 1, for people
	point
}

// Index is the share's number in its set, from 1.
func (s Share) Index() int { return int(s.index) }

// encode is the share's 45 bytes.
func (s Share) encode() []byte {
	b := make([]byte, 0, shareBytes)
	b = append(b, shareVersion)
	b = append(b, s.set[:]...)
	b = append(b, s.threshold, s.index, s.x)
	b = append(b, s.y[:]...)
	return append(b, checksum(b)...)
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:checksumBytes]
}

// Base64 is the share as people keep it: 60 characters of standard base64.
func (s Share) Base64() api.Secret {
	return api.NewSecret(base64.StdEncoding.EncodeToString(s.encode()))
}

// Hex is the share in 90 hexadecimal digits, as Vault's API also gives it.
func (s Share) Hex() api.Secret { return api.NewSecret(hex.EncodeToString(s.encode())) }

// ParseShare reads a share in either form; surrounding space is left out.
// Anything else is ErrShare.
func ParseShare(text api.Secret) (Share, error) {
	trimmed := strings.TrimSpace(text.Reveal())
	var b []byte
	var err error
	if len(trimmed) == hex.EncodedLen(shareBytes) {
		b, err = hex.DecodeString(trimmed)
	} else {
		b, err = base64.StdEncoding.Strict().DecodeString(trimmed)
	}
	if err != nil {
		return Share{}, fmt.Errorf("%w: neither base64 nor hexadecimal", ErrShare)
	}
	defer clear(b)
	return decodeShare(b)
}

func decodeShare(b []byte) (Share, error) {
	if len(b) != shareBytes {
		return Share{}, fmt.Errorf("%w: %d bytes, not %d", ErrShare, len(b), shareBytes)
	}
	if b[0] != shareVersion {
		return Share{}, fmt.Errorf("%w: unknown version %d", ErrShare, b[0])
	}
	body, sum := b[:shareBytes-checksumBytes], b[shareBytes-checksumBytes:]
	if subtle.ConstantTimeCompare(checksum(body), sum) != 1 {
		return Share{}, fmt.Errorf("%w: its checksum is wrong, so it was mistyped or damaged", ErrShare)
	}
	s := Share{threshold: body[1+setBytes], index: body[2+setBytes]}
	copy(s.set[:], body[1:])
	s.x = body[3+setBytes]
	copy(s.y[:], body[4+setBytes:])
	if s.x == 0 || s.index == 0 || s.threshold == 0 {
		return Share{}, fmt.Errorf("%w: its place, index or threshold is zero", ErrShare)
	}
	return s, nil
}

const redacted = "[redacted]"

// String is [redacted].
func (s Share) String() string { return redacted }

// GoString is [redacted].
func (s Share) GoString() string { return redacted }

// Format prints [redacted] for every verb.
func (s Share) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText is [redacted].
func (s Share) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is [redacted].
func (s Share) LogValue() slog.Value { return slog.StringValue(redacted) }
