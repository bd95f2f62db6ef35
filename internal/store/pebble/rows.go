package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// Stored forms. The first byte of a stored key says what the row is:
//
//	'd' key          one entry: its revision in 8 bytes (big endian), then its value
//	'l' revision     the change log: what a group of commits wrote; the key holds
//	                 the first commit's revision (8 bytes, big endian), and the
//	                 others follow it without gaps. For each commit: the number of
//	                 keys, then each key with its length before it (all uvarint)
//
// A group's entries and its log row are in one batch, so both are there or neither.
const (
	dataSpace = 'd'
	logSpace  = 'l'
	revBytes  = 8
)

// appendDataKey appends the stored key of an entry.
func appendDataKey(dst []byte, key string) []byte {
	return append(append(dst, dataSpace), key...)
}

// logKey is the stored key of the log row that begins with rev.
func logKey(rev store.Rev) []byte {
	return binary.BigEndian.AppendUint64([]byte{logSpace}, uint64(rev))
}

func decodeLogKey(stored []byte) (store.Rev, error) {
	if len(stored) != 1+revBytes || stored[0] != logSpace {
		return 0, fmt.Errorf("%w: a change log key of %d bytes", store.ErrCorrupt, len(stored))
	}
	return store.Rev(binary.BigEndian.Uint64(stored[1:])), nil
}

// decodeRow splits a stored entry into its revision and its value, which shares
// the bytes.
func decodeRow(stored []byte) (store.Rev, []byte, error) {
	if len(stored) < revBytes {
		return 0, nil, fmt.Errorf("%w: a row of %d bytes", store.ErrCorrupt, len(stored))
	}
	rev := store.Rev(binary.BigEndian.Uint64(stored))
	if rev == 0 {
		return 0, nil, fmt.Errorf("%w: a row without a revision", store.ErrCorrupt)
	}
	return rev, stored[revBytes:], nil
}

// appendChange appends the log form of one commit.
func appendChange(dst []byte, keys []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
	}
	return dst
}

// decodeLog reads the commits of a log row whose first commit has revision first.
func decodeLog(first store.Rev, stored []byte) ([]store.Change, error) {
	var out []store.Change
	for rev := first; len(stored) > 0; rev++ {
		keys, rest, err := decodeChange(stored)
		if err != nil {
			return nil, fmt.Errorf("%w: change log row %d: %s", store.ErrCorrupt, first, err)
		}
		out = append(out, store.Change{Rev: rev, Keys: keys})
		stored = rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: change log row %d is empty", store.ErrCorrupt, first)
	}
	return out, nil
}

func decodeChange(b []byte) (keys []string, rest []byte, err error) {
	n, b, err := decodeUvarint(b)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 || n > store.MaxWrites {
		return nil, nil, fmt.Errorf("a commit of %d keys", n)
	}
	keys = make([]string, n)
	for i := range keys {
		var size uint64
		if size, b, err = decodeUvarint(b); err != nil {
			return nil, nil, err
		}
		if size == 0 || size > store.MaxKeyBytes || size > uint64(len(b)) {
			return nil, nil, fmt.Errorf("a key of %d bytes", size)
		}
		keys[i], b = string(b[:size]), b[size:]
	}
	return keys, b, nil
}

func decodeUvarint(b []byte) (uint64, []byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, fmt.Errorf("a damaged number")
	}
	return n, b[size:], nil
}
