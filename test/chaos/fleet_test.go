package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/test/postgres"
	"github.com/strongroom/strongroom/test/process"
	"github.com/strongroom/strongroom/test/proxy"
)

// fleetSize is how many nodes a fleet has.
const fleetSize = 3

// node is one process of a fleet, over all its lives.
type node struct {
	spec    spec
	file    string       // its configuration
	program string       // what it runs; empty: the program as it is
	proxy   *proxy.Proxy // between the node and its store; for a member within, what the others reach it by
	space   string       // the network namespace it is in

	mu     sync.Mutex
	server *process.Server
}

// fleet is three nodes on one store.
type fleet struct {
	nodes   []*node
	engine  string
	pg      *postgres.Server
	former  []*postgres.Server // that a standby has taken the place of
	etcd    *process.Server    // an etcd by itself
	cluster spec               // what etcd is
	hurry   time.Duration      // how long clients of histories wait for an answer; 0: 5 seconds
	net     *network           // the namespaces that the nodes are in; nil: they are in none
	root    string
	plays   int // histories that were made on it
	tries   int // how often unsealing a node is tried; 0: as long as a store may be away

	mu   sync.Mutex
	keys []string // unseal keys
}

// shares are the unseal keys as of now.
func (f *fleet) shares() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.keys)
}

// rekeyed takes new unseal keys over.
func (f *fleet) rekeyed(keys []any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = nil
	for _, k := range keys {
		f.keys = append(f.keys, fmt.Sprint(k))
	}
}

// url is an URL in a list, as etcd's configuration wants it.
func url(s string) ([]neturl.URL, error) {
	u, err := neturl.Parse(s)
	if err != nil {
		return nil, err
	}
	return []neturl.URL{*u}, nil
}

// newFleet starts three nodes on a new store of an engine, initialises it, and unseals all. Change changes what node i is.
func newFleet(t *testing.T, engine string, change func(i int, s *spec)) *fleet {
	t.Helper()
	return (&fleet{engine: engine}).begin(t, change)
}

// begin makes the store, unless it is there, and the nodes.
func (f *fleet) begin(t *testing.T, change func(i int, s *spec)) *fleet {
	t.Helper()
	engine := f.engine
	for i := range fleetSize {
		n := &node{spec: spec{Kind: engine, Listen: free(t), Name: string(rune('a' + i))}}
		if f.net != nil {
			n.spec.Listen, n.space = f.net.host(i)+":8200", f.net.namespace(i)
		}
		f.nodes = append(f.nodes, n)
	}
	switch engine {
	case "postgres":
		f.onPostgres(t)
	case "etcd":
		f.asMembers(t)
	case "external":
		f.onEtcd(t)
	}
	for i, n := range f.nodes {
		if change != nil {
			change(i, &n.spec)
		}
		n.file = filepath.Join(t.TempDir(), "strongroom.hcl")
		must(t, os.WriteFile(n.file, []byte(n.spec.config()), 0o600))
	}
	f.startAll(t)
	f.initialise(t)
	return f
}

func free(t *testing.T) string {
	t.Helper()
	addr, err := process.FreeAddr()
	must(t, err)
	return addr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) onPostgres(t *testing.T) {
	t.Helper()
	if f.pg == nil {
		var err error
		f.pg, err = postgres.Start()
		must(t, err)
	}
	t.Cleanup(func() {
		for _, s := range f.former {
			must(t, os.RemoveAll(s.Dir))
		}
		must(t, f.pg.Remove())
	})
	if f.net != nil {
		f.net.serves(t, f.pg.Addr)
	}
	for _, n := range f.nodes {
		if f.net != nil {
			n.spec.Conn = f.pg.Through(f.net.store)
			continue
		}
		n.proxy = proxy.New(t, f.pg.Addr)
		n.spec.Conn = f.pg.Through(n.proxy.Addr())
	}
}

func (f *fleet) asMembers(t *testing.T) {
	t.Helper()
	var all []member.Peer
	for i, n := range f.nodes {
		n.spec.Dir = filepath.Join(t.TempDir(), "member")
		if f.net != nil {
			n.spec.Peer = "http://" + f.net.host(i) + ":2380"
			all = append(all, member.Peer{Name: n.spec.Name, URL: n.spec.Peer})
			continue
		}
		listen := free(t)
		n.proxy = proxy.New(t, listen)
		n.spec.Peer = "http://" + listen
		all = append(all, member.Peer{Name: n.spec.Name, URL: "http://" + n.proxy.Addr()})
	}
	for _, n := range f.nodes {
		n.spec.Members = all
	}
}

