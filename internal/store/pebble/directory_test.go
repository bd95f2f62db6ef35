package pebble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	openTest(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second Open returned %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has mode %v, %v", info.Mode(), err)
	}
}

// TestForeignDirectories demands that what this version cannot read is refused
// and left as it is.
func TestForeignDirectories(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"newer":   {formatFile: fmt.Sprintf("%s%d\n", formatPrefix, formatVersion+1), "new": "x"},
		"damaged": {formatFile: "strongroom", "CURRENT": "x"},
		"empty":   {formatFile: ""},
		"foreign": {"photo.jpg": "x"},
	} {
		dir := t.TempDir()
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: Open returned %v", name, err)
		}
		if got := readAll(t, dir); !reflect.DeepEqual(got, files) {
			t.Errorf("%s: Open changed the directory to %q", name, got)
		}
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// TestCheckpoint copies a store under load, on disk.
func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	o := small
	s := openTest(t, filepath.Join(dir, "data"), o)
	var l ledger
	stop := l.load(t, s)
	for i := range 5 {
		copied := filepath.Join(dir, fmt.Sprint("copy", i))
		promised := l.promised()
		if err := s.Checkpoint(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		if err := s.Checkpoint(t.Context(), copied); err == nil {
			t.Error("a checkpoint went over an earlier one")
		}
		inspectCopy(t, copied, promised)
	}
	stop()
}

func inspectCopy(t *testing.T, dir string, promised promises) {
	t.Helper()
	s, err := Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.Sync(t.Context())
	for w := range crashWriters {
		err = errors.Join(err, inspectPair(t.Context(), s, w, promised[w], last))
	}
	if err = errors.Join(err, inspectLog(t.Context(), s, last), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestDamage flips bytes of, and cuts, every file of a store: it must refuse to
// open, or answer each key with an error or with a value that was written to it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	whole := makeDamageable(t, filepath.Join(dir, "whole"))
	damaged := 0
	for name, content := range whole {
		for i := range 12 {
			b := []byte(content)
			if at := len(b) * i / 12; len(b) > 0 && i%3 != 0 {
				b[at] ^= 0x41
			} else {
				b = b[:at]
			}
			if tryDamaged(t, filepath.Join(dir, fmt.Sprint(name, i)), whole, name, b) {
				damaged++
			}
		}
	}
	if damaged < 20 {
		t.Errorf("only %d damages were noticed", damaged)
	}
}

func makeDamageable(t *testing.T, dir string) map[string]string {
	s, err := Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range int64(40) {
		for w := range crashWriters {
			a, b := pairKeys(w)
			writes := []store.Write{{Key: a, Value: sealed(a, seq+400)}, {Key: b, Value: sealed(b, seq+400)}}
			if _, err := s.Commit(t.Context(), nil, writes); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return readAll(t, dir)
}

// tryDamaged reports whether the damage to one file was noticed.
func tryDamaged(t *testing.T, dir string, whole map[string]string, name string, content []byte) (noticed bool) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, c := range whole {
		if file == name {
			c = string(content)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, small)
	if err != nil {
		return true
	}
	for w := range crashWriters {
		a, b := pairKeys(w)
		for _, key := range []string{a, b} {
			e, err := s.Get(t.Context(), key)
			if err != nil {
				noticed = true
			} else if _, err := unseal(key, e.Value); err != nil {
				t.Errorf("%s damaged: %v", name, err)
			}
		}
	}
	return s.Close() != nil || noticed
}
