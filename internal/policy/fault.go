package policy

import (
	"fmt"
	"strings"
)

// maxFaults is how many faults one ParseError lists.
const maxFaults = 20

// Fault is one thing wrong with a policy's source. It names keys, paths and
// capabilities, never the value of a parameter.
type Fault struct {
	Line    int    // of the source, from 1
	Problem string // what is wrong
	Remedy  string // what to write instead
}

// String is the fault on one line.
func (f Fault) String() string {
	return fmt.Sprintf("line %d: %s: %s", f.Line, f.Problem, f.Remedy)
}

// ParseError is everything found wrong with a policy's source, by line; after
// a syntax error nothing further is known.
type ParseError struct {
	Policy string
	Faults []Fault // at least one; no more than 20
}

// Error lists the faults, one a line.
func (e *ParseError) Error() string {
	lines := make([]string, 0, len(e.Faults)+1)
	lines = append(lines, fmt.Sprintf("policy %q cannot be used:", e.Policy))
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// shown quotes a piece of the source for a message, cut short.
func shown(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return fmt.Sprintf("%q", s)
}
