// Package reference owns what is said about the endpoints: the OpenAPI
// document, path-help and the reference pages. All three derive from the
// declarations and from the comments that are lifted out of the source, so that
// they cannot say other than what the server does.
//
// The table of engines is handed in; this package knows none of them.
package reference

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/strongroom/strongroom/internal/api"
)

//go:generate go run ./generate ../..

// Book describes the endpoints of a server. Its fields are set before its
// first use and not changed after.
type Book struct {
	Engines  []api.Engine // everything that can be mounted
	Comments *Comments
	// Mounts are those of the call's namespace that its caller may know of. For
	// a call without a caller they are those that every namespace has.
	Mounts func(*api.Call) ([]Mount, error)

	// strangers is what callers without a token get, made once: with the mounts'
	// paths, and with these left open. All of them share its bytes, so that asking
	// for it, and holding it for who reads slowly, costs next to nothing.
	strangers [2]atomic.Pointer[api.Raw]
}

// Mount is a place where an engine answers.
type Mount struct {
	Path    string            // with a trailing slash, such as secret/ or auth/token/
	Type    string            // as in the table of engines
	Options map[string]string // which may pick the engine's variant
	Builtin bool              // every namespace has it, at this path
}

// endpoints are those that answer at a mount, without the hidden ones; nil
// when the table has no engine of its type.
func (b *Book) endpoints(m Mount) []*api.Endpoint {
	for i := range b.Engines {
		e := &b.Engines[i]
		if e.Type != m.Type || e.Auth != strings.HasPrefix(m.Path, "auth/") {
			continue
		}
		eps := e.Endpoints
		if e.Variant != nil {
			eps = e.Variant(m.Options)
		}
		return slices.DeleteFunc(slices.Clone(eps), func(ep *api.Endpoint) bool { return ep.Has(api.Hidden) })
	}
	return nil
}

// place is one path pattern with the endpoints that answer on it.
type place struct {
	pattern string // relative to the mount
	ops     []*api.Endpoint
}

// places groups endpoints by pattern, in the order of declaration.
func places(eps []*api.Endpoint) []place {
	var out []place
	at := map[string]int{}
	for _, e := range eps {
		i, known := at[e.Pattern]
		if !known {
			i = len(out)
			at[e.Pattern] = i
			out = append(out, place{pattern: e.Pattern})
		}
		out[i].ops = append(out[i].ops, e)
	}
	return out
}

// op is the place's endpoint for an operation, or nil.
func (p *place) op(op api.Op) *api.Endpoint {
	for _, e := range p.ops {
		if e.Op == op {
			return e
		}
	}
	return nil
}

// any reports whether one of the place's endpoints has a property.
func (p *place) any(has func(*api.Endpoint) bool) bool { return slices.ContainsFunc(p.ops, has) }

func flagged(f api.Flag) func(*api.Endpoint) bool {
	return func(e *api.Endpoint) bool { return e.Has(f) }
}

// template is a pattern as OpenAPI writes it, where a parameter says nothing
// about slashes.
func template(pattern string) string { return strings.ReplaceAll(pattern, "...}", "}") }
