package policy

import (
	"strings"
)

// Expand gives the policy with its templated paths filled in. The function is
// given what stands between the braces, without surrounding space, such as
// "identity.entity.name", and says whether there is a value.
//
// A rule one of whose values is missing is dropped. So is one whose value
// could widen or move the path: one that is empty, holds "*", "+", "/" or a
// brace, or makes the path one that Canonical refuses (GHSA-59w7-v8rr-pr4p). If
// a rule so refused denies, all that begins as its path does before the
// template is denied in its place, so that no choice of name removes a deny.
//
// The policy itself is unchanged; rules without templates are shared.
func (p *Policy) Expand(value func(template string) (string, bool)) *Policy {
	out := &Policy{Name: p.Name, Rules: make([]*Rule, 0, len(p.Rules))}
	for _, r := range p.Rules {
		if !r.Templated() {
			out.Rules = append(out.Rules, r)
			continue
		}
		if filled := r.expand(value); filled != nil {
			out.Rules = append(out.Rules, filled)
		}
	}
	return out
}

// expand gives the rule with its path filled in, or nil.
func (r *Rule) expand(value func(string) (string, bool)) *Rule {
	var b strings.Builder
	rest, safe := r.Path, true
	for {
		before, after, found := strings.Cut(rest, "{{")
		b.WriteString(before)
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		v, ok := value(strings.TrimSpace(name))
		if !closed || !ok {
			return nil
		}
		safe = safe && v != "" && !strings.ContainsAny(v, "*+/{}")
		b.WriteString(v)
		rest = tail
	}
	filled := *r
	filled.Path = b.String()
	if _, err := Canonical(filled.Path); safe && err == nil {
		return &filled
	}
	if r.Capabilities&Deny == 0 {
		return nil
	}
	filled.Path, _, _ = strings.Cut(r.Path, "{{")
	filled.Path += "*"
	return &filled
}

// Unknown are the templates of the policy's paths that have no form of which there is a value: a rule
// with one is in force for nobody. Accessors are those of the auth methods that others name.
func (p *Policy) Unknown() (unknown, accessors []string) {
	for _, r := range p.Rules {
		for _, part := range strings.Split(r.Path, "{{")[1:] {
			name, _, _ := strings.Cut(part, "}}")
			name = strings.TrimSpace(name)
			accessor, known := templateKnown(name)
			switch {
			case !known:
				unknown = append(unknown, name)
			case accessor != "":
				accessors = append(accessors, accessor)
			}
		}
	}
	return unknown, accessors
}

// templateKnown reports whether a template has a form of which there is a value, and the accessor
// that it names, if any.
func templateKnown(name string) (accessor string, known bool) {
	if what, ok := strings.CutPrefix(name, "identity.entity."); ok {
		rest, alias := strings.CutPrefix(what, "aliases.")
		if alias {
			accessor, what, _ = strings.Cut(rest, ".")
			if key, ok := strings.CutPrefix(what, "custom_metadata."); ok && accessor != "" && key != "" {
				return accessor, true
			}
		}
		return accessor, (!alias || accessor != "") && ends(what)
	}
	for _, kind := range []string{"identity.groups.ids.", "identity.groups.names."} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			if of, key, ok := strings.Cut(rest, ".metadata."); ok {
				return "", of != "" && key != ""
			}
			i := strings.LastIndexByte(rest, '.')
			return "", i > 0 && ends(rest[i+1:])
		}
	}
	return "", false
}

// ends reports whether a template may end in what is said of an entity, an alias or a group.
func ends(what string) bool {
	key, ok := strings.CutPrefix(what, "metadata.")
	return what == "id" || what == "name" || ok && key != ""
}

// Below gives the policy as one of a namespace above names what it is about: with the
// path from there, which ends in a slash, before each of its own.
func (p *Policy) Below(path string) *Policy {
	out := &Policy{Name: p.Name, Rules: make([]*Rule, 0, len(p.Rules))}
	for _, r := range p.Rules {
		moved := *r
		moved.Path, moved.Namespace = path+r.Path, path+r.Namespace
		moved.limits.filters = make([]string, 0, len(r.limits.filters))
		for _, f := range r.limits.filters {
			if !strings.HasPrefix(f, "{{") { // else the path of the request is first, and with it the namespace
				f = path + f
			}
			moved.limits.filters = append(moved.limits.filters, f)
		}
		out.Rules = append(out.Rules, &moved)
	}
	return out
}

// templateWellFormed says whether every {{ has its }} and names something of
// the identity, and the path around them could be a request's.
func templateWellFormed(path string) bool {
	var literal strings.Builder
	for rest := path; ; {
		before, after, found := strings.Cut(rest, "{{")
		literal.WriteString(before)
		if strings.Contains(before, "}}") {
			return false
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		name = strings.TrimSpace(name)
		if !closed || !strings.HasPrefix(name, "identity.") || strings.ContainsAny(name, "{}\n") {
			return false
		}
		literal.WriteByte('x')
		rest = tail
	}
	_, err := Canonical(literal.String())
	return err == nil && !strings.Contains(literal.String(), "+*")
}
