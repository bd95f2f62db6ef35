// Package policy owns Vault's access control language: parsing it, compiling
// a set of policies, deciding one request, and saying which rule decided; and
// the language of password policies, with drawing passwords from them.
//
// It is pure. It knows no store, no context and no clock: where a rule's
// expiration matters, the time is an argument. It also owns the canonical form
// of request paths (Canonical) and of resource names (CanonicalName), since a
// decision is worth nothing when the handler then acts on another spelling.
//
// # How a rule is chosen
//
// A rule's path is exact, or ends in "*" (a prefix), or has "+" segments (each
// stands for one whole segment, which may be empty). "*" elsewhere and "+"
// inside a segment are ordinary characters. Of the rules that match, one
// decides; P1 ranks below P2 when, in this order,
//
//  1. the first "+" or "*" of P1 comes earlier (an exact path has none),
//  2. P1 ends in "*" and P2 does not,
//  3. P1 has more "+" segments,
//  4. P1 is shorter,
//  5. P1 sorts before P2.
//
// Rules with the same path, in one policy or in several, are merged into one:
// see merge. The order in which policies are given never matters.
//
// # Conditions
//
// A rule may have a condition, an expression in CEL over the time, where the
// request came from, how and when its token was issued, and what it asks for
// (see Facts). While that is false, the rule does not exist: another may be the
// most specific, and what the rule denies is not denied. A condition that cannot
// be told (something it needs is not known, or it costs too much) makes its rule
// one that denies, as exact as it is written. docs/decisions/0009-conditions.md has the reasons.
//
// # Where it is stricter than Vault and OpenBao
//
//   - LIST and SCAN mean the directory, with or without a trailing slash. They
//     look for an exact rule with the slash, then without it, then for a
//     pattern with the slash, then without it; and a deny that outranks what
//     was found, in either spelling, is never skipped (GHSA-xp3c-3jw3-4vcr).
//     Such a deny also holds for any other verb on a path that ends in a slash.
//   - A deny matches under case folding, because many handlers fold the names
//     in their paths (CVE-2026-89322). A rule spelled as the request is, and of
//     the same rank, still wins, so that case-sensitive names stay usable.
//   - denied_parameters are compared without regard to case, surrounding space
//     and invisible characters, within lists, and within comma-separated
//     strings, because handlers decode leniently; and numbers, truth values
//     and spans of time by what they mean: "1e3" is 1000, "60m" is 3600. A glob
//     in allowed_parameters that holds no comma must match every
//     comma-separated part.
//   - The names in required_parameters and allowed_parameters hold as spelled,
//     because handlers ignore other spellings. A required parameter that is null,
//     zero, or an empty text, list or object is missing: handlers take these as
//     none. An allowed value is compared with the text
//     that the request spells: 5.0 is not the allowed 5.
package policy

import (
	"strings"
	"time"
)

// Capabilities is a set of what a rule grants. One element that names a verb
// (Create to Scan) is also the operation of a Request.
type Capabilities uint16

// The capabilities of the language. Sudo is needed, besides the verb's own, on
// endpoints that are root-protected; Deny beats every other.
const (
	Create Capabilities = 1 << iota
	Read
	Update
	Patch
	Delete
	List
	Scan
	Sudo
	Deny

	verbs = Create | Read | Update | Patch | Delete | List | Scan
)

// capabilityNames is in the order in which sys/capabilities answers.
var capabilityNames = [...]struct {
	name string
	bit  Capabilities
}{
	{"create", Create},
	{"delete", Delete},
	{"deny", Deny},
	{"list", List},
	{"patch", Patch},
	{"read", Read},
	{"scan", Scan},
	{"sudo", Sudo},
	{"update", Update},
}

// Names lists the capabilities of the set as words, sorted.
func (c Capabilities) Names() []string {
	names := make([]string, 0, len(capabilityNames))
	for _, n := range capabilityNames {
		if c&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String is the words of the set joined by commas.
func (c Capabilities) String() string { return strings.Join(c.Names(), ",") }

// isVerb says whether the set is exactly one of the verbs.
func (c Capabilities) isVerb() bool { return c&verbs == c && c != 0 && c&(c-1) == 0 }

func capabilityNamed(name string) (Capabilities, bool) {
	for _, n := range capabilityNames {
		if n.name == name {
			return n.bit, true
		}
	}
	return 0, false
}

// Operation is the verb of that name: create, read, update, patch, delete, list
// or scan.
func Operation(name string) (Capabilities, bool) {
	c, ok := capabilityNamed(name)
	return c, ok && c.isVerb()
}

// Policy is one parsed policy. It must not be changed once parsed: compiled
// ACLs share its rules.
type Policy struct {
	Name  string  // as given to Parse
	Rules []*Rule // in the order of the source
}

// Rule is one path stanza of a policy.
type Rule struct {
	Policy       string       // name of the policy that holds it
	Line         int          // line of the source, from 1
	Namespace    string       // path of the namespace that the policy is of, from where it is asked for; see Policy.Below
	Path         string       // the pattern, without a leading slash
	Capabilities Capabilities // what it grants; Deny stands alone
	Expiration   time.Time    // from then on the rule does not exist; zero is never
	Condition    string       // text of what must hold for the rule to exist; empty is nothing
	cond         *condition   // nil without one
	limits       limits
}

// limits are a rule's conditions on a request, beyond path and verb.
type limits struct {
	minWrap, maxWrap time.Duration        // bounds of the wrapping TTL; 0 is none
	allowed, denied  map[string][]literal // by parameter name, folded if denied; nil is no condition
	required         []string             // parameter names
	pageLimit        int                  // most entries of one LIST or SCAN page; 0 is none
	filters          []string             // templates that every listed key must pass
}

func (l *limits) empty() bool {
	return l.minWrap == 0 && l.maxWrap == 0 && len(l.allowed) == 0 && len(l.denied) == 0 &&
		len(l.required) == 0 && l.pageLimit == 0 && len(l.filters) == 0
}

// EndBy makes the rule expire at that moment, unless it does before; the zero
// moment changes nothing. It is for who has just parsed the policy.
func (r *Rule) EndBy(at time.Time) {
	if !at.IsZero() && (r.Expiration.IsZero() || at.Before(r.Expiration)) {
		r.Expiration = at
	}
}

// Templated says whether the rule's path holds {{…}}. Such a rule matches
// nothing until Policy.Expand has replaced it.
func (r *Rule) Templated() bool { return strings.Contains(r.Path, "{{") }

// Templated says whether any rule of the policy is.
func (p *Policy) Templated() bool {
	for _, r := range p.Rules {
		if r.Templated() {
			return true
		}
	}
	return false
}
