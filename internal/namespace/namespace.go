// Package namespace owns the tree of tenants: which namespaces exist, how a
// request's path finds its namespace, and how one is made and destroyed.
//
// A namespace is a row under its parent and an index row under its identifier,
// both in the root namespace's part of the store. Everything inside it lives
// under its identifier and is encrypted under keys derived from its own seed, so
// that deleting the seed destroys it all at once.
package namespace

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// RootID identifies the root namespace in storage keys.
const RootID = "root"

const (
	rows  = RootID + "/ns/"    // + parent id + "/" + name
	index = RootID + "/ns-id/" // + id

	idLength = 6
	maxDepth = 32
)

// Namespace is one tenant.
type Namespace struct {
	ID             string            `json:"id"`
	UUID           string            `json:"uuid"`
	Path           string            `json:"path"` // from the root, with a trailing slash; empty for the root
	ParentID       string            `json:"parent"`
	Name           string            `json:"name"`
	CustomMetadata map[string]string `json:"custom_metadata"`
	Created        time.Time         `json:"created"`
	Deleting       bool              `json:"deleting,omitempty"`
}

// Root is the root namespace.
func Root() *Namespace { return &Namespace{ID: RootID, UUID: RootID} }

// API is the namespace as handlers see it.
func (n *Namespace) API() api.Namespace { return api.Namespace{ID: n.ID, Path: n.Path} }

func (n *Namespace) rowKey() string { return rowKey(n.ParentID, n.Name) }

// rowKey folds the name, so that two names that differ only by case share a
// row and cannot both exist.
func rowKey(parentID, name string) string { return rows + parentID + "/" + strings.ToLower(name) }

// Keys makes and destroys the seed that a namespace's keys derive from.
type Keys interface {
	AddNamespace(ctx context.Context, id string) error
	DropNamespace(ctx context.Context, id string) error
}

// Hooks are what the registry asks of the packages above it.
type Hooks struct {
	// Claim fails with a Conflict when a mount of the parent has the path, and
	// makes the transaction conflict with a mount that is about to.
	Claim func(tx *store.Tx, parentID, path string) error
	// Furnish makes the default mounts of a namespace that is about to exist.
	Furnish func(ctx context.Context, id string) error
	// Delete records in the transaction that a namespace is to be destroyed; the
	// job calls Registry.Destroy until that succeeds.
	Delete func(tx *store.Tx, id string) error
}

// Registry finds, makes and destroys namespaces.
type Registry struct {
	store store.Store
	named *store.Memo[place, *Namespace]
	byID  *store.Memo[string, *Namespace]
	keys  Keys
	hooks Hooks
	now   func() time.Time
}

// place is where a namespace stands in the tree.
type place struct{ parentID, name string }

// remembered bounds how many namespaces a node keeps in mind.
const remembered = 4096

// New makes a registry over the encrypted store.
func New(s store.Store, cache *store.Cache, keys Keys, hooks Hooks, now func() time.Time) *Registry {
	r := &Registry{store: s, keys: keys, hooks: hooks, now: now}
	r.named = store.NewMemo(cache, remembered, func(ctx context.Context, s store.Reader, p place) (*Namespace, error) {
		return load(ctx, s, rowKey(p.parentID, p.name))
	})
	r.byID = store.NewMemo(cache, remembered, loadByID)
	return r
}

// Child is the namespace called name under parent, or nil.
func (r *Registry) Child(ctx context.Context, parentID, name string) (*Namespace, error) {
	n, err := r.named.Get(ctx, place{parentID, name})
	if n != nil && n.Name != name {
		return nil, err
	}
	return n, err
}

// ByID is the namespace with an identifier, or nil.
func (r *Registry) ByID(ctx context.Context, id string) (*Namespace, error) {
	if id == RootID {
		return Root(), nil
	}
	return r.byID.Get(ctx, id)
}

func loadByID(ctx context.Context, s store.Reader, id string) (*Namespace, error) {
	e, err := s.Get(ctx, index+id)
	if err != nil || !e.Exists() {
		return nil, err
	}
	return load(ctx, s, string(e.Value))
}

func load(ctx context.Context, s store.Reader, key string) (*Namespace, error) {
	e, err := s.Get(ctx, key)
	if err != nil || !e.Exists() {
		return nil, err
	}
	return decode(e)
}

func decode(e store.Entry) (*Namespace, error) {
	n := new(Namespace)
	if err := json.Unmarshal(e.Value, n); err != nil {
		return nil, fmt.Errorf("namespace row %s: %w", e.Key, err)
	}
	return n, nil
}

