package pebble

import (
	"bytes"
	"errors"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// FuzzDecode feeds anything to the decoders of stored forms: they must answer
// store.ErrCorrupt or something that encodes to the same bytes again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01value"))
	f.Add(store.AppendChange(store.AppendChange(nil, []string{"a", "b\xff"}), []string{"c"}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		rev, value, err := decodeRow(b)
		if err != nil && !errors.Is(err, store.ErrCorrupt) || err == nil && (rev == 0 || len(value) != len(b)-revBytes) {
			t.Errorf("decodeRow = %d, %q, %v", rev, value, err)
		}
		if first, err := decodeLogKey(b); err == nil && !bytes.Equal(logKey(first), b) {
			t.Errorf("decodeLogKey(%q) = %d", b, first)
		}
		changes, err := store.DecodeChanges(7, b)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("DecodeChanges: %v", err)
			}
			return
		}
		var again []byte
		for i, c := range changes {
			if c.Rev != store.Rev(7+i) {
				t.Errorf("commit %d has revision %d", i, c.Rev)
			}
			again = store.AppendChange(again, c.Keys)
		}
		if more, err := store.DecodeChanges(7, again); err != nil || len(more) != len(changes) {
			t.Errorf("what was decoded does not decode again: %v", err)
		}
	})
}

// FuzzFormat feeds anything to the parser of the format file.
func FuzzFormat(f *testing.F) {
	f.Add("strongroom store 1\n")
	f.Fuzz(func(t *testing.T, content string) {
		if v, err := parseFormat(content); err == nil && v < 1 || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("parseFormat(%q) = %d, %v", content, v, err)
		}
	})
}
