package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
)

const (
	keyBytes   = 32
	hashPrefix = "hmac-sha256:"
)

// Key hashes what a sink must not show: HMAC-SHA-256 (RFC 2104) under a key of
// 256 bits. It is safe for concurrent use.
type Key struct {
	bytes [keyBytes]byte
	macs  sync.Pool // of *mac
}

// NewKey makes a random key.
func NewKey() *Key {
	var b [keyBytes]byte
	rand.Read(b[:]) // never fails: the runtime ends the process instead
	return keyOf(b)
}

func keyOf(b [keyBytes]byte) *Key {
	k := &Key{bytes: b}
	k.macs.New = func() any {
		m := &mac{h: hmac.New(sha256.New, k.bytes[:])}
		m.fn = m.append
		return m
	}
	return k
}

// Format prints [redacted] for every verb.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// Hash is the value's hash as entries show it.
func (k *Key) Hash(value []byte) string {
	m := k.mac()
	defer k.macs.Put(m)
	return string(m.append(nil, value))
}

func (k *Key) mac() *mac { return k.macs.Get().(*mac) }

// mac is one keyed state; its key schedule is computed once.
type mac struct {
	h   hash.Hash
	sum [sha256.Size]byte
	in  []byte                         // scratch for a text
	fn  func(dst, value []byte) []byte // append, bound once
}

func (m *mac) append(dst, value []byte) []byte {
	m.h.Reset()
	m.h.Write(value) // never fails, see hash.Hash
	dst = append(dst, hashPrefix...)
	return hex.AppendEncode(dst, m.h.Sum(m.sum[:0]))
}

func (m *mac) appendText(dst []byte, value string) []byte {
	m.in = append(m.in[:0], value...)
	dst = m.append(dst, m.in)
	clear(m.in)
	return dst
}
