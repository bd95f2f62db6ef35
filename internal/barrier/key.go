package barrier

import (
	"encoding/binary"
	"fmt"
	"hash"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Key is a key for one purpose. It authenticates with HMAC and seals messages,
// with separate keys for the two. It prints as [redacted] in every verb and
// marshaller, shows its bytes to nobody, is safe for concurrent use, and refuses
// to work with ErrSealed once the barrier it came from has been sealed.
type Key struct {
	label Label
	dead  *atomic.Bool // set when the barrier seals; nil for a key of its own
	macs  sync.Pool    // of hash.Hash
	box   *sealer
}

// DeriveKey is the key of a label under secret, with salt to tell clusters or
// sets apart. It keeps no reference to secret.
func DeriveKey(secret []byte, salt string, l Label) (*Key, error) {
	return deriveKey(secret, salt, l, nil)
}

func deriveKey(secret []byte, salt string, l Label, dead *atomic.Bool) (k *Key, err error) {
	err = Erasing(func() error {
		k, err = deriveKeyOf(secret, salt, l, dead)
		return err
	})
	return k, err
}

func deriveKeyOf(secret []byte, salt string, l Label, dead *atomic.Bool) (*Key, error) {
	// One derivation per use: a caller who may ask for HMACs must not be able to
	// compute the message keys, which come from HMACs too.
	mac, err := derive(secret, salt, string(l)+"\x00mac")
	if err != nil {
		return nil, err
	}
	defer clear(mac)
	box, err := derive(secret, salt, string(l)+"\x00box")
	if err != nil {
		return nil, err
	}
	defer clear(box)
	id, err := derive(secret, salt, string(l)+"\x00key-id")
	if err != nil {
		return nil, err
	}
	k := &Key{label: l, dead: dead, box: newSealer(box, salt, binary.BigEndian.Uint32(id))}
	clone := newMACs(mac)
	k.macs.New = func() any { return clone() }
	return k, nil
}

// ID tells keys apart in sealed messages; it says nothing about the key.
func (k *Key) ID() uint32 { return k.box.id }

func (k *Key) usable() error {
	if k.dead != nil && k.dead.Load() {
		return ErrSealed
	}
	return nil
}

// HMAC appends the HMAC-SHA256 (32 bytes) of the parts, one after the other, to
// dst. Parts are not told apart: a caller with more than one of variable length
// frames them.
func (k *Key) HMAC(dst []byte, parts ...[]byte) ([]byte, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	erasing(func() {
		h := k.macs.Get().(hash.Hash)
		h.Reset()
		for _, p := range parts {
			h.Write(p)
		}
		dst = h.Sum(dst)
		k.macs.Put(h)
	})
	return dst, nil
}

// Seal encrypts plaintext; only Open with the same context opens it. The result
// is Overhead bytes longer and carries the key's id in bytes 1 to 4.
func (k *Key) Seal(plaintext []byte, context string) ([]byte, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	return k.box.seal(context, plaintext)
}

// Open decrypts what Seal made with the same context. Anything else is ErrOpen.
func (k *Key) Open(message []byte, context string) ([]byte, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	return k.box.open(context, message)
}

const redacted = "[redacted]"

// String is [redacted].
func (k *Key) String() string { return redacted }

// GoString is [redacted].
func (k *Key) GoString() string { return redacted }

// Format prints [redacted] for every verb.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText is [redacted].
func (k *Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is "[redacted]".
func (k *Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue is [redacted].
func (k *Key) LogValue() slog.Value { return slog.StringValue(redacted) }
