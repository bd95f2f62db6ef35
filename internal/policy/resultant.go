package policy

// PathGrant is what the rules of one path come to.
type PathGrant struct {
	Path         string // as in the rules
	Exact        bool   // the path stands for itself; else it holds * or +
	Capabilities Capabilities
	Conditions   Conditions
}

// Conditions are what a request must meet for the capabilities to hold. The zero
// Conditions ask for nothing.
type Conditions struct {
	MinWrappingSeconds, MaxWrappingSeconds int64               // 0: no bound
	AllowedParameters, DeniedParameters    map[string][]string // by parameter name; no values: any
	RequiredParameters                     []string
	PageLimit                              int // 0: none
	ListFilters                            []string
}

// Grants is what the ACL grants and denies, path by path, in no order. That of
// the root policy is empty: it grants everything.
func (a *ACL) Grants() []PathGrant {
	if a == nil {
		return nil
	}
	out := make([]PathGrant, 0, len(a.rules.all))
	for _, m := range a.rules.all {
		out = append(out, PathGrant{Path: m.pattern.text, Exact: m.pattern.exact(), Capabilities: m.caps, Conditions: m.limits.conditions()})
	}
	return out
}

func (l *limits) conditions() Conditions {
	return Conditions{MinWrappingSeconds: int64(l.minWrap.Seconds()), MaxWrappingSeconds: int64(l.maxWrap.Seconds()),
		AllowedParameters: texts(l.allowed), DeniedParameters: texts(l.denied), RequiredParameters: l.required, PageLimit: l.pageLimit, ListFilters: l.filters}
}

func texts(values map[string][]literal) map[string][]string {
	if len(values) == 0 {
		return nil
	}
	out := map[string][]string{}
	for name, list := range values {
		out[name] = []string{}
		for _, v := range list {
			out[name] = append(out[name], v.text)
		}
	}
	return out
}
