package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Explanation is a decision laid open for people: which rule decided, what else
// was weighed, and what would have to change. It holds no value of a parameter.
type Explanation struct {
	Allowed      bool      `json:"allowed"`               // Whether the policies allow the request.
	Reason       string    `json:"reason"`                // Why, in words.
	Operation    string    `json:"operation"`             // The verb that was decided about.
	Path         string    `json:"path"`                  // The path, from the namespace of the policies.
	Parameter    string    `json:"parameter,omitempty"`   // The parameter that the reason is about.
	Capabilities []string  `json:"capabilities"`          // What the deciding rule grants on the path.
	Rules        []Weighed `json:"rules"`                 // Every rule whose path matches, those that decided first.
	Steps        []Step    `json:"steps"`                 // What was looked at, in order, up to what failed.
	WouldAllow   string    `json:"would_allow,omitempty"` // The smallest rule that would allow the request, if adding one is enough.
	Advice       []string  `json:"advice,omitempty"`      // What else would.
}

// Weighed is a rule whose path matches, and what became of it.
type Weighed struct {
	Policy       string   `json:"policy"`              // Name of the policy, or file.
	Line         int      `json:"line"`                // Line of the policy's text, from 1.
	Path         string   `json:"path"`                // Path of the rule.
	Capabilities []string `json:"capabilities"`        // What it grants; deny stands alone.
	Condition    string   `json:"condition,omitempty"` // What must hold for it to exist.
	Verdict      string   `json:"verdict"`             // What became of it.

	rule  *Rule
	truth truth
	gone  bool // it has expired
}

// Step is one thing that was looked at.
type Step struct {
	Name   string `json:"name"`   // What was looked at.
	Passed bool   `json:"passed"` // Whether the request passed.
	Detail string `json:"detail"` // What was found.
}

// Explain decides req as Decide does and says how. Where the endpoint is
// root-protected, needSudo is true. It takes its time: Decide is for requests.
func (a *ACL) Explain(req Request, needSudo bool) *Explanation {
	return a.ExplainDecision(req, a.Decide(req), needSudo)
}

// ExplainDecision is Explain for a decision that was taken when more of the
// request was known than req holds, such as its parameters.
func (a *ACL) ExplainDecision(req Request, d Decision, needSudo bool) *Explanation {
	x := &Explanation{Allowed: d.Allowed, Reason: d.Reason.String(), Operation: req.Op.String(), Path: req.Path,
		Parameter: d.Parameter, Capabilities: d.Capabilities.Names()}
	if d.Allowed && needSudo && !d.Sudo {
		x.Allowed, x.Reason = false, "the endpoint is root-protected, and the rule does not grant sudo"
	}
	if a == nil || a.root || d.Reason == BadOperation {
		return x
	}
	e := &explainer{acl: a, req: req, d: d, needSudo: needSudo, w: newWeighing(req), out: x}
	e.weigh()
	e.steps()
	if !x.Allowed {
		e.suggest()
	}
	return x
}

// explainer gathers an explanation.
type explainer struct {
	acl      *ACL
	req      Request
	d        Decision
	needSudo bool
	w        *weighing
	out      *Explanation
}

// weigh lists the rules whose path matches, with what became of each.
func (e *explainer) weigh() {
	listing := e.req.Op&(List|Scan) != 0
	for _, p := range e.acl.policies {
		for _, r := range p.Rules {
			if r.Templated() || !e.decided(r) && !r.couldDecide(e.req.Path, listing) {
				continue
			}
			v := Weighed{Policy: r.Policy, Line: r.Line, Path: r.Path, Capabilities: r.Capabilities.Names(), Condition: r.Condition, rule: r}
			v.Verdict = e.verdict(&v)
			e.out.Rules = append(e.out.Rules, v)
		}
	}
	slices.SortStableFunc(e.out.Rules, func(a, b Weighed) int {
		p, q := parsePattern(a.Path), parsePattern(b.Path)
		return cmp.Or(compareBool(e.decided(b.rule), e.decided(a.rule)), q.compare(&p), cmp.Compare(a.Policy, b.Policy), a.Line-b.Line)
	})
}

func (e *explainer) decided(r *Rule) bool { return slices.Contains(e.d.Rules, r) }

