package token

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
)

// canonical gives policy names their one spelling, sorted and each once. The
// root policy stands alone, and is meant only by names whose canonical spelling
// is root; a name that merely looks like it is refused.
func canonical(names []string) ([]string, error) {
	out := make([]string, 0, len(names)+1)
	for _, n := range names {
		if strings.TrimSpace(n) == "" {
			continue
		}
		c, err := policy.CanonicalName(n)
		if err != nil || c != rootPolicy && policy.IsRoot(c) {
			return nil, api.Errorf(api.Invalid, "policies: a name is malformed")
		}
		out = append(out, c)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if slices.Contains(out, rootPolicy) {
		return []string{rootPolicy}, nil
	}
	return out, nil
}

// withDefault adds the default policy, unless the set is root's.
func withDefault(names []string) []string {
	if slices.Contains(names, rootPolicy) || slices.Contains(names, defaultPolicy) {
		return names
	}
	i, _ := slices.BinarySearch(names, defaultPolicy)
	return slices.Insert(slices.Clone(names), i, defaultPolicy)
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

func subset(small, big []string) bool {
	return !slices.ContainsFunc(small, func(n string) bool { return !slices.Contains(big, n) })
}

// policyRequest is what a child's policies are decided from.
type policyRequest struct {
	asked     []string // canonical
	given     bool     // some name was asked for, be it blank
	parent    []string
	noDefault bool
	sudo      bool
	foreign   bool  // the parent is of another namespace
	role      *Role // nil: none
}

// resolve is the child's policies. Without sudo or a role that says otherwise
// they are among the parent's.
func (r policyRequest) resolve() ([]string, error) {
	names, add, err := r.choose()
	if err != nil {
		return nil, err
	}
	if add {
		names = withDefault(names)
	}
	if r.noDefault {
		names = without(names, defaultPolicy)
	}
	return names, nil
}

// choose is the set before the default policy, and whether to add that.
func (r policyRequest) choose() (names []string, addDefault bool, err error) {
	switch {
	case r.role != nil && r.role.restricts():
		names, err = r.role.choose(r)
		return names, false, err
	case r.foreign:
		return r.asked, !r.noDefault, nil
	case !r.given:
		return r.parent, false, nil
	case r.sudo:
		return r.asked, !r.noDefault, nil
	case !subset(r.asked, r.parent):
		return nil, false, api.Errorf(api.Invalid, "child policies must be subset of parent")
	}
	return r.asked, !r.noDefault && slices.Contains(r.parent, defaultPolicy), nil
}
