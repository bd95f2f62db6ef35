package policy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// ACL is a compiled set of policies. It is immutable and safe for use by many
// goroutines at once. A nil *ACL grants nothing.
type ACL struct {
	root    bool
	rules   index
	denies  index // the rules that deny, with folded paths
	expires time.Time

	conditional bool // some rule has a condition

	policies []*Policy // what it was compiled from, for Explain
}

// merged is what the rules of one path come to. If it is conditional, that
// depends on the request (see weighing.settle), and only pattern, ranking and
// rules mean something.
type merged struct {
	pattern pattern
	ranking pattern // the pattern with its text folded: what denies are ranked by
	caps    Capabilities
	limits  limits
	free    bool    // no limits at all
	rules   []*Rule // those merged, by policy name and line

	conditional bool // one of the rules has a condition
	onlyDenies  bool // it stands among the folded denies, and exists only while one of its denies does
	broken      bool // it denies because a condition could not be told, not because a rule says so
}

// Root gives the ACL of the root policy, which grants everything. There is no
// other way to it: Compile never grants root, whatever a policy is called.
func Root() *ACL { return &ACL{root: true} }

// Compile joins policies into one ACL as they stand at now: rules that have
// expired are left out. Templated rules match nothing and are left out (see
// Policy.Expand), and so is a policy whose name IsRoot. The order of the
// policies does not matter; nil policies are ignored.
func Compile(now time.Time, policies ...*Policy) *ACL {
	a := &ACL{}
	byPath := make(map[string][]*Rule)
	for _, p := range policies {
		if p == nil || IsRoot(p.Name) {
			continue
		}
		a.policies = append(a.policies, p)
		for _, r := range p.Rules {
			if r.Templated() || a.expired(r, now) {
				continue
			}
			byPath[r.Path] = append(byPath[r.Path], r)
		}
	}
	all := make([]*merged, 0, len(byPath))
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		m := merge(byPath[path])
		a.conditional = a.conditional || m.conditional
		all = append(all, m)
	}
	a.rules = newIndex(all)
	a.denies = newIndex(foldedDenies(all))
	return a
}

// expired says whether the rule has ended at now. If it has yet to end, that
// moment bounds the life of the ACL.
func (a *ACL) expired(r *Rule, now time.Time) bool {
	if r.Expiration.IsZero() {
		return false
	}
	if !now.Before(r.Expiration) {
		return true
	}
	if a.expires.IsZero() || r.Expiration.Before(a.expires) {
		a.expires = r.Expiration
	}
	return false
}

// Expires is when the first of the ACL's rules ends and it must be compiled
// again; zero is never. From then on Decide refuses with the reason Stale.
func (a *ACL) Expires() time.Time { return a.expires }

// Conditional says whether any rule has a condition, so that a Request needs
// Facts.
func (a *ACL) Conditional() bool { return a != nil && a.conditional }

// IsRoot says whether the ACL grants everything.
func (a *ACL) IsRoot() bool { return a != nil && a.root }

// merge joins the rules of one path. Any deny denies. Otherwise capabilities
// add up; the shortest of the minimum and of the maximum wrapping TTLs holds;
// allowed and denied parameters add up, an empty list of values standing for
// any value; required parameters and filters add up; the smallest page limit
// holds.
func merge(rules []*Rule) *merged {
	slices.SortStableFunc(rules, func(a, b *Rule) int {
		if c := strings.Compare(a.Policy, b.Policy); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	m := &merged{pattern: parsePattern(rules[0].Path), rules: rules}
	m.ranking = parsePattern(fold(rules[0].Path))
	m.conditional = slices.ContainsFunc(rules, func(r *Rule) bool { return r.cond != nil })
	m.join()
	return m
}

// join adds up what the rules hold.
func (m *merged) join() {
	for _, r := range m.rules {
		m.caps |= r.Capabilities
		m.limits.add(&r.limits)
	}
	if m.caps&Deny != 0 {
		m.caps, m.limits = Deny, limits{}
	}
	m.free = m.limits.empty()
}

func (l *limits) add(other *limits) {
	l.minWrap = least(l.minWrap, other.minWrap)
	l.maxWrap = least(l.maxWrap, other.maxWrap)
	l.pageLimit = least(l.pageLimit, other.pageLimit)
	l.allowed = addValues(l.allowed, other.allowed)
	l.denied = addValues(l.denied, other.denied)
	l.required = addNew(l.required, other.required)
	l.filters = addNew(l.filters, other.filters)
}

// least gives the smaller of two bounds, of which 0 is none.
func least[T time.Duration | int](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func addNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(slices.Clip(list), s)
		}
	}
	return list
}

func addValues(into, more map[string][]literal) map[string][]literal {
	if len(more) > 0 && into == nil {
		into = make(map[string][]literal, len(more))
	}
	for name, values := range more {
		have, listed := into[name]
		if len(values) == 0 || listed && len(have) == 0 {
			into[name] = nil
			continue
		}
		into[name] = append(slices.Clip(have), values...)
	}
	return into
}

// foldedDenies gives the rules that deny, with the case of their paths folded;
// those that are then equal become one.
func foldedDenies(all []*merged) []*merged {
	byPath := make(map[string]*merged)
	var denies []*merged
	for _, m := range all {
		if m.caps&Deny == 0 {
			continue
		}
		if same := byPath[m.ranking.text]; same != nil {
			same.rules = append(slices.Clip(same.rules), m.rules...)
			same.conditional = same.conditional || m.conditional
			continue
		}
		d := &merged{pattern: m.ranking, ranking: m.ranking, caps: Deny, free: true, rules: m.rules, conditional: m.conditional, onlyDenies: true}
		byPath[d.pattern.text] = d
		denies = append(denies, d)
	}
	return denies
}
