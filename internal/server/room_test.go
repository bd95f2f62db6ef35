package server_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// ailing is a store that has no room, or does not answer.
type ailing struct {
	store.Engine
	full, away *atomic.Bool
}

func (a *ailing) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if a.full.Load() && len(writes) > 0 {
		return 0, store.ErrFull
	}
	return a.Engine.Commit(ctx, checks, writes)
}

// answers waits as long as a store waits that is away, and then fails.
func (a *ailing) answers(ctx context.Context) error {
	if !a.away.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func (a *ailing) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := a.answers(ctx); err != nil {
		return store.Entry{}, err
	}
	return a.Engine.Get(ctx, key)
}

func (a *ailing) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if err := a.answers(ctx); err != nil {
		return nil, err
	}
	return a.Engine.List(ctx, r)
}

func (a *ailing) Sync(ctx context.Context) (store.Rev, error) {
	if err := a.answers(ctx); err != nil {
		return 0, err
	}
	return a.Engine.Sync(ctx)
}

// ward is a store that ails, and nodes on it. Their clock is set.
type ward struct {
	data       *mem.Data
	full, away atomic.Bool
	past       atomic.Int64
	key, root  string
}

// newWard makes a store and its first node, which has a secret.
func newWard(t *testing.T) (*ward, *servertest.Server) {
	t.Helper()
	w := &ward{data: mem.New(mem.Options{})}
	one := w.node(t)
	made := one.Want(t, 200, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
	w.key, w.root = made.Field("keys").([]any)[0].(string), made.String("root_token")
	w.unseal(t, one)
	one.Want(t, 204, "POST", "sys/mounts/kv", w.root, `{"type":"kv"}`)
	one.Want(t, 204, "POST", "kv/s", w.root, `{"n":1}`)
	return w, one
}

func (w *ward) node(t *testing.T) *servertest.Server {
	t.Helper()
	now := func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(w.past.Load())) }
	return servertest.StartAt(t, now, servertest.Silent, func(c *server.Config) {
		c.DevRoot = api.Secret{}
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return &ailing{w.data.Open(), &w.full, &w.away}, nil }}
	})
}

func (w *ward) unseal(t *testing.T, n *servertest.Server) {
	t.Helper()
	n.Want(t, 200, "PUT", "sys/unseal", "", `{"key":"`+w.key+`"}`)
}

const noRoom = "the store has no room"

// TestAFullStoreIsTold takes a store's room away: reads go on, a write says that nothing was written and why, and
// sys/health and the list of nodes tell it until there is room again.
func TestAFullStoreIsTold(t *testing.T) {
	w, one := newWard(t)
	if got := one.Want(t, 200, "GET", "sys/health", "", "").Text(); strings.Contains(got, "warning") {
		t.Errorf("a healthy node says %s", got)
	}
	w.full.Store(true)
	if got := one.Want(t, 503, "POST", "kv/s", w.root, `{"n":2}`).Text(); !strings.Contains(got, "nothing was written") {
		t.Errorf("a refused write says %s", got)
	}
	one.Want(t, 200, "GET", "kv/s", w.root, "")
	if got := one.Want(t, 200, "GET", "sys/health", "", "").String("warning"); !strings.Contains(got, noRoom) {
		t.Errorf("a node whose store is full says %q", got)
	}
	if got := one.Want(t, 200, "GET", "sys/nodes", w.root, "").Text(); !strings.Contains(got, noRoom) {
		t.Errorf("the list of nodes says %s", got)
	}
	w.full.Store(false)
	one.Want(t, 204, "POST", "kv/s", w.root, `{"n":3}`)
	if got := one.Want(t, 200, "GET", "sys/health", "", "").String("warning"); got == "" {
		t.Error("one row that found a place ends the warning")
	}
	w.past.Add(int64(11 * time.Second))
	one.Want(t, 204, "POST", "kv/s", w.root, `{"n":4}`)
	if got := one.Want(t, 200, "GET", "sys/health", "", "").Text(); strings.Contains(got, "warning") {
		t.Errorf("a node whose store has room again says %s", got)
	}
}

// TestANodeStartsOnAFullStore starts a node on a store without room. It serves what is there, is known to the others once
// there is room, and writes nothing before.
func TestANodeStartsOnAFullStore(t *testing.T) {
	w, one := newWard(t)
	w.full.Store(true)
	two := w.node(t)
	w.unseal(t, two)
	two.Want(t, 200, "GET", "kv/s", w.root, "")
	two.Want(t, 503, "POST", "kv/s", w.root, `{"n":2}`)
	listed := func() int {
		return len(one.Want(t, 200, "GET", "sys/nodes", w.root, "").Field("data", "nodes").([]any))
	}
	if n := listed(); n != 1 {
		t.Fatalf("%d nodes are known", n)
	}
	w.full.Store(false)
	two.Want(t, 204, "POST", "kv/s", w.root, `{"n":3}`)
	if n := listed(); n != 2 {
		t.Errorf("a node that writes is not known to the others: there are %d", n)
	}
}

// TestHealthDoesNotWaitForSettings asks for the health of a node whose store does not answer, when what answers carry
// besides is not known either.
func TestHealthDoesNotWaitForSettings(t *testing.T) {
	w, one := newWard(t)
	other := w.node(t)
	w.unseal(t, other)
	other.Want(t, 204, "POST", "sys/config/ui/headers/X-Custom", w.root, `{"values":["v"]}`) // what the first node knew is old
	w.away.Store(true)
	defer w.away.Store(false)
	began := time.Now()
	one.Want(t, 474, "GET", "sys/health", "", "")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("sys/health takes %v when the store is away", took)
	}
}
