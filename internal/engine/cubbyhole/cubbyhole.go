// Package cubbyhole owns the secret engine in which each token keeps things for
// itself: nobody else can reach them, and they go when the token does.
package cubbyhole

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

type engine struct{}

// Prefix is where a token's entries lie in the mount's storage.
func Prefix(tokenID string) string { return tokenID + "/" }

// Engine is the row of the engine table.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "{path...}", engine.read),
		api.Upsert("{path...}", engine.write, engine.exists),
		api.Handle(api.Delete, "{path...}", engine.remove),
		api.Handle(api.List, "{path...}", engine.list),
	})
	return api.Engine{Type: "cubbyhole", Description: "Storage of each token for itself.", Endpoints: eps}, err
}

// PathRequest names an entry.
type PathRequest struct {
	Path string `path:"path"` // Path of the entry.
}

// WriteRequest stores an entry.
type WriteRequest struct {
	Path string     `path:"path"`            // Path of the entry.
	Data api.Object `json:"data" api:"body"` // Key-value pairs to store; they replace the entry.
}

// ListRequest names a directory.
type ListRequest struct {
	Path  string `path:"path"`  // Directory to list.
	After string `json:"after"` // List the names behind this one.
	Limit int    `json:"limit"` // List at most so many; 0 or less: all.
}

// key is where an entry lies; batch tokens have no cubbyhole.
func key(c *api.Call, path string) (string, error) {
	if c.Caller.TokenID == "" || c.Caller.Batch {
		return "", api.Errorf(api.Invalid, "cubbyhole operations are only supported by service tokens")
	}
	return Prefix(c.Caller.TokenID) + path, nil
}

func (engine) get(c *api.Call, path string) (store.Entry, error) {
	k, err := key(c, path)
	if err != nil {
		return store.Entry{}, err
	}
	return c.Store.Get(c, k)
}

func (e engine) read(c *api.Call, q *PathRequest) (*api.Object, error) {
	entry, err := e.get(c, q.Path)
	if err != nil {
		return nil, err
	}
	if !entry.Exists() {
		return nil, api.ErrNotFound()
	}
	data := api.Object(entry.Value)
	return &data, nil
}

func (e engine) exists(c *api.Call, q *WriteRequest) (bool, error) {
	entry, err := e.get(c, q.Path)
	return entry.Exists(), err
}

func (engine) write(c *api.Call, q *WriteRequest) (*api.None, error) {
	k, err := key(c, q.Path)
	if err != nil {
		return nil, err
	}
	if q.Path == "" {
		return nil, api.Errorf(api.Invalid, "missing path")
	}
	if len(q.Data) <= len("{}") {
		return nil, api.Errorf(api.Invalid, "missing data fields")
	}
	_, err = c.Store.Commit(c, nil, []store.Write{{Key: k, Value: q.Data}})
	return nil, err
}

func (engine) remove(c *api.Call, q *PathRequest) (*api.None, error) {
	k, err := key(c, q.Path)
	if err != nil {
		return nil, err
	}
	_, err = c.Store.Commit(c, nil, []store.Write{{Key: k, Delete: true}})
	return nil, err
}

func (engine) list(c *api.Call, q *ListRequest) (*api.Keys, error) {
	dir := strings.TrimSuffix(q.Path, "/")
	if dir != "" {
		dir += "/"
	}
	k, err := key(c, dir)
	if err != nil {
		return nil, err
	}
	names, err := store.Children(c, c.Store, k, q.After, q.Limit)
	return &api.Keys{Keys: names}, err
}
