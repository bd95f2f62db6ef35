package quota

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// resolve finds what a path from the root namespace names: a namespace, a mount or
// what lies below one. role is that of logins, or empty.
func (s *Store) resolve(ctx context.Context, path, role string) (*place, error) {
	path = strings.TrimPrefix(path, "/")
	ns, rest, err := s.Namespaces.Descend(ctx, s.Namespaces.Root(), strings.TrimSuffix(path, "/")+"/")
	if err != nil {
		return nil, err
	}
	p := &place{NamespaceID: ns.ID, Role: role}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" {
		return p, s.checkRole(nil, p)
	}
	rest, p.Glob = strings.CutSuffix(rest, "*")
	if err := checkPath(rest); err != nil {
		return nil, err
	}
	table, err := s.Mounts.Table(ctx, ns.ID)
	if err != nil {
		return nil, err
	}
	e, below, ok := table.Resolve(rest)
	if !ok {
		return nil, &api.Error{Kind: api.Invalid, Message: "path: names neither a namespace nor a mount", Hint: "see sys/mounts, sys/auth and sys/namespaces"}
	}
	if err := e.Refusal(); err != nil {
		return nil, err
	}
	if p.Glob && len(rest) < len(e.Path) {
		return nil, errGlob()
	}
	if p.MountID, p.Rest = e.ID, strings.TrimSuffix(below, "/"); p.Glob {
		p.Rest = below
	}
	p.Glob = p.Glob && p.Rest != "" // all of a mount is the mount
	return p, s.checkRole(e, p)
}

func errGlob() error {
	return api.Errorf(api.Invalid, "path: only its last character can be *, and only below a mount")
}

// checkPath refuses what is not in canonical form, or has a * that is not its end.
func checkPath(path string) error {
	if path == "" || strings.Contains(path, "*") {
		return errGlob()
	}
	if _, err := policy.Canonical(path); err != nil {
		return api.Errorf(api.Invalid, "path: %v", err)
	}
	return nil
}

// checkRole refuses a role where there is none to log in by.
func (s *Store) checkRole(e *mount.Entry, p *place) error {
	switch {
	case p.Role == "":
		return nil
	case len(p.Role) > policy.MaxNameBytes:
		return api.Errorf(api.Invalid, "role: longer than %d bytes", policy.MaxNameBytes)
	case e == nil || !e.Auth() || p.Rest != "":
		return api.Errorf(api.Invalid, "role: path must be that of an auth method")
	case !s.Mounts.HasRoles(e):
		return api.Errorf(api.Invalid, "role: logins of this auth method name none")
	}
	return nil
}

// path is where a quota's place is now, as it is written; false when its namespace or
// mount is gone.
func (s *Store) path(ctx context.Context, p *place) (string, bool, error) {
	ns, err := s.Namespaces.ByID(ctx, p.NamespaceID)
	if err != nil || ns == nil || ns.Deleting {
		return "", false, err
	}
	if p.MountID == "" {
		return ns.Path, true, nil
	}
	table, err := s.Mounts.Table(ctx, p.NamespaceID)
	if err != nil {
		return "", false, err
	}
	e, err := table.ByID(p.MountID)
	if err != nil || e == nil {
		return "", false, err
	}
	path := ns.Path + e.Path + p.Rest
	if p.Glob {
		return path + "*", true, nil
	}
	return path, true, nil
}

// doubt warns of a quota for a role that its auth method has not: no login is by it. It may be made later.
func (s *Store) doubt(c *api.Call, p *place) error {
	if p.Role == "" {
		return nil
	}
	table, err := s.Mounts.Table(c, p.NamespaceID)
	if err != nil {
		return err
	}
	e, err := table.ByID(p.MountID)
	if err != nil || e == nil || e.Router() == nil {
		return err
	}
	for _, at := range []string{"role/", "certs/"} { // where auth methods show what logins name
		m, err := e.Router().Match(api.Read, at+p.Role)
		if err != nil {
			continue
		}
		req, _, err := m.Endpoint.Decode(&m, api.Body{})
		if err != nil {
			return nil // it is no name there
		}
		call := *c
		call.Namespace, call.Mount, call.Path, call.Store = api.Namespace{ID: p.NamespaceID}, e.API(), m.Path, store.Sub(s.Store, e.Prefix(p.NamespaceID))
		if _, err = m.Endpoint.Invoke(&call, req); api.KindOf(err) == api.NotFound {
			c.Warn("role: the auth method has no role of that name now, so that the quota is about no login: is it misspelled? Without it, the mount's quota counts")
			return nil
		}
		return err
	}
	return nil
}
