package policies

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Who is whom templates in policies are filled in for. It is immutable, and compared
// by ==: whoever has changed is another.
type Who interface {
	// Value is what a template stands for in the policies of a namespace, such as
	// "identity.entity.name", and whether there is a value.
	Value(nsID, template string) (string, bool)
}

// Part is the policies that somebody has in one namespace.
type Part struct {
	Namespace string   // identifier
	Below     string   // its path from the first part's namespace; empty for that one
	Names     []string // canonical
}

// set names a compiled set: a namespace, and names joined with their lengths,
// so that no two sets have one name (CVE-2026-105820).
type set struct {
	nsID, names string
	more        string // of further parts: namespace, path and names, joined likewise
}

func setOf(parts ...Part) set {
	s := set{nsID: parts[0].Namespace, names: join(parts[0].Names)}
	for _, p := range parts[1:] {
		s.more += join([]string{p.Namespace, p.Below, join(p.Names)})
	}
	return s
}

// join makes one text of texts, which part undoes.
func join(texts []string) string {
	var b strings.Builder
	size := 0
	for _, n := range texts {
		size += len("0000:") + len(n)
	}
	b.Grow(size)
	for _, n := range texts {
		b.WriteString(strconv.Itoa(len(n)))
		b.WriteByte(':')
		b.WriteString(n)
	}
	return b.String()
}

// part is the texts that join has joined.
func part(joined string) []string {
	var out []string
	for rest := joined; rest != ""; {
		digits, tail, _ := strings.Cut(rest, ":")
		n, err := strconv.Atoi(digits)
		if err != nil || n > len(tail) {
			return nil
		}
		out, rest = append(out, tail[:n]), tail[n:]
	}
	return out
}

// parts are what the set was made of.
func (s set) parts() []Part {
	out := []Part{{Namespace: s.nsID, Names: part(s.names)}}
	for more := range slices.Chunk(part(s.more), 3) {
		if len(more) == 3 {
			out = append(out, Part{more[0], more[1], part(more[2])})
		}
	}
	return out
}

// compiled is a set as it is remembered.
type compiled struct {
	acl       *policy.ACL // without what has templates
	templated bool        // something has
	sources   []source
}

// source is one policy of a set.
type source struct {
	part   Part
	policy *policy.Policy
}

// ACL is the compiled set of a namespace's policies with the given names, which
// must be canonical. A name without a policy adds nothing. The policy root is
// the root namespace's alone.
func (s *Store) ACL(ctx context.Context, nsID string, names []string) (*policy.ACL, error) {
	return s.ACLOf(ctx, nil, Part{Namespace: nsID, Names: names})
}

// ACLOf is the compiled set of the policies that somebody has, in one namespace and those
// below it, as requests in the first one meet it. Templates are filled in for who, or match
// nothing when that is nil.
func (s *Store) ACLOf(ctx context.Context, who Who, parts ...Part) (*policy.ACL, error) {
	if root(parts) {
		return s.root, nil
	}
	of := setOf(parts...)
	c, err := s.sets.Get(ctx, of)
	if err != nil {
		return nil, err
	}
	acl := c.acl
	if c.templated && who != nil {
		acl = s.fills.get(c, who, func() *policy.ACL { return c.fill(s.now(), who) })
	}
	if end := acl.Expires(); !end.IsZero() && !s.now().Before(end) {
		return s.ACLAt(ctx, s.now(), who, parts...)
	}
	return acl, nil
}

// root reports whether the root policy is among those of the root namespace.
func root(parts []Part) bool {
	return parts[0].Namespace == rootName && slices.Contains(parts[0].Names, rootName)
}

// ACLAt is ACLOf as it stands at another moment: what has expired by then is left
// out.
func (s *Store) ACLAt(ctx context.Context, at time.Time, who Who, parts ...Part) (*policy.ACL, error) {
	if root(parts) {
		return s.root, nil
	}
	c, err := compileAt(ctx, s.store, setOf(parts...), at)
	if err != nil {
		return nil, err
	}
	if who != nil && c.templated {
		return c.fill(at, who), nil
	}
	return c.acl, nil
}

func (s *Store) compile(ctx context.Context, r store.Reader, of set) (*compiled, error) {
	return compileAt(ctx, r, of, s.now())
}

func compileAt(ctx context.Context, r store.Reader, of set, at time.Time) (*compiled, error) {
	c := &compiled{}
	var all []*policy.Policy
	for _, part := range of.parts() {
		for _, name := range part.Names {
			p, err := parse(ctx, r, part.Namespace, name)
			if err != nil {
				return nil, err
			}
			if p == nil {
				continue
			}
			if part.Below != "" {
				p = p.Below(part.Below)
			}
			all, c.templated = append(all, p), c.templated || p.Templated()
			c.sources = append(c.sources, source{part, p})
		}
	}
	c.acl = policy.Compile(at, all...)
	if !c.templated {
		c.sources = nil
	}
	return c, nil
}

// fill is the set with its templates filled in.
func (c *compiled) fill(at time.Time, who Who) *policy.ACL {
	filled := make([]*policy.Policy, len(c.sources))
	for i, s := range c.sources {
		filled[i] = s.policy.Expand(func(template string) (string, bool) { return who.Value(s.part.Namespace, template) })
	}
	return policy.Compile(at, filled...)
}
