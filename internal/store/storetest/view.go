package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// view opens a view of what is stored now, and closes it when the test ends.
func (f *fixture) view() store.View {
	f.Helper()
	engine, ok := f.Store.(store.Engine)
	if !ok {
		f.Fatalf("%T is no store.Engine", f.Store)
	}
	v, err := engine.View(f.Context())
	if err != nil {
		f.Fatalf("View: %v", err)
	}
	f.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.Errorf("closing a view: %v", err)
		}
	})
	return v
}

// seen is a fixture that reads from a view.
type seen struct {
	store.View
	testing.TB
}

func (s seen) want(key, value string, rev store.Rev) {
	s.Helper()
	e, err := s.Get(s.Context(), key)
	if err != nil || e.Key != key || string(e.Value) != value || e.Rev != rev {
		s.Errorf("the view's Get(%q) = %q at %d, %v; want %q at %d", key, e.Value, e.Rev, err, value, rev)
	}
}

// testView changes, removes and adds behind a view's back.
func testView(t *testing.T, cfg Config) {
	f := start(t, cfg)
	a := f.set("a", "1")
	b := f.set("b", "1")
	v := seen{f.view(), t}
	if v.Rev() != b {
		t.Errorf("the view is of %d, want %d", v.Rev(), b)
	}
	f.set("a", "2")
	f.commit(nil, del("b"), put("c", "1"))
	v.want("a", "1", a)
	v.want("b", "1", b)
	v.want("c", "", 0)
	es, err := v.List(t.Context(), store.Range{})
	if err != nil || len(es) != 2 || string(es[0].Value) != "1" || es[1].Key != "b" || es[1].Rev != b {
		t.Errorf("the view lists %+v, %v", es, err)
	}
	es, err = v.List(t.Context(), store.Range{Start: "b", Limit: 1, KeysOnly: true})
	if err != nil || len(es) != 1 || es[0].Key != "b" || es[0].Value != nil {
		t.Errorf("the view lists %+v, %v", es, err)
	}
	later := seen{f.view(), t}
	later.want("c", "1", later.Rev())
	later.want("b", "", 0)
}

// testViewOfMuch reads a view by the page while every row is being replaced.
func testViewOfMuch(t *testing.T, cfg Config) {
	const rows, page = 2000, 150
	f := start(t, cfg)
	fill := func(value string) {
		for at := 0; at < rows; at += store.MaxWrites {
			var ws []store.Write
			for i := at; i < at+store.MaxWrites; i++ {
				ws = append(ws, put(fmt.Sprintf("%06d", i), value))
			}
			f.commit(nil, ws...)
		}
	}
	fill("old")
	v := f.view()
	seen, r := 0, store.Range{Limit: page}
	for {
		es, err := v.List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if seen == 3*page {
			fill("new")
		}
		for _, e := range es {
			if string(e.Value) != "old" || e.Rev > v.Rev() {
				t.Fatalf("%s is %q at %d in a view of %d", e.Key, e.Value, e.Rev, v.Rev())
			}
		}
		seen += len(es)
		if len(es) < page {
			break
		}
		r = r.After(es[len(es)-1].Key)
	}
	if seen != rows {
		t.Errorf("the view has %d rows, want %d", seen, rows)
	}
}

func testViewEnds(t *testing.T, cfg Config) {
	f := start(t, cfg)
	f.set("a", "1")
	v := f.view()
	_, err := v.Get(cancelled(), "a")
	f.wantErr(err, context.Canceled)
	f.wantErr(v.Close(), nil)
	f.wantErr(v.Close(), nil)
	_, err = v.Get(t.Context(), "a")
	f.wantErr(err, store.ErrClosed)
	_, err = v.List(t.Context(), store.Range{})
	f.wantErr(err, store.ErrClosed)
	f.wantErr(f.Close(), nil)
	_, err = f.Store.(store.Engine).View(t.Context())
	f.wantErr(err, store.ErrClosed)
}

// testViewUnderLoad moves an amount between two rows while views are taken: each
// view has all of it, and reads the same twice.
func testViewUnderLoad(t *testing.T, cfg Config) {
	const total, views = 1000, 50
	f := start(t, cfg)
	f.commit(nil, put("a", strconv.Itoa(total)), put("b", "0"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && ctx.Err() == nil; i++ {
			a := i % total
			_, err = f.Commit(t.Context(), nil, []store.Write{put("a", strconv.Itoa(a)), put("b", strconv.Itoa(total-a))})
		}
		done <- err
	}()
	for range views {
		if err := wantWhole(t, f.view(), total); err != nil {
			t.Error(err)
		}
	}
	stop()
	f.wantErr(<-done, nil)
}

// wantWhole reads both rows of a view, twice.
func wantWhole(t *testing.T, v store.View, total int) error {
	defer v.Close()
	var before [2]string
	for i := range 2 {
		a, errA := v.Get(t.Context(), "a")
		b, errB := v.Get(t.Context(), "b")
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		na, _ := strconv.Atoi(string(a.Value))
		nb, _ := strconv.Atoi(string(b.Value))
		now := [2]string{string(a.Value), string(b.Value)}
		if na+nb != total || i > 0 && now != before {
			return fmt.Errorf("a view of %d has %v after %v", v.Rev(), now, before)
		}
		before = now
	}
	return nil
}