func (e *explainer) verdict(v *Weighed) string {
	r := v.rule
	if !r.Expiration.IsZero() && !e.req.Now.Before(r.Expiration) {
		v.gone = true
		return "it expired at " + r.Expiration.UTC().Format("2006-01-02T15:04:05Z")
	}
	var why error
	v.truth, why = e.w.weigh(r)
	decides := ""
	if e.decided(r) {
		decides = "it decides"
	}
	switch {
	case v.truth == unmet:
		return "its condition is false, so that it does not exist"
	case v.truth == broken:
		return strings.TrimPrefix(decides+": ", ": ") + "its condition cannot be told (" + firstLine(why.Error()) + "), which denies"
	case decides != "":
		return decides
	case len(e.d.Rules) > 0:
		return fmt.Sprintf("path %q is more specific", e.d.Rules[0].Path)
	}
	return "it is not what decides"
}

// couldDecide says whether the rule's path matches, in any spelling that a
// decision looks at.
func (r *Rule) couldDecide(path string, listing bool) bool {
	bare := strings.TrimSuffix(path, "/")
	spellings := []string{path}
	switch {
	case listing:
		spellings = []string{bare + "/", bare}
	case bare != path && r.Capabilities&Deny != 0:
		spellings = append(spellings, bare)
	}
	p := parsePattern(r.Path)
	if slices.ContainsFunc(spellings, p.matches) {
		return true
	}
	folded := parsePattern(fold(r.Path))
	return r.Capabilities&Deny != 0 && slices.ContainsFunc(spellings, func(s string) bool { return folded.matches(fold(s)) })
}

// matches says whether the pattern stands for a path.
func (p *pattern) matches(path string) bool {
	rest, ok := strings.CutPrefix(path, p.head)
	return ok && p.matchesAfterHead(rest)
}

// step adds what was looked at, and gives whether the request passed.
func (e *explainer) step(name string, passed bool, detail string, args ...any) bool {
	e.out.Steps = append(e.out.Steps, Step{name, passed, fmt.Sprintf(detail, args...)})
	return passed
}

// steps retraces what Decide looks at, in its order.
func (e *explainer) steps() {
	d, need := &e.d, e.req.Op.String()
	if d.Reason == Stale {
		e.step("expiration", false, "%s", d.Reason)
		return
	}
	if !e.step("path", d.Reason != NoRule, "%d rules of %d policies match %q", len(e.out.Rules), len(e.acl.policies), e.req.Path) {
		return
	}
	where := places(d.Rules)
	if !e.step("conditions", d.Reason != ConditionFailed, "of %s", where) {
		return
	}
	if !e.step("capabilities", d.Reason != Denied && d.Reason != NotGranted, "%s grants [%s]; the request needs %s", where, d.Capabilities, need) {
		return
	}
	m := &merged{rules: d.Rules}
	m.join()
	if m.limits.minWrap > 0 || m.limits.maxWrap > 0 {
		bounds := fmt.Sprintf("from %v", m.limits.minWrap)
		if m.limits.maxWrap > 0 {
			bounds += fmt.Sprintf(" to %v", m.limits.maxWrap)
		}
		if !e.step("wrapping", d.Reason != WrapRequired && d.Reason != WrapTTLOutOfBounds, "the answer must be wrapped %s; the request asks for %v", bounds, e.req.WrapTTL) {
			return
		}
	}
	e.parameterSteps(&m.limits)
}

