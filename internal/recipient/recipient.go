// Package recipient owns how a secret is handed to one person through others: it
// is encrypted to that person's public key, OpenPGP (RFC 9580) or age
// (C2SP age-encryption.org/v1), and the server has nothing that decrypts it.
package recipient

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/strongroom/strongroom/internal/api"
)

// maxKey bounds a key's text, in bytes.
const maxKey = 1 << 16

// ErrKey says that a text is no key that something can be encrypted to. The
// errors that wrap it say why, and never echo the text, which could be a private key.
var ErrKey = errors.New("not a public key")

// Recipient is a person's public key.
type Recipient struct {
	name string
	pgp  *openpgp.Entity
	age  age.Recipient
}

// Parse reads a public key: an OpenPGP one, binary in base64 as Vault's clients
// send it, or armoured, or armoured in base64; or an age recipient, which begins
// with age1. Anything else, and a key that cannot encrypt at the given moment, is
// ErrKey.
func Parse(text string, now time.Time) (*Recipient, error) {
	text = strings.TrimSpace(text)
	switch {
	case len(text) > maxKey:
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrKey, maxKey)
	case strings.HasPrefix(text, "keybase:"):
		return nil, fmt.Errorf("%w: the server fetches none from elsewhere: give the key itself", ErrKey)
	case strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY"):
		return nil, errPrivate()
	case strings.HasPrefix(text, "age1"):
		return parseAge(text)
	}
	return parsePGP(text, now)
}

func errPrivate() error {
	return fmt.Errorf("%w but a private one: keep it to yourself and give its public part", ErrKey)
}

func parseAge(text string) (*Recipient, error) {
	all, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(all) != 1 {
		return nil, fmt.Errorf("%w: it begins like an age recipient and is none", ErrKey)
	}
	return &Recipient{name: text, age: all[0]}, nil
}

const armour = "-----BEGIN PGP"

func parsePGP(text string, now time.Time) (*Recipient, error) {
	binary, err := []byte(text), error(nil)
	if !strings.HasPrefix(text, armour) {
		if binary, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("%w: neither base64 of an OpenPGP key nor an age recipient", ErrKey)
		}
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(binary), []byte(armour)) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := read(bytes.NewReader(binary))
	if err != nil || len(entities) != 1 {
		return nil, fmt.Errorf("%w: its OpenPGP form cannot be read, or holds several keys", ErrKey)
	}
	e := entities[0]
	if e.PrivateKey != nil {
		return nil, errPrivate()
	}
	if _, ok := e.EncryptionKey(now); !ok {
		return nil, fmt.Errorf("%w: it has expired, was revoked, or has no part that encrypts", ErrKey)
	}
	return &Recipient{name: hex.EncodeToString(e.PrimaryKey.Fingerprint), pgp: e}, nil
}

// ParseAll reads keys, and names by its number the first that is none. Each is
// tried: what it returns can be encrypted to.
func ParseAll(texts []string, now time.Time) ([]*Recipient, error) {
	out := make([]*Recipient, len(texts))
	for i, text := range texts {
		r, err := Parse(text, now)
		if err == nil {
			_, err = r.Encrypt(api.NewSecret("trial"), now)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		out[i] = r
	}
	return out, nil
}

// Fingerprint names the key: an OpenPGP key's fingerprint in hexadecimal digits, or
// the age recipient itself.
func (r *Recipient) Fingerprint() string { return r.name }

// Encrypt is the secret's text encrypted to the key: a binary OpenPGP message, or
// an age file.
func (r *Recipient) Encrypt(secret api.Secret, now time.Time) ([]byte, error) {
	var out bytes.Buffer
	w, err := r.writer(&out, now)
	if err != nil {
		return nil, fmt.Errorf("encrypting to %s: %w", r.name, err)
	}
	_, err = io.WriteString(w, secret.Reveal())
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypting to %s: %w", r.name, err)
	}
	return out.Bytes(), nil
}

func (r *Recipient) writer(to io.Writer, now time.Time) (io.WriteCloser, error) {
	if r.age != nil {
		return age.Encrypt(to, r.age)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	return openpgp.Encrypt(to, []*openpgp.Entity{r.pgp}, nil, &openpgp.FileHints{IsBinary: true}, config)
}
