package barrier

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// The one ciphertext format, of entries, wrapped keys and sealed messages:
//
//	version 1 B | key id 4 B | salt 32 B | commitment 32 B | nonce 12 B | AES-256-GCM
//
// Each message has a key of its own, K || C = KDF(key, salt): K encrypts and C,
// stored, commits to the key. The KDF is counter mode with HMAC-SHA256 (NIST
// SP 800-108r1, section 4.1), two blocks. The associated data binds the message
// to its cluster, key id and name.
const (
	formatVersion = 1
	saltBytes     = 32
	commitBytes   = 32
	saltAt        = 1 + 4
	commitAt      = saltAt + saltBytes
	bodyAt        = commitAt + commitBytes
	nonceBytes    = 12
	tagBytes      = 16

	// KeyBytes is the size of the root key and of every other key, in bytes.
	KeyBytes = 32
	// Overhead is how many bytes longer a ciphertext is than its plaintext.
	Overhead = bodyAt + nonceBytes + tagBytes
)

// kdfInput is the size of one SP 800-108 input: counter, label, zero, salt, length.
const kdfInput = 4 + len(labelMessage) + 1 + saltBytes + 4

// sealer seals and opens messages under one key. It is safe for concurrent use
// and keeps no copy of the key beside the HMAC states derived from it.
type sealer struct {
	id      uint32
	cluster string
	states  sync.Pool // of *scratch
}

// scratch is what sealing one message needs; pooled, because keying HMAC anew
// and allocating would cost more than the rest.
type scratch struct {
	mac   hash.Hash
	input [kdfInput]byte
	okm   [KeyBytes + commitBytes]byte
	aad   []byte
}

// newSealer makes a sealer whose messages carry id. It keeps no reference to key.
func newSealer(key []byte, cluster string, id uint32) *sealer {
	first := newMACs(key)
	s := &sealer{id: id, cluster: cluster}
	s.states.New = func() any {
		c := &scratch{mac: first()}
		copy(c.input[4:], labelMessage)
		binary.BigEndian.PutUint32(c.input[kdfInput-4:], uint32(len(c.okm))*8)
		return c
	}
	return s
}

// newMACs gives copies of one keyed HMAC-SHA256 state.
func newMACs(key []byte) func() hash.Hash {
	mac := hmac.New(sha256.New, key)
	mac.Reset() // precomputes the padded states, which copies then share
	return func() hash.Hash {
		c, err := mac.(hash.Cloner).Clone()
		if err != nil { // SHA-256 of the standard library can always be cloned
			panic(fmt.Sprintf("barrier: cloning HMAC-SHA256: %v", err))
		}
		return c
	}
}

// derive fills okm with K || C for salt.
func (c *scratch) derive(salt []byte) {
	copy(c.input[4+len(labelMessage)+1:], salt)
	for i := range len(c.okm) / sha256.Size {
		binary.BigEndian.PutUint32(c.input[:], uint32(i+1))
		c.mac.Reset()
		c.mac.Write(c.input[:])
		c.mac.Sum(c.okm[i*sha256.Size : i*sha256.Size])
	}
}

// bind builds the associated data: each part after its length, so that no two
// different lists of parts have one encoding.
func (c *scratch) bind(cluster string, id uint32, name string) {
	a := append(c.aad[:0], 0, 0, 0, 1, formatVersion)
	a = appendPart(a, cluster)
	a = append(a, 0, 0, 0, 4)
	a = binary.BigEndian.AppendUint32(a, id)
	c.aad = appendPart(a, name)
}

func appendPart(a []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint32(a, uint32(len(part))), part...)
}

func (s *sealer) release(c *scratch) {
	clear(c.okm[:])
	s.states.Put(c)
}

// seal encrypts plaintext for the place called name.
func (s *sealer) seal(name string, plaintext []byte) (out []byte, err error) {
	buf := make([]byte, bodyAt, len(plaintext)+Overhead)
	erasing(func() { out, err = s.sealInto(buf, name, plaintext) })
	return out, err
}

// sealInto appends to the header in out, which it fills in.
func (s *sealer) sealInto(out []byte, name string, plaintext []byte) ([]byte, error) {
	c := s.states.Get().(*scratch)
	defer s.release(c)
	out[0] = formatVersion
	binary.BigEndian.PutUint32(out[1:], s.id)
	if _, err := rand.Read(out[saltAt:commitAt]); err != nil {
		return nil, fmt.Errorf("barrier: reading random bytes: %w", err)
	}
	c.derive(out[saltAt:commitAt])
	copy(out[commitAt:], c.okm[KeyBytes:])
	aead, err := newAEAD(c.okm[:KeyBytes])
	if err != nil {
		return nil, err
	}
	c.bind(s.cluster, s.id, name)
	return aead.Seal(out, nil, plaintext, c.aad), nil
}

// open decrypts a message that was sealed for name. Any failure is ErrOpen with
// its reason; the plaintext of an empty message is not nil.
func (s *sealer) open(name string, message []byte) ([]byte, error) {
	id, err := messageID(message)
	if err != nil {
		return nil, err
	}
	if id != s.id {
		return nil, fmt.Errorf("%w: sealed under key %d, not %d", ErrOpen, id, s.id)
	}
	buf := make([]byte, 0, len(message)-Overhead)
	var out []byte
	erasing(func() { out, err = s.openInto(buf, name, message) })
	return out, err
}

// openInto appends the plaintext to buf.
func (s *sealer) openInto(buf []byte, name string, message []byte) ([]byte, error) {
	c := s.states.Get().(*scratch)
	defer s.release(c)
	c.derive(message[saltAt:commitAt])
	if subtle.ConstantTimeCompare(c.okm[KeyBytes:], message[commitAt:bodyAt]) != 1 {
		return nil, fmt.Errorf("%w: key commitment differs", ErrOpen)
	}
	aead, err := newAEAD(c.okm[:KeyBytes])
	if err != nil {
		return nil, err
	}
	c.bind(s.cluster, s.id, name)
	out, err := aead.Open(buf, nil, message[bodyAt:], c.aad)
	if err != nil {
		return nil, fmt.Errorf("%w: authentication failed", ErrOpen)
	}
	return out, nil
}

// messageID reads the key id of a message after checking its version and size.
func messageID(message []byte) (uint32, error) {
	if len(message) < Overhead {
		return 0, fmt.Errorf("%w: only %d bytes", ErrOpen, len(message))
	}
	if message[0] != formatVersion {
		return 0, fmt.Errorf("%w: unknown format %d", ErrOpen, message[0])
	}
	return binary.BigEndian.Uint32(message[1:]), nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("barrier: AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("barrier: GCM: %w", err)
	}
	return aead, nil
}

// derive is HKDF-SHA256 (RFC 5869) with the cluster id as salt and a label as info.
func derive(secret []byte, cluster string, info string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, []byte(cluster), info, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("barrier: HKDF: %w", err)
	}
	return key, nil
}

// deriveSealer is the sealer of a label under secret.
func deriveSealer(secret []byte, cluster string, l Label, id uint32) (made *sealer, err error) {
	err = Erasing(func() error {
		key, err := derive(secret, cluster, string(l))
		if err != nil {
			return err
		}
		defer clear(key)
		made = newSealer(key, cluster, id)
		return nil
	})
	return made, err
}
