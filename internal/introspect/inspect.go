package introspect

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
)

// RouterRequest asks for a table of the router.
type RouterRequest struct {
	Tag string `path:"tag"` // Which: root, uuid, accessor or storage.
}

// RouterEntry is one mount that the router knows.
type RouterEntry struct {
	Accessor  string  `json:"accessor"`
	Namespace string  `json:"mount_namespace"`
	Path      string  `json:"mount_path"`
	Type      string  `json:"mount_type"`
	Storage   *string `json:"storage_prefix,omitempty"` // Where its data lies, of the tables root and storage; absent where the row is damaged.
	Tainted   *bool   `json:"tainted,omitempty"`        // False: what is being removed is not listed. Of the same.
	UUID      string  `json:"uuid"`
}

// inspectRouter lists the mounts of all namespaces, as one of the router's tables.
func (n *Node) inspectRouter(c *api.Call, q *RouterRequest) (*map[string][]RouterEntry, error) {
	switch q.Tag {
	case "root", "uuid", "accessor", "storage":
	default:
		return nil, &api.Error{Kind: api.NotFound, Message: "unsupported path", Hint: "the tables are root, uuid, accessor and storage"}
	}
	out := []RouterEntry{}
	err := n.each(c, n.Namespaces.Root(), func(ns *namespace.Namespace) error {
		table, err := n.Mounts.Table(c, ns.ID)
		if err != nil {
			return err
		}
		for _, e := range append(table.Entries(false), table.Entries(true)...) {
			d := e.Describe(ns.ID)
			entry := RouterEntry{Accessor: d.Accessor, Namespace: ns.Path, Path: e.Name(), Type: d.Type, UUID: d.UUID}
			if (q.Tag == "root" || q.Tag == "storage") && !e.Damaged() {
				prefix, tainted := e.Prefix(ns.ID), false
				entry.Storage, entry.Tainted = &prefix, &tainted
			}
			out = append(out, entry)
		}
		return nil
	})
	return &map[string][]RouterEntry{q.Tag: out}, err
}

// RequestView is a request as it reached its handler.
type RequestView struct {
	Cluster string        `json:"cluster_id"`
	Version string        `json:"vault_version"`
	Request RequestDetail `json:"req"`
}

// RequestDetail is what the server knows of the request.
type RequestDetail struct {
	ID            string            `json:"id"`
	Operation     string            `json:"operation"`
	Path          string            `json:"path"` // Relative to the mount.
	Namespace     string            `json:"namespace"`
	MountPoint    string            `json:"mount_point"`
	MountType     string            `json:"mount_type"`
	MountAccessor string            `json:"mount_accessor"`
	DisplayName   string            `json:"display_name"`
	EntityID      string            `json:"entity_id"`
	Accessor      string            `json:"client_token_accessor"`
	Policies      []string          `json:"policies"`
	Connection    map[string]string `json:"connection"`
	Override      bool              `json:"policy_override"`
}

// inspectRequest answers with the request itself, as it reached its handler. The
// token is left out: an answer may be kept where a token must not be.
func (n *Node) inspectRequest(c *api.Call, _ *api.None) (*RequestView, error) {
	return &RequestView{Cluster: n.ClusterID(), Version: n.Version, Request: RequestDetail{
		ID: c.RequestID, Operation: api.Read.String(), Path: strings.TrimSuffix(c.Path, "/"), Namespace: c.Namespace.Path,
		MountPoint: c.Mount.Path, MountType: c.Mount.Type, MountAccessor: c.Mount.Accessor,
		DisplayName: c.Caller.DisplayName, EntityID: c.Caller.EntityID, Accessor: c.Caller.Accessor, Policies: c.Caller.Policies,
		Connection: map[string]string{"remote_addr": c.Remote.String()}}}, nil
}