func (e *explainer) parameterSteps(l *limits) {
	about := func(reason Reason) string {
		if e.d.Reason == reason {
			return fmt.Sprintf("; %q is at fault", e.d.Parameter)
		}
		return ""
	}
	listing := e.req.Op&(List|Scan) != 0
	for _, s := range []struct {
		name   string
		any    bool
		fails  Reason
		detail string
	}{
		{"required_parameters", len(l.required) > 0 && (!listing || l.pageLimit > 0), ParameterMissing, "required are " + strings.Join(l.required, ", ")},
		{"denied_parameters", len(l.denied) > 0 && !listing, ParameterDenied, "denied are " + strings.Join(sorted(l.denied), ", ")},
		{"allowed_parameters", len(l.allowed) > 0 && !listing, ParameterNotAllowed, "allowed are " + strings.Join(sorted(l.allowed), ", ")},
		{"pagination_limit", l.pageLimit > 0 && listing, PageTooLarge, fmt.Sprintf("at most %d entries", l.pageLimit)},
	} {
		if s.any && !e.step(s.name, e.d.Reason != s.fails, "%s%s", s.detail, about(s.fails)) {
			return
		}
	}
	if e.needSudo {
		e.step("sudo", e.d.Sudo, "the endpoint is root-protected")
	}
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// places names rules by policy and line.
func places(rules []*Rule) string {
	var out []string
	for _, r := range rules {
		out = append(out, fmt.Sprintf("%s line %d", r.Policy, r.Line))
	}
	return strings.Join(out, ", ")
}

// suggest looks for the smallest rule that allows the request when it is added,
// and tries it; and says what else would help.
func (e *explainer) suggest() {
	for _, v := range e.out.Rules {
		grants := v.rule.Capabilities&e.req.Op != 0 && (v.rule.Capabilities&Sudo != 0 || !e.needSudo)
		switch {
		case v.gone && grants:
			e.advise("renew the expiration of the rule at %s line %d, which grants it", v.Policy, v.Line)
		case v.truth == broken:
			e.advise("make the condition of %s line %d one that can be told: %s", v.Policy, v.Line, v.Condition)
		case v.truth == unmet && grants:
			e.advise("meet the condition of %s line %d, which grants it: %s", v.Policy, v.Line, v.Condition)
		}
	}
	e.adviseReason()
	rule := e.smallest()
	added := &Policy{Name: rule.Policy, Rules: []*Rule{rule}}
	if e.wouldAllow(added) {
		e.out.WouldAllow = fmt.Sprintf("path %q {\n  capabilities = [%s]\n}", rule.Path, quotedNames(rule.Capabilities))
		return
	}
	e.advise("no rule that is added would allow it")
}

// smallest is a rule for exactly this path. It repeats what a less specific rule
// grants there, which it would otherwise take away.
func (e *explainer) smallest() *Rule {
	path := e.req.Path
	if e.req.Op&(List|Scan) != 0 && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	r := &Rule{Policy: "(added)", Line: 1, Path: path, Capabilities: e.req.Op}
	if e.needSudo {
		r.Capabilities |= Sudo
	}
	if !slices.ContainsFunc(e.d.Rules, func(d *Rule) bool { return d.Path == path }) {
		r.Capabilities |= e.d.Capabilities &^ Deny
	}
	return r
}

func (e *explainer) wouldAllow(added *Policy) bool {
	p := parsePattern(added.Rules[0].Path)
	if !p.exact() {
		return false // the path's own "*" or "+" would stand for others
	}
	switch e.d.Reason {
	case ParameterMissing, ParameterDenied, ParameterNotAllowed, PageTooLarge:
		if slices.ContainsFunc(e.d.Rules, func(r *Rule) bool { return r.Path == p.text }) {
			return false // it would be merged with what refuses the parameter
		}
	}
	d := Compile(e.req.Now, append(slices.Clip(e.acl.policies), added)...).Decide(e.req)
	return d.Allowed && (d.Sudo || !e.needSudo)
}

func quotedNames(c Capabilities) string {
	names := c.Names()
	for i := range names {
		names[i] = `"` + names[i] + `"`
	}
	return strings.Join(names, ", ")
}

func (e *explainer) advise(text string, args ...any) {
	e.out.Advice = append(e.out.Advice, fmt.Sprintf(text, args...))
}

// adviseReason says what to change in the deciding rule or the request.
func (e *explainer) adviseReason() {
	where := places(e.d.Rules)
	switch e.d.Reason {
	case Denied:
		e.advise("remove the deny at %s, or give it a condition", where)
	case WrapRequired, WrapTTLOutOfBounds:
		e.advise("ask for a wrapped answer with a TTL that %s allows", where)
	case ParameterMissing:
		e.advise("give the parameter %q, which %s requires", e.d.Parameter, where)
	case ParameterDenied, ParameterNotAllowed:
		e.advise("leave the parameter %q out or change its value: %s does not allow it", e.d.Parameter, where)
	case PageTooLarge:
		e.advise("ask for a smaller page than %s limits to", where)
	}
}
