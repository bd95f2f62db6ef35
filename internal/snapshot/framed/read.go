package framed

import (
	"bufio"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Reader reads a snapshot and checks it on the way. It holds one frame in memory,
// whatever the snapshot's size. What it has handed out counts only once Next has
// returned io.EOF: before, the snapshot may turn out damaged.
type Reader struct {
	in     *bufio.Reader
	chain  chain
	header Header
	raw    []byte // the header as it lies there
	tally  *Tally
	frame  []byte // payload of the frame of rows that is being read, reused
	rest   []byte // of frame
	last   string // key
	claim  Claim
	mac    []byte
	err    error // io.EOF once all is read
}

// NewReader reads the beginning of a snapshot: bare, or in an archive.
func NewReader(in io.Reader) (*Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if head, err := buffered.Peek(len(gzipMagic)); err == nil && string(head) == gzipMagic {
		a, err := newArchiveReader(buffered)
		if err != nil {
			return nil, err
		}
		buffered = bufio.NewReaderSize(a, 64<<10)
	}
	r := &Reader{in: buffered, chain: newChain(), tally: NewTally()}
	return r, r.begin()
}

func (r *Reader) begin() error {
	line := make([]byte, len(magic))
	n, err := io.ReadFull(r.in, line)
	switch {
	case string(line[:n]) != magic[:n]:
		return versioned(line[:n])
	case err != nil && n == 0 && errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty", ErrForeign)
	case err != nil:
		return short(err)
	}
	kind, payload, err := r.next(nil)
	if err != nil {
		return err
	}
	if kind != frameHeader || len(payload) > maxHeader {
		return fmt.Errorf("%w: it does not begin with a header", ErrDamaged)
	}
	if err := json.Unmarshal(payload, &r.header); err != nil {
		return fmt.Errorf("%w: its header cannot be read", ErrDamaged)
	}
	r.raw = payload
	return nil
}

// versioned tells a snapshot of another version from what is none.
func versioned(line []byte) error {
	at := len(magic) - 2 // of the version
	if len(line) == len(magic) && string(line[:at]) == magic[:at] {
		return fmt.Errorf("%w: its form is of another version; use a newer strongroom", ErrForeign)
	}
	return ErrForeign
}

// Header is the snapshot's header. It counts no more than the rows do.
func (r *Reader) Header() Header { return r.header }

// Next is the next row; io.EOF says that there is none and that the snapshot is whole.
// The value is valid until the next call.
func (r *Reader) Next() (key string, value []byte, err error) {
	if r.err == nil && len(r.rest) == 0 {
		r.err = r.advance()
	}
	if r.err != nil {
		return "", nil, r.err
	}
	key, value, r.err = r.row()
	return key, value, r.err
}

// advance reads the next frame of rows, or the end.
func (r *Reader) advance() error {
	kind, payload, err := r.next(r.frame)
	switch {
	case err != nil:
		return err
	case kind == frameTrailer:
		return r.end(payload)
	case kind != frameRows || len(payload) == 0:
		return fmt.Errorf("%w: a frame of an unknown kind", ErrDamaged)
	}
	r.frame, r.rest = payload, payload
	return nil
}

// next reads one frame into buf, which it makes larger where needed.
func (r *Reader) next(buf []byte) (kind byte, payload []byte, err error) {
	var prefix [prefixBytes]byte
	if _, err := io.ReadFull(r.in, prefix[:]); err != nil {
		return 0, nil, short(err)
	}
	n := binary.BigEndian.Uint32(prefix[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", ErrDamaged, n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	payload = buf[:n]
	var sum [SumBytes]byte
	if _, err := io.ReadFull(r.in, payload); err != nil {
		return 0, nil, short(err)
	}
	if _, err := io.ReadFull(r.in, sum[:]); err != nil {
		return 0, nil, short(err)
	}
	r.chain.next(prefix[:], payload)
	if sum != r.chain {
		return 0, nil, fmt.Errorf("%w: a sum does not match after %d rows", ErrDamaged, r.tally.rows)
	}
	return prefix[0], payload, nil
}

// row takes the next row off the frame.
func (r *Reader) row() (string, []byte, error) {
	whole := r.rest
	key, ok := r.take()
	value, more := r.take()
	if !ok || !more || len(key) == 0 || len(key) > maxKey || string(key) <= r.last {
		return "", nil, fmt.Errorf("%w: a row's form is wrong after %d rows", ErrDamaged, r.tally.rows)
	}
	r.last = string(key)
	r.tally.count(whole[:len(whole)-len(r.rest)])
	return r.last, value, nil
}

// take takes a length and so many bytes off the frame.
func (r *Reader) take() ([]byte, bool) {
	if len(r.rest) < lengthBytes {
		return nil, false
	}
	n := binary.BigEndian.Uint32(r.rest)
	if uint64(n) > uint64(len(r.rest)-lengthBytes) {
		return nil, false
	}
	out := r.rest[lengthBytes : lengthBytes+n]
	r.rest = r.rest[lengthBytes+n:]
	return out, true
}

// end checks the trailer, and that nothing follows.
func (r *Reader) end(payload []byte) error {
	if len(payload) != trailerBytes {
		return fmt.Errorf("%w: a trailer of %d bytes", ErrDamaged, len(payload))
	}
	claim := r.tally.Claim(r.raw)
	said := payload[16 : 16+SumBytes]
	if binary.BigEndian.Uint64(payload) != claim.Rows || binary.BigEndian.Uint64(payload[8:]) != claim.Bytes ||
		subtle.ConstantTimeCompare(said, claim.Content[:]) != 1 {
		return fmt.Errorf("%w: the trailer speaks of other rows", ErrDamaged)
	}
	if _, err := r.in.ReadByte(); err == nil {
		return fmt.Errorf("%w: something follows the trailer", ErrDamaged)
	} else if !errors.Is(err, io.EOF) {
		return short(err)
	}
	r.claim, r.mac = claim, append([]byte(nil), payload[16+SumBytes:]...)
	return io.EOF
}

// Claim is what the snapshot says of itself, and the MAC that vouches for it to whoever
// has the key. It is empty until Next has returned io.EOF.
func (r *Reader) Claim() (Claim, []byte) { return r.claim, r.mac }

// Verify reads a snapshot to its end. No error means that it is whole; whether it is
// genuine only the MAC tells.
func Verify(in io.Reader) (*Reader, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	for {
		switch _, _, err := r.Next(); {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return nil, err
		}
	}
}

// short words the end of a snapshot before its trailer.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrShort
	}
	return fmt.Errorf("reading the snapshot: %w", err)
}