func (f *fleet) onEtcd(t *testing.T) {
	t.Helper()
	addr := free(t)
	if f.cluster.Dir == "" {
		f.cluster.Dir = filepath.Join(t.TempDir(), "etcd")
	}
	f.cluster.Kind, f.cluster.Listen, f.cluster.Endpoint, f.cluster.Peer = "cluster", addr, "http://"+addr, "http://"+free(t)
	must(t, f.startEtcd())
	t.Cleanup(func() { must(t, f.etcd.Kill()) })
	if f.net != nil {
		f.net.serves(t, addr)
	}
	for _, n := range f.nodes {
		if f.net != nil {
			n.spec.Endpoint = "http://" + f.net.store
			continue
		}
		n.proxy = proxy.New(t, addr)
		n.spec.Endpoint = "http://" + n.proxy.Addr()
	}
}

// startAll starts the nodes at the same time: members wait for each other.
func (f *fleet) startAll(t *testing.T) {
	t.Helper()
	errs := make([]error, len(f.nodes))
	var wg sync.WaitGroup
	for i, n := range f.nodes {
		wg.Go(func() { errs[i] = n.start() })
		t.Cleanup(func() {
			if err := n.kill(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
}

// start begins a life of the node: of the real program, unless something about it is wrong on purpose.
func (n *node) start() error {
	program, env, args := cmp.Or(n.program, bin), []string(nil), []string{"server", "-config=" + n.file}
	if n.spec.wrong() {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		program, env, args = exe, n.spec.reborn(), nil
	}
	if n.space != "" {
		program, args = "ip", append([]string{"netns", "exec", n.space, program}, args...)
	}
	s, err := process.StartIn("", env, n.spec.Listen, program, args...)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.spec.Name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = s
	return nil
}

func (n *node) life() *process.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

func (n *node) url() string { return "http://" + n.spec.Listen }

// kill ends the node, which may be stopped or gone.
func (n *node) kill() error {
	if s := n.life(); s != nil {
		return s.Kill()
	}
	return nil
}

// pause stops the process as a machine does that hangs; resume lets it go on.
func (n *node) pause() error  { return syscall.Kill(n.life().PID(), syscall.SIGSTOP) }
func (n *node) resume() error { return syscall.Kill(n.life().PID(), syscall.SIGCONT) }

// initialise makes the store's keys, with three shares of which two unseal, and unseals every node.
func (f *fleet) initialise(t *testing.T) {
	t.Helper()
	var made struct {
		Keys  []string `json:"keys"`
		Token string   `json:"root_token"`
	}
	must(t, await("the first node serves", func() bool { return f.client(0, "").call("GET", "sys/init", "", nil) == nil })) // members wait for each other
	must(t, f.client(0, "").call("PUT", "sys/init", `{"secret_shares":3,"secret_threshold":2}`, &made))
	f.keys, f.root = made.Keys, made.Token
	for _, n := range f.nodes {
		must(t, f.unseal(n))
	}
	for mount, version := range map[string]string{"chaos": "2", "plain": "1"} {
		must(t, f.client(0, f.root).call("POST", "sys/mounts/"+mount, `{"type":"kv","options":{"version":"`+version+`"}}`, nil))
	}
}

// client speaks to a node on connections of its own.
func (f *fleet) client(i int, token string) *client { return newClient(f.nodes[i].url(), token) }

// unseal hands in shares until the node is unsealed. It is tried for a while: the store may be away.
func (f *fleet) unseal(n *node) error {
	if f.tries > 0 {
		return f.unsealWithin(n, f.tries)
	}
	return f.unsealWithin(n, 200)
}

func (f *fleet) unsealWithin(n *node, tries int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	c := newClient(n.url(), "")
	defer c.http.CloseIdleConnections()
	var last error
	for range tries {
		for _, key := range f.shares()[:2] {
			var got struct{ Sealed bool }
			text, err := json.Marshal(map[string]string{"key": key})
			if err != nil {
				return err
			}
			if last = c.call("PUT", "sys/unseal", string(text), &got); last == nil && !got.Sealed {
				return nil
			}
		}
		<-tick.C
	}
	return fmt.Errorf("node %s is not unsealed: %w", n.spec.Name, last)
}

// restart begins the next life of a node that was killed, and unseals it.
func (f *fleet) restart(n *node) error {
	if err := n.start(); err != nil {
		return err
	}
	return f.unseal(n)
}
