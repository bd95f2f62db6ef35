package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// rootID identifies the root namespace.
const rootID = "root"

// MarkPrefix begins the keys, in the whole store, of the rows that say which namespaces have
// audit devices of their own: one each, by identifier, written anew with each change of its devices. So a
// request learns that there are none, or that they are as they were, without looking for them.
const MarkPrefix = rootID + "/ns-audit/"

// maxBranches bounds the namespaces whose devices a node keeps open while nobody uses them.
const maxBranches = 1024

// Hooks are what a Tree asks of those who know namespaces.
type Hooks struct {
	// Require makes a transaction fail when a namespace is being deleted.
	Require func(tx *store.Tx, id string) error
	// Open reports whether requests reach a namespace: it is there, and neither sealed
	// nor locked.
	Open func(ctx context.Context, id string) (bool, error)
}

// Tree is the audit devices of all namespaces: those of the root namespace, which have the
// entries of all requests, and those of namespaces below, which have the entries of requests in them and
// in the namespaces below them. They are opened by the first request that they must have.
type Tree struct {
	root  *Devices
	store store.Store
	env   Env
	hooks Hooks
	marks *store.Memo[struct{}, Marks]

	mu     sync.Mutex
	open   map[string]*Branch
	closed bool
	ending sync.WaitGroup // of those that are being closed
}

// Marks are the namespaces that have audit devices of their own, by identifier, with the
// revision of their last change.
type Marks map[string]store.Rev

// NewTree makes the devices of all namespaces beside those of the root namespace. The store
// is the whole encrypted one; env is that of the devices below.
func NewTree(s store.Store, cache *store.Cache, root *Devices, env Env, hooks Hooks) *Tree {
	env.Stdout, env.Dirs, env.Headers, env.AllowRaw = nil, nil, nil, false
	t := &Tree{root: root, store: s, env: env, hooks: hooks, open: map[string]*Branch{}}
	t.marks = store.NewMemo(cache, 1, func(ctx context.Context, r store.Reader, _ struct{}) (Marks, error) {
		in := store.Prefix(MarkPrefix)
		in.KeysOnly = true
		es, err := r.List(ctx, in)
		out := make(Marks, len(es))
		for _, e := range es {
			out[strings.TrimPrefix(e.Key, MarkPrefix)] = e.Rev
		}
		return out, err
	})
	return t
}

// Marks are the namespaces that have devices, as of no earlier than the cache's last Fresh.
// The map is shared: it must not be modified.
func (t *Tree) Marks(ctx context.Context) (Marks, error) { return t.marks.Get(ctx, struct{}{}) }

// Include has an entry written also to the devices of a namespace, if it has any, once. It is
// called for the outermost namespace first.
func (t *Tree) Include(ctx context.Context, e *Entry, marks Marks, ns api.Namespace) error {
	mark, ok := marks[ns.ID]
	if !ok || slices.ContainsFunc(e.also, func(a *Entry) bool { return a.branch.ns.ID == ns.ID }) {
		return nil
	}
	b, err := t.acquire(ns)
	if err != nil {
		return err
	}
	if err := b.catchUp(ctx, mark); err != nil {
		t.release(b)
		return err
	}
	a := b.broker.Entry()
	a.branch = b
	e.also = append(e.also, a)
	return nil
}

// acquire is the branch of a namespace, for its caller to release.
func (t *Tree) acquire(ns api.Namespace) (*Branch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errShut
	}
	b := t.open[ns.ID]
	if b == nil {
		t.makeRoom()
		b = t.branch(ns)
		t.open[ns.ID] = b
	}
	b.refs++
	return b, nil
}

func (t *Tree) branch(ns api.Namespace) *Branch {
	env := t.env
	env.Namespace = ns
	b := &Branch{tree: t, ns: ns, broker: NewBroker()}
	b.devices = NewDevices(t.store, env, nil, b.broker)
	b.devices.home = ns.ID + "/"
	b.devices.mark = func(tx *store.Tx, path string, enabling bool) error {
		return t.mark(tx, ns.ID, b.devices.rowKey(path), enabling)
	}
	return b
}

