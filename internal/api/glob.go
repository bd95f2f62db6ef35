package api

import "strings"

// Glob reports whether a text is what a pattern stands for, in which * is any text,
// an empty one too, and all else is itself.
func Glob(pattern, s string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for found {
		pattern = rest
		if head, rest, found = strings.Cut(pattern, "*"); !found {
			return strings.HasSuffix(s, head)
		}
		i := strings.Index(s, head)
		if i < 0 {
			return false
		}
		s = s[i+len(head):]
	}
	return s == ""
}
