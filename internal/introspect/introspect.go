// Package introspect owns what a server tells of itself to those who run it: its
// machine and configuration, the requests in flight, how much it holds, where
// paths lead, and what is built into it.
package introspect

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/hostinfo"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
)

// Node answers about one server. Its fields are set once, before the first
// request.
type Node struct {
	Store      store.Store // the encrypted store
	InFlight   func() []gate.Underway
	Namespaces *namespace.Registry
	Mounts     *mount.Mounts
	// Tokens counts the service tokens of a namespace.
	Tokens func(ctx context.Context, nsID string) (int, error)
	// Entities counts the entities of a namespace.
	Entities func(ctx context.Context, nsID string) (int, error)
	// ClusterID is the cluster's id.
	ClusterID func() string
	Version   string // as clients gate their features by
	// Config is the configuration without what is secret.
	Config func() *Config
	// Reload reads something of the configuration anew, by subsystem.
	Reload map[string]func() error
	Dirs   []string // whose disks are told of
}

// Routes are the endpoints under sys/ about the server.
func Routes() []api.Route[*Node] {
	return []api.Route[*Node]{
		api.Handle(api.Read, "host-info", (*Node).hostInfo, api.RootOnly),
		api.Handle(api.Read, "in-flight-req", (*Node).inFlight, api.Bare, api.RootOnly),
		api.Handle(api.Read, "internal/counters/requests", (*Node).countRequests, api.RootOnly),
		api.Handle(api.Read, "internal/counters/tokens", (*Node).countTokens, api.RootOnly),
		api.Handle(api.Read, "internal/counters/entities", (*Node).countEntities, api.RootOnly),
		api.Handle(api.Read, "internal/inspect/request", (*Node).inspectRequest, api.Sudo),
		api.Handle(api.Read, "internal/inspect/router/{tag}", (*Node).inspectRouter, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "config/state/sanitized", (*Node).config, api.RootOnly),
		api.Handle(api.Write, "config/reload/{subsystem}", (*Node).reload, api.RootOnly),
		api.Handle(api.List, "version-history", (*Node).versions, api.RootOnly),
		api.Handle(api.Read, "plugins/catalog", (*Node).catalog, api.RootOnly),
		api.Handle(api.List, "plugins/catalog/{type}", (*Node).catalogOf, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "plugins/catalog/{name}", (*Node).pluginByName, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "plugins/catalog/{type}/{name}", (*Node).plugin, api.Sudo, api.RootOnly),
	}
}

// HostInfo is what is known of the machine.
type HostInfo struct{ hostinfo.Info }

// hostInfo tells of the machine that this server runs on.
func (n *Node) hostInfo(c *api.Call, _ *api.None) (*HostInfo, error) {
	info, err := hostinfo.Read(os.DirFS("/proc"), hostinfo.Disks(n.Dirs...), c.Now)
	if err != nil {
		c.Warn("some of it could not be read: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return &HostInfo{*info}, nil
}

// InFlight is a request that is not answered yet.
type InFlight struct {
	Start  time.Time `json:"start_time"`
	Remote string    `json:"client_remote_address"`
	Path   string    `json:"request_path"`
	Method string    `json:"request_method"`
	Client string    `json:"client_id"` // Empty: who asks is not looked at before the request's turn.
}

// inFlight lists the requests that this server has not answered yet, by request
// id. This one is among them.
func (n *Node) inFlight(*api.Call, *api.None) (*map[string]InFlight, error) {
	out := map[string]InFlight{}
	for _, u := range n.InFlight() {
		out[u.ID] = InFlight{Start: u.Start.UTC(), Remote: u.Remote.String(), Path: "/v1/" + spaced(u.Namespace) + u.Path, Method: method(u.Op)}
	}
	return &out, nil
}

// spaced is a namespace as the beginning of a path.
func spaced(ns string) string {
	if ns = strings.Trim(ns, "/"); ns == "" {
		return ""
	}
	return ns + "/"
}

func method(op api.Op) string {
	switch op {
	case api.Read:
		return http.MethodGet
	case api.Write:
		return http.MethodPost
	case api.Patch:
		return http.MethodPatch
	case api.Delete:
		return http.MethodDelete
	}
	return strings.ToUpper(op.String())
}

// countRequests answers that requests are not counted here.
func (n *Node) countRequests(*api.Call, *api.None) (*api.None, error) {
	return nil, &api.Error{Kind: api.NotFound, Message: "The functionality has been removed on this path", Hint: "count the entries of an audit log"}
}

// Total is how many there are.
type Total struct {
	Total int `json:"total"`
}

// TokenCount is how many service tokens there are.
type TokenCount struct {
	Counters struct {
		Service Total `json:"service_tokens"`
	} `json:"counters"`
}

// EntityCount is how many entities there are.
type EntityCount struct {
	Counters struct {
		Entities Total `json:"entities"`
	} `json:"counters"`
}

// countTokens counts the service tokens of all namespaces, those included that
// have expired and are not cleared away yet.
func (n *Node) countTokens(c *api.Call, _ *api.None) (*TokenCount, error) {
	out := &TokenCount{}
	return out, n.each(c, n.Namespaces.Root(), func(ns *namespace.Namespace) error {
		count, err := n.Tokens(c, ns.ID)
		out.Counters.Service.Total += count
		return err
	})
}

// countEntities counts the entities of all namespaces.
func (n *Node) countEntities(c *api.Call, _ *api.None) (*EntityCount, error) {
	out := &EntityCount{}
	return out, n.each(c, n.Namespaces.Root(), func(ns *namespace.Namespace) error {
		count, err := n.Entities(c, ns.ID)
		out.Counters.Entities.Total += count
		return err
	})
}

// each calls fn for a namespace and all below it that can be reached.
func (n *Node) each(ctx context.Context, from *namespace.Namespace, fn func(*namespace.Namespace) error) error {
	if err := fn(from); err != nil {
		return err
	}
	children, err := n.Namespaces.Children(ctx, from.ID)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !child.Live() || child.Sealed {
			continue
		}
		if err := n.each(ctx, child, fn); err != nil {
			return err
		}
	}
	return nil
}
