package api

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression (package regexp) for a variable of a package, compiled when it is first asked for: one with
// large repeats takes hundreds of kilobytes and a millisecond, and most servers never use most engines. A text
// that is no regular expression panics then.
func Regexp(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
