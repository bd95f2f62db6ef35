// Package raw owns the way past everything: reading and writing single stored
// rows, for repairs that nothing else allows. It is off unless the server's
// configuration switches it on, and then needs sudo.
package raw

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
)

// Rows are all rows behind the barrier.
type Rows struct {
	On         bool        // the configuration switches it on
	Store      store.Store // the encrypted store
	Namespaces *namespace.Registry
}

// Routes are the endpoints under sys/ for rows.
func Routes() []api.Route[*Rows] {
	const need = api.Sudo | api.RootOnly
	return []api.Route[*Rows]{
		api.Handle(api.Read, "raw", (*Rows).readNamed, need),
		api.Upsert("raw", (*Rows).writeNamed, (*Rows).namedExists, need),
		api.Handle(api.Delete, "raw", (*Rows).removeNamed, need),
		api.Handle(api.List, "raw", (*Rows).listTop, need),
		api.Handle(api.Read, "raw/{path...}", (*Rows).read, need),
		api.Upsert("raw/{path...}", (*Rows).write, (*Rows).exists, need),
		api.Handle(api.Delete, "raw/{path...}", (*Rows).remove, need),
		api.Handle(api.List, "raw/{path...}", (*Rows).list, need),
	}
}

// Form is the form of a row's value.
type Form struct {
	Encoding string `json:"encoding"` // Form of the value: base64, or as it is when empty.
}

// Row names a row by the request's path.
type Row struct {
	Path string `path:"path"` // Key of the row, whose first part is a namespace's id.
	Form
}

// Named names a row by a parameter.
type Named struct {
	Path string `json:"path"` // Key of the row, whose first part is a namespace's id.
	Form
}

// Content is what to write.
type Content struct {
	Value       string `json:"value"`            // Value of the row.
	Compressed  bool   `json:"compressed"`       // Kept for compatibility; rows are not compressed.
	Compression string `json:"compression_type"` // Must be empty; rows are not compressed.
	After       string `json:"after"`            // Kept for compatibility; of lists.
	Limit       int    `json:"limit"`            // Kept for compatibility; of lists.
}

// WriteRequest writes a row that the request's path names.
type WriteRequest struct {
	Row
	Content
}

// WriteNamed writes a row that a parameter names.
type WriteNamed struct {
	Named
	Content
}

// ListRequest asks for a page of names.
type ListRequest struct {
	Path  string `path:"path"`  // What their keys begin with.
	After string `json:"after"` // List the names behind this one.
	Limit int    `json:"limit"` // List at most so many; 0 or less: all.
}

// Value is a row's value.
type Value struct {
	Value string `json:"value"`
}

// readNamed answers the value of a stored row.
func (r *Rows) readNamed(c *api.Call, q *Named) (*Value, error) {
	return r.read(c, &Row{q.Path, q.Form})
}

// writeNamed writes a stored row.
func (r *Rows) writeNamed(c *api.Call, q *WriteNamed) (*api.None, error) {
	return r.write(c, &WriteRequest{Row{q.Path, q.Form}, q.Content})
}

func (r *Rows) namedExists(c *api.Call, q *WriteNamed) (bool, error) {
	return r.exists(c, &WriteRequest{Row: Row{Path: q.Path}})
}

// removeNamed deletes a stored row.
func (r *Rows) removeNamed(c *api.Call, q *Named) (*api.None, error) {
	return r.remove(c, &Row{q.Path, q.Form})
}

// listTop lists the namespaces by their ids, with which all keys begin.
func (r *Rows) listTop(c *api.Call, _ *api.None) (*api.Keys, error) {
	if err := r.allowed(); err != nil {
		return nil, err
	}
	ids, err := r.spaces(c, namespace.RootID)
	slices.Sort(ids)
	return &api.Keys{Keys: ids}, err
}

// spaces are the ids of a namespace and all below it, with a trailing slash.
func (r *Rows) spaces(c *api.Call, from string) ([]string, error) {
	out := []string{from + "/"}
	children, err := r.Namespaces.Children(c, from)
	for _, child := range children {
		if child.Damaged() != "" {
			continue // its identifier is not known
		}
		var below []string
		if err == nil {
			below, err = r.spaces(c, child.ID)
		}
		out = append(out, below...)
	}
	return out, err
}

