package gate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// Routes are the endpoints under sys/ that answer what a caller may do and see.
func Routes() []api.Route[*House] {
	return []api.Route[*House]{
		api.Handle(api.Write, "capabilities", (*House).capabilities, api.Flat),
		api.Handle(api.Write, "capabilities-self", (*House).capabilitiesSelf, api.Flat),
		api.Handle(api.Write, "capabilities-accessor", (*House).capabilitiesAccessor, api.Flat),
		api.Handle(api.Write, "policies/explain", (*House).explain),
		api.Handle(api.Read, "internal/ui/mounts", (*House).visibleMounts, api.Open),
		api.Handle(api.Read, "internal/ui/mounts/{path...}", (*House).visibleMount, api.Open),
		api.Handle(api.Read, "internal/ui/namespaces", (*House).visibleNamespaces, api.Open),
		api.Handle(api.Read, "internal/ui/resultant-acl", (*House).resultantACL),
	}
}

// CapabilitiesRequest asks what a token may do.
type CapabilitiesRequest struct {
	Token api.Secret `json:"token"`                                           // The token; empty for the caller's own on capabilities-self.
	Paths []string   `json:"paths" audit:"clear"`                             // Paths to ask about.
	Path  []string   `json:"path" api:"deprecated,alias=paths" audit:"clear"` // Older name of paths.
}

// AccessorRequest asks what the token with an accessor may do.
type AccessorRequest struct {
	Accessor string   `json:"accessor"`                                        // Accessor of the token.
	Paths    []string `json:"paths" audit:"clear"`                             // Paths to ask about.
	Path     []string `json:"path" api:"deprecated,alias=paths" audit:"clear"` // Older name of paths.
}

// capabilities says what a token may do on paths.
func (h *House) capabilities(c *api.Call, q *CapabilitiesRequest) (*map[string][]string, error) {
	if q.Token.Empty() {
		return nil, api.Errorf(api.Invalid, "missing token")
	}
	t, err := h.Tokens.Lookup(c, q.Token.Reveal(), c.Now)
	if err != nil {
		if api.KindOf(err) == api.Denied {
			return nil, api.Errorf(api.Invalid, "invalid token")
		}
		return nil, err
	}
	return h.capabilitiesOf(c, t, q.Paths, "invalid token")
}

// capabilitiesSelf says what the calling token may do on paths.
func (h *House) capabilitiesSelf(c *api.Call, q *CapabilitiesRequest) (*map[string][]string, error) {
	if !q.Token.Empty() {
		t, err := h.Tokens.Lookup(c, q.Token.Reveal(), c.Now)
		if err != nil || t.ID != c.Caller.TokenID {
			return nil, api.ErrDenied()
		}
	}
	acl, err := h.callerACL(c)
	if err != nil {
		return nil, err
	}
	return h.capabilitiesWith(c, c.Caller.Namespace, acl, q.Paths, h.ownFacts)
}

// capabilitiesAccessor says what the token with an accessor may do on paths.
func (h *House) capabilitiesAccessor(c *api.Call, q *AccessorRequest) (*map[string][]string, error) {
	if q.Accessor == "" {
		return nil, api.Errorf(api.Invalid, "missing accessor")
	}
	t, err := h.Tokens.ByAccessor(c, q.Accessor)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, api.Errorf(api.Invalid, "invalid accessor")
	}
	return h.capabilitiesOf(c, t, q.Paths, "invalid accessor")
}

// capabilitiesOf answers for a token that can act in the call's namespace. Any
// other is refused as one that does not exist.
func (h *House) capabilitiesOf(c *api.Call, t *token.Token, paths []string, refusal string) (*map[string][]string, error) {
	owner, err := h.Namespaces.ByID(c, t.NamespaceID)
	if err != nil {
		return nil, err
	}
	if owner == nil || !strings.HasPrefix(c.Namespace.Path, owner.Path) {
		return nil, api.Errorf(api.Invalid, "%s", refusal)
	}
	s, err := h.standing(c, t)
	if api.KindOf(err) == api.Denied {
		return nil, api.Errorf(api.Invalid, "%s", refusal)
	}
	if err != nil {
		return nil, err
	}
	return h.capabilitiesWith(c, owner.API(), s.acl, paths, func(c *api.Call, _ *policy.ACL) (*policy.Facts, error) { return h.facts(c, t, s.names(), s.entity()) })
}

