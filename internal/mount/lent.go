package mount

import (
	"crypto/sha256"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// A namespace that was made before something came that every namespace has, has no row for
// it. None is written, be there one such namespace or ten thousand: its table has the mount all the
// same, with identifiers that follow from the namespace, so that they are the same on each
// node and each time. The first change of its settings makes the row.

// lend adds to a namespace's table what it has no row of. A namespace without rows is none.
func (m *Mounts) lend(t *Table, nsID string) {
	if t.Get("sys/") == nil {
		return
	}
	for _, b := range builtins {
		if b.later && t.Get(b.path) == nil {
			t.add(m.lent(nsID, b))
		}
	}
}

// lent is a mount that a namespace has no row of.
func (m *Mounts) lent(nsID string, b builtin) *Entry {
	sum := sha256.Sum256([]byte("mount/" + nsID + "/" + b.path))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of one's own making (RFC 9562, version 8)
	id := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	e := &Entry{Path: b.path, Type: b.kind, Description: b.description, Builtin: true, UUID: id, ID: id[:8] + id[28:], system: m.system, lent: true}
	e.Accessor = b.kind + "_" + id[24:32]
	e.router = m.routerFor(e)
	return e
}

// lentIn is lent for a transaction that finds no row at a path; nil: there is nothing.
func (m *Mounts) lentIn(tx *store.Tx, nsID, path string) (*Entry, error) {
	for _, b := range builtins {
		if !b.later || b.path != path {
			continue
		}
		system, err := tx.Get(rowKey(nsID, "sys/"))
		if err != nil || !system.Exists() {
			return nil, err
		}
		return m.lent(nsID, b), nil
	}
	return nil, nil
}
