package namespace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Closed is what closes a namespace: itself, or one above it, that is sealed, and one
// that is locked; nil where there is none. It is as of no earlier than the cache's
// last Fresh.
func (r *Registry) Closed(ctx context.Context, n *Namespace) (sealed, locked *Namespace, err error) {
	for range maxDepth {
		if n == nil || n.ID == RootID {
			break
		}
		if n.Sealed {
			return n, locked, nil
		}
		if len(n.LockKey) > 0 {
			locked = n
		}
		if n.ParentID == "" { // one that does not exist
			break
		}
		if n, err = r.ByID(ctx, n.ParentID); err != nil {
			return nil, nil, err
		}
	}
	return nil, locked, nil
}

// Open are the namespaces from below the root down to one, itself included, up to the first
// that is sealed or locked. It is as of no earlier than the cache's last Fresh.
func (r *Registry) Open(ctx context.Context, n *Namespace) ([]*Namespace, error) {
	var out []*Namespace
	for range maxDepth {
		if n == nil || n.ID == RootID {
			break
		}
		if out = append(out, n); n.Sealed || len(n.LockKey) > 0 {
			out = out[:0]
		}
		var err error
		if n, err = r.ByID(ctx, n.ParentID); err != nil {
			return nil, err
		}
	}
	slices.Reverse(out)
	return out, nil
}

// Reached reports whether requests reach a namespace: it is there, and neither sealed nor
// locked, nor below one that is.
func (r *Registry) Reached(ctx context.Context, id string) (bool, error) {
	n, err := r.ByID(ctx, id)
	if err != nil || !n.Live() {
		return false, err
	}
	sealed, locked, err := r.Closed(ctx, n)
	return err == nil && sealed == nil && locked == nil, err
}

// Refusal is what requests to a namespace meet: the error of the one that is sealed or
// locked, itself or above it; nil where it is open.
func (r *Registry) Refusal(ctx context.Context, id string) error {
	n, err := r.ByID(ctx, id)
	if err != nil {
		return err
	}
	sealed, locked, err := r.Closed(ctx, n)
	switch {
	case err != nil:
		return err
	case sealed != nil:
		return ErrSealed(sealed)
	case locked != nil:
		return ErrLocked(locked)
	}
	return nil
}

// ErrLocked is what every request to a namespace meets that is locked, or lies below
// one that is.
func ErrLocked(n *Namespace) *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "API access to this namespace has been locked by an administrator - " + n.Path + " must be unlocked to gain access.",
		Hint: "an administrator unlocks it with: strongroom namespace unlock"}
}

// LockRequest names a namespace to lock.
type LockRequest struct {
	Path string `json:"path"` // Path of the namespace, relative to the one the request is made in; empty: that one itself.
}

// LockPathRequest names a namespace to lock, in the path.
type LockPathRequest struct {
	Path string `path:"path"` // Path of the namespace, relative to the one the request is made in.
}

// UnlockRequest unlocks a namespace.
type UnlockRequest struct {
	LockRequest
	UnlockKey api.Secret `json:"unlock_key"` // What locking it answered; who has sudo in the root namespace needs none.
}

// UnlockPathRequest unlocks a namespace that the path names.
type UnlockPathRequest struct {
	LockPathRequest
	UnlockKey api.Secret `json:"unlock_key"` // What locking it answered; who has sudo in the root namespace needs none.
}

// Unlocker is what unlocks a namespace.
type Unlocker struct {
	UnlockKey api.Disclosed `json:"unlock_key"`
}

// lock locks the namespace or one below it: no request reaches it, or what is below, until it is unlocked.
func (r *Registry) lock(c *api.Call, q *LockRequest) (*Unlocker, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand
	text := base64.RawURLEncoding.EncodeToString(key)
	sum := sha256.Sum256([]byte(text))
	err := r.change(c, q.Path, func(n *Namespace) error {
		if len(n.LockKey) > 0 {
			return api.Errorf(api.Invalid, "the namespace is locked already")
		}
		n.LockKey = sum[:]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Unlocker{UnlockKey: api.NewSecret(text).Disclose()}, nil
}

// lockPath locks a namespace below: no request reaches it, or what is below, until it is unlocked.
func (r *Registry) lockPath(c *api.Call, q *LockPathRequest) (*Unlocker, error) {
	return r.lock(c, &LockRequest{Path: q.Path})
}

// unlock ends a lock.
func (r *Registry) unlock(c *api.Call, q *UnlockRequest) (*api.None, error) {
	mayForce := c.Caller.Sudo && c.Caller.Namespace.ID == RootID
	if q.UnlockKey.Empty() && !mayForce {
		return nil, api.Errorf(api.Invalid, "unlock_key: missing: it is what locking the namespace answered")
	}
	sum := sha256.Sum256([]byte(q.UnlockKey.Reveal()))
	return nil, r.change(c, q.Path, func(n *Namespace) error {
		switch {
		case len(n.LockKey) == 0:
			return api.Errorf(api.Invalid, "the namespace is not locked")
		case q.UnlockKey.Empty(): // whoever may do so without
		case subtle.ConstantTimeCompare(sum[:], n.LockKey) != 1:
			return api.Errorf(api.Invalid, "unlock_key: not the one that locking the namespace answered")
		}
		n.LockKey = nil
		return nil
	})
}

// unlockPath ends the lock of a namespace below.
func (r *Registry) unlockPath(c *api.Call, q *UnlockPathRequest) (*api.None, error) {
	return r.unlock(c, &UnlockRequest{LockRequest: LockRequest{Path: q.Path}, UnlockKey: q.UnlockKey})
}

// change changes the row of a namespace that a call names; the root has none.
func (r *Registry) change(c *api.Call, path string, fn func(*Namespace) error) error {
	n, err := r.Find(c, &Namespace{ID: c.Namespace.ID, Path: c.Namespace.Path}, path)
	if err != nil {
		return err
	}
	if n.ID == RootID {
		return api.Errorf(api.Invalid, "the root namespace cannot be locked or sealed apart")
	}
	if n, err = r.ByID(c, n.ID); err != nil {
		return err
	}
	_, err = r.update(c, n, fn)
	return err
}

// update changes a namespace's row, and answers it.
func (r *Registry) update(ctx context.Context, n *Namespace, fn func(*Namespace) error) (out *Namespace, err error) {
	if n == nil {
		return nil, errGone()
	}
	_, err = store.Update(ctx, r.store, func(tx *store.Tx) (err error) {
		if out, err = rowOf(tx, n.rowKey()); err != nil {
			return err
		}
		if !out.Live() || out.ID != n.ID {
			return errGone()
		}
		if err = fn(out); err != nil {
			return err
		}
		return put(tx, out)
	})
	return out, err
}
