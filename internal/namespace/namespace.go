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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// RootID identifies the root namespace in storage keys.
const RootID = "root"

const (
	rows  = RootID + "/ns/"    // + parent id + "/" + name
	index = RootID + "/ns-id/" // + id

	idLength = 6
	maxDepth = 32
	maxName  = 128 // longest name, in bytes

	// Bounds of a namespace's custom metadata, in entries and bytes.
	maxMetadata      = 64
	maxMetadataKey   = 128
	maxMetadataValue = 512
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
	Making         bool              `json:"making,omitempty"` // named, but not all of it exists yet

	Sealable  bool   `json:"sealable,omitempty"`  // people hold shares of its key
	Sealed    bool   `json:"sealed,omitempty"`    // its key is gone, or going, from all nodes
	Order     string `json:"order,omitempty"`     // names the last order to seal it
	Done      string `json:"done,omitempty"`      // the last order by which its key went
	Above     string `json:"above,omitempty"`     // the namespace whose key its own takes; empty: none
	Abandoned bool   `json:"abandoned,omitempty"` // deleted while it was sealed: what it has lent cannot be taken back
	LockKey   []byte `json:"lock_key,omitempty"`  // SHA-256 of what unlocks it; none: it is not locked

	damaged string // key of the row, where that cannot be read
}

// Live reports whether requests may reach the namespace.
func (n *Namespace) Live() bool { return n != nil && !n.Deleting && !n.Making && n.damaged == "" }

// Root is the root namespace.
func Root() *Namespace { return &Namespace{ID: RootID, UUID: RootID} }

// API is the namespace as handlers see it.
func (n *Namespace) API() api.Namespace { return api.Namespace{ID: n.ID, Path: n.Path} }

func (n *Namespace) rowKey() string { return rowKey(n.ParentID, n.Name) }

// rowKey folds the name, so that two names that differ only by case share a
// row and cannot both exist.
func rowKey(parentID, name string) string { return rows + parentID + "/" + policy.Fold(name) }

// Keys makes and destroys the seed that a namespace's keys derive from.
type Keys interface {
	AddNamespaceBelow(ctx context.Context, id, above string) error
	DropNamespace(ctx context.Context, id string) error
}

// Hooks are what the registry asks of the packages above it.
type Hooks struct {
	// Claim fails with a Conflict when a mount of the parent has the path, and
	// makes the transaction conflict with a mount that is about to.
	Claim func(tx *store.Tx, parentID, path string) error
	// Furnish makes the default mounts of a namespace that is about to exist. It
	// can be repeated.
	Furnish func(ctx context.Context, id string) error
	// Delete records in the transaction that a namespace is to be destroyed; the
	// job calls Registry.Destroy until that succeeds.
	Delete func(tx *store.Tx, id string) error
	// Seals are the shares of namespaces that can be sealed; nil: none can be.
	Seals Seals
	// Holders replaces who holds those shares; nil: nobody is replaced.
	Holders Holders
	// SealLater records in the transaction that a namespace is to be sealed; the job
	// calls Registry.FinishSeal until that succeeds.
	SealLater func(tx *store.Tx, id string) error
	// Damaged is told which rows of namespaces are damaged, of those that are listed;
	// nil: nobody is.
	Damaged *store.Quarantine
}

// Registry finds, makes and destroys namespaces.
type Registry struct {
	root  *Namespace
	store store.Store
	named *store.Memo[place, *Namespace]
	byID  *store.Memo[string, *Namespace]
	keys  Keys
	hooks Hooks
	now   func() time.Time
	// making is held while a name is reserved: all that are made below one parent touch
	// its guard, and who loses too often would give up.
	making sync.Mutex
}

// place is where a namespace stands in the tree.
type place struct{ parentID, name string }

// remembered bounds how many namespaces a node keeps in mind.
const remembered = 4096

// New makes a registry over the encrypted store.
func New(s store.Store, cache *store.Cache, keys Keys, hooks Hooks, now func() time.Time) *Registry {
	r := &Registry{root: Root(), store: s, keys: keys, hooks: hooks, now: now}
	r.named = store.NewMemo(cache, remembered, func(ctx context.Context, s store.Reader, p place) (*Namespace, error) {
		return load(ctx, s, rowKey(p.parentID, p.name))
	})
	r.byID = store.NewMemo(cache, remembered, loadByID)
	return r
}

