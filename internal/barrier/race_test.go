package barrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// meddled runs something once at a chosen moment of the barrier's work.
type meddled struct {
	store.Store
	afterGet     func(key string)
	beforeCommit func(writes []store.Write)
}

func (m *meddled) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := m.Store.Get(ctx, key)
	if m.afterGet != nil {
		m.afterGet(key)
	}
	return e, err
}

func (m *meddled) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	if m.beforeCommit != nil {
		m.beforeCommit(w)
	}
	return m.Store.Commit(ctx, c, w)
}

// TestRewrapLosesNoWrite changes and removes entries between Rewrap's reading
// and its commit, in each of its steps and again when it tries row by row.
func TestRewrapLosesNoWrite(t *testing.T) {
	phys := mem.Open()
	m := &meddled{Store: phys}
	b, writer := unsealed(t, m), unsealed(t, phys)
	for i := range 100 {
		set(t, b, fmt.Sprintf("root/%03d", i), "old")
	}
	must(t, b.Rotate(t.Context()))
	commits := 0
	m.beforeCommit = func([]store.Write) {
		if commits++; commits <= 20 {
			set(t, writer, fmt.Sprintf("root/%03d", commits), "new")
			_, err := writer.Commit(t.Context(), nil, []store.Write{{Key: "root/090", Delete: true}})
			must(t, err)
		}
	}
	must(t, b.Rewrap(t.Context(), nil))
	if commits < 20 {
		t.Fatalf("only %d commits were met", commits)
	}
	for i := range 100 {
		key, value := fmt.Sprintf("root/%03d", i), "old"
		if i >= 1 && i <= 20 {
			value = "new"
		}
		if i == 90 {
			if e, err := b.Get(t.Context(), key); err != nil || e.Exists() {
				t.Errorf("a removed entry is back: %v, %v", e, err)
			}
			continue
		}
		want(t, b, key, value)
	}
}

// TestDropWhileLoading drops a namespace just after another call has read its key.
func TestDropWhileLoading(t *testing.T) {
	m := &meddled{Store: mem.Open()}
	b := unsealed(t, m)
	must(t, b.AddNamespace(t.Context(), "team"))
	b.session.Load().evictAll()
	dropped := false
	m.afterGet = func(key string) {
		if key == namespaceKey("team") && !dropped {
			dropped = true
			must(t, b.DropNamespace(t.Context(), "team"))
		}
	}
	_, err := b.PurposeKey(t.Context(), "team", TokenHash)
	wantErr(t, err, ErrNoNamespace)
	if !dropped {
		t.Error("nothing was dropped")
	}
}

// TestRewrapPassesAHotEntry has a node that does not know the new epoch yet
// change entries before every commit of a whole step: the others must not wait.
func TestRewrapPassesAHotEntry(t *testing.T) {
	phys := mem.Open()
	m := &meddled{Store: phys}
	b, writer := unsealed(t, m), unsealed(t, phys)
	for i := range 100 {
		set(t, b, fmt.Sprintf("root/%03d", i), "old")
	}
	must(t, b.Rotate(t.Context()))
	steps := 0
	m.beforeCommit = func(writes []store.Write) {
		whole := len(writes) > 2
		if !whole || !slices.ContainsFunc(writes, func(w store.Write) bool { return w.Key == "d/root/010" }) {
			return
		}
		if steps++; steps > 50 {
			t.Fatal("one entry holds up the rewrap")
		}
		set(t, writer, "root/010", "hot")
	}
	must(t, b.Rewrap(t.Context(), nil))
	m.beforeCommit = nil
	wantAllUnder(t, phys, 2)
	if steps == 0 {
		t.Error("no step was met")
	}
	want(t, b, "root/010", "hot")
	want(t, b, "root/011", "old")
}

// Namespaces that are made at once, while the feed tells of each, do not keep one another
// from getting their keys.
func TestManyNamespacesAtOnce(t *testing.T) {
	b, _ := fresh(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	followed := make(chan error, 1)
	go func() { followed <- b.Follow(ctx) }()
	var work sync.WaitGroup
	for c := range 16 {
		work.Go(func() {
			for i := range 200 {
				id := fmt.Sprintf("ns%d-%d", c, i)
				err := b.AddNamespace(ctx, id)
				if err == nil {
					_, err = b.Commit(ctx, nil, []store.Write{{Key: id + "/a", Value: []byte(id)}})
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
			}
		})
	}
	work.Wait()
	stop()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