// Find walks a namespace path such as "a/b" from a namespace; the empty path is
// that namespace itself. It returns NotFound when a step does not exist or is
// being deleted.
func (r *Registry) Find(ctx context.Context, from *Namespace, path string) (*Namespace, error) {
	n := from
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" || (n.ID == RootID && name == RootID) {
			continue
		}
		child, err := r.Child(ctx, n.ID, name)
		if err != nil {
			return nil, err
		}
		if child == nil || child.Deleting {
			return nil, api.Errorf(api.NotFound, "namespace not found")
		}
		n = child
	}
	return n, nil
}

// Descend follows a request path's leading segments as far as they name
// namespaces and returns the last one with the rest of the path.
func (r *Registry) Descend(ctx context.Context, from *Namespace, path string) (*Namespace, string, error) {
	n := from
	for range maxDepth {
		name, rest, ok := strings.Cut(path, "/")
		if !ok || name == "" {
			break
		}
		child, err := r.Child(ctx, n.ID, name)
		if err != nil {
			return nil, "", err
		}
		if child == nil || child.Deleting {
			break
		}
		n, path = child, rest
	}
	return n, path, nil
}

// Taken reports, inside a transaction, whether a namespace of parent is called
// as the first segment of path; mounts use it to stay clear of namespaces.
func (r *Registry) Taken(tx *store.Tx, parentID, path string) (bool, error) {
	name, _, _ := strings.Cut(path, "/")
	e, err := tx.Get(rowKey(parentID, name))
	return e.Exists(), err
}

var reserved = map[string]bool{"root": true, "sys": true, "audit": true, "auth": true, "cubbyhole": true, "identity": true, ".": true, "..": true}

func checkName(name string) error {
	if name == "" {
		return api.Errorf(api.Invalid, "path: missing the namespace's name")
	}
	if strings.Contains(name, "/") {
		return &api.Error{Kind: api.Invalid, Message: "namespace name cannot contain /", Hint: "create it from inside its parent namespace"}
	}
	if reserved[strings.ToLower(name)] {
		return api.Errorf(api.Invalid, "path: a reserved name cannot be used as a namespace name")
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return &api.Error{Kind: api.Invalid, Message: "path: the namespace's name has a character that is not allowed", Hint: "use letters, digits, '-', '_' and '.'"}
		}
	}
	if len(name) > 128 {
		return api.Errorf(api.Invalid, "path: the namespace's name is longer than 128 bytes")
	}
	return nil
}

// Create makes a namespace under parent, or replaces the custom metadata of the
// one that exists.
func (r *Registry) Create(ctx context.Context, parent api.Namespace, name string, metadata map[string]string) (*Namespace, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if strings.Count(parent.Path, "/") >= maxDepth-1 {
		return nil, api.Errorf(api.Invalid, "namespaces can be nested at most %d deep", maxDepth)
	}
	existing, err := load(ctx, r.store, rowKey(parent.ID, name))
	if err != nil {
		return nil, err
	}
	if existing != nil && existing.Deleting {
		return nil, &api.Error{Kind: api.Conflict, Message: "the namespace is being deleted", Hint: "try again when it is gone"}
	}
	if existing != nil && existing.Name != name {
		return nil, api.Errorf(api.Conflict, "a namespace whose name differs only by case exists")
	}
	if existing != nil {
		return r.Describe(ctx, parent.ID, name, func(map[string]string) map[string]string { return metadata })
	}
	return r.create(ctx, parent, name, metadata)
}

func (r *Registry) create(ctx context.Context, parent api.Namespace, name string, metadata map[string]string) (*Namespace, error) {
	n := &Namespace{ID: newID(), UUID: newUUID(), Path: parent.Path + name + "/", ParentID: parent.ID, Name: name, CustomMetadata: metadata, Created: r.now().UTC()}
	if err := r.keys.AddNamespace(ctx, n.ID); err != nil {
		return nil, err
	}
	if err := r.hooks.Furnish(ctx, n.ID); err != nil {
		return nil, err
	}
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) error {
		if err := r.hooks.Claim(tx, parent.ID, name+"/"); err != nil {
			return err
		}
		if e, err := tx.Get(n.rowKey()); err != nil || e.Exists() {
			return errors.Join(err, api.Errorf(api.Conflict, "the namespace has just been created by somebody else"))
		}
		if err := r.parentLives(tx, parent.ID); err != nil {
			return err
		}
		tx.Put(index+n.ID, []byte(n.rowKey()))
		return put(tx, n)
	})
	return n, err
}

