package namespace

import (
	"maps"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under sys/namespaces.
func Routes() []api.Route[*Registry] {
	return []api.Route[*Registry]{
		api.Handle(api.List, "namespaces", (*Registry).list),
		api.Handle(api.Scan, "namespaces", (*Registry).scan),
		api.Handle(api.Read, "namespaces/{path...}", (*Registry).read),
		api.Handle(api.Write, "namespaces/{path...}", (*Registry).write),
		api.Handle(api.Patch, "namespaces/{path...}", (*Registry).patch),
		api.Handle(api.Delete, "namespaces/{path...}", (*Registry).remove),
		api.Handle(api.Read, "namespaces/{path}/seal-status", (*Registry).sealStatus),
		api.Handle(api.Write, "namespaces/{path}/seal", (*Registry).seal),
		api.Handle(api.Write, "namespaces/{path}/unseal", (*Registry).unseal),
		api.Handle(api.Read, "namespaces/{path}/rotate/root/init", (*Registry).holderStatus),
		api.Handle(api.Write, "namespaces/{path}/rotate/root/init", (*Registry).holderInit),
		api.Handle(api.Delete, "namespaces/{path}/rotate/root/init", (*Registry).holderCancel),
		api.Handle(api.Write, "namespaces/{path}/rotate/root/update", (*Registry).holderUpdate),
		api.Handle(api.Read, "namespaces/{path}/rotate/root/verify", (*Registry).holderStatus),
		api.Handle(api.Write, "namespaces/{path}/rotate/root/verify", (*Registry).holderVerify),
		api.Handle(api.Delete, "namespaces/{path}/rotate/root/verify", (*Registry).holderCancel),
		api.Handle(api.Delete, "namespaces/{path}/delete-sealed", (*Registry).deleteSealed, api.Sudo),
		api.Handle(api.Write, "namespaces/api-lock/lock", (*Registry).lock),
		api.Handle(api.Write, "namespaces/api-lock/lock/{path...}", (*Registry).lockPath),
		api.Handle(api.Write, "namespaces/api-lock/unlock", (*Registry).unlock, api.Unlock),
		api.Handle(api.Write, "namespaces/api-lock/unlock/{path...}", (*Registry).unlockPath, api.Unlock),
	}
}

// PathRequest names a namespace.
type PathRequest struct {
	Path string `path:"path"` // Name of the namespace, relative to the one the request is made in.
}

// WriteRequest creates a namespace or replaces its metadata.
type WriteRequest struct {
	Path           string            `path:"path"`            // Name of the namespace, relative to the one the request is made in.
	CustomMetadata map[string]string `json:"custom_metadata"` // Free key-value pairs kept with the namespace.
	SealFields
}

// SealFields give a namespace a seal of its own.
type SealFields struct {
	Seal    string   `json:"seal"`     // A seal of its own, in HCL or JSON, such as: seal "shamir" { shares = 5 threshold = 3 }.
	PGPKeys []string `json:"pgp_keys"` // Public keys to encrypt its unseal keys to, one for each: OpenPGP in base64, or age recipients.
}

// PatchRequest changes single keys of a namespace's metadata.
type PatchRequest struct {
	Path           string         `path:"path"`            // Name of the namespace, relative to the one the request is made in.
	CustomMetadata map[string]any `json:"custom_metadata"` // Keys to set; a null value removes the key.
	SealFields
}

// named refuses a request that names no namespace, or one further below.
func named(path string) error {
	if path == "" {
		return api.Errorf(api.Invalid, "path: missing the namespace's name")
	}
	if strings.Contains(strings.Trim(path, "/"), "/") {
		return &api.Error{Kind: api.Invalid, Message: "path: a namespace's name cannot contain /", Hint: "ask in the namespace above it, such as with -namespace=a for a/b"}
	}
	return nil
}

// Info describes a namespace.
type Info struct {
	ID             string            `json:"id"`
	UUID           string            `json:"uuid"`
	Path           string            `json:"path"`
	CustomMetadata map[string]string `json:"custom_metadata"`
	Tainted        bool              `json:"tainted"` // being deleted, or not yet complete
	Locked         bool              `json:"locked"`
}

func info(n *Namespace) *Info {
	md := n.CustomMetadata
	if md == nil {
		md = map[string]string{}
	}
	return &Info{ID: n.ID, UUID: n.UUID, Path: n.Path, CustomMetadata: md, Tainted: !n.Live(), Locked: len(n.LockKey) > 0}
}

// Made is a namespace as it was made, with the unseal keys of its own seal: they are
// shown once.
type Made struct {
	Info
	KeyShares []api.Disclosed `json:"key_shares,omitempty"`
}

// list lists the namespaces directly below.
func (r *Registry) list(c *api.Call, _ *api.None) (*api.Keys, error) {
	kids, err := r.Children(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Info: map[string]any{}}
	for _, n := range kids {
		out.Keys = append(out.Keys, n.Name+"/")
		out.Info[n.Name+"/"] = info(n)
		warn(c, n)
	}
	return out, nil
}

// warn tells of a namespace whose row is damaged.
func warn(c *api.Call, n *Namespace) {
	if key := n.Damaged(); key != "" {
		c.Warn("the namespace " + n.Name + " cannot be used: its row " + key + " is damaged; put the row back from a backup through sys/raw, as docs/reliability.md shows")
	}
}

// scan lists all namespaces below, at any depth.
func (r *Registry) scan(c *api.Call, _ *api.None) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	return out, r.walk(c, c.Namespace.ID, "", out)
}

