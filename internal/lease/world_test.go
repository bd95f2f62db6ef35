package lease_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/token"
)

// lender is an engine and the system beyond it, in which what it lends exists.
// It outlives the nodes.
type lender struct {
	mu       sync.Mutex
	live     map[string]bool
	revoked  map[string]int
	broken   error
	asked    func(ctx context.Context, name string) error // called first when something is to be taken back; its error is the answer
	renewing func()                                       // called in the middle of a renewal, after what was lent was made to live on
	revoking func()                                       // called after what was lent was taken back, before that is answered
}

func newLender() *lender { return &lender{live: map[string]bool{}, revoked: map[string]int{}} }

func (e *lender) lend(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live[name] = true
}

func (e *lender) has(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[name]
}

func (e *lender) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.live)
}

func (e *lender) times(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.revoked[name]
}

func (e *lender) breakWith(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = err
}

// renew is careless: it brings back what is gone.
func (e *lender) renew(_ *api.Call, h *api.Held) (*api.Lease, error) {
	e.lend(string(h.Private))
	if e.renewing != nil {
		e.renewing()
	}
	return nil, nil
}

func (e *lender) revoke(c *api.Call, h *api.Held) error {
	if e.asked != nil {
		if err := e.asked(c, string(h.Private)); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revoked[string(h.Private)]++
	if e.broken != nil {
		return e.broken
	}
	delete(e.live, string(h.Private))
	if e.revoking != nil {
		e.revoking()
	}
	return nil
}

func (e *lender) engine() api.Engine {
	return api.Engine{Type: "lender", Leases: map[string]api.LeaseKind{"user": {Renew: e.renew, Revoke: e.revoke}}}
}

// world is one node's leases over a real barrier, with a clock that synctest moves.
type world struct {
	t      testing.TB
	bar    *barrier.Barrier
	cache  *store.Cache
	tokens *token.Store
	mounts *mount.Mounts
	spaces *namespace.Registry
	s      *lease.Store
	engine *lender
	holder *token.Token
	lent   int
}

// keys are the server's keys of tokens.
type keys struct{ *barrier.Barrier }

func (k keys) TokenHash(ctx context.Context, nsID, text string) (string, error) {
	key, err := k.PurposeKey(ctx, nsID, barrier.TokenHash)
	if err != nil {
		return "", err
	}
	out, err := key.HMAC(nil, []byte(text))
	return hex.EncodeToString(out), err
}

func (keys) SealBatch(context.Context, string, []byte) ([]byte, error) { return nil, token.ErrBatch }
func (keys) OpenBatch(context.Context, string, []byte) ([]byte, error) { return nil, token.ErrBatch }

type paths struct{ *namespace.Registry }

func (p paths) Path(ctx context.Context, id string) (string, bool, error) {
	n, err := p.ByID(ctx, id)
	if err != nil || !n.Live() {
		return "", false, err
	}
	return n.Path, true, nil
}

// each runs a test in a bubble with its own clock.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t, mem.Open(), newLender())) })
}

var root = make([]byte, barrier.KeyBytes)