// parentLives makes the transaction fail when the parent is being deleted.
func (r *Registry) parentLives(tx *store.Tx, id string) error {
	if id == RootID {
		return nil
	}
	e, err := tx.Get(index + id)
	if err != nil {
		return err
	}
	if e, err = tx.Get(string(e.Value)); err != nil {
		return err
	}
	if !e.Exists() {
		return api.Errorf(api.NotFound, "namespace not found")
	}
	p, err := decode(e)
	if err == nil && p.Deleting {
		return api.Errorf(api.NotFound, "namespace not found")
	}
	// A child touches its parent's row, so that deleting the parent sees it.
	tx.Put(e.Key, e.Value)
	return err
}

func put(tx *store.Tx, n *Namespace) error {
	b, err := json.Marshal(n)
	tx.Put(n.rowKey(), b)
	return err
}

// Describe changes a namespace's custom metadata; nil stands for none. It
// returns NotFound when there is no such namespace.
func (r *Registry) Describe(ctx context.Context, parentID, name string, change func(map[string]string) map[string]string) (*Namespace, error) {
	var out *Namespace
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) error {
		e, err := tx.Get(rowKey(parentID, name))
		if err != nil {
			return err
		}
		if !e.Exists() {
			return api.ErrNotFound()
		}
		if out, err = decode(e); err != nil {
			return err
		}
		if out.Name != name {
			return api.ErrNotFound()
		}
		out.CustomMetadata = change(maps.Clone(out.CustomMetadata))
		return put(tx, out)
	})
	return out, err
}

// Children are the namespaces directly under a parent, by name.
func (r *Registry) Children(ctx context.Context, parentID string) ([]*Namespace, error) {
	es, err := r.store.List(ctx, store.Prefix(rows+parentID+"/"))
	if err != nil {
		return nil, err
	}
	out := make([]*Namespace, len(es))
	for i, e := range es {
		if out[i], err = decode(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Delete marks a namespace as being deleted, from which moment it cannot be
// reached, and records the job that destroys it. It returns whether there was
// one, and Invalid when it has children.
func (r *Registry) Delete(ctx context.Context, parentID, name string) (found bool, err error) {
	n, err := load(ctx, r.store, rowKey(parentID, name))
	if err != nil || n == nil || n.Name != name {
		return false, err
	}
	_, err = store.Update(ctx, r.store, func(tx *store.Tx) error {
		e, err := tx.Get(n.rowKey())
		if err != nil || !e.Exists() {
			return err
		}
		kids, err := r.store.List(ctx, store.Range{Start: rows + n.ID + "/", End: store.PrefixEnd(rows + n.ID + "/"), Limit: 1, KeysOnly: true})
		if err != nil {
			return err
		}
		if len(kids) > 0 {
			return &api.Error{Kind: api.Invalid, Message: "unable to delete namespace containing child namespaces", Hint: "delete the children first"}
		}
		n.Deleting = true
		if err := put(tx, n); err != nil {
			return err
		}
		return r.hooks.Delete(tx, n.ID)
	})
	return true, err
}

// Destroy removes a namespace that Delete has marked: first its keys, which
// makes everything in it unreadable at once, then its rows. It can be repeated
// after a kill at any point.
func (r *Registry) Destroy(ctx context.Context, id string) error {
	e, err := r.store.Get(ctx, index+id)
	if err != nil || !e.Exists() {
		return err
	}
	if err := r.keys.DropNamespace(ctx, id); err != nil {
		return err
	}
	if err := DeletePrefix(ctx, r.store, id+"/"); err != nil {
		return err
	}
	_, err = r.store.Commit(ctx, nil, []store.Write{{Key: string(e.Value), Delete: true}, {Key: index + id, Delete: true}})
	return err
}

// DeletePrefix removes every key under a prefix, a bounded number at a time.
func DeletePrefix(ctx context.Context, s store.Store, prefix string) error {
	r := store.Prefix(prefix)
	r.Limit, r.KeysOnly = store.MaxWrites, true
	for {
		es, err := s.List(ctx, r)
		if err != nil || len(es) == 0 {
			return err
		}
		ws := make([]store.Write, len(es))
		for i, e := range es {
			ws[i] = store.Write{Key: e.Key, Delete: true}
		}
		if _, err := s.Commit(ctx, nil, ws); err != nil {
			return err
		}
	}
}

func newID() string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, idLength)
	for len(out) < idLength {
		var b [16]byte
		rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		for _, c := range b {
			if int(c) < 4*len(alphabet) && len(out) < idLength {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
