package policy

import (
	"slices"
	"strings"
)

// index finds the most specific of a set of merged rules that matches a path.
// It is immutable once built.
type index struct {
	all   []*merged
	exact map[string]*merged
	heads []head // sorted by text
}

// head holds the patterns that share what comes before their first wildcard.
// Of the heads that begin a path, the longest ranks first, so a search walks
// from one head to its parent and takes the first pattern that matches.
type head struct {
	text   string
	parent int       // index of the longest other head that begins this one, or -1
	rules  []*merged // the most specific first
}

// newIndex takes rules of different paths.
func newIndex(rules []*merged) index {
	ix := index{all: rules, exact: make(map[string]*merged)}
	byHead := make(map[string][]*merged)
	for _, m := range rules {
		if m.pattern.exact() {
			ix.exact[m.pattern.text] = m
			continue
		}
		byHead[m.pattern.head] = append(byHead[m.pattern.head], m)
	}
	for text, list := range byHead {
		slices.SortFunc(list, func(a, b *merged) int { return b.pattern.compare(&a.pattern) })
		ix.heads = append(ix.heads, head{text: text, rules: list})
	}
	slices.SortFunc(ix.heads, func(a, b head) int { return strings.Compare(a.text, b.text) })
	for i := range ix.heads {
		ix.heads[i].parent = ix.parentOf(i)
	}
	return ix
}

// parentOf relies on the parents of all earlier heads.
func (ix *index) parentOf(i int) int {
	at := i - 1
	for at >= 0 && !strings.HasPrefix(ix.heads[i].text, ix.heads[at].text) {
		at = ix.heads[at].parent
	}
	return at
}

func (ix *index) empty() bool { return len(ix.all) == 0 }

// find gives the most specific rule that matches path and exists for the
// request, or nil.
func (ix *index) find(path string, w *weighing) *merged {
	if m := ix.exact[path]; m != nil && w.exists(m) {
		return m
	}
	return ix.findPattern(path, w)
}

// findPattern is find without the exact rules.
func (ix *index) findPattern(path string, w *weighing) *merged {
	at := ix.lastNotAfter(path)
	for at >= 0 {
		h := &ix.heads[at]
		if strings.HasPrefix(path, h.text) {
			rest := path[len(h.text):]
			for _, m := range h.rules {
				if m.pattern.matchesAfterHead(rest) && w.exists(m) {
					return m
				}
			}
		}
		at = h.parent
	}
	return nil
}

// lastNotAfter gives the last head that does not sort after path, or -1. Every
// head that begins path is that one or one of its ancestors.
func (ix *index) lastNotAfter(path string) int {
	low, high := 0, len(ix.heads)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if ix.heads[mid].text <= path {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}
