// Package framed owns the form of a snapshot: how the rows of a store lie in a stream
// so that whoever has the stream can tell, without any key, whether it is whole, and
// whoever has the keys whether it is genuine. It knows nothing of stores and keys.
//
// A snapshot is a magic line with the form's version, and then frames:
//
//	type 1 B | length 4 B, big endian | payload | sum 32 B
//
// The sum is the SHA-256 of the sum before it, the type, the length and the payload;
// the first goes on from the SHA-256 of the magic line. So a frame that is changed,
// left out, moved or taken from another snapshot breaks every sum that follows.
//
//	H   the header, JSON; the first frame
//	R   rows, at least one: key length 4 B | key | value length 4 B | value; keys ascend
//	    through the whole snapshot, each once
//	T   the trailer, the last frame: rows 8 B | bytes 8 B | content 32 B | MAC 32 B
//
// Content is the SHA-256 of all rows, the MAC that of the Claim; nothing follows the
// trailer. Values are what the store holds: ciphertext, which no compression shortens.
//
// Clients of the Vault API want an archive of tar and gzip. A snapshot in one is read
// like any other: see Archive.
package framed

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"time"
)

// magic begins every snapshot; its last byte before the newline is the form's version.
const magic = "strongroom snapshot 1\n"

// Types of frame.
const (
	frameHeader  = 'H'
	frameRows    = 'R'
	frameTrailer = 'T'
)

// Sizes in bytes.
const (
	SumBytes     = sha256.Size
	MACBytes     = 32
	trailerBytes = 8 + 8 + SumBytes + MACBytes
	prefixBytes  = 1 + 4
	lengthBytes  = 4
	chunkBytes   = 256 << 10 // from which on a frame of rows ends
	maxHeader    = 64 << 10
	maxFrame     = 2 << 20 // a chunk and the largest row that any engine takes
	maxKey       = 8 << 10 // more than any engine takes
)

// Errors. Test with errors.Is; the text says where and what.
var (
	// ErrForeign says that what was read is no snapshot.
	ErrForeign = errors.New("this is not a snapshot of strongroom")
	// ErrShort says that a snapshot ends before its trailer.
	ErrShort = errors.New("the snapshot is cut short")
	// ErrDamaged says that a snapshot is not as it was made.
	ErrDamaged = errors.New("the snapshot is damaged")
)

// Header says of what a snapshot is. It holds nothing secret.
type Header struct {
	Cluster  string    `json:"cluster"`   // id of the cluster
	Format   int       `json:"format"`    // the stored format that the rows are in
	Revision uint64    `json:"revision"`  // of the newest commit that it holds
	Taken    time.Time `json:"taken"`     // when it was made
	Version  string    `json:"version"`   // of the program of the server that made it
	Engine   string    `json:"engine"`    // kind of the store it was taken from
	KeySlots int       `json:"key_slots"` // how many key slots it carries
}

// Claim is what the MAC of a snapshot vouches for.
type Claim struct {
	Header  []byte         // as it lies in the snapshot
	Rows    uint64         // how many there are
	Bytes   uint64         // of all keys and values
	Content [SumBytes]byte // SHA-256 of all rows
}

// claimLabel keeps claims apart from all else that is authenticated under the key.
const claimLabel = "strongroom snapshot claim 1\x00"

// Message is what is authenticated. All its parts have a fixed length.
func (c *Claim) Message() []byte {
	head := sha256.Sum256(c.Header)
	b := append([]byte(claimLabel), head[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Rows)
	b = binary.BigEndian.AppendUint64(b, c.Bytes)
	return append(b, c.Content[:]...)
}

// Tally sums up rows in the order of their keys: what a snapshot's trailer says of them,
// for whoever has the rows and no snapshot.
type Tally struct {
	hash        hash.Hash
	rows, bytes uint64
	scratch     []byte
}

// NewTally is a tally of no rows.
func NewTally() *Tally { return &Tally{hash: sha256.New()} }

// Row counts one row.
func (t *Tally) Row(key string, value []byte) {
	t.scratch = appendRow(t.scratch[:0], key, value)
	t.count(t.scratch)
}

// count counts one row as it lies in a snapshot.
func (t *Tally) count(row []byte) {
	t.hash.Write(row)
	t.rows++
	t.bytes += uint64(len(row) - 2*lengthBytes)
}

// Claim is the claim about the rows counted so far under a header.
func (t *Tally) Claim(header []byte) Claim {
	c := Claim{Header: header, Rows: t.rows, Bytes: t.bytes}
	t.hash.Sum(c.Content[:0])
	return c
}

func appendRow(b []byte, key string, value []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = append(b, key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// chain is the running sum of a snapshot's frames.
type chain [SumBytes]byte

func newChain() chain { return sha256.Sum256([]byte(magic)) }

// next moves the chain over a frame's beginning (type and length) and its payload.
func (c *chain) next(prefix, payload []byte) {
	h := sha256.New()
	h.Write(c[:])
	h.Write(prefix)
	h.Write(payload)
	h.Sum(c[:0])
}
