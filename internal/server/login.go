package server

import (
	"context"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// confine has what a namespace's auth methods ask others stay within what the operator lets namespaces reach. The root
// namespace's are the operator's own.
func (s *Server) confine(ctx context.Context, namespaceID string) context.Context {
	if namespaceID == namespace.RootID {
		return ctx
	}
	return outbound.Within(ctx, s.reach)
}

// renewLogin asks the auth method that made a token whether it may be renewed. One
// whose mount is gone may not.
func (h *house) renewLogin(c *api.Call, t *token.Token, increment time.Duration) (*api.Auth, error) {
	table, err := h.Mounts.Table(c, t.MountNamespace)
	if err != nil {
		return nil, err
	}
	e, err := table.ByID(t.MountID)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, api.ErrDenied()
	}
	renew := h.Mounts.Renewer(e)
	if renew == nil {
		return nil, nil
	}
	ns, err := h.Namespaces.ByID(c, t.MountNamespace)
	if err != nil {
		return nil, err
	}
	if ns == nil {
		return nil, api.ErrDenied()
	}
	call := *c
	call.Namespace, call.Mount, call.Path = ns.API(), e.API(), ""
	call.Store = store.Sub(h.Data, e.Prefix(t.MountNamespace))
	call.Context = h.Confine(c.Context, t.MountNamespace)
	said, err := renew(&call, &api.Session{Private: t.Private, Metadata: t.Meta, Policies: slices.Clone(t.Policies), Issued: t.CreationTime, Increment: increment})
	if err != nil || said == nil || t.EntityID == "" {
		return said, err
	}
	return said, h.Identity.Renewed(&call, t.EntityID, t.EntityEpoch, t.Alias, said)
}