// Child is the namespace called name under parent, or nil.
func (r *Registry) Child(ctx context.Context, parentID, name string) (*Namespace, error) {
	if !wellFormed(name) {
		return nil, nil
	}
	n, err := r.named.Get(ctx, place{parentID, name})
	if n != nil && n.Name != name {
		return nil, err
	}
	return n, err
}

// ByID is the namespace with an identifier, or nil.
func (r *Registry) ByID(ctx context.Context, id string) (*Namespace, error) {
	if id == RootID {
		return r.root, nil
	}
	return r.byID.Get(ctx, id)
}

// Lineage is the identifier of a namespace and those of the namespaces above it, up to
// the root; empty when there is none with that identifier.
func (r *Registry) Lineage(ctx context.Context, id string) ([]string, error) {
	var out []string
	for range maxDepth + 1 {
		n, err := r.ByID(ctx, id)
		if err != nil || n == nil {
			return nil, err
		}
		out = append(out, n.ID)
		if n.ID == RootID {
			return out, nil
		}
		id = n.ParentID
	}
	return nil, nil
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
	return store.DecodeJSON[Namespace](e)
}

// Root is the root namespace.
func (r *Registry) Root() *Namespace { return r.root }

// Find walks a namespace path such as "a/b" from a namespace; the empty path is
// that namespace itself. It returns NotFound when a step does not exist yet or
// is being deleted.
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
		if !child.Live() {
			return nil, errGone()
		}
		n = child
	}
	return n, nil
}

// Nearest is the last namespace that the segments of a path lead to, from the root: what is
// asked of one that does not exist is asked below it.
func (r *Registry) Nearest(ctx context.Context, path string) (*Namespace, error) {
	n := r.root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if n.ID == RootID && name == RootID {
			continue
		}
		child, err := r.Child(ctx, n.ID, name)
		if errors.Is(err, store.ErrCorrupt) {
			return n, nil
		}
		if err != nil {
			return nil, err
		}
		if !child.Live() {
			break
		}
		n = child
	}
	return n, nil
}

func errGone() *api.Error { return api.Errorf(api.NotFound, "namespace not found") }

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
		if !child.Live() {
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
	if !wellFormed(name) {
		return &api.Error{Kind: api.Invalid, Message: "path: not a name that a namespace can have", Hint: fmt.Sprintf("use at most %d letters, digits, '-', '_' and '.'", maxName)}
	}
	return nil
}

