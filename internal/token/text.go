package token

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"strings"
)

// The forms of a token. A checksum over all before it ends each but a custom one.
const (
	servicePrefix = "srs_" // a row of the store
	batchPrefix   = "srb_" // carries its own content, encrypted

	bodyLen     = 43      // base62 digits of 256 random bits
	checksumLen = 6       // base62 digits of a CRC32
	accessorLen = 24      // base62 digits of an accessor
	maxTextLen  = 8 << 10 // longest token, in bytes; a batch token carries its metadata
	maxCustom   = 256     // longest custom token, in bytes
	maxIDLen    = 64      // longest namespace identifier, in bytes
)

// Length is how many characters a service token of the root namespace has, unless
// it was named by an operator.
const Length = len(servicePrefix) + bodyLen + checksumLen

// RootNamespace is the identifier of the root namespace. Its tokens and
// accessors carry no suffix.
const RootNamespace = "root"

const digits62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// foreignPrefixes begin the tokens of the servers that clients come from. A
// custom token must not look like one of them.
var foreignPrefixes = [...]string{"s.", "b.", "r.", "hvs.", "hvb.", "hvr."}

// errMalformed says that a text cannot be a token; the store need not be asked.
var errMalformed = errors.New("token: malformed")

// parsed is a token's text taken apart.
type parsed struct {
	namespace string // identifier
	batch     bool
	blob      []byte // the encrypted content of a batch token
	custom    bool   // named by an operator
}

// newText makes a service token of 256 random bits for a namespace.
func newText(ns string) string {
	return withNamespace(withChecksum(servicePrefix+random62(bodyLen)), ns)
}

// Conceal is a path without the tokens in it: old clients look tokens up by
// path, and people paste them into the wrong place. Of ours, only what a token's
// checksum confirms is taken for one; of the servers whose clients come here, what
// begins as their tokens do and is as long.
func Conceal(path string) string {
	if !strings.Contains(path, servicePrefix) && !strings.Contains(path, batchPrefix) && !strings.Contains(path, foreignPrefix) {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if p, err := parse(s); err == nil && !p.custom || foreign(s) {
			segments[i] = "[token]"
		}
	}
	return strings.Join(segments, "/")
}

// Tokens of Vault and OpenBao: hvs. of the service kind, hvb. of the batch kind,
// hvr. of the recovery kind, and 24 characters or more.
const (
	foreignPrefix = "hv"
	foreignLen    = 4 + 24
)

func foreign(segment string) bool {
	return len(segment) >= foreignLen && strings.HasPrefix(segment, foreignPrefix) && strings.IndexByte("sbr", segment[2]) >= 0 && segment[3] == '.'
}

// newAccessor makes an accessor, which grants nothing by itself.
func newAccessor(ns string) string { return withNamespace(random62(accessorLen), ns) }

// batchText makes a batch token of its encrypted content.
func batchText(blob []byte, ns string) string {
	return withNamespace(withChecksum(batchPrefix+base64.RawURLEncoding.EncodeToString(blob)), ns)
}

func withNamespace(text, ns string) string {
	if ns == RootNamespace {
		return text
	}
	return text + "." + ns
}

// random62 is n base62 digits, each equally likely (5.95 bits).
func random62(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:]) // never fails: crypto/rand
		for _, b := range buf {
			if b < 4*62 && len(out) < n {
				out = append(out, digits62[b%62])
			}
		}
	}
	return string(out)
}

func withChecksum(text string) string {
	sum := checksum(text)
	return text + string(sum[:])
}

// checksum is the CRC32 (IEEE 802.3) of text in base62, most significant digit first.
func checksum(text string) (out [checksumLen]byte) {
	n := crc32.ChecksumIEEE([]byte(text))
	for i := range out {
		out[checksumLen-1-i] = digits62[n%62]
		n /= 62
	}
	return out
}

// parse takes a token's text apart. It returns errMalformed for what no token
// looks like; it does not say that the token exists.
func parse(text string) (parsed, error) {
	switch {
	case len(text) > maxTextLen:
		return parsed{}, errMalformed
	case strings.HasPrefix(text, servicePrefix):
		return parseService(text)
	case strings.HasPrefix(text, batchPrefix):
		return parseBatch(text)
	case checkCustom(text) != nil:
		return parsed{}, errMalformed
	}
	return parsed{namespace: RootNamespace, custom: true}, nil
}

func parseService(text string) (parsed, error) {
	body, ns, err := cutNamespace(text)
	if err != nil || len(body) != len(servicePrefix)+bodyLen+checksumLen || !checked(body) {
		return parsed{}, errMalformed
	}
	return parsed{namespace: ns}, nil
}

func parseBatch(text string) (parsed, error) {
	body, ns, err := cutNamespace(text)
	if err != nil || len(body) < len(batchPrefix)+checksumLen || !checked(body) {
		return parsed{}, errMalformed
	}
	blob, err := base64.RawURLEncoding.Strict().DecodeString(body[len(batchPrefix) : len(body)-checksumLen])
	if err != nil || len(blob) == 0 {
		return parsed{}, errMalformed
	}
	return parsed{namespace: ns, batch: true, blob: blob}, nil
}

func checked(text string) bool {
	n := len(text) - checksumLen
	sum := checksum(text[:n])
	return string(sum[:]) == text[n:]
}

// cutNamespace takes the namespace identifier off a token or accessor.
func cutNamespace(text string) (body, ns string, err error) {
	body, ns, found := strings.Cut(text, ".")
	if !found {
		return body, RootNamespace, nil
	}
	if ns == RootNamespace || !isIdentifier(ns) {
		return "", "", errMalformed
	}
	return body, ns, nil
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxIDLen
}

// errCustom texts name no value.
var (
	errCustomLength = errors.New("custom token ID must have 1 to 256 characters")
	errCustomText   = errors.New("custom token ID must be printable ASCII without spaces")
	errCustomPrefix = errors.New("custom token ID begins like a generated token")
	errCustomDot    = errors.New("custom token ID cannot have a '.' in the value")
)

// checkCustom judges a token that an operator names.
func checkCustom(text string) error {
	if text == "" || len(text) > maxCustom {
		return errCustomLength
	}
	for _, p := range foreignPrefixes {
		if strings.HasPrefix(text, p) {
			return errCustomPrefix
		}
	}
	if strings.HasPrefix(text, servicePrefix) || strings.HasPrefix(text, batchPrefix) {
		return errCustomPrefix
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return errCustomText
		}
	}
	if strings.Contains(text, ".") {
		return errCustomDot
	}
	return nil
}

// accessorNamespace is the namespace that an accessor belongs to.
func accessorNamespace(text string) (string, error) {
	body, ns, err := cutNamespace(text)
	if err != nil || len(body) != accessorLen || !isIdentifier(body) {
		return "", errMalformed
	}
	return ns, nil
}
