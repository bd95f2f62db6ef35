package mount

import (
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// older makes a namespace as one is that was made before identity/ came.
func (f *fixture) older(t *testing.T, nsID string) {
	t.Helper()
	if err := f.Furnish(t.Context(), nsID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Commit(t.Context(), nil, []store.Write{{Key: rowKey(nsID, "identity/"), Delete: true}}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) table(t *testing.T, nsID string) *Table {
	t.Helper()
	if _, err := f.cache.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	table, err := f.Table(t.Context(), nsID)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A namespace that is older than a mount which every namespace has, has it all the same,
// under identifiers that stay, and without a row until somebody changes its settings.
func TestOlderNamespaces(t *testing.T) {
	f := fixtureFor(t)
	f.older(t, "root")
	f.older(t, "team")
	e := f.table(t, "root").Get("identity/")
	if e == nil || !e.Builtin || e.Type != "identity" || e.Accessor == "" || e.Prefix("root") == f.table(t, "team").Get("identity/").Prefix("team") {
		t.Fatalf("%+v", e)
	}
	again, err := f.readTable(t.Context(), f.store, "root")
	if err != nil || again.Get("identity/").Accessor != e.Accessor || again.Get("identity/").UUID != e.UUID {
		t.Errorf("another node has %+v, %v", again.Get("identity/"), err)
	}
	if row, err := f.store.Get(t.Context(), rowKey("root", "identity/")); err != nil || row.Exists() {
		t.Errorf("there is a row, %v", err)
	}
	if _, err := f.Disable(t.Context(), "root", "identity/"); api.KindOf(err) != api.Invalid {
		t.Errorf("it could be disabled: %v", err)
	}
	if err := f.Move(t.Context(), "root", "identity/", "who/"); api.KindOf(err) != api.Invalid {
		t.Errorf("it could be moved: %v", err)
	}
	if err := f.change(t.Context(), "root", "identity/", func(row *Entry) error { row.Description = "who"; return nil }); err != nil {
		t.Fatal(err)
	}
	if now := f.table(t, "root").Get("identity/"); now.Description != "who" || now.Accessor != e.Accessor || now.UUID != e.UUID || now.lent {
		t.Errorf("after a change: %+v", now)
	}
	if err := f.Furnish(t.Context(), "team"); err != nil || f.table(t, "team").Get("identity/").lent {
		t.Errorf("furnishing makes no row: %v", err)
	}
}

// What is no namespace has no mounts, and a mount that is not new is not made up for.
func TestNothingElseIsLent(t *testing.T) {
	f := fixtureFor(t)
	if n := len(f.table(t, "none").paths); n != 0 {
		t.Errorf("no namespace has %d mounts", n)
	}
	f.older(t, "root")
	if _, err := f.store.Commit(t.Context(), nil, []store.Write{{Key: rowKey("root", "cubbyhole/"), Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if e := f.table(t, "root").Get("cubbyhole/"); e != nil {
		t.Errorf("%+v", e)
	}
}
