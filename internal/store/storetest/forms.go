package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

var errOfClosure = errors.New("the closure's own error")

func testUpdate(t *testing.T, cfg Config) {
	f := start(t, cfg)
	rev, err := store.Update(t.Context(), f.Store, func(tx *store.Tx) error {
		if e, err := tx.Get("a"); err != nil || e.Exists() {
			t.Errorf("an absent key reads as %v, %v", e, err)
		}
		tx.Put("a", []byte("1"))
		if e, err := tx.Get("a"); err != nil || string(e.Value) != "1" || !e.Exists() {
			t.Errorf("its own write reads as %v, %v", e, err)
		}
		tx.Put("b", []byte("2"))
		tx.Delete("b")
		if e, err := tx.Get("b"); err != nil || e.Exists() {
			t.Errorf("its own removal reads as %v, %v", e, err)
		}
		if tx.Len() != 2 {
			t.Errorf("Len = %d, want 2", tx.Len())
		}
		return nil
	})
	f.wantErr(err, nil)
	f.want("a", "1", rev)
	f.wantAbsent("b")
	_, err = store.Update(t.Context(), f.Store, func(tx *store.Tx) error {
		tx.Put("a", []byte("lost"))
		return errOfClosure
	})
	f.wantErr(err, errOfClosure)
	f.want("a", "1", rev)
	_, err = store.Update(cancelled(), f.Store, func(tx *store.Tx) error { tx.Put("a", nil); return nil })
	if err == nil {
		t.Error("Update with a cancelled context succeeded")
	}
	f.want("a", "1", rev)
}

// testUpdateRetries changes, under the closure's feet, what it read, what it
// required, and what it found absent.
func testUpdateRetries(t *testing.T, cfg Config) {
	f := start(t, cfg)
	f.set("read", "0")
	for name, disturb := range map[string]func(){
		"changed": func() { f.set("read", "1") },
		"removed": func() { f.commit(nil, del("read")) },
		"created": func() { f.set("absent", "1") },
	} {
		f.commit(nil, put("read", "0"), del("absent"))
		runs := 0
		_, err := store.Update(t.Context(), f.Store, func(tx *store.Tx) error {
			for _, key := range []string{"read", "absent"} {
				if _, err := tx.Get(key); err != nil {
					return err
				}
			}
			if runs++; runs == 1 {
				disturb()
			}
			tx.Put("out", []byte(name))
			return nil
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: %d runs, %v; want 2", name, runs, err)
		}
	}
	_, err := store.Update(t.Context(), f.Store, func(tx *store.Tx) error {
		tx.Require("read", 1<<60)
		tx.Put("out", []byte("never"))
		return nil
	})
	f.wantErr(err, store.ErrConflict)
	if e := f.get("out"); string(e.Value) == "never" {
		t.Error("a commit was made against its requirement")
	}
}

func testSub(t *testing.T, cfg Config) {
	f := start(t, cfg)
	outer := store.Sub(f.Store, "ns\xff/")
	sub := &fixture{TB: t, Store: store.Sub(outer, "kv/"), cfg: cfg}
	rev := sub.commit([]store.Check{{Key: "a"}}, put("a", "1"), put("b\xff", "2"))
	f.set("ns\xff/kv0", "outside")
	f.set("ns\xff/kv", "outside")
	sub.want("a", "1", rev)
	f.want("ns\xff/kv/a", "1", rev)
	sub.wantAbsent("c")
	sub.wantKeys(store.Range{}, "a", "b\xff")
	sub.wantKeys(store.Prefix("b"), "b\xff")
	sub.wantKeys(store.Range{End: "b"}, "a")
	sub.wantKeys(store.Range{}.After("a"), "b\xff")
	sub.wantKeys(store.Range{Limit: 1}, "a")
	_, err := sub.Commit(t.Context(), []store.Check{{Key: "a"}}, []store.Write{del("a")})
	sub.wantErr(err, store.ErrConflict)
	sub.commit([]store.Check{{Key: "a", Rev: rev}}, del("a"))
	f.wantAbsent("ns\xff/kv/a")
	f.wantErr(sub.Close(), nil)
	f.set("still", "open")
}

func testSubWatch(t *testing.T, cfg Config) {
	f := start(t, cfg)
	sub := &fixture{TB: t, Store: store.Sub(f.Store, "p/"), cfg: cfg}
	feed := sub.watch(0)
	f.set("q/a", "1")
	rev := f.commit(nil, put("p/b", "1"), put("p/a", "1"), put("q/a", "2"))
	sub.wantNext(feed, rev, "a", "b")
	f.set("q/a", "3")
	for at, now := store.Rev(0), sub.sync(); at < now; {
		c, err := feed.Next(t.Context())
		if err != nil || !slices.Equal(c.Keys, nil) {
			t.Fatalf("a commit outside the view is reported as %q, %v", c.Keys, err)
		}
		at = c.Rev
	}
}
