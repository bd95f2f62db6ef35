package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPathBytes is the longest request path that Canonical takes, in bytes. The
// store's longest key leaves as much again for what is put around a path.
const MaxPathBytes = 2 << 10

// MaxNameBytes is the longest resource name that CanonicalName takes, in bytes.
const MaxNameBytes = 256

// Why a path or name is refused. They come wrapped in a *PathError.
var (
	ErrPathEmpty    = errors.New("is empty")
	ErrPathTooLong  = errors.New("is too long")
	ErrPathEncoding = errors.New("is not valid UTF-8")
	ErrPathControl  = errors.New("holds a control character")
	ErrPathSegment  = errors.New("holds an empty segment")
	ErrPathDots     = errors.New(`holds a "." or ".." segment`)
	ErrPathSpace    = errors.New("holds a segment with space at its start or end")
	ErrName         = errors.New("holds a character that a name cannot have")
)

// PathError says why a path or name has no canonical form. It does not repeat
// the text, which may hold what should not be logged.
type PathError struct {
	Err    error // one of the errors above
	Offset int   // where, in bytes from the start
}

// Error describes the fault and its place.
func (e *PathError) Error() string { return fmt.Sprintf("path %v at byte %d", e.Err, e.Offset) }

// Unwrap gives the reason, for errors.Is.
func (e *PathError) Unwrap() error { return e.Err }

// Canonical gives the one form of a request path that both the policy and the
// handler must receive, or a *PathError. The path is relative to its
// namespace, decoded from its URL exactly once, and has no leading slash.
//
// There is nothing to rewrite in a path that is accepted: other spellings are
// refused, not repaired, so the answer is the path itself. One trailing slash
// is kept. A backslash and a "%" are ordinary characters, except that a
// backslash cannot hide a dot segment. Case is not folded: that is the rule of
// the handler that owns the name.
func Canonical(path string) (string, error) {
	switch {
	case path == "":
		return "", &PathError{ErrPathEmpty, 0}
	case len(path) > MaxPathBytes:
		return "", &PathError{ErrPathTooLong, MaxPathBytes}
	}
	if err := checkRunes(path); err != nil {
		return "", err
	}
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if i == len(path) && start == i {
			break // the trailing slash
		}
		if err := checkSegment(path[start:i]); err != nil {
			return "", &PathError{err, start}
		}
		start = i + 1
	}
	return path, nil
}

func checkRunes(s string) error {
	for i, r := range s {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return &PathError{ErrPathControl, i}
		}
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
			return &PathError{ErrPathEncoding, i}
		}
	}
	return nil
}

func checkSegment(seg string) error {
	if seg == "" {
		return ErrPathSegment
	}
	if first, _ := utf8.DecodeRuneInString(seg); unicode.IsSpace(first) {
		return ErrPathSpace
	}
	if last, _ := utf8.DecodeLastRuneInString(seg); unicode.IsSpace(last) {
		return ErrPathSpace
	}
	for seg != "" {
		part, rest, _ := strings.Cut(seg, `\`)
		if part == "." || part == ".." {
			return ErrPathDots
		}
		seg = rest
	}
	return nil
}

// CanonicalName gives the one form of a resource name whose owner folds case,
// such as a policy's: lower case, without surrounding space. It refuses, with a
// *PathError, names that Canonical refuses or that end in a slash, characters
// that do not print, and characters whose lower case is not the one that case
// folding gives (the Kelvin sign, the long s, the dotted and dotless i), so
// that two names which any fold makes equal are one name here.
func CanonicalName(name string) (string, error) {
	trimmed := strings.TrimSpace(name)
	if _, err := Canonical(trimmed); err != nil {
		return "", err
	}
	switch {
	case len(trimmed) > MaxNameBytes:
		return "", &PathError{ErrPathTooLong, MaxNameBytes}
	case strings.HasSuffix(trimmed, "/"):
		return "", &PathError{ErrPathSegment, len(trimmed)}
	}
	for i, r := range trimmed {
		low := foldRune(r)
		tricky := low != unicode.ToLower(r) || r >= utf8.RuneSelf && low < utf8.RuneSelf
		if tricky || !unicode.IsPrint(r) {
			return "", &PathError{ErrName, i}
		}
	}
	return fold(trimmed), nil
}

// IsRoot says whether name is "root" in any spelling that somebody or some
// handler could take for it: other case, surrounding or inner space, invisible
// characters, full-width letters. Such a name is refused wherever a policy is
// named, and Compile grants nothing for it.
func IsRoot(name string) bool {
	seen := strings.Map(func(r rune) rune {
		if '！' <= r && r <= '～' {
			r -= '！' - '!'
		}
		if !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return -1
		}
		return foldRune(r)
	}, name)
	return seen == "root"
}
