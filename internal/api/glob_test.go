package api

import "testing"

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "x", true}, {"a*", "a", true}, {"a*", "ab", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a*b*c", "axxbxxc", true}, {"a*b*c", "axxcxxb", false}, {"*b*", "abc", true}, {"*b*", "ac", false}, {"a*a", "a", false},
	} {
		if Glob(c.pattern, c.s) != c.want {
			t.Errorf("Glob(%q, %q) is %v", c.pattern, c.s, !c.want)
		}
	}
}
