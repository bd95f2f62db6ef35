package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what a decision is about.
type Request struct {
	Path    string        // as Canonical gave it, relative to the namespace
	Op      Capabilities  // exactly one verb, Create to Scan
	Params  Params        // top-level parameters; nil is none
	WrapTTL time.Duration // of the wrapped answer that is asked for; 0 asks for none
	Now     time.Time     // read only where the ACL has rules that expire, or conditions
	Facts   *Facts        // read only where the ACL is Conditional; nil: nothing is known
}

// Reason says why a decision fell as it did.
type Reason uint8

// The reasons. Only Granted and RootGranted allow.
const (
	NoRule              Reason = iota // no rule matches the path
	Granted                           // the rule grants the verb, and its conditions hold
	RootGranted                       // the root policy
	Denied                            // the rule denies
	NotGranted                        // the rule does not grant the verb
	WrapRequired                      // the rule wants a wrapped answer, none was asked for
	WrapTTLOutOfBounds                // the wrapping TTL is outside the rule's bounds
	ParameterMissing                  // a required parameter is absent
	ParameterDenied                   // a parameter is denied, or has a denied value
	ParameterNotAllowed               // a parameter is not among those allowed, or its value is not
	PageTooLarge                      // limit is above the rule's page limit, negative or no number
	BadOperation                      // Op is not one verb
	Stale                             // a rule has expired: the policies must be compiled again
	ConditionFailed                   // a condition of the rule could not be told, which denies
)

var reasonTexts = [...]string{
	NoRule:              "no rule matches the path",
	Granted:             "granted",
	RootGranted:         "granted by the root policy",
	Denied:              "the rule denies the path",
	NotGranted:          "the rule does not grant the operation",
	WrapRequired:        "the rule requires a wrapped answer",
	WrapTTLOutOfBounds:  "the wrapping TTL is out of the rule's bounds",
	ParameterMissing:    "a required parameter is missing",
	ParameterDenied:     "a parameter or its value is denied",
	ParameterNotAllowed: "a parameter or its value is not allowed",
	PageTooLarge:        "the page limit asked for is not within the rule's",
	BadOperation:        "the operation is unknown",
	Stale:               "a rule has expired since the policies were compiled",
	ConditionFailed:     "a condition of the rule could not be told",
}

// String is the reason in words, for explanations and logs.
func (r Reason) String() string {
	if int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return "unknown reason"
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	Sudo    bool // the rule grants sudo too, which root-protected endpoints need
	Root    bool // the root policy decided
	Reason  Reason
	// Parameter is the name of the parameter that the Reason is about, as the
	// request or, if it is missing, the rule has it; empty for other reasons.
	Parameter string

	// Capabilities is what the deciding rule grants on the path, with all
	// policies merged.
	Capabilities Capabilities
	// Rules are the rules that were merged into the one that decided, by
	// policy name and line. Shared: not to be changed.
	Rules []*Rule
	// PageLimit is the most entries that a LIST or SCAN page may have; 0 is no
	// limit. A limit parameter above it, negative or unreadable has been
	// refused; one that is absent, empty, zero or "max" means PageLimit.
	PageLimit int
	// Filters are templates over .path and .key. A key that LIST or SCAN found
	// is shown only when, for every template, the path that it gives may be
	// read, or listed if it ends in a slash. Shared: not to be changed.
	Filters []string
}

// Decide answers req. It does not allocate unless a rule has conditions on
// parameters, a LIST lacks its trailing slash, or a path with upper case meets
// an ACL that has rules that deny; or the ACL is Conditional.
func (a *ACL) Decide(req Request) Decision {
	switch {
	case !req.Op.isVerb():
		return Decision{Reason: BadOperation}
	case a == nil:
		return Decision{Reason: NoRule}
	case a.root:
		return Decision{Allowed: true, Sudo: true, Root: true, Reason: RootGranted, Capabilities: verbs | Sudo}
	case !a.expires.IsZero() && !req.Now.Before(a.expires):
		return Decision{Reason: Stale}
	}
	m := a.find(req.Path, req.Op&(List|Scan) != 0, a.weighing(req))
	if m == nil {
		return Decision{Reason: NoRule}
	}
	d := Decision{Capabilities: m.caps, Sudo: m.caps&Sudo != 0, Rules: m.rules}
	d.Reason, d.Parameter = m.judge(&req)
	d.Allowed = d.Reason == Granted
	if d.Allowed && req.Op&(List|Scan) != 0 {
		d.PageLimit, d.Filters = m.limits.pageLimit, m.limits.filters
	}
	return d
}

// weighing is for the request's conditions; nil when there are none.
func (a *ACL) weighing(req Request) *weighing {
	if !a.conditional {
		return nil
	}
	return newWeighing(req)
}

// Capabilities answers sys/capabilities for path: "root" alone, "deny" alone,
// or the sorted words of what is granted at that moment to a request of these
// facts; what is not known of it leaves conditions that need it untold, and
// they deny. A path that ends in a slash is answered as for LIST.
func (a *ACL) Capabilities(path string, now time.Time, facts *Facts) []string {
	if a.IsRoot() {
		return []string{"root"}
	}
	if caps := a.granted(Request{Path: path, Now: now, Facts: facts}); caps != 0 {
		return caps.Names()
	}
	return []string{"deny"}
}

