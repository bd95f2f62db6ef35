package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse reads a policy in HCL or JSON. Everything wrong with it is reported at
// once, as a *ParseError. The name is the policy's own, as CanonicalName gave
// it; a name attribute in the source is accepted and has no effect.
func Parse(name, src string) (*Policy, error) {
	top, fault := readSource(src)
	if fault != nil {
		return nil, &ParseError{Policy: name, Faults: []Fault{*fault}}
	}
	p := &parser{policy: &Policy{Name: name}}
	p.top(&top)
	if len(p.faults) > 0 {
		slices.SortStableFunc(p.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return nil, &ParseError{Policy: name, Faults: p.faults[:min(len(p.faults), maxFaults)]}
	}
	return p.policy, nil
}

// parser gathers rules and faults.
type parser struct {
	policy     *Policy
	faults     []Fault
	conditions int // met so far
}

func (p *parser) fault(line int, remedy, problem string, args ...any) {
	p.faults = append(p.faults, Fault{line, fmt.Sprintf(problem, args...), remedy})
}

func (p *parser) top(n *node) {
	named := false
	for i := range n.fields {
		f := &n.fields[i]
		switch {
		case f.key == "path":
			p.paths(f)
		case f.key != "name":
			p.fault(f.line, `a policy holds only path "…" { … } blocks`, "unknown key %s", shown(f.key))
		case named:
			p.fault(f.line, "keep one of them", "name is set twice")
		case f.val.kind != word:
			p.fault(f.line, `write name = "…", or leave it out`, "name is %v", f.val.kind)
		default:
			named = true
		}
	}
}

func (p *parser) paths(f *field) {
	const remedy = `write path "…" { capabilities = […] }`
	tables, ok := f.val.blocks()
	if !ok {
		p.fault(f.line, remedy, "path is %v", f.val.kind)
		return
	}
	for _, table := range tables {
		p.noRepeats(&table, "the path")
		for i := range table.fields {
			rule := &table.fields[i]
			stanzas, ok := rule.val.blocks()
			if !ok {
				p.fault(rule.line, remedy, "path %s is %v, not a block", shown(rule.key), rule.val.kind)
			}
			for _, stanza := range stanzas {
				p.rule(rule.key, rule.line, &stanza)
			}
		}
	}
}

// noRepeats refuses a key that comes twice in one block. A path may come again
// in a block of its own: such rules are merged.
func (p *parser) noRepeats(n *node, what string) {
	seen := make(map[string]int, len(n.fields))
	for _, f := range n.fields {
		if line := seen[f.key]; line > 0 {
			p.fault(f.line, "keep one of them", "%s %s was already set on line %d", what, shown(f.key), line)
		}
		seen[f.key] = f.line
	}
}

func (p *parser) rule(path string, line int, n *node) {
	r := &Rule{Policy: p.policy.Name, Line: line, Path: strings.TrimPrefix(path, "/")}
	p.checkPath(r)
	p.noRepeats(n, "the key")
	for i := range n.fields {
		f := &n.fields[i]
		if set := ruleKey(f.key); set != nil {
			set(p, r, f)
			continue
		}
		p.unknownKey(r, f)
	}
	p.finish(r)
	p.policy.Rules = append(p.policy.Rules, r)
}

func (p *parser) unknownKey(r *Rule, f *field) {
	remedy := "a path holds capabilities and conditions on parameters, wrapping, listing and expiration"
	if f.key == "mfa_methods" || f.key == "control_group" {
		remedy = "this condition is not supported, and without it the rule would grant more than it says: remove the rule or the condition"
	}
	p.fault(f.line, remedy, "path %s: unknown key %s", shown(r.Path), shown(f.key))
}

// checkPath refuses a path that no request can have: a rule that can never
// match, above all one that denies, is a mistake.
func (p *parser) checkPath(r *Rule) {
	if r.Templated() || strings.Contains(r.Path, "}}") {
		if !templateWellFormed(r.Path) {
			p.fault(r.Line, "write {{identity.…}}, closed and on one line", "path %s: the template is not valid", shown(r.Path))
		}
		return
	}
	if strings.Contains(r.Path, "+*") {
		p.fault(r.Line, `write "*" for anything that follows, or "+/*" for what is below one segment`, `path %s: "+*" has no meaning`, shown(r.Path))
		return
	}
	if _, err := Canonical(r.Path); err != nil {
		p.fault(r.Line, "write the path as requests have it", "path %s can never match: the %v", shown(r.Path), err)
	}
}

// finish settles what depends on several keys.
func (p *parser) finish(r *Rule) {
	if r.Capabilities&Deny != 0 {
		r.Capabilities, r.limits = Deny, limits{}
		return
	}
	if l := &r.limits; l.maxWrap > 0 && l.maxWrap < l.minWrap {
		p.fault(r.Line, "raise max_wrapping_ttl or lower min_wrapping_ttl", "path %s: max_wrapping_ttl is less than min_wrapping_ttl", shown(r.Path))
	}
	if len(r.limits.filters) > 0 && r.Capabilities&(List|Scan) == 0 {
		p.fault(r.Line, "add the list capability or remove the filter", "path %s: list_scan_response_keys_filter_path without list or scan", shown(r.Path))
	}
}

// ruleKey gives what sets a key of a path block, or nil for an unknown one.
func ruleKey(key string) func(*parser, *Rule, *field) {
	switch key {
	case "capabilities":
		return (*parser).capabilities
	case "policy":
		return (*parser).legacy
	case "required_parameters":
		return (*parser).required
	case "allowed_parameters":
		return func(p *parser, r *Rule, f *field) { r.limits.allowed = p.parameters(f, exactName) }
	case "denied_parameters":
		return func(p *parser, r *Rule, f *field) { r.limits.denied = p.parameters(f, fold) }
	case "min_wrapping_ttl":
		return func(p *parser, r *Rule, f *field) { r.limits.minWrap = p.duration(f) }
	case "max_wrapping_ttl":
		return func(p *parser, r *Rule, f *field) { r.limits.maxWrap = p.duration(f) }
	case "pagination_limit":
		return (*parser).pageLimit
	case "list_scan_response_keys_filter_path":
		return (*parser).filter
	case "expiration":
		return (*parser).expiration
	case "condition":
		return (*parser).condition
	case "comment":
		return func(p *parser, _ *Rule, f *field) { p.word(f) }
	}
	return nil
}

func (p *parser) word(f *field) string {
	if f.val.kind != word {
		p.fault(f.val.line, fmt.Sprintf("write %s = \"…\"", f.key), "%s is %v", f.key, f.val.kind)
	}
	return f.val.text
}

func (p *parser) words(f *field) []string {
	if f.val.kind != list {
		p.fault(f.val.line, fmt.Sprintf("write %s = [\"…\"]", f.key), "%s is %v", f.key, f.val.kind)
		return nil
	}
	var out []string
	for _, item := range f.val.items {
		if item.kind != word {
			p.fault(item.line, "write each element between double quotes", "%s holds %v", f.key, item.kind)
			continue
		}
		out = append(out, item.text)
	}
	return out
}

func (p *parser) capabilities(r *Rule, f *field) {
	for _, name := range p.words(f) {
		c, ok := capabilityNamed(name)
		if !ok {
			p.fault(f.val.line, "the capabilities are create, read, update, patch, delete, list, scan, sudo and deny", "path %s: unknown capability %s", shown(r.Path), shown(name))
		}
		r.Capabilities |= c
	}
}

// legacy reads the form that came before capabilities.
func (p *parser) legacy(r *Rule, f *field) {
	write := Create | Read | Update | Delete | List
	switch name := p.word(f); name {
	case "deny":
		r.Capabilities |= Deny
	case "read":
		r.Capabilities |= Read | List
	case "write":
		r.Capabilities |= write
	case "sudo":
		r.Capabilities |= write | Sudo
	default:
		p.fault(f.val.line, "it is read, write, sudo or deny; better, list capabilities", "path %s: unknown policy %s", shown(r.Path), shown(name))
	}
}

func (p *parser) required(r *Rule, f *field) {
	for _, name := range p.words(f) {
		r.limits.required = addNew(r.limits.required, []string{name})
	}
}

// parameters reads a map of parameter names, made keys by name, to lists of
// values.
func (p *parser) parameters(f *field, name func(string) string) map[string][]literal {
	tables, ok := f.val.blocks()
	if !ok {
		p.fault(f.val.line, fmt.Sprintf("write %s = { \"name\" = [] }", f.key), "%s is %v", f.key, f.val.kind)
	}
	out := make(map[string][]literal)
	for _, table := range tables {
		for i := range table.fields {
			param := &table.fields[i]
			key := name(param.key)
			if _, repeated := out[key]; repeated {
				p.fault(param.line, "keep one of them", "%s names %s twice", f.key, shown(param.key))
			}
			out[key] = p.values(f.key, param)
		}
	}
	return out
}

// exactName keeps allowed names as they are spelled: a handler ignores other
// spellings, so what they hold would go unused.
func exactName(s string) string { return s }

func (p *parser) values(key string, param *field) []literal {
	if param.val.kind != list {
		p.fault(param.val.line, "write a list of values, or [] for any value", "%s: %s is %v, not a list", key, shown(param.key), param.val.kind)
		return nil
	}
	if param.key == "*" && len(param.val.items) > 0 {
		p.fault(param.val.line, `write "*" = []`, `%s: "*" has a list of values`, key)
	}
	var out []literal
	for i := range param.val.items {
		text, ok := param.val.items[i].valueText()
		if !ok {
			p.fault(param.val.items[i].line, "values are strings, numbers, booleans, or lists of them", "%s: %s has a value that is %v", key, shown(param.key), param.val.items[i].kind)
			continue
		}
		out = append(out, newLiteral(text, param.val.items[i].kind == list))
	}
	return out
}

// valueText writes a listed value as a parameter's value is written for
// comparison.
func (n *node) valueText() (string, bool) {
	switch n.kind {
	case word, boolean:
		return n.text, true
	case number:
		return numberText(n.text), true
	case list:
		text, _, ok := listText(len(n.items), func(i int) any {
			if text, ok := n.items[i].valueText(); ok {
				return text
			}
			return nil
		}, numberText)
		return text, ok
	}
	return "", false
}

func (p *parser) pageLimit(r *Rule, f *field) {
	n, err := strconv.Atoi(f.val.text)
	if err != nil || n < 0 || f.val.kind != number && f.val.kind != word {
		p.fault(f.val.line, "write a number of entries, 0 for no limit", "path %s: pagination_limit is not a count", shown(r.Path))
		return
	}
	r.limits.pageLimit = n
}

func (p *parser) filter(r *Rule, f *field) {
	text := p.word(f)
	if f.val.kind == word && (!strings.Contains(text, "{{") || !strings.Contains(text, ".key")) {
		p.fault(f.val.line, `write for example "{{ .path }}{{ .key }}"`, "path %s: list_scan_response_keys_filter_path does not use .key", shown(r.Path))
	}
	r.limits.filters = []string{text}
}

// condition compiles the rule's condition.
func (p *parser) condition(r *Rule, f *field) {
	text := p.word(f)
	if f.val.kind != word {
		return
	}
	if p.conditions++; p.conditions == maxConditions+1 {
		p.fault(f.val.line, "split it into several policies", "the policy has more than %d conditions", maxConditions)
	}
	if p.conditions > maxConditions {
		return
	}
	compiled, fault := compileCondition(text)
	if fault != nil {
		line := f.val.line
		if f.val.spans {
			line += fault.Line
		}
		p.fault(line, fault.Remedy, "path %s: %s", shown(r.Path), fault.Problem)
		return
	}
	r.Condition, r.cond = text, compiled
}

// expiration reads a time, or seconds since 1970.
func (p *parser) expiration(r *Rule, f *field) {
	if f.val.kind == number {
		if n, err := strconv.ParseInt(f.val.text, 10, 64); err == nil && 0 < n && n < 1<<38 {
			r.Expiration = time.Unix(n, 0).UTC()
			return
		}
	}
	if f.val.kind == word {
		if t, err := time.Parse(time.RFC3339, f.val.text); err == nil && !t.IsZero() {
			r.Expiration = t
			return
		}
	}
	p.fault(f.val.line, `write it as RFC 3339 has it, "2030-01-31T12:00:00Z", or as seconds since 1970`, "path %s: expiration is not a time", shown(r.Path))
}
