package pebble

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/strongroom/strongroom/internal/store"
)

// logSize is the size of the newest write-ahead log.
func logSize(t *testing.T, fs vfs.FS) int64 {
	t.Helper()
	names, err := fs.List("d")
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasSuffix(name, ".log") && name > newest {
			newest = name
		}
	}
	info, err := fs.Stat(fs.PathJoin("d", newest))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A write-ahead log grows in steps, not with each commit, and the zeros in it are
// no damage when a store is opened again after a crash.
func TestLogGrowsInSteps(t *testing.T) {
	fs := newCrashable()
	s, err := Open("d", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	put := func(value string) {
		if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k", Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	before := logSize(t, fs)
	for range 50 {
		put(strings.Repeat("x", 100))
	}
	if after := logSize(t, fs); after != before || before < defaultMemTableBytes/walSteps {
		t.Errorf("the log was of %d bytes after one commit and of %d after 50 more", before, after)
	}
	put("last")
	again, err := Open("d", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := again.Get(t.Context(), "k"); err != nil || string(e.Value) != "last" {
		t.Errorf("after a crash the key holds %q, %v", e.Value, err)
	}
	for _, s := range []*Store{s, again} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
