package kv

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Storage keys of a mount. A secret's row is found by its path, so that a
// directory is a range of keys; payload rows are found by their version's UUID,
// so that they are written once and never change. Small payloads of the newest
// versions are in the secret's row itself.
const (
	keyConfig     = "c"
	prefixSecret  = "m/"
	prefixPayload = "p/" // UUID, and /NNNN for each chunk of a large one
	prefixTrash   = "t/" // UUID; see trash
)

// Limits of what one mount stores.
const (
	maxPath     = 2 << 10   // longest path, in bytes
	maxVersions = 4096      // versions kept of one secret
	maxRow      = 256 << 10 // a secret's metadata row, in bytes
	chunkBytes  = 400 << 10 // payload bytes in one row
	maxChunks   = 128
	maxPayload  = 32 << 20 // one version's payload, in bytes
	inlineBytes = 1 << 10  // largest payload that is kept in the metadata row
	inlineRoom  = 2 << 10  // bytes of payloads that one metadata row keeps
)

func errTooLong() error {
	return api.Errorf(api.Invalid, "path is longer than %d bytes", maxPath)
}

// row reads a secret's metadata row; nil when there is none.
func row(c *api.Call, path string) ([]byte, error) {
	if len(path) > maxPath {
		return nil, errTooLong()
	}
	e, err := c.Store.Get(c, prefixSecret+path)
	if err != nil || !e.Exists() {
		return nil, err
	}
	return e.Value, nil
}

// load reads a whole secret, or NotFound.
func load(c *api.Call, path string) (*secret, error) {
	b, err := row(c, path)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, api.ErrNotFound()
	}
	s, err := decodeSecret(b)
	if err != nil {
		return nil, damaged(path, err)
	}
	if s.hidden(c.Now) {
		return nil, api.ErrNotFound()
	}
	return s, nil
}

// damaged says which secret cannot be read. A form that is newer is not damage.
func damaged(path string, err error) error {
	if errors.Is(err, errFormat) || errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("secret %q: %w", path, err)
	}
	return fmt.Errorf("secret %q: %w: %w", path, store.ErrCorrupt, err)
}

// exists reports whether there is a secret at a path, for create or update.
func exists(c *api.Call, path string) (bool, error) {
	b, err := row(c, path)
	return b != nil, err
}

// change is one secret being changed: what a mutation sees and alters.
type change struct {
	*api.Call
	tx     *store.Tx
	secret *secret   // nil: there is none, or it is to be removed
	erase  []version // whose payloads go
}

// mutate changes the secret at a path in one commit. fn may run several times,
// each time on the newest state. When adds is not nil, its payload is stored with
// the change. It is safe against an unknown outcome: what has landed is success.
func mutate(c *api.Call, path string, adds *payload, fn func(*change) error) error {
	if len(path) > maxPath {
		return errTooLong()
	}
	if adds != nil {
		if err := adds.stage(c); err != nil {
			return err
		}
	}
	a := attempt{path: path, adds: adds, fn: fn}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error { return a.run(c, tx) })
	if err = a.settle(c, err); err != nil {
		return adds.discard(c, err)
	}
	if a.trash != "" {
		return sweep(c, c.Store, a.trash, c.Now)
	}
	return nil
}

// attempt is what the last run of a mutation wanted to commit.
type attempt struct {
	path  string
	adds  *payload
	fn    func(*change) error
	built bool   // the run got as far as Commit
	row   []byte // the row it wants; nil: none
	trash string // trash row that it leaves to be swept; empty: none
	kept  bool   // upkeep has been asked for
}

func (a *attempt) run(c *api.Call, tx *store.Tx) error {
	a.built, a.trash = false, ""
	e, err := tx.Get(prefixSecret + a.path)
	if err != nil {
		return err
	}
	ch := &change{Call: c, tx: tx}
	if e.Exists() {
		if ch.secret, err = decodeSecret(e.Value); err != nil {
			return damaged(a.path, err)
		}
		if ch.secret.hidden(c.Now) {
			return &api.Error{Kind: api.Conflict, Message: "the secret has been deleted and can be recovered", Hint: "recover or purge it first"}
		}
	}
	if err := a.fn(ch); err != nil {
		return err
	}
	if err := a.put(ch, e); err != nil {
		return err
	}
	a.built = true
	return nil
}

// put turns the change into writes.
func (a *attempt) put(ch *change, before store.Entry) error {
	a.row = nil
	if ch.secret != nil {
		ch.makeRoom()
		if a.row = ch.secret.encode(); len(a.row) > maxRow {
			return api.Errorf(api.TooLarge, "the secret's metadata is larger than %d bytes", maxRow)
		}
	}
	switch {
	case a.row == nil && before.Exists():
		ch.tx.Delete(prefixSecret + a.path)
	case a.row != nil && !bytes.Equal(a.row, before.Value):
		ch.tx.Put(prefixSecret+a.path, a.row)
	}
	if a.adds != nil {
		if err := a.adds.attach(ch.tx); err != nil {
			return err
		}
	}
	var err error
	if a.trash, err = erasePayloads(ch); err != nil || a.trash == "" || a.kept {
		return err
	}
	// The sweep follows the commit; if this node does not live to see it, the upkeep does it.
	a.kept = true
	return ch.Later(ch.Now.Add(staging))
}

// settle judges the end of an Update. An error of Commit other than a conflict
// leaves the outcome unknown: the row is read again, and when it is the one that
// was wanted (it names a new UUID, or a new count of edits) the change was made.
func (a *attempt) settle(c *api.Call, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrConflict):
		return &api.Error{Kind: api.Unavailable, Message: "too many writers want this secret at once", Hint: "try again", Err: err}
	case !a.built || errors.Is(err, store.ErrTooLarge):
		return err
	}
	now, rerr := row(c, a.path)
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	if bytes.Equal(now, a.row) || a.landed(now) {
		return nil
	}
	return err
}

// landed reports whether a row has the version that was to be added.
func (a *attempt) landed(now []byte) bool {
	if a.adds == nil || now == nil {
		return false
	}
	s, err := decodeSecret(now)
	if err != nil {
		return false
	}
	for i := range s.versions {
		if s.versions[i].id == a.adds.id {
			return true
		}
	}
	return false
}
