package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/build"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/test/engine"
)

// nodes are servers on one store, unsealed by one key.
type nodes struct {
	all  []*servertest.Server
	on   servertest.Option // the store
	keys []string
	root string
}

// startNodes starts so many nodes on one store: the one that the environment chooses where servers can share it, else one in
// memory.
func startNodes(t *testing.T, n int, auditDirs ...string) *nodes {
	t.Helper()
	return startNodesWith(t, n, func(c *server.Config) { c.AuditDirs = auditDirs })
}

// startNodesWith is startNodes with an option that holds for all of them.
func startNodesWith(t *testing.T, n int, option servertest.Option) *nodes {
	t.Helper()
	if chosen := engine.Chosen(); chosen.Fleet() && !strings.Contains(string(chosen), "member") {
		return startNodesOn(t, servertest.On(t, chosen), n, option)
	}
	return startNodesOn(t, inMemory(mem.New(mem.Options{})), n, option)
}

// inMemory has servers share a store in memory.
func inMemory(data *mem.Data) servertest.Option {
	return func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return data.Open(), nil }}
	}
}

func startNodesOn(t *testing.T, on servertest.Option, n int, options ...servertest.Option) *nodes {
	t.Helper()
	f := &nodes{on: on}
	for range n {
		f.all = append(f.all, f.start(t, options...))
	}
	made := f.all[0].Want(t, 200, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
	f.keys, f.root = []string{made.Field("keys").([]any)[0].(string)}, made.String("root_token")
	for _, s := range f.all {
		f.unseal(t, s)
	}
	return f
}

// start starts one more node, which is sealed.
func (f *nodes) start(t *testing.T, options ...servertest.Option) *servertest.Server {
	t.Helper()
	return servertest.Start(t, append(slices.Concat([]servertest.Option{f.on}, options), func(c *server.Config) { c.DevRoot = api.Secret{} })...)
}

func (f *nodes) unseal(t *testing.T, s *servertest.Server) {
	t.Helper()
	if a := s.Want(t, 200, "PUT", "sys/unseal", "", `{"key":"`+f.keys[0]+`"}`); a.Field("sealed") != false {
		t.Fatalf("unsealing: %s", a.Body)
	}
}

// states are the states of all nodes as one of them lists them.
func (f *nodes) states(t *testing.T, s *servertest.Server) string {
	t.Helper()
	var out []string
	list, _ := s.Want(t, 200, "GET", "sys/nodes", f.root, "").Field("data", "nodes").([]any)
	for _, n := range list {
		out = append(out, n.(map[string]any)["state"].(string))
	}
	return strings.Join(out, " ")
}

// TestEveryNodeServes writes, revokes and changes policies through one node, and
// looks at once through the others.
func TestEveryNodeServes(t *testing.T) {
	f := startNodes(t, 3)
	a := f.all[0]
	a.Want(t, 204, "PUT", "sys/mounts/secret", f.root, `{"type":"kv-v2"}`)
	for i := range 20 {
		for _, to := range f.all {
			to.Want(t, 200, "PUT", "secret/data/a", f.root, fmt.Sprintf(`{"data":{"n":%d}}`, i))
			for _, from := range f.all {
				if got := from.Want(t, 200, "GET", "secret/data/a", f.root, "").Field("data", "data", "n"); got != float64(i) {
					t.Fatalf("a node reads %v, want %d", got, i)
				}
			}
		}
		token := f.all[i%3].Want(t, 200, "PUT", "auth/token/create", f.root, `{"policies":["default"]}`).String("auth", "client_token")
		for _, s := range f.all {
			s.Want(t, 200, "GET", "auth/token/lookup-self", token, "")
		}
		f.all[(i+1)%3].Want(t, 204, "PUT", "auth/token/revoke", f.root, `{"token":"`+token+`"}`)
		for _, s := range f.all {
			s.Want(t, 403, "GET", "auth/token/lookup-self", token, "")
		}
	}
	if got := f.states(t, f.all[2]); got != "active active active" {
		t.Errorf("the nodes are %q", got)
	}
	for _, s := range f.all {
		if got := s.Want(t, 200, "GET", "sys/leader", "", ""); got.Field("ha_enabled") != true || got.Field("is_self") != true {
			t.Errorf("sys/leader of a node of a fleet: %s", got.Body)
		}
		if list, _ := s.Want(t, 200, "GET", "sys/ha-status", f.root, "").Field("nodes").([]any); len(list) != 3 {
			t.Errorf("sys/ha-status lists %d nodes, want 3", len(list))
		}
	}
}

// TestSealOneOrAll seals one node, and then all of them through another.
func TestSealOneOrAll(t *testing.T) {
	f := startNodes(t, 3)
	a, b, c := f.all[0], f.all[1], f.all[2]
	a.Want(t, 204, "PUT", "sys/seal", f.root, "")
	a.Want(t, 503, "GET", "auth/token/lookup-self", f.root, "")
	b.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
	waitFor(t, "a sealed node is listed as such", func() bool { return strings.Count(f.states(t, b), "active") == 2 })
	f.unseal(t, a)
	answer := b.Want(t, 200, "PUT", "sys/seal", f.root, `{"fleet":true}`)
	if open, ok := answer.Field("data", "unconfirmed").([]any); !ok || len(open) != 0 {
		t.Errorf("sealing all: %s", answer.Body)
	}
	for _, s := range f.all {
		s.Want(t, 503, "GET", "auth/token/lookup-self", f.root, "")
		s.Want(t, 503, "GET", "sys/health", "", "")
	}
	f.unseal(t, c)
	c.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
}

// TestWhoHasNotSealedIsTold seals all nodes beside one that does not answer: it is told with
// its machine and its address.
func TestWhoHasNotSealedIsTold(t *testing.T) {
	data := mem.New(mem.Options{})
	f := startNodesOn(t, inMemory(data), 1)
	paused := fmt.Sprintf(`{"id":"paused","name":"two","address":"http://two:8200","ready":true,"format":1,"started":%q,"seen":%[1]q}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := data.Open().Commit(t.Context(), nil, []store.Write{{Key: "core/nodes/paused", Value: []byte(paused)}}); err != nil {
		t.Fatal(err)
	}
	answer := f.all[0].Want(t, 200, "PUT", "sys/seal", f.root, `{"fleet":true}`)
	ids, _ := answer.Field("data", "unconfirmed").([]any)
	open, _ := answer.Field("data", "unconfirmed_nodes").([]any)
	if len(ids) != 1 || ids[0] != "paused" || len(open) != 1 {
		t.Fatalf("sealing all: %s", answer.Body)
	}
	if n, _ := open[0].(map[string]any); n["id"] != "paused" || n["hostname"] != "two" || n["api_address"] != "http://two:8200" || n["last_seen"] == "" {
		t.Errorf("who has not sealed is told as %v", n)
	}
}

// TestOrderHoldsForTheNextRequest has an order to seal reach a node by its next
// request, however busy it is with others.
func TestOrderHoldsForTheNextRequest(t *testing.T) {
	for range 10 {
		f := startNodes(t, 2)
		a, b := f.all[0], f.all[1]
		stop := make(chan struct{})
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						b.Try("GET", "auth/token/lookup-self", f.root, "")
					}
				}
			})
		}
		a.Want(t, 200, "PUT", "sys/seal", f.root, `{"fleet":true}`)
		b.Want(t, 503, "GET", "auth/token/lookup-self", f.root, "")
		close(stop)
		work.Wait()
	}
}

// TestAuditDeviceHoldsForTheNextRequest enables and disables a device through one node: what
// is asked through another at once is written there, or not any more.
func TestAuditDeviceHoldsForTheNextRequest(t *testing.T) {
	dir := t.TempDir()
	f := startNodes(t, 2, dir)
	a, b := f.all[0], f.all[1]
	for i := range 30 {
		file := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		a.Want(t, 204, "PUT", "sys/audit/main", f.root, `{"type":"file","options":{"file_path":"`+file+`"}}`)
		b.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
		log, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(log), "auth/token/lookup-self") {
			t.Fatalf("round %d: a request was answered that the device does not have: %v", i, err)
		}
		a.Want(t, 204, "DELETE", "sys/audit/main", f.root, "")
		b.Want(t, 200, "GET", "auth/token/lookup-self", f.root, "")
		if after, err := os.ReadFile(file); err != nil || strings.Count(string(after), "lookup-self") != strings.Count(string(log), "lookup-self") {
			t.Fatalf("round %d: a device that was disabled is written to: %v", i, err)
		}
	}
}

// TestNodesThatStartAtOnce has nodes with one key directory meet at a new store: one
// makes the cluster, and all serve it.
func TestNodesThatStartAtOnce(t *testing.T) {
	for range 5 {
		data, keys := mem.New(mem.Options{}), filepath.Join(t.TempDir(), "keys")
		var work sync.WaitGroup
		for range 3 {
			work.Go(func() {
				c := &server.Config{Listeners: []server.Listener{{Address: "127.0.0.1:0"}}, LocalSlot: true, SlotPath: keys,
					Shared: &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return data.Open(), nil }}}
				s, err := server.Open(t.Context(), c, slog.New(slog.DiscardHandler), io.Discard, time.Now)
				if err != nil {
					t.Errorf("a node does not start: %v", err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
	}
}

// TestTooOldForTheStore starts on a store that newer nodes have moved on.
func TestTooOldForTheStore(t *testing.T) {
	data := mem.New(mem.Options{})
	before, err := data.Open().Commit(t.Context(), nil, []store.Write{{Key: "core/format", Value: []byte(`{"format":99}`)}})
	if err != nil {
		t.Fatal(err)
	}
	c := &server.Config{Listeners: []server.Listener{{Address: "127.0.0.1:0"}}, LocalSlot: true, SlotPath: filepath.Join(t.TempDir(), "keys"),
		Shared: &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return data.Open(), nil }}}
	_, err = server.Open(t.Context(), c, slog.New(slog.DiscardHandler), io.Discard, time.Now)
	if !errors.Is(err, fleet.ErrFormat) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("it starts with %v", err)
	}
	if after, _ := data.Open().Sync(t.Context()); after != before {
		t.Error("the store was written to")
	}
}

// stuck is a store that cannot be reached.
type stuck struct {
	store.Engine
	mu  sync.RWMutex
	err error
}

func (s *stuck) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Get implements store.Store.
func (s *stuck) Get(ctx context.Context, key string) (store.Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.err != nil {
		return store.Entry{Key: key}, s.err
	}
	return s.Engine.Get(ctx, key)
}

// Sync implements store.Store.
func (s *stuck) Sync(ctx context.Context) (store.Rev, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.Engine.Sync(ctx)
}

// TestHealthReads has health tell of a node that cannot reach the store, and of one
// that can again.
func TestHealthReads(t *testing.T) {
	st := &stuck{Engine: mem.Open()}
	s := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return st, nil }}
	})
	s.Want(t, 200, "GET", "sys/health", "", "")
	st.fail(fmt.Errorf("the network is down"))
	if a := s.Want(t, 474, "GET", "sys/health", "", ""); a.Field("sealed") != false || !strings.Contains(a.Text(), "cannot reach its store") || strings.Contains(a.Text(), "network") {
		t.Errorf("health of a node without its store: %s", a.Body)
	}
	s.Want(t, 299, "GET", "sys/health?haunhealthycode=299", "", "")
	if a := s.Do(t, "GET", "auth/token/lookup-self", servertest.Root, ""); a.Status != 503 || !strings.Contains(a.Text(), "cannot reach its store") || strings.Contains(a.Text(), "network") {
		t.Errorf("a node that cannot reach the store answers %d: %s", a.Status, a.Body)
	}
	if a := s.Do(t, "PUT", "sys/seal", servertest.Root, ""); a.Status != 503 || !strings.Contains(a.Text(), "end its process") {
		t.Errorf("sealing a node without its store is answered %d: %s", a.Status, a.Body)
	}
	if a := s.Want(t, 200, "GET", "sys/seal-status", "", ""); a.Field("sealed") != false || a.Field("initialized") != true || a.Field("n") != 1.0 ||
		!strings.Contains(a.Text(), "cannot reach its store") || strings.Contains(a.Text(), "network") {
		t.Errorf("seal-status of a node without its store: %s", a.Body)
	}
	st.fail(nil)
	s.Want(t, 200, "GET", "sys/health", "", "")
	if a := s.Want(t, 200, "GET", "sys/seal-status", "", ""); strings.Contains(a.Text(), "warning") {
		t.Errorf("seal-status of a node that has its store again: %s", a.Body)
	}
	s.Want(t, 204, "PUT", "sys/seal", servertest.Root, "")
	st.fail(fmt.Errorf("the network is down"))
	if a := s.Want(t, 200, "GET", "sys/seal-status", "", ""); a.Field("sealed") != true || a.Field("t") != 1.0 || a.Field("warning") == nil {
		t.Errorf("seal-status of a sealed node without its store: %s", a.Body)
	}
	if a := s.Do(t, "GET", "sys/health", "", ""); a.Status != 503 || !strings.Contains(a.Text(), "cannot reach its store") {
		t.Errorf("health of a sealed node without its store: %d %s", a.Status, a.Body)
	}
}

// lagging is a store whose feeds tell nothing for a while, as those of a node that does not keep up.
type lagging struct {
	store.Engine
	late atomic.Pointer[chan struct{}] // closed when feeds go on; nil: they do
}

// Watch implements store.Store.
func (l *lagging) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	f, err := l.Engine.Watch(ctx, after)
	return &laggingFeed{f, l}, err
}

type laggingFeed struct {
	store.Feed
	of *lagging
}

// Next implements store.Feed.
func (f *laggingFeed) Next(ctx context.Context) (store.Change, error) {
	c, err := f.Feed.Next(ctx)
	if late := f.of.late.Load(); late != nil {
		select {
		case <-*late:
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
	return c, err
}

// TestHealthOfANodeBehind has health tell of a node that reaches the store, and does not learn what others have written.
func TestHealthOfANodeBehind(t *testing.T) {
	st := &lagging{Engine: mem.Open()}
	s := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return st, nil }}
	})
	s.Want(t, 200, "GET", "sys/health", "", "")
	late := make(chan struct{})
	st.late.Store(&late)
	if _, err := st.Commit(t.Context(), nil, []store.Write{{Key: "of/another/node"}}); err != nil {
		t.Fatal(err)
	}
	if a := s.Want(t, 474, "GET", "sys/health", "", ""); !strings.Contains(a.Text(), "does not keep up") {
		t.Errorf("health of a node that is behind: %s", a.Body)
	}
	st.late.Store(nil)
	close(late)
	s.Want(t, 200, "GET", "sys/health", "", "")
}

// ringless is a store whose key ring cannot be read for a while.
type ringless struct {
	store.Engine
	gone atomic.Bool
}

// Get implements store.Reader.
func (r *ringless) Get(ctx context.Context, key string) (store.Entry, error) {
	if r.gone.Load() && key == "core/keyring" {
		return store.Entry{}, store.ErrUnreachable
	}
	return r.Engine.Get(ctx, key)
}

// TestNodeStaysInitialized: one that could not look is not listed as of a store that nobody has initialised.
func TestNodeStaysInitialized(t *testing.T) {
	st := &ringless{Engine: mem.Open()}
	s := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return st, nil }}
	})
	nodes := func() string { return s.Want(t, 200, "GET", "sys/nodes", servertest.Root, "").Text() }
	soon(t, "the node to look", func() bool { return strings.Contains(nodes(), `"state":"active"`) })
	st.gone.Store(true)
	version, _ := build.Version()
	if a := nodes(); !strings.Contains(a, `"version":"`+version) || !strings.Contains(a, `"api_version":"1.17.0"`) {
		t.Errorf("the node's version is told as %s", a)
	}
	if a := nodes(); !strings.Contains(a, `"state":"active"`) {
		t.Errorf("the node is listed as %s", a)
	}
}

// TestHealthComesBack has a node that could not reach its store serve again.
func TestHealthComesBack(t *testing.T) {
	st := &stuck{Engine: mem.Open()}
	s := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return st, nil }}
	})
	st.fail(fmt.Errorf("the network is down"))
	s.Want(t, 474, "GET", "sys/health", "", "")
	st.fail(nil)
	s.Want(t, 200, "GET", "sys/health", "", "")
	s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "")
}