// wellFormed reports whether a text has the form of a namespace's name.
func wellFormed(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func checkMetadata(metadata map[string]string) error {
	if len(metadata) > maxMetadata {
		return api.Errorf(api.Invalid, "custom_metadata: more than %d entries", maxMetadata)
	}
	for k, v := range metadata {
		if k == "" || len(k) > maxMetadataKey || len(v) > maxMetadataValue {
			return api.Errorf(api.Invalid, "custom_metadata: a key must have 1 to %d bytes and a value at most %d", maxMetadataKey, maxMetadataValue)
		}
	}
	return nil
}

// Create makes a namespace under parent, or replaces the custom metadata of the
// one that exists.
func (r *Registry) Create(ctx context.Context, parent api.Namespace, name string, metadata map[string]string) (*Namespace, error) {
	n, _, err := r.CreateSealable(ctx, parent, name, metadata, nil)
	return n, err
}

// CreateSealable is Create; where a seal is given, the namespace must be new, and its
// unseal keys are answered.
func (r *Registry) CreateSealable(ctx context.Context, parent api.Namespace, name string, metadata map[string]string, s *SealSpec) (*Namespace, []api.Disclosed, error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	if strings.Count(parent.Path, "/") >= maxDepth-1 {
		return nil, nil, api.Errorf(api.Invalid, "namespaces can be nested at most %d deep", maxDepth)
	}
	if err := checkMetadata(metadata); err != nil {
		return nil, nil, err
	}
	n, err := r.reserve(ctx, parent, name, metadata)
	switch {
	case err != nil:
		return nil, nil, err
	case !n.Making && s != nil:
		return nil, nil, &api.Error{Kind: api.Conflict, Message: "seal: the namespace exists already", Hint: "give it a seal with: strongroom namespace patch -key-shares=5 -key-threshold=3 NAME"}
	case !n.Making:
		return n, nil, nil
	}
	var keys []api.Disclosed
	if err = r.equip(ctx, n); err == nil && s != nil {
		keys, err = r.hooks.Seals.Share(ctx, n.ID, s)
	}
	if err != nil {
		return nil, nil, r.overtaken(ctx, n, err)
	}
	n, err = r.finish(ctx, n, s != nil)
	return n, keys, err
}

// reserve takes the name and the identifier, before anything lies under them:
// whatever a kill leaves behind belongs to a row, which a second Create
// completes and Delete removes.
func (r *Registry) reserve(ctx context.Context, parent api.Namespace, name string, metadata map[string]string) (*Namespace, error) {
	r.making.Lock()
	defer r.making.Unlock()
	var n *Namespace
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) (err error) {
		if n, err = rowOf(tx, rowKey(parent.ID, name)); err != nil {
			return err
		}
		if n == nil {
			n = &Namespace{UUID: api.NewUUID(), Path: parent.Path + name + "/", ParentID: parent.ID, Name: name, Created: r.now().UTC(), Making: true}
			err = r.admit(tx, n)
		}
		switch {
		case err != nil:
			return err
		case n.Name != name:
			return api.Errorf(api.Conflict, "a namespace whose name differs only by case exists")
		case n.Deleting:
			return &api.Error{Kind: api.Conflict, Message: "the namespace is being deleted", Hint: "try again when it is gone"}
		}
		n.CustomMetadata = metadata
		return put(tx, n)
	})
	return n, err
}

// admit gives a new namespace its identifier, provided that nothing has its
// name and that its parent stays.
func (r *Registry) admit(tx *store.Tx, n *Namespace) error {
	if err := r.hooks.Claim(tx, n.ParentID, n.Name+"/"); err != nil {
		return err
	}
	p, err := r.parentLives(tx, n.ParentID)
	if err != nil {
		return err
	}
	if n.Above = p.Above; p.Sealable {
		n.Above = p.ID
	}
	for {
		n.ID = newID()
		e, err := tx.Get(index + n.ID)
		if err != nil {
			return err
		}
		if !e.Exists() {
			tx.Put(index+n.ID, []byte(n.rowKey()))
			return nil
		}
	}
}

// equip gives a reserved namespace what every namespace has.
func (r *Registry) equip(ctx context.Context, n *Namespace) error {
	if err := r.keys.AddNamespaceBelow(ctx, n.ID, n.Above); err != nil {
		return err
	}
	return r.hooks.Furnish(ctx, n.ID)
}

// overtaken tells a failure from that of a namespace deleted while being made.
func (r *Registry) overtaken(ctx context.Context, n *Namespace, err error) error {
	now, lerr := load(ctx, r.store, n.rowKey())
	if lerr == nil && (now == nil || now.ID != n.ID || now.Deleting) {
		return errOvertaken()
	}
	return err
}

func errOvertaken() *api.Error {
	return api.Errorf(api.Conflict, "the namespace has been deleted meanwhile")
}

// finish lets requests into a namespace that has all it needs.
func (r *Registry) finish(ctx context.Context, n *Namespace, sealable bool) (*Namespace, error) {
	var out *Namespace
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) (err error) {
		if out, err = rowOf(tx, n.rowKey()); err != nil {
			return err
		}
		if out == nil || out.ID != n.ID || out.Deleting {
			return errOvertaken()
		}
		if out.Making = false; sealable {
			out.Sealable, out.Above = true, ""
		}
		return put(tx, out)
	})
	return out, err
}

// rowOf is a namespace's row in a transaction; nil when there is none.
func rowOf(tx *store.Tx, key string) (*Namespace, error) {
	e, err := tx.Get(key)
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[Namespace](e)
}