// capabilitiesWith answers for policies and what is known of who has them. Where
// requests will come from is not known of others.
func (h *House) capabilitiesWith(c *api.Call, owner api.Namespace, acl *policy.ACL, paths []string, known func(*api.Call, *policy.ACL) (*policy.Facts, error)) (*map[string][]string, error) {
	if len(paths) == 0 {
		return nil, api.Errorf(api.Invalid, "paths: must name at least one path")
	}
	facts, err := known(c, acl)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(paths)+1)
	for _, p := range paths {
		canonical, err := policy.Canonical(strings.TrimPrefix(p, "/"))
		if err != nil {
			return nil, api.Errorf(api.Invalid, "paths: one is not in canonical form: %v", err)
		}
		out[p] = acl.Capabilities(strings.TrimPrefix(c.Namespace.Path, owner.Path)+canonical, c.Now, facts)
	}
	if len(paths) == 1 {
		out["capabilities"] = out[paths[0]]
	}
	return &out, nil
}

// VisibleMounts are the mounts that the caller's policies reach into.
type VisibleMounts struct {
	Auth   map[string]*mount.Info `json:"auth"`
	Secret map[string]*mount.Info `json:"secret"`
}

// acl is the caller's policies and the prefix of paths in the call's namespace.
// Who has no token has no policies.
func (h *House) acl(c *api.Call) (*policy.ACL, string, error) {
	if c.Caller.Namespace.ID == "" {
		return nil, "", nil
	}
	acl, err := h.callerACL(c)
	return acl, strings.TrimPrefix(c.Namespace.Path, c.Caller.Namespace.Path), err
}

// callerACL is what the policies of who makes a call come to.
func (h *House) callerACL(c *api.Call) (*policy.ACL, error) {
	s, err := h.callers(c)
	if err != nil {
		return nil, err
	}
	return h.Policies.ACLOf(c, s.filler(), s.parts...)
}

// visibleMounts lists the mounts that the caller's policies reach into.
func (h *House) visibleMounts(c *api.Call, _ *api.None) (*VisibleMounts, error) {
	acl, prefix, err := h.acl(c)
	if err != nil {
		return nil, err
	}
	table, err := h.Mounts.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	out := &VisibleMounts{Auth: map[string]*mount.Info{}, Secret: map[string]*mount.Info{}}
	for _, auth := range []bool{true, false} {
		for _, e := range table.Entries(auth) {
			if e.Config.ListingVisibility != "unauth" && !acl.Reaches(prefix+e.Path) {
				continue
			}
			info := e.Describe(c.Namespace.ID)
			if acl == nil { // a stranger learns what a login form needs
				info = &mount.Info{Description: info.Description, Options: info.Options, Type: info.Type}
			}
			if auth {
				out.Auth[e.Name()] = info
			} else {
				out.Secret[e.Name()] = info
			}
		}
	}
	return out, nil
}

// VisibleMount is the mount that a path lies in.
type VisibleMount struct {
	mount.Info
	Path string `json:"path"`
}

// visibleMount describes the mount that a path lies in, if the caller's
// policies reach into it.
func (h *House) visibleMount(c *api.Call, q *mount.PathRequest) (*VisibleMount, error) {
	acl, prefix, err := h.acl(c)
	if err != nil {
		return nil, err
	}
	table, err := h.Mounts.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	nsID, below := c.Namespace.ID, ""
	e, _, ok := table.Resolve(q.Path)
	if !ok {
		if e, nsID, below, err = h.mountBelow(c, q.Path); err != nil {
			return nil, err
		}
	}
	if e == nil || !acl.Reaches(prefix+below+e.Path) {
		return nil, &api.Error{Kind: api.Denied, Message: "preflight capability check returned 403, please ensure client's policies grant access to the path"}
	}
	if err := cmp.Or(h.Namespaces.Refusal(c, nsID), e.Refusal()); err != nil {
		return nil, err
	}
	return &VisibleMount{Info: *e.Describe(nsID), Path: below + e.Path}, nil
}

// mountBelow is the mount that a path lies in which begins with namespaces, and
// the path of its namespace from the call's; nil when there is none.
func (h *House) mountBelow(c *api.Call, path string) (e *mount.Entry, nsID, below string, err error) {
	here, err := h.Namespaces.ByID(c, c.Namespace.ID)
	if err != nil || here == nil {
		return nil, "", "", err
	}
	ns, rest, err := h.Namespaces.Descend(c, here, path)
	if err != nil || ns.ID == here.ID {
		return nil, "", "", err
	}
	table, err := h.Mounts.Table(c, ns.ID)
	if err != nil {
		return nil, "", "", err
	}
	e, _, ok := table.Resolve(rest)
	if !ok {
		return nil, "", "", nil
	}
	return e, ns.ID, strings.TrimPrefix(ns.Path, here.Path), nil
}

// Reachable are the mounts of the call's namespace that its caller's policies
// reach into, and those that every namespace has.
func (h *House) Reachable(c *api.Call) ([]*mount.Entry, error) {
	acl, prefix, err := h.acl(c)
	if err != nil {
		return nil, err
	}
	table, err := h.Mounts.Table(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(table.Entries(false), table.Entries(true)...), func(e *mount.Entry) bool {
		return !e.Builtin && !acl.Reaches(prefix+e.Path)
	}), nil
}
