package namespace_test

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testClock() time.Time { return testTime }

// node is namespaces and mounts over a real barrier.
type node struct {
	t      testing.TB
	phys   store.Store // below bar
	bar    *barrier.Barrier
	cache  *store.Cache
	spaces *namespace.Registry
	mounts *mount.Mounts

	recorded   int    // jobs that deletions recorded
	furnishing func() // called while a namespace is being made; nil: nothing
	furnished  func() // called when it has all it needs; nil: nothing
	deleting   func() // called before a deletion is committed; nil: nothing
	dropping   func() // called while a namespace is being destroyed; nil: nothing
}

// call runs a test's interruption, once.
func call(fn *func()) {
	if f := *fn; f != nil {
		*fn = nil
		f()
	}
}

// DropNamespace implements namespace.Keys.
func (n *node) DropNamespace(ctx context.Context, id string) error {
	call(&n.dropping)
	return n.bar.DropNamespace(ctx, id)
}

// AddNamespace implements namespace.Keys.
func (n *node) AddNamespaceBelow(ctx context.Context, id, above string) error {
	return n.bar.AddNamespaceBelow(ctx, id, above)
}

// Rows that stand for the scheduled work of a server.
const (
	spaceJobs = "root/job-ns/"
	mountJobs = "root/job-mount/"
)

func record(prefix string) func(*store.Tx, string) error {
	return func(tx *store.Tx, what string) error {
		tx.Put(prefix+barrierName(what), []byte(what))
		return nil
	}
}

// barrierName makes one segment of a prefix.
func barrierName(what string) string {
	out := []byte(what)
	for i := range out {
		if out[i] == '/' {
			out[i] = '_'
		}
	}
	return string(out)
}

func newNode(t testing.TB, phys store.Store) *node {
	t.Helper()
	n := &node{t: t, phys: phys, bar: barrier.New(phys, testClock)}
	root := make([]byte, barrier.KeyBytes)
	if done, err := n.bar.Initialized(t.Context()); err != nil {
		t.Fatal(err)
	} else if !done {
		n.must(n.bar.Initialize(t.Context(), root, nil))
	}
	n.must(n.bar.Unseal(t.Context(), root))
	n.must(n.bar.AddNamespace(t.Context(), namespace.RootID))
	var err error
	n.cache, err = store.NewCache(context.Background(), n.bar)
	n.must(err)
	n.spaces = namespace.New(n.bar, n.cache, n, namespace.Hooks{
		Claim: func(tx *store.Tx, parent, path string) error { return n.mounts.Claim(tx, parent, path) },
		Furnish: func(ctx context.Context, id string) error {
			call(&n.furnishing)
			err := n.mounts.Furnish(ctx, id)
			call(&n.furnished)
			return err
		},
		Delete: func(tx *store.Tx, id string) error {
			n.recorded++
			call(&n.deleting)
			return record(spaceJobs)(tx, id)
		},
	}, testClock)
	n.mounts = mount.New(n.bar, n.cache, mount.Hooks{Taken: n.spaces.Taken, Delete: record(mountJobs)}, mount.Limits{}, testClock)
	n.must(n.mounts.Install([]api.Engine{{Type: "kv"}, {Type: "system"}, {Type: "cubbyhole"}, {Type: "token", Auth: true}, {Type: "userpass", Auth: true}}))
	n.must(n.mounts.Furnish(t.Context(), namespace.RootID))
	t.Cleanup(func() {
		n.must(n.cache.Close())
		n.must(n.bar.Seal())
	})
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) fresh() {
	n.t.Helper()
	_, err := n.cache.Fresh(n.t.Context())
	n.must(err)
}

var atRoot = api.Namespace{ID: namespace.RootID}

func (n *node) create(parent api.Namespace, name string) *namespace.Namespace {
	n.t.Helper()
	made, err := n.spaces.Create(n.t.Context(), parent, name, nil)
	n.must(err)
	n.fresh()
	return made
}

// find is a namespace as requests find it; nil when they do not.
func (n *node) find(path string) *namespace.Namespace {
	n.t.Helper()
	n.fresh()
	found, err := n.spaces.Find(n.t.Context(), namespace.Root(), path)
	if api.KindOf(err) == api.NotFound {
		return nil
	}
	n.must(err)
	return found
}

func (n *node) enable(nsID, path string) error {
	return n.mounts.Enable(n.t.Context(), nsID, &mount.Entry{Path: path, Type: "kv"})
}

// runJobs does what a server's scheduled work does, and forgets what is done.
func (n *node) runJobs() error {
	for prefix, run := range map[string]func(string) error{
		spaceJobs: func(id string) error { return n.spaces.Destroy(n.t.Context(), id) },
		mountJobs: func(p string) error { return namespace.DeletePrefix(n.t.Context(), n.bar, p) },
	} {
		jobs, err := n.bar.List(n.t.Context(), store.Prefix(prefix))
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if err := run(string(j.Value)); err != nil {
				return err
			}
			if _, err := n.bar.Commit(n.t.Context(), nil, []store.Write{{Key: j.Key, Delete: true}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// keys are all keys of the encrypted store with a prefix.
func (n *node) keys(prefix string) []string {
	n.t.Helper()
	r := store.Prefix(prefix)
	r.KeysOnly = true
	es, err := n.bar.List(n.t.Context(), r)
	n.must(err)
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Key
	}
	return out
}

// killEverywhere prepares a store and then does work on it, killed at its first,
// second, ... commit, before and after that commit's effect; check looks at what a
// node finds that starts afterwards. It returns how many kills there were.
func killEverywhere(t *testing.T, prepare func(*node), work func(*node) error, check func(*node)) int {
	kills := 0
	for _, after := range []bool{false, true} {
		for due, alive := 0, false; !alive; due++ {
			if due > 100 {
				t.Fatal("the work never ends")
			}
			phys := mem.Open()
			f := &storetest.Mortal{Store: phys}
			n := newNode(t, f)
			prepare(n)
			f.Doom(due, after)
			err := work(n)
			if alive = !f.Dead(); alive {
				n.must(err)
			} else {
				kills++
				if err == nil {
					t.Fatalf("commit %d failed and the work did not", due)
				}
			}
			check(newNode(t, phys))
		}
	}
	return kills
}

func wantKind(t testing.TB, err error, kind api.Kind) {
	t.Helper()
	if err == nil || api.KindOf(err) != kind {
		t.Fatalf("got error %v of kind %v; want kind %v", err, api.KindOf(err), kind)
	}
}