func (r *Registry) walk(c *api.Call, id, prefix string, out *api.Keys) error {
	kids, err := r.Children(c, id)
	if err != nil {
		return err
	}
	for _, n := range kids {
		key := prefix + n.Name + "/"
		out.Keys = append(out.Keys, key)
		out.Info[key] = info(n)
		if warn(c, n); n.Damaged() != "" {
			continue // its identifier is not known, and with it what is below
		}
		if err := r.walk(c, n.ID, key, out); err != nil {
			return err
		}
	}
	return nil
}

// read describes a namespace.
func (r *Registry) read(c *api.Call, q *PathRequest) (*Info, error) {
	if err := named(q.Path); err != nil {
		return nil, err
	}
	dir, name := path.Split(strings.TrimSuffix(q.Path, "/"))
	parent, err := r.Find(c, &Namespace{ID: c.Namespace.ID, Path: c.Namespace.Path}, dir)
	if api.KindOf(err) == api.NotFound {
		return nil, api.ErrNotFound()
	}
	if err != nil {
		return nil, err
	}
	n, err := r.Child(c, parent.ID, name)
	if err == nil && n == nil {
		return nil, api.ErrNotFound()
	}
	if err != nil {
		return nil, err
	}
	return info(n), nil
}

// write creates a namespace, or replaces the metadata of one.
func (r *Registry) write(c *api.Call, q *WriteRequest) (*Made, error) {
	if err := named(q.Path); err != nil {
		return nil, err
	}
	s, err := r.wanted(q.Seal, q.PGPKeys)
	if err != nil {
		return nil, err
	}
	n, keys, err := r.CreateSealable(c, c.Namespace, q.Path, q.CustomMetadata, s)
	if err != nil {
		return nil, err
	}
	return &Made{Info: *info(n), KeyShares: keys}, nil
}

// patch changes single keys of a namespace's metadata; null removes one. It can also give the namespace a seal of its own, or new unseal keys.
func (r *Registry) patch(c *api.Call, q *PatchRequest) (*Made, error) {
	if err := named(q.Path); err != nil {
		return nil, err
	}
	for _, v := range q.CustomMetadata {
		if _, ok := v.(string); !ok && v != nil {
			return nil, api.Errorf(api.Invalid, "custom_metadata: every value must be a text or null")
		}
	}
	s, err := r.wanted(q.Seal, q.PGPKeys)
	if err != nil {
		return nil, err
	}
	n, err := r.Describe(c, c.Namespace.ID, q.Path, func(old map[string]string) map[string]string {
		return merge(old, q.CustomMetadata)
	})
	var keys []api.Disclosed
	if err == nil && s != nil {
		keys, n, err = r.shareLater(c, n, s)
	}
	if err != nil {
		return nil, err
	}
	return &Made{Info: *info(n), KeyShares: keys}, nil
}

func merge(old map[string]string, changes map[string]any) map[string]string {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range changes {
		if s, ok := v.(string); ok {
			out[k] = s
		} else {
			delete(out, k)
		}
	}
	return out
}

// Progress says that a deletion goes on in the background.
type Progress struct {
	Status string `json:"status"`
}

// remove deletes a namespace with everything in it. It is closed at once and
// emptied in the background.
func (r *Registry) remove(c *api.Call, q *PathRequest) (*Progress, error) {
	if err := named(q.Path); err != nil {
		return nil, err
	}
	found, err := r.Delete(c, c.Namespace.ID, q.Path)
	if err != nil {
		return nil, err
	}
	if !found {
		c.Warn("requested namespace does not exist")
		return nil, nil
	}
	return &Progress{Status: "in-progress"}, nil
}
