package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// harmed is a store some of whose entries do not open, as the barrier tells it.
type harmed struct {
	store.Store
	keys []string
	all  bool // the error names none of them
}

func (h *harmed) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := h.Store.Get(ctx, key)
	if err == nil && slices.Contains(h.keys, key) {
		e.Value, err = nil, store.ErrCorrupt
	}
	return e, err
}

func (h *harmed) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := h.Store.List(ctx, r)
	for i := range es {
		if slices.Contains(h.keys, es[i].Key) {
			es[i].Value, err = nil, store.ErrCorrupt
		}
	}
	if h.all {
		return nil, store.ErrCorrupt
	}
	return es, err
}

func harm(t *testing.T, keys ...string) *harmed {
	t.Helper()
	h := &harmed{Store: mem.Open(), keys: keys}
	for _, k := range []string{"a", "b", "c", "d"} {
		value := []byte(`"` + k + `"`)
		if k == "d" {
			value = []byte("no JSON")
		}
		if _, err := h.Commit(t.Context(), nil, []store.Write{{Key: k, Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestSiftTellsDamagedRowsFromWholeOnes(t *testing.T) {
	h := harm(t, "b")
	whole, damaged, err := store.Sift(t.Context(), h, store.Range{})
	if err != nil || !slices.Equal(store.Keys(whole), []string{"a", "c", "d"}) || !slices.Equal(store.Keys(damaged), []string{"b"}) {
		t.Errorf("%q, %q, %v", store.Keys(whole), store.Keys(damaged), err)
	}
	var seen []string
	damaged, err = store.SiftJSON(t.Context(), h, store.Range{}, func(_ store.Entry, v *string) { seen = append(seen, *v) })
	if err != nil || !slices.Equal(seen, []string{"a", "c"}) || !slices.Equal(store.Keys(damaged), []string{"b", "d"}) {
		t.Errorf("%q, %q, %v", seen, store.Keys(damaged), err)
	}
	h.all = true // what is damaged is not known: nothing may pass for whole
	if _, _, err := store.Sift(t.Context(), h, store.Range{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damage without a place: %v", err)
	}
}

func TestDamagedGuardStillGuards(t *testing.T) {
	h := harm(t, "a")
	raced := false
	_, err := store.Update(t.Context(), h, func(tx *store.Tx) error {
		if err := tx.Touch("a"); err != nil {
			return err
		}
		if raced {
			return nil
		}
		raced = true
		_, err := h.Commit(t.Context(), nil, []store.Write{{Key: "a", Value: []byte{1}}})
		tx.Put("lost", nil) // of an attempt that another change has overtaken
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := h.Get(t.Context(), "lost"); err != nil || e.Exists() {
		t.Errorf("two that touched one guard were both made: %v", err)
	}
	if e, err := h.Store.Get(t.Context(), "a"); err != nil || string(e.Value) != "\x01" {
		t.Errorf("the guard is %q, %v", e.Value, err)
	}
}

func TestQuarantineTellsOnce(t *testing.T) {
	var told []string
	q := &store.Quarantine{Tell: func(key string, mended bool) {
		if mended {
			key = "-" + key
		}
		told = append(told, key)
	}}
	for range 3 {
		q.Found("m/", "m/a", "m/b")
		q.Found("n/", "n/a")
	}
	q.Found("m/", "m/b")
	if want := []string{"m/a", "m/b", "n/a", "-m/a"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, not %q", told, want)
	}
	if got := q.Rows(); !slices.Equal(got, []string{"m/b", "n/a"}) {
		t.Errorf("knows of %q", got)
	}
	var none *store.Quarantine
	if none.Found("m/", "m/a"); len(none.Rows()) != 0 {
		t.Error("nobody knows something")
	}
}