// makeRoom closes a branch that nobody uses, if there are too many; the lock is held.
func (t *Tree) makeRoom() {
	if len(t.open) < maxBranches {
		return
	}
	for _, b := range t.open {
		if b.refs == 0 {
			t.leave(b)
			return
		}
	}
}

// leave has a branch closed once nobody uses it; the lock is held.
func (t *Tree) leave(b *Branch) {
	if b.gone {
		return
	}
	delete(t.open, b.ns.ID)
	b.gone = true
	if b.refs == 0 {
		t.ending.Go(b.close)
	}
}

func (b *Branch) close() {
	if err := b.devices.Close(); err != nil {
		b.devices.env.log("").Warn("closing the audit devices of a namespace", "error", err)
	}
}

func (t *Tree) release(b *Branch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.refs--; b.refs > 0 {
		return
	}
	if b.gone && !t.closed {
		t.ending.Go(b.close)
	}
}

// mark notes that the device of a row changes, where all nodes look, and bounds how many
// a namespace has: whoever changes one writes the one mark.
func (t *Tree) mark(tx *store.Tx, id, row string, enabling bool) error {
	// The mark is read before the devices are listed: a list is in no transaction's read set, so whatever is made after it changes the mark.
	if err := errors.Join(t.hooks.Require(tx, id), tx.Touch(MarkPrefix+id)); err != nil {
		return err
	}
	in := store.Prefix(id + "/" + devicePrefix)
	in.KeysOnly = true
	others, err := t.store.List(tx.Context(), in)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(e store.Entry) bool { return e.Key == row })
	if enabling && len(others) >= maxBelow {
		return tooMany()
	}
	if !enabling && len(others) == 0 {
		tx.Delete(MarkPrefix + id)
	}
	return nil
}

// Forget removes what says that a namespace has devices: it is deleted.
func (t *Tree) Forget(ctx context.Context, id string) error {
	e, err := t.store.Get(ctx, MarkPrefix+id)
	if err == nil && !e.Exists() {
		return nil
	}
	_, err = t.store.Commit(ctx, nil, []store.Write{{Key: MarkPrefix + id, Delete: true}})
	return err
}

// Sweep closes the devices of namespaces that requests do not reach, or that have none any
// more. It is called after the cache's Fresh.
func (t *Tree) Sweep(ctx context.Context) error {
	marks, err := t.Marks(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range t.branches() {
		_, keep := marks[b.ns.ID]
		var err error // of this branch: others are closed all the same
		if keep {
			keep, err = t.hooks.Open(ctx, b.ns.ID)
			errs = append(errs, err)
		}
		if err == nil && !keep {
			t.mu.Lock()
			t.leave(b)
			t.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

func (t *Tree) branches() []*Branch {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*Branch, 0, len(t.open))
	for _, b := range t.open {
		out = append(out, b)
	}
	return out
}

// Reopen has all files and connections opened anew, as after the rotation of logs.
func (t *Tree) Reopen() error {
	return t.each(t.root.broker.Reopen, func(b *Branch) error { return b.broker.Reopen() })
}

// Close writes what is waiting and closes all devices, as at seal.
func (t *Tree) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	err := t.each(t.root.Close, func(b *Branch) error { return b.devices.Close() })
	t.ending.Wait()
	return err
}

// each does something with the root's devices and with those of all namespaces at the same time: what a tenant's
// does not answer is waited for once, however many tenants there are.
func (t *Tree) each(root func() error, do func(*Branch) error) error {
	all := t.branches()
	errs := make([]error, len(all)+1)
	var wg sync.WaitGroup
	wg.Go(func() { errs[len(all)] = root() })
	for i, b := range all {
		wg.Go(func() { errs[i] = do(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