func (r *Rows) allowed() error {
	if r.On {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "sys/raw is switched off: it goes past every rule of the server",
		Hint: "for a repair, set raw_storage_endpoint = true in the configuration, restart, and take it out again afterwards"}
}

// check refuses keys that name no row behind the barrier.
func (r *Rows) check(c *api.Call, path string) error {
	if err := r.allowed(); err != nil {
		return err
	}
	space, rest, _ := strings.Cut(path, "/")
	switch {
	case space == "core" || space == "d":
		return &api.Error{Kind: api.Invalid, Message: "the rows of the barrier itself cannot be accessed", Hint: "they hold its keys: use sys/rotate and sys/key-slots"}
	case rest == "" || strings.HasSuffix(rest, "/") && !slashed(rest):
		return api.ErrNotFound()
	}
	return r.space(c, space)
}

// slashed reports whether a row, by its key within its namespace, is of those that are
// named by a path which ends in a slash: of mounts and of audit devices.
func slashed(rest string) bool {
	return strings.HasPrefix(rest, "mount/at/") && rest != "mount/at/" || strings.HasPrefix(rest, "audit/") && rest != "audit/"
}

// space refuses what is no namespace.
func (r *Rows) space(c *api.Call, id string) error {
	if id == namespace.RootID {
		return nil
	}
	ns, err := r.Namespaces.ByID(c, id)
	if err == nil && ns == nil {
		return &api.Error{Kind: api.NotFound, Message: "the first part of a key is the id of a namespace, and none has this one", Hint: "list them with: strongroom list sys/raw"}
	}
	return err
}

func (f *Form) check() error {
	if f.Encoding == "" || f.Encoding == "base64" {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "encoding: is not supported", Hint: "base64, or nothing"}
}

// read answers the value of a stored row.
func (r *Rows) read(c *api.Call, q *Row) (*Value, error) {
	if err := r.check(c, q.Path); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	e, err := r.Store.Get(c, q.Path)
	switch {
	case err != nil:
		return nil, err
	case !e.Exists():
		return nil, api.ErrNotFound()
	case q.Encoding == "base64":
		return &Value{base64.StdEncoding.EncodeToString(e.Value)}, nil
	case !utf8.Valid(e.Value):
		return nil, &api.Error{Kind: api.Invalid, Message: "the row's value is not text", Hint: "ask with encoding=base64"}
	}
	return &Value{string(e.Value)}, nil
}

// write writes a stored row. Nothing judges what it says.
func (r *Rows) write(c *api.Call, q *WriteRequest) (*api.None, error) {
	if err := r.check(c, q.Path); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.Compression != "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "compression_type: rows are not compressed", Hint: "leave it out"}
	}
	value := []byte(q.Value)
	if q.Encoding == "base64" {
		var err error
		if value, err = base64.StdEncoding.DecodeString(q.Value); err != nil {
			return nil, api.Errorf(api.Invalid, "value: is not base64")
		}
	}
	_, err := r.Store.Commit(c, nil, []store.Write{{Key: q.Path, Value: value}})
	return nil, err
}

func (r *Rows) exists(c *api.Call, q *WriteRequest) (bool, error) {
	if r.check(c, q.Path) != nil {
		return true, nil // the handler says why
	}
	e, err := r.Store.Get(c, q.Path)
	return e.Exists(), err
}

// remove deletes a stored row.
func (r *Rows) remove(c *api.Call, q *Row) (*api.None, error) {
	if err := r.check(c, q.Path); err != nil {
		return nil, err
	}
	_, err := r.Store.Commit(c, nil, []store.Write{{Key: q.Path, Delete: true}})
	return nil, err
}

// list lists the rows whose keys begin with a path, up to the next slash.
func (r *Rows) list(c *api.Call, q *ListRequest) (*api.Keys, error) {
	dir := strings.TrimSuffix(q.Path, "/") + "/"
	if err := r.check(c, dir+"x"); err != nil {
		return nil, err
	}
	names, err := store.Children(c, r.Store, dir, q.After, max(q.Limit, 0))
	return &api.Keys{Keys: names}, err
}
