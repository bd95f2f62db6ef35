package namespace_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func TestTooShortPrefixDeletesNothing(t *testing.T) {
	s := mem.Open()
	var writes []store.Write
	for _, key := range []string{"root/m/a/1", "root/ns/x", "abcDEF/m/a/1", "abcDEF/m/ab/1", "abcDEG/m/a/1", "a/m/a/1", "/m/a/1"} {
		writes = append(writes, store.Write{Key: key, Value: []byte("v")})
	}
	if _, err := s.Commit(t.Context(), nil, writes); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		t.Helper()
		es, err := s.List(t.Context(), store.Range{KeysOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return len(es)
	}
	for _, prefix := range []string{"", "/", "//", "root", "root/", "root//", "r", "a/", "abc", "abcDEF", "abcDEF//", "abcDEF/m/a", "/m/a/", "root/m/a"} {
		if err := namespace.DeletePrefix(t.Context(), s, prefix); err == nil {
			t.Errorf("%q: not refused", prefix)
		}
		if n := count(); n != len(writes) {
			t.Fatalf("%q: %d of %d entries are left", prefix, n, len(writes))
		}
	}
	for _, c := range []struct {
		prefix string
		left   int
	}{{"abcDEF/m/a/", 6}, {"root/m/a/", 5}, {"abcDEF/", 4}} {
		if err := namespace.DeletePrefix(t.Context(), s, c.prefix); err != nil || count() != c.left {
			t.Errorf("%q: %v, %d left", c.prefix, err, count())
		}
	}
}
