package policy

import (
	"slices"
	"strings"
)

// Sight is what the holder of an ACL may see below a directory, for filtering
// the names that a LIST or SCAN found there. It is not safe for concurrent use.
type Sight struct {
	acl  *ACL
	req  Request
	near []*merged // rules that could match in the directory or below, as they stand for the request
	hide []*merged // of those, and of the folded denies, the ones that cover what they match and grant nothing

	weighings []*weighing // of the directory, one for each verb; none where nothing has a condition
}

// Sight gives the sight below req.Path, a directory with a trailing slash or
// empty for all. Conditions are weighed as for req, under each verb.
func (a *ACL) Sight(req Request) *Sight {
	s := &Sight{acl: a, req: req}
	if a == nil || a.root {
		return s
	}
	for verb := Create; a.conditional && verb <= Scan; verb <<= 1 {
		req.Op = verb
		s.weighings = append(s.weighings, newWeighing(req))
	}
	for _, m := range a.rules.all {
		if req.Path == "" || m.pattern.reaches(req.Path) {
			s.add(m)
		}
	}
	for _, m := range a.denies.all {
		if m.pattern.glob && (req.Path == "" || m.pattern.reaches(fold(req.Path))) {
			s.add(m)
		}
	}
	return s
}

// add takes in what the rule comes to for the request, if it exists.
func (s *Sight) add(m *merged) {
	caps, exists := m.caps, true
	if m.conditional {
		caps, exists = s.weigh(m)
	}
	switch grants := caps&^Deny&verbs != 0; {
	case !exists:
	case grants && !m.onlyDenies:
		s.near = append(s.near, m)
	case m.pattern.glob:
		s.hide = append(s.hide, m)
	}
}

// weigh is what a conditional rule grants under any verb.
func (s *Sight) weigh(m *merged) (caps Capabilities, exists bool) {
	for _, w := range s.weighings {
		if !w.exists(m) {
			continue
		}
		exists = true
		caps |= w.settle(m).caps & (w.request.Op | Deny)
	}
	return caps, exists
}

// Sees says whether the holder may do anything with what has this path, beyond
// listing it; or, if it ends in a slash, anything with it or with what may lie
// below. The path lies in the sight's directory.
func (s *Sight) Sees(path string) bool {
	switch {
	case s.acl == nil:
		return false
	case s.acl.root:
		return true
	}
	req := s.req
	req.Path = path
	caps, dir := s.acl.granted(req)&verbs, strings.HasSuffix(path, "/")
	if !dir {
		return caps&^(List|Scan) != 0 // a broad right to list says nothing of each name
	}
	return caps != 0 || slices.ContainsFunc(s.near, func(m *merged) bool {
		return m.pattern.reaches(path) && !s.hidden(path, m)
	})
}

// hidden says whether everything that the rule could match below the directory
// is taken by a more specific one that grants nothing.
func (s *Sight) hidden(dir string, m *merged) bool {
	return slices.ContainsFunc(s.hide, func(h *merged) bool {
		if h.onlyDenies {
			return h.pattern.matches(fold(dir)) && h.ranking.compare(&m.ranking) > 0
		}
		return h.pattern.matches(dir) && h.pattern.compare(&m.pattern) > 0
	})
}
