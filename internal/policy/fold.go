package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// foldRune maps the runes that differ only by case, in either direction and in
// any handler's idea of case, to one: K and the Kelvin sign to k, S and the
// long s to s, I with and without its dot to i.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(unicode.ToLower(r)))
}

// fold maps s to the spelling that all its case variants share. It does not
// allocate when s is that spelling in ASCII.
func fold(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

// foldLoose is fold without what cannot be seen: surrounding space and
// characters that do not print.
func foldLoose(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return -1
		}
		return foldRune(r)
	}, s))
}

// Fold is the spelling that all case variants of s share, in any handler's idea
// of case. Names with one Fold must not name two things.
func Fold(s string) string { return fold(s) }
