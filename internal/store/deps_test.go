package store

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var shortKeys = rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00/\u00ff")), 0, 4, -1)

func inRange(r Range, key string) bool { return key >= r.Start && (r.End == "" || key < r.End) }

// TestPrefixOfCoversTheRange demands that no key of a range is outside the
// prefix that stands for it, and that a prefix stands for itself.
func TestPrefixOfCoversTheRange(t *testing.T) {
	for _, p := range []string{"", "a", "a/", "a\xff", "\xff", "\xff\xff"} {
		if got := prefixOf(Prefix(p)); got != p {
			t.Errorf("prefixOf(Prefix(%q)) = %q", p, got)
		}
		if got := prefixOf(Prefix(p).After(p + "x")); !strings.HasPrefix(p, got) || len(got) < len(p) && p[len(p)-1] != 0xff {
			t.Errorf("prefixOf the second page of %q = %q", p, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := Range{Start: shortKeys.Draw(t, "start"), End: shortKeys.Draw(t, "end")}
		key := shortKeys.Draw(t, "key")
		if inRange(r, key) && !strings.HasPrefix(key, prefixOf(r)) {
			t.Fatalf("%q is in %+v and outside its prefix %q", key, r, prefixOf(r))
		}
	})
}

// TestDepsModel compares with looking at every dependency of every slot.
func TestDepsModel(t *testing.T) {
	type on struct {
		key    string
		prefix bool
	}
	rapid.Check(t, func(t *rapid.T) {
		x := newDeps()
		live := map[*slot][]on{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				s := &slot{}
				s.drop = func() { delete(live, s) }
				for range rapid.IntRange(0, 3).Draw(t, "deps") {
					d := on{shortKeys.Draw(t, "key"), rapid.Bool().Draw(t, "prefix")}
					x.add(s, d.key, d.prefix)
					live[s] = append(live[s], d)
				}
			},
			"changed": func(t *rapid.T) {
				key := shortKeys.Draw(t, "key")
				want := map[*slot]bool{}
				for s, ds := range live {
					for _, d := range ds {
						if d.key == key || d.prefix && strings.HasPrefix(key, d.key) {
							want[s] = true
						}
					}
				}
				before := len(live)
				x.changed(key)
				for s := range want {
					if !s.dead {
						t.Fatalf("a slot that rests on %q lives", key)
					}
				}
				if len(live) != before-len(want) {
					t.Fatalf("%d slots dropped, want %d", before-len(live), len(want))
				}
			},
			"all": func(t *rapid.T) {
				x.all()
				if len(live) != 0 || len(x.keys)+len(x.prefixes)+len(x.counts)+len(x.lengths) != 0 {
					t.Fatal("something is left after all")
				}
			},
		})
	})
}
