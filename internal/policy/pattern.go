package policy

import (
	"cmp"
	"strings"
)

// pattern is a rule's path, taken apart for matching.
type pattern struct {
	text string   // as in the rule
	head string   // what comes before the first "+" or "*"; all of an exact path
	lits []string // after each "+" segment, the literal text up to the next one
	glob bool     // ends in "*"
}

func parsePattern(text string) pattern {
	p := pattern{text: text}
	body, glob := strings.CutSuffix(text, "*")
	p.glob = glob
	at := plusSegment(body, true)
	if at < 0 {
		p.head = body
		return p
	}
	p.head = body[:at]
	for rest := body[at+1:]; ; {
		at = plusSegment(rest, false)
		if at < 0 {
			p.lits = append(p.lits, rest)
			return p
		}
		p.lits = append(p.lits, rest[:at])
		rest = rest[at+1:]
	}
}

// plusSegment finds the first segment of s that is just "+". Whether s begins
// a segment is atStart.
func plusSegment(s string, atStart bool) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			continue
		}
		begins := i == 0 && atStart || i > 0 && s[i-1] == '/'
		ends := i+1 == len(s) || s[i+1] == '/'
		if begins && ends {
			return i
		}
	}
	return -1
}

func (p *pattern) exact() bool { return !p.glob && p.lits == nil }

// matchesAfterHead says whether rest, which is what follows the head in a
// path, is matched by what follows the head in the pattern.
func (p *pattern) matchesAfterHead(rest string) bool {
	last := len(p.lits) - 1
	if last < 0 {
		return p.glob || rest == ""
	}
	for i, lit := range p.lits {
		at := strings.IndexByte(rest, '/')
		if at < 0 {
			at = len(rest)
		}
		rest = rest[at:]
		if i == last {
			break
		}
		if !strings.HasPrefix(rest, lit) {
			return false
		}
		rest = rest[len(lit):]
	}
	if p.glob {
		return strings.HasPrefix(rest, p.lits[last])
	}
	return rest == p.lits[last]
}

// compare orders patterns by the priority that the package comment gives:
// positive when p is the more specific.
func (p *pattern) compare(q *pattern) int {
	return cmp.Or(
		compareBool(p.exact(), q.exact()),
		cmp.Compare(len(p.head), len(q.head)),
		compareBool(!p.glob, !q.glob),
		cmp.Compare(len(q.lits), len(p.lits)),
		cmp.Compare(len(p.text), len(q.text)),
		cmp.Compare(p.text, q.text),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// reaches says whether the pattern matches the directory prefix, with or
// without its slash, or anything below it.
func (p *pattern) reaches(prefix string) bool {
	body := strings.Split(strings.TrimSuffix(p.text, "*"), "/")
	for i, seg := range strings.Split(strings.TrimSuffix(prefix, "/"), "/") {
		if i == len(body) {
			return false
		}
		last := i == len(body)-1
		switch {
		case p.glob && last:
			return strings.HasPrefix(seg, body[i])
		case body[i] != "+" && body[i] != seg:
			return false
		}
	}
	return true
}