// granted is what is granted on the request's path, whatever its verb.
func (a *ACL) granted(req Request) Capabilities {
	if a == nil {
		return 0
	}
	listing := strings.HasSuffix(req.Path, "/")
	if !a.conditional {
		if m := a.find(req.Path, listing, nil); m != nil {
			return m.caps
		}
		return 0
	}
	var all Capabilities
	for verb := Create; verb <= Scan; verb <<= 1 { // a condition may tell verbs apart
		req.Op = verb
		if m := a.find(req.Path, listing, newWeighing(req)); m != nil && m.caps&verb != 0 {
			all |= m.caps & (verb | Sudo)
		}
	}
	return all
}

// Reaches says whether any rule that grants something could match a path below
// prefix, which ends in a slash: whether a mount there is worth showing. It is
// no permission: a rule that ranks higher may still deny.
func (a *ACL) Reaches(prefix string) bool {
	switch {
	case a == nil:
		return false
	case a.root:
		return true
	}
	for _, m := range a.rules.all {
		if m.grantsEver() && m.pattern.reaches(prefix) {
			return true
		}
	}
	return false
}

// grantsEver says whether the rule grants something, for some request.
func (m *merged) grantsEver() bool {
	if !m.conditional {
		return m.caps&^Deny != 0
	}
	return slices.ContainsFunc(m.rules, func(r *Rule) bool { return r.Capabilities&^Deny != 0 })
}

// judge decides for a rule that matches the path, and names the parameter that
// the reason is about.
func (m *merged) judge(req *Request) (Reason, string) {
	switch {
	case m.broken:
		return ConditionFailed, ""
	case m.caps&Deny != 0:
		return Denied, ""
	case m.caps&req.Op == 0:
		return NotGranted, ""
	case m.free:
		return Granted, ""
	}
	if r := m.limits.checkWrap(req.WrapTTL); r != Granted {
		return r, ""
	}
	switch req.Op {
	case Create, Read, Update, Patch:
		return m.limits.check(req)
	case List, Scan:
		return m.limits.checkPage(req)
	}
	return Granted, ""
}

// checkPage holds where the rule bounds pages: the other conditions on
// parameters are not for LIST and SCAN.
func (l *limits) checkPage(req *Request) (Reason, string) {
	if l.pageLimit == 0 {
		return Granted, ""
	}
	params := req.params()
	for name, value := range params.All {
		isLimit := fold(name) == "limit" || slices.Contains(params.OtherNames(name), "limit")
		if isLimit && !l.pageWithin(value) {
			return PageTooLarge, name
		}
	}
	if slices.Contains(l.required, "limit") && !hasParam(req, "limit") {
		return ParameterMissing, "limit"
	}
	return Granted, ""
}

func (l *limits) pageWithin(value any) bool {
	text, list, ok := valueText(value)
	if !ok || list {
		return false
	}
	if text == "" || text == "max" {
		return true
	}
	n, err := strconv.Atoi(text)
	return err == nil && 0 <= n && n <= l.pageLimit
}

// checkWrap holds for a merged rule too, where the least minimum may be over
// the least maximum: then no TTL passes.
func (l *limits) checkWrap(ttl time.Duration) Reason {
	switch {
	case l.minWrap == 0 && l.maxWrap == 0:
		return Granted
	case ttl <= 0:
		return WrapRequired
	case ttl < l.minWrap, l.maxWrap > 0 && ttl > l.maxWrap:
		return WrapTTLOutOfBounds
	default:
		return Granted
	}
}

// find gives the rule that decides about path, or nil. In a listing, path
// names a directory whether or not it ends in a slash.
func (a *ACL) find(path string, listing bool, w *weighing) *merged {
	if listing && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	bare, isDir := strings.CutSuffix(path, "/")
	m := a.rules.find(path, w)
	if listing && (m == nil || !m.pattern.exact()) {
		m = a.findBare(bare, m, w)
	}
	m = w.settle(m)
	if a.denies.empty() || m != nil && m.caps&Deny != 0 {
		return m
	}
	folded := fold(path)
	deny := outrank(a.denies.find(folded, w), m)
	if isDir {
		deny = outrank(a.denies.find(folded[:len(folded)-1], w), deny)
	}
	if deny == m {
		return m
	}
	return w.settle(deny)
}

// findBare looks for the rule of a listing without its slash: an exact one
// beats any pattern, a pattern is the last resort.
func (a *ACL) findBare(bare string, found *merged, w *weighing) *merged {
	if m := a.rules.exact[bare]; m != nil && w.exists(m) {
		return m
	}
	if found != nil {
		return found
	}
	return a.rules.findPattern(bare, w)
}

// outrank gives the deny if it ranks above the rule, else the rule.
func outrank(deny, rule *merged) *merged {
	if deny == nil || rule != nil && deny.ranking.compare(&rule.ranking) <= 0 {
		return rule
	}
	return deny
}
