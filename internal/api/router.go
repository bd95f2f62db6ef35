package api

import (
	"fmt"
	"strings"
)

// Router finds the endpoint for an operation on a path relative to the mount.
// It is immutable and safe for concurrent use.
type Router struct{ root node }

type node struct {
	literal map[string]*node
	name    *node // {name}
	param   string
	rest    *node // {name...}
	ops     [Scan + 1]*Endpoint
	any     bool // some endpoint ends here
}

// Match is where a path landed.
type Match struct {
	Endpoint *Endpoint
	Params   [4]Param // path parameters in pattern order
	N        int      // how many there are
	Path     string   // the canonical path: names in their canonical spelling
}

// Param is one path parameter.
type Param struct{ Name, Value string }

// NewRouter makes a router of endpoints. It returns an error when two of them
// have the same operation and pattern.
func NewRouter(endpoints []*Endpoint) (*Router, error) {
	r := &Router{}
	for _, e := range endpoints {
		n := &r.root
		for _, seg := range segments(e.Pattern) {
			n = n.child(seg)
		}
		if n.ops[e.Op] != nil {
			return nil, fmt.Errorf("two endpoints for %s %s", e.Op, e.Pattern)
		}
		n.ops[e.Op], n.any = e, true
	}
	return r, nil
}

func segments(pattern string) []string {
	if pattern == "" {
		return nil
	}
	return strings.Split(pattern, "/")
}

// placeholder takes "{name}" or "{name...}" apart.
func placeholder(seg string) (name string, rest, ok bool) {
	if len(seg) < 3 || seg[0] != '{' || seg[len(seg)-1] != '}' {
		return "", false, false
	}
	name, rest = strings.CutSuffix(seg[1:len(seg)-1], "...")
	return name, rest, true
}

// placeholders are the names in a pattern, in order.
func placeholders(pattern string) []string {
	var out []string
	for _, seg := range segments(pattern) {
		if name, _, ok := placeholder(seg); ok {
			out = append(out, name)
		}
	}
	return out
}

func (n *node) child(seg string) *node {
	name, rest, ok := placeholder(seg)
	switch {
	case ok && rest:
		if n.rest == nil {
			n.rest = &node{param: name}
		}
		return n.rest
	case ok:
		if n.name == nil {
			n.name = &node{param: name}
		}
		return n.name
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[seg] == nil {
		n.literal[seg] = &node{}
	}
	return n.literal[seg]
}

// Match finds the endpoint. A literal segment wins over {name}, which wins
// over {name...}. One trailing slash is ignored. It returns NotFound for a path
// that no pattern has and Unsupported for one that lacks the operation.
func (r *Router) Match(op Op, path string) (Match, error) {
	trimmed := strings.TrimSuffix(path, "/")
	m := Match{Path: path}
	found := false
	if r.root.match(op, trimmed, trimmed == "", &m, &found) {
		m.rename()
		return m, m.canonicalise(trimmed, path)
	}
	if found {
		return m, &Error{Kind: Unsupported, Message: "unsupported operation", Hint: r.takes(trimmed)}
	}
	return m, &Error{Kind: NotFound, Message: "unsupported path"}
}

// Takes are the operations that a path has, those that are documented.
func (r *Router) Takes(path string) (ops []Op) {
	path = strings.TrimSuffix(path, "/")
	for op := Read; op <= Scan; op++ {
		var m Match
		found := false
		if r.root.match(op, path, path == "", &m, &found) && !m.Endpoint.Has(Hidden) {
			ops = append(ops, op)
		}
	}
	return ops
}

// takes says which operations a path has, by the names that the command line has for them; empty: none that is documented.
func (r *Router) takes(path string) string {
	var names []string
	for _, op := range r.Takes(path) {
		names = append(names, op.String())
	}
	if len(names) == 0 {
		return ""
	}
	return "this path takes " + strings.Replace(strings.Join(names, ", "), Write.String(), "write", 1)
}

// match walks the tree; done says that the whole path is consumed.
func (n *node) match(op Op, path string, done bool, m *Match, found *bool) bool {
	if done {
		*found = *found || n.any
		if e := n.ops[op]; e != nil {
			m.Endpoint = e
			return true
		}
		return n.matchRest(op, "", m, found)
	}
	seg, tail, more := strings.Cut(path, "/")
	if c := n.literal[seg]; c != nil && c.match(op, tail, !more, m, found) {
		return true
	}
	if n.name != nil {
		k := m.push(n.name.param, seg)
		if n.name.match(op, tail, !more, m, found) {
			return true
		}
		m.N = k
	}
	return n.matchRest(op, path, m, found)
}

func (n *node) matchRest(op Op, path string, m *Match, found *bool) bool {
	if n.rest == nil {
		return false
	}
	if n.rest.matchSuffix(op, path, m, found) {
		return true
	}
	*found = *found || n.rest.any
	e := n.rest.ops[op]
	if e == nil {
		return false
	}
	m.push(n.rest.param, path)
	m.Endpoint = e
	return true
}

// matchSuffix matches {name...}/literal, whose literal wins over {name...} alone.
func (n *node) matchSuffix(op Op, path string, m *Match, found *bool) bool {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 || n.literal == nil {
		return false
	}
	c := n.literal[path[i+1:]]
	if c == nil {
		return false
	}
	*found = *found || c.any
	if c.ops[op] == nil {
		return false
	}
	m.push(n.param, path[:i])
	m.Endpoint = c.ops[op]
	return true
}

// rename gives the parameters the names that they have in the endpoint's own
// pattern: patterns that differ only in these share their nodes.
func (m *Match) rename() {
	for i, name := range m.Endpoint.params {
		m.Params[i].Name = name
	}
}

func (m *Match) push(name, value string) (before int) {
	before = m.N
	m.Params[before] = Param{name, value}
	m.N++
	return before
}

// canonicalise gives every parameter of type Name its canonical spelling, in
// Params and in Path alike, so that the policy decides on what the handler gets.
func (m *Match) canonicalise(trimmed, path string) error {
	changed := false
	for i := range m.N {
		p := &m.Params[i]
		if !m.Endpoint.Request.isName(p.Name) || p.Value == "" {
			continue
		}
		v, err := canonicalName(p.Value)
		if err != nil {
			return Errorf(Invalid, "%s: %v", p.Name, err)
		}
		if v != p.Value {
			p.Value, changed = v, true
		}
	}
	if changed {
		m.Path = m.rebuild() + path[len(trimmed):]
	}
	return nil
}

func (m *Match) rebuild() string {
	segs := segments(m.Endpoint.Pattern)
	next := 0
	for i, s := range segs {
		if _, _, ok := placeholder(s); ok {
			segs[i] = m.Params[next].Value
			next++
		}
	}
	// A {name...} that holds nothing leaves no slash behind.
	return strings.TrimSuffix(strings.Join(segs, "/"), "/")
}

func checkPattern(e *Endpoint) error {
	segs := segments(e.Pattern)
	count := 0
	for i, s := range segs {
		name, rest, ok := placeholder(s)
		if !ok {
			continue
		}
		count++
		if rest && i < len(segs)-2 {
			return fmt.Errorf("{%s...} must come last, or before one literal segment", name)
		}
		if f := e.Request.field(name); f == nil || !f.InPath {
			return fmt.Errorf("no request field with path tag %q", name)
		}
	}
	if count > len(Match{}.Params) {
		return fmt.Errorf("more than %d placeholders", len(Match{}.Params))
	}
	return nil
}
