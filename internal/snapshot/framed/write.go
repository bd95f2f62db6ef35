package framed

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Writer makes a snapshot. After an error it is of no more use, and what it has
// written is no snapshot.
type Writer struct {
	out    io.Writer
	chain  chain
	header []byte
	tally  *Tally
	chunk  []byte // rows of the frame that is being filled
	last   string // key
}

// NewWriter begins a snapshot on out.
func NewWriter(out io.Writer, h Header) (*Writer, error) {
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("the snapshot's header: %w", err)
	}
	if len(header) > maxHeader {
		return nil, errors.New("the snapshot's header is too long")
	}
	w := &Writer{out: out, chain: newChain(), header: header, tally: NewTally()}
	if _, err := io.WriteString(out, magic); err != nil {
		return nil, err
	}
	return w, w.frame(frameHeader, header)
}

// Row adds a row. Keys ascend.
func (w *Writer) Row(key string, value []byte) error {
	if key <= w.last {
		return fmt.Errorf("rows out of order: %q after %q", key, w.last)
	}
	if len(key) > maxKey || len(key)+len(value) > maxFrame-chunkBytes-2*lengthBytes {
		return fmt.Errorf("a row of %d bytes is longer than a snapshot takes", len(key)+len(value))
	}
	w.last = key
	from := len(w.chunk)
	w.chunk = appendRow(w.chunk, key, value)
	w.tally.count(w.chunk[from:])
	if len(w.chunk) < chunkBytes {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.chunk) == 0 {
		return nil
	}
	err := w.frame(frameRows, w.chunk)
	w.chunk = w.chunk[:0]
	return err
}

func (w *Writer) frame(kind byte, payload []byte) error {
	prefix := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	w.chain.next(prefix, payload)
	for _, part := range [][]byte{prefix, payload, w.chain[:]} {
		if _, err := w.out.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the snapshot with what mac makes of the claim's message: MACBytes bytes.
func (w *Writer) Close(mac func(message []byte) ([]byte, error)) error {
	if err := w.flush(); err != nil {
		return err
	}
	claim := w.tally.Claim(w.header)
	code, err := mac(claim.Message())
	if err != nil {
		return err
	}
	if len(code) != MACBytes {
		return fmt.Errorf("a MAC of %d bytes, not %d", len(code), MACBytes)
	}
	trailer := binary.BigEndian.AppendUint64(nil, claim.Rows)
	trailer = binary.BigEndian.AppendUint64(trailer, claim.Bytes)
	trailer = append(append(trailer, claim.Content[:]...), code...)
	return w.frame(frameTrailer, trailer)
}
