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
//	                 others follow it without gaps; the value is store.AppendChange's
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