// newWorld is a node over a store, which it initialises if need be.
func newWorld(t testing.TB, phys store.Store, e *lender) *world {
	t.Helper()
	w := &world{t: t, bar: barrier.New(phys, time.Now), engine: e}
	done, err := w.bar.Initialized(t.Context())
	w.must(err)
	if !done {
		w.must(w.bar.Initialize(t.Context(), root, nil))
	}
	w.must(w.bar.Unseal(t.Context(), root))
	if !done {
		w.must(w.bar.AddNamespace(t.Context(), namespace.RootID))
	}
	w.cache, err = store.NewCache(context.Background(), w.bar)
	w.must(err)
	w.spaces = namespace.New(w.bar, w.cache, w.bar, namespace.Hooks{
		Claim:   func(tx *store.Tx, parent, path string) error { return w.mounts.Claim(tx, parent, path) },
		Furnish: func(ctx context.Context, id string) error { return w.mounts.Furnish(ctx, id) },
		Delete:  func(*store.Tx, string) error { return nil },
	}, time.Now)
	w.tokens = token.New(token.Config{Store: w.bar, Cache: w.cache, Keys: keys{w.bar}, Namespaces: paths{w.spaces}, Now: time.Now,
		OnRevoke: []func(context.Context, string, string) error{func(ctx context.Context, ns, id string) error { return w.s.HolderDied(ctx, ns, id) }}})
	w.mounts = mount.New(w.bar, w.cache, mount.Hooks{Taken: w.spaces.Taken, Delete: func(*store.Tx, string) error { return nil },
		Removed: func(tx *store.Tx, ns string, e *mount.Entry) error { return w.s.MountRemoved(tx, ns, e) },
		Moved:   func(tx *store.Tx, ns, from string, e *mount.Entry) error { return w.s.MountMoved(tx, ns, from, e) },
	}, mount.Limits{}, time.Now)
	w.s = lease.New(lease.Config{Store: w.bar, Cache: w.cache, Mounts: w.mounts, Tokens: w.tokens, Namespaces: w.spaces, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	w.must(w.mounts.Install([]api.Engine{{Type: "system"}, {Type: "token", Auth: true}, {Type: "cubbyhole"}, e.engine()}))
	if !done {
		w.must(w.mounts.Furnish(t.Context(), namespace.RootID))
		w.must(w.mounts.Enable(t.Context(), namespace.RootID, &mount.Entry{Path: "lend/", Type: "lender"}))
		w.holder = w.token()
	}
	t.Cleanup(func() { w.must(errors.Join(w.cache.Close(), w.bar.Seal())) })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// token is a new token that could hold leases.
func (w *world) token() *token.Token {
	w.t.Helper()
	a, err := w.tokens.Issue(context.Background(), token.Spec{Namespace: namespace.RootID, Path: "auth/token/create", Auth: api.Auth{TTL: 500 * time.Hour}})
	w.must(err)
	w.fresh()
	t, err := w.tokens.Lookup(context.Background(), a.ClientToken.Reveal(), time.Now())
	w.must(err)
	return t
}

func (w *world) fresh() {
	if _, err := w.cache.Fresh(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// call is a request to the engine's mount.
func (w *world) call() *api.Call {
	w.t.Helper()
	w.fresh()
	table, err := w.mounts.Table(context.Background(), namespace.RootID)
	w.must(err)
	return &api.Call{Context: context.Background(), Now: time.Now(), Namespace: namespace.Root().API(), Mount: table.Get("lend/").API(), Path: "creds/app"}
}

// lend lends something for a while.
func (w *world) lend(ttl, most time.Duration) (l *lease.Lease, name string) {
	w.t.Helper()
	l, name, err := w.tryLend(w.call(), ttl, most)
	w.must(err)
	return l, name
}

func (w *world) tryLend(c *api.Call, ttl, most time.Duration) (*lease.Lease, string, error) {
	w.lent++
	name := fmt.Sprintf("user-%d", w.lent)
	w.engine.lend(name)
	l, err := w.s.Register(c, &api.Lease{Kind: "user", TTL: ttl, MaxTTL: most, Renewable: true, Private: []byte(name)}, w.holder)
	return l, name, err
}

func (w *world) renew(l *lease.Lease, increment time.Duration) (*api.Answer, error) {
	return w.s.Renew(w.call(), &lease.RenewRequest{LeaseID: l.ID, Increment: api.Duration(increment)})
}

// runs lets scheduled work run until stop is called.
func (w *world) runs(fail func(schedule.Item, error)) (stop func()) {
	w.t.Helper()
	jobs := w.s.Jobs()
	maps.Copy(jobs, w.tokens.Jobs())
	return w.run(&schedule.Runner{Store: w.bar, Now: time.Now, Handlers: jobs, Pages: w.s.Pages(), Failed: fail})
}

// run lets a runner run until stop is called.
func (w *world) run(r *schedule.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	}
}

// later runs scheduled work, which must not fail, for a while.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	stop := w.runs(func(it schedule.Item, err error) { w.t.Errorf("%s: %v", it.Kind, err) })
	time.Sleep(d)
	synctest.Wait()
	stop()
}

// rows are the keys of leases and their due-times.
func (w *world) rows() []string {
	w.t.Helper()
	r := store.Prefix("root/")
	r.KeysOnly = true // some may be damaged
	es, err := w.bar.List(w.t.Context(), r)
	w.must(err)
	var out []string
	for _, e := range es {
		if strings.Contains(e.Key, "/lease") {
			out = append(out, e.Key)
		}
	}
	return out
}

// nothing fails unless no trace of a lease is left.
func (w *world) nothing() {
	w.t.Helper()
	if rows := w.rows(); len(rows) > 0 {
		w.t.Errorf("rows are left: %v", rows)
	}
	if n := w.engine.count(); n > 0 {
		w.t.Errorf("%d things are still lent", n)
	}
}