// TestShutdownFailsNoRequest ends a server under clients that keep connections
// open: each request is answered or was never sent.
func TestShutdownFailsNoRequest(t *testing.T) {
	s := servertest.Start(t)
	var work sync.WaitGroup
	failed := make(chan error, 64)
	var answered atomic.Int64
	for range 16 {
		work.Go(func() {
			c := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			for {
				req, _ := http.NewRequest("PUT", s.URL+"/v1/cubbyhole/a", strings.NewReader(`{"a":"b"}`))
				req.Header.Set("X-Vault-Token", servertest.Root)
				resp, err := c.Do(req)
				if err != nil { // one that was not connected has sent nothing
					if !strings.Contains(err.Error(), "dial tcp") {
						failed <- err
					}
					return
				}
				if resp.Body.Close(); resp.StatusCode != 204 {
					failed <- fmt.Errorf("status %d", resp.StatusCode)
					return
				}
				answered.Add(1)
			}
		})
	}
	waitFor(t, "the clients are at work", func() bool { return answered.Load() > 500 })
	s.End()
	work.Wait()
	close(failed)
	for err := range failed {
		t.Errorf("a request failed: %v", err)
	}
}

// waitFor waits until something has come about, for at most half a minute.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		if done() {
			return
		}
		<-tick.C
	}
	t.Fatalf("it did not come about that %s", what)
}
