package gate

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
)

// VisibleNamespaces are the namespaces that the caller's policies reach into.
type VisibleNamespaces struct {
	Keys []string `json:"keys,omitempty"` // Their names, with a trailing slash.
}

// visibleNamespaces lists the namespaces directly below the request's that the
// caller's policies reach into.
func (h *House) visibleNamespaces(c *api.Call, _ *api.None) (*VisibleNamespaces, error) {
	if c.Caller.Namespace.ID == "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "client token empty", Hint: "log in first"}
	}
	acl, prefix, err := h.acl(c)
	if err != nil {
		return nil, err
	}
	children, err := h.Namespaces.Children(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	out := &VisibleNamespaces{}
	for _, child := range children {
		name := child.Name + "/"
		if child.Live() && acl.Reaches(prefix+name) {
			out.Keys = append(out.Keys, name)
		}
	}
	return out, nil
}

// ResultantACL is what the caller's policies come to, by path.
type ResultantACL struct {
	Root  bool                   `json:"root"`
	Exact map[string]*PathRights `json:"exact_paths,omitempty"` // Paths that stand for themselves.
	Glob  map[string]*PathRights `json:"glob_paths,omitempty"`  // What paths begin with; one that holds + segments is as in the policy.
}

// PathRights is what the caller may do on paths, and under which conditions.
type PathRights struct {
	Capabilities []string            `json:"capabilities"`
	MinWrapping  int64               `json:"min_wrapping_ttl,omitempty"` // Seconds.
	MaxWrapping  int64               `json:"max_wrapping_ttl,omitempty"` // Seconds.
	Allowed      map[string][]string `json:"allowed_parameters,omitempty"`
	Denied       map[string][]string `json:"denied_parameters,omitempty"`
	Required     []string            `json:"required_parameters,omitempty"`
	PageLimit    int                 `json:"pagination_limit,omitempty"`
	Filters      []string            `json:"list_scan_response_keys_filter_path,omitempty"`
}

// resultantACL answers what the caller's policies come to, for user interfaces
// that show only what will work.
func (h *House) resultantACL(c *api.Call, _ *api.None) (*ResultantACL, error) {
	acl, _, err := h.acl(c)
	if err != nil {
		return nil, err
	}
	if acl.IsRoot() {
		return &ResultantACL{Root: true}, nil
	}
	out := &ResultantACL{Exact: map[string]*PathRights{}, Glob: map[string]*PathRights{}}
	for _, g := range acl.Grants() {
		if g.Exact {
			out.Exact[g.Path] = rightsOf(&g)
		} else {
			out.Glob[strings.TrimSuffix(g.Path, "*")] = rightsOf(&g)
		}
	}
	return out, nil
}

func rightsOf(g *policy.PathGrant) *PathRights {
	k := &g.Conditions
	return &PathRights{Capabilities: g.Capabilities.Names(), MinWrapping: k.MinWrappingSeconds, MaxWrapping: k.MaxWrappingSeconds, Allowed: k.AllowedParameters,
		Denied: k.DeniedParameters, Required: k.RequiredParameters, PageLimit: k.PageLimit, Filters: k.ListFilters}
}