// Require makes a transaction fail when the namespace is being deleted, at its
// commit at the latest.
func (r *Registry) Require(tx *store.Tx, id string) error {
	if id == RootID {
		return nil
	}
	e, err := tx.Get(index + id)
	if err != nil {
		return err
	}
	if !e.Exists() {
		return errGone()
	}
	n, err := rowOf(tx, string(e.Value))
	if err == nil && (n == nil || n.Deleting) {
		err = errGone()
	}
	return err
}

// parentLives makes the transaction fail when the parent is being deleted.
func (r *Registry) parentLives(tx *store.Tx, id string) (*Namespace, error) {
	if id == RootID {
		return r.root, nil
	}
	e, err := tx.Get(index + id)
	if err != nil {
		return nil, err
	}
	if !e.Exists() {
		return nil, errGone()
	}
	p, err := rowOf(tx, string(e.Value))
	if err != nil {
		return nil, err
	}
	if !p.Live() {
		return nil, errGone()
	}
	// A child touches its parent's row, so that deleting or sealing the parent sees it.
	return p, put(tx, p)
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
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) (err error) {
		if out, err = rowOf(tx, rowKey(parentID, name)); err != nil {
			return err
		}
		if !out.Live() || out.Name != name {
			return errNone()
		}
		out.CustomMetadata = change(maps.Clone(out.CustomMetadata))
		if err := checkMetadata(out.CustomMetadata); err != nil {
			return err
		}
		return put(tx, out)
	})
	return out, err
}

// Children are the namespaces directly under a parent, by name. Of one whose row is
// damaged only the name, in lower case, and the place are known: it is not live, and Damaged.
func (r *Registry) Children(ctx context.Context, parentID string) ([]*Namespace, error) {
	prefix := rows + parentID + "/"
	var out []*Namespace
	damaged, err := store.SiftJSON(ctx, r.store, store.Prefix(prefix), func(_ store.Entry, n *Namespace) { out = append(out, n) })
	if err != nil {
		return nil, err
	}
	for _, e := range damaged {
		out = append(out, &Namespace{ParentID: parentID, Name: e.Key[len(prefix):], damaged: e.Key})
	}
	r.hooks.Damaged.Found(prefix, store.Keys(damaged)...)
	slices.SortFunc(out, func(a, b *Namespace) int { return strings.Compare(policy.Fold(a.Name), policy.Fold(b.Name)) })
	return out, nil
}

// Damaged is the key of the namespace's row where that cannot be read, else empty.
func (n *Namespace) Damaged() string { return n.damaged }

// Delete marks a namespace as being deleted, from which moment it cannot be
// reached, and records the job that destroys it. It returns whether there was
// one, and Invalid when it has children.
func (r *Registry) Delete(ctx context.Context, parentID, name string) (found bool, err error) {
	_, err = store.Update(ctx, r.store, func(tx *store.Tx) error {
		n, err := rowOf(tx, rowKey(parentID, name))
		if found = n != nil && n.Name == name; err != nil || !found || n.Deleting {
			return err
		}
		children, err := r.hasChildren(tx, n.ID)
		switch {
		case err != nil:
			return err
		case children:
			return &api.Error{Kind: api.Invalid, Message: "unable to delete namespace containing child namespaces", Hint: "delete the children first; one that was deleted just now goes in the background, so try again in a moment"}
		case n.Sealed:
			return &api.Error{Kind: api.Invalid, Message: "the namespace is sealed, so that what it has lent could not be taken back",
				Hint: "unseal it first; where its unseal keys are lost: strongroom namespace delete-sealed"}
		}
		n.Deleting = true
		if err := put(tx, n); err != nil {
			return err
		}
		return r.hooks.Delete(tx, n.ID)
	})
	return found, err
}

// hasChildren reports whether a namespace has children. One that is being made touches
// the namespace's row, so that the transaction notices it.
func (r *Registry) hasChildren(tx *store.Tx, id string) (bool, error) {
	kids := store.Prefix(rows + id + "/")
	kids.Limit, kids.KeysOnly = 1, true
	es, err := r.store.List(tx.Context(), kids)
	return len(es) > 0, err
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
