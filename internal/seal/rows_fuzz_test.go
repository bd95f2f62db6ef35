package seal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// FuzzRows gives the readers of stored rows any bytes: what they refuse is
// damage, with the row's key, and what they take they would write again.
func FuzzRows(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x3a" + `{"id":"0011223344556677","kind":"shamir","params":{"a":1}}` + "wrapped"))
	f.Add([]byte("\x01\xff\xff\xff\xff{}"))
	f.Add([]byte(`{"version":1,"slots":["0011223344556677"],"tested":[],"code":"AAAA"}`))
	f.Fuzz(func(t *testing.T, row []byte) {
		var damaged *barrier.DamagedError
		s, err := decodeSlot(store.Entry{Key: slotPrefix + "0011223344556677", Value: row})
		switch {
		case err != nil && !errors.As(err, &damaged):
			t.Fatalf("a slot: %v", err)
		case err == nil && (s.ID != "0011223344556677" || !bytes.HasSuffix(row, s.wrapped) || len(s.encoded)+len(s.wrapped)+slotHeader != len(row)):
			t.Fatalf("a slot was read as %+v", s)
		}
		if d, err := decodeDirectory(store.Entry{Key: directoryKey, Value: row}); err != nil && !errors.As(err, &damaged) || err == nil && d.Version != directoryVersion {
			t.Fatalf("the directory: %v", err)
		}
	})
}

// FuzzKeyFile gives the reader of key files any bytes: a key has one form.
func FuzzKeyFile(f *testing.F) {
	f.Add(append(bytes.Repeat([]byte("0a"), secretBytes), '\n'))
	f.Add([]byte("0A\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKey(text)
		if err == nil && (len(key) != secretBytes || len(text) != 2*secretBytes+1) {
			t.Fatalf("%q is a key of %d bytes", text, len(key))
		}
	})
}
