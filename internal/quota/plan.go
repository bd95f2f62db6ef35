package quota

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

func corrupt(err error) bool { return errors.Is(err, store.ErrCorrupt) }

// Plan is all quotas, in the order of a search. It is not modified.
type Plan struct {
	rates    index[Rate]
	counts   index[Count]
	rev      store.Rev // of the guard
	settings *Settings
	exempt   []string // folded
	absolute []string // folded
}

func newPlan() *Plan {
	return &Plan{rates: newIndex[Rate](), counts: newIndex[Count](), settings: defaults()}
}

func (p *Plan) settle() {
	p.exempt, p.absolute = folded(p.settings.Exempt), folded(p.settings.Absolute)
	p.rates.settle()
	p.counts.settle()
}

func folded(paths []string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = strings.Trim(policy.Fold(path), "/")
	}
	return out
}

// Limits reports whether there is any limit on the rate of requests.
func (p *Plan) Limits() bool { return p.rates.size > 0 }

// Audits reports whether requests that are refused for their rate are written down.
func (p *Plan) Audits() bool { return p.settings.Audit }

// Tells reports whether answers tell how many requests are left.
func (p *Plan) Tells() bool { return p.settings.Headers }

// Exempt reports whether no rate limit is about a path of a namespace.
func (p *Plan) Exempt(ns, path string) bool {
	path = policy.Fold(path)
	return covered(p.exempt, path) || covered(p.absolute, policy.Fold(ns)+path)
}

// covered reports whether a path is one of some or lies below one.
func covered(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		rest, ok := strings.CutPrefix(path, p)
		return ok && p != "" && (rest == "" || rest[0] == '/')
	})
}

// spot is a mount.
type spot struct{ ns, mount string }

// index finds quotas of one kind.
type index[Q any] struct {
	namespaces map[string]*Q
	inherited  map[string]*Q // by the namespace that lets its children inherit it
	mounts     map[spot]*within[Q]
	size       int
}

// within is the quotas of a mount.
type within[Q any] struct {
	whole *Q
	exact map[string]*Q
	globs []glob[Q] // the longest first
	roles map[string]*Q
}

type glob[Q any] struct {
	prefix string
	quota  *Q
}

func newIndex[Q any]() index[Q] {
	return index[Q]{namespaces: map[string]*Q{}, inherited: map[string]*Q{}, mounts: map[spot]*within[Q]{}}
}

func (x *index[Q]) add(p *place, q *Q) {
	x.size++
	if p.MountID == "" {
		x.namespaces[p.NamespaceID] = q
		if p.Inheritable {
			x.inherited[p.NamespaceID] = q
		}
		return
	}
	at := spot{p.NamespaceID, p.MountID}
	m := x.mounts[at]
	if m == nil {
		m = &within[Q]{exact: map[string]*Q{}, roles: map[string]*Q{}}
		x.mounts[at] = m
	}
	switch rest := policy.Fold(p.Rest); {
	case p.Role != "":
		m.roles[policy.Fold(p.Role)] = q
	case p.Glob:
		m.globs = append(m.globs, glob[Q]{rest, q})
	case rest != "":
		m.exact[rest] = q
	default:
		m.whole = q
	}
}

func (x *index[Q]) settle() {
	for _, m := range x.mounts {
		slices.SortFunc(m.globs, func(a, b glob[Q]) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	}
}

// Request is what a quota is sought for.
type Request struct {
	Namespace *namespace.Namespace
	MountID   string                 // empty: it lies in none
	Rest      string                 // canonical path below the mount
	Role      func() (string, error) // that a login is by; nil: it is by none
}

// find is the most specific quota of a request; nil when there is none.
func (x *index[Q]) find(ctx context.Context, r *Request, up func(context.Context, string) (*namespace.Namespace, error)) (*Q, error) {
	if m := x.mounts[spot{r.Namespace.ID, r.MountID}]; m != nil {
		if q, err := m.find(r); err != nil || q != nil {
			return q, err
		}
	}
	if q := x.namespaces[r.Namespace.ID]; q != nil || len(x.inherited) == 0 {
		return q, nil
	}
	for n := r.Namespace; n != nil && n.ParentID != ""; {
		if q := x.inherited[n.ParentID]; q != nil {
			return q, nil
		}
		var err error
		if n, err = up(ctx, n.ParentID); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (m *within[Q]) find(r *Request) (*Q, error) {
	if len(m.roles) > 0 && r.Role != nil {
		role, err := r.Role()
		if err != nil {
			return nil, err
		}
		if q := m.roles[policy.Fold(role)]; q != nil {
			return q, nil
		}
	}
	return m.at(r), nil
}

// at is the most specific quota of a request that no role's is about.
func (m *within[Q]) at(r *Request) *Q {
	if len(m.exact) == 0 && len(m.globs) == 0 {
		return m.whole
	}
	rest := strings.TrimSuffix(policy.Fold(r.Rest), "/")
	if q := m.exact[rest]; q != nil {
		return q
	}
	for _, g := range m.globs {
		if strings.HasPrefix(rest, g.prefix) || strings.HasPrefix(rest+"/", g.prefix) {
			return g.quota
		}
	}
	return m.whole
}
