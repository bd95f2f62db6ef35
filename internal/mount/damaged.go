package mount

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// damagedKind is the type that a listing shows of a mount whose type is not known.
const damagedKind = "damaged"

// errDamaged is what is told of a mount whose row cannot be read.
func errDamaged(nsID, path string) *api.Error {
	key := rowKey(nsID, path)
	return &api.Error{Kind: api.Damaged, Err: store.ErrCorrupt,
		Message: fmt.Sprintf("the mount at %s cannot be used: its row %s is damaged; its data is untouched, and everything else is served", path, key),
		Hint:    "put the row back from a backup through sys/raw, as docs/reliability.md shows"}
}

// standIn takes the place of a mount whose row is damaged, so that its path stays
// taken and nothing else answers there. What it does not know nobody may rely on: its identifier, and
// with it where its data lies, its type and settings. Of what every namespace has, the type is known.
func (m *Mounts) standIn(nsID, path string) *Entry {
	e := &Entry{Path: path, damage: errDamaged(nsID, path), system: m.system}
	for _, b := range builtins {
		if b.path == path {
			e.Type, e.Builtin, e.Local = b.kind, true, b.kind == "cubbyhole"
		}
	}
	if e.Refusal() == nil {
		e.router = m.routerFor(e)
	}
	return e
}

// Damaged reports whether the mount's row cannot be read. All but its path, and for
// what every namespace has its type, is then unknown.
func (e *Entry) Damaged() bool { return e.damage != nil }

// Refusal is why the mount cannot be used, or nil. The system's endpoints have no
// settings and keep nothing below their mount, so that they answer without its row: they are also how
// it is put right.
func (e *Entry) Refusal() error {
	if e.damage == nil || e.Type == "system" {
		return nil
	}
	return e.damage
}

// fits reports whether a row's content is that of a mount at a path.
func (e *Entry) fits(path string) bool { return e.Path == path && e.ID != "" && e.Type != "" }

// readTable reads the rows of a namespace's mounts. Those that are damaged are there too.
func (m *Mounts) readTable(ctx context.Context, s store.Reader, nsID string) (*Table, error) {
	t := newTable(len(builtins))
	prefix := tablePrefix(nsID)
	damaged, err := store.SiftJSON(ctx, s, store.Prefix(prefix), func(row store.Entry, e *Entry) {
		path := row.Key[len(prefix):]
		if !e.fits(path) {
			e = m.standIn(nsID, path)
		} else {
			e.router, e.system = m.routerFor(e), m.system
		}
		t.add(e)
	})
	if err != nil {
		return nil, err
	}
	for _, row := range damaged {
		t.add(m.standIn(nsID, row.Key[len(prefix):]))
	}
	m.lend(t, nsID)
	slices.Sort(t.paths)
	m.quarantine.Found(prefix, t.damagedRows(nsID)...)
	return t, nil
}

func (t *Table) damagedRows(nsID string) []string {
	var out []string
	for _, path := range t.paths {
		if t.byPath[path].Damaged() {
			out = append(out, rowKey(nsID, path))
		}
	}
	return out
}

// absent is what is told of a mount that is looked for by something other than its
// path and is not found: nil, or an error when it may be one whose row is damaged.
func (t *Table) absent() error {
	if t.unknown == nil {
		return nil
	}
	return t.unknown.Refusal()
}

// whole is a mount's row, decoded.
func whole(row store.Entry, err error, nsID, path string) (*Entry, error) {
	if err != nil && !errors.Is(err, store.ErrCorrupt) || err == nil && !row.Exists() {
		return nil, err
	}
	e, derr := store.DecodeJSON[Entry](row)
	if err != nil || derr != nil || !e.fits(path) {
		return nil, errDamaged(nsID, path)
	}
	return e, nil
}
