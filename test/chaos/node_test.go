package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/postgres"
)

// nodeVar holds, as JSON, what the test's own program is to be instead of a test: a node whose clock or store is wrong on
// purpose, or an etcd. Nodes that are right are the real program.
const nodeVar = "STRONGROOM_CHAOS_NODE"

// spec is a process of a fleet.
type spec struct {
	Kind      string // postgres, etcd (a member within), external (a client of another etcd), or cluster (such an etcd)
	Listen    string
	Conn      string
	Dir, Name string
	Members   []member.Peer
	Peer      string // URL that a member listens on
	Endpoint  string
	Fault     fault  // what is broken about it, for checks to find
	Clock     string // a file with the number of seconds that the clock is ahead
	Deaf      bool   // the clock is not looked at: the control of wrong clocks
	Lends     string // a directory in which an engine lends files
	QuotaMiB  int64  // quota of an embedded member; 0: the usual one
	NoSync    bool   // an embedded member does not sync: the control of power cuts
}

// wrong reports whether the real program cannot be it.
func (s spec) wrong() bool { return s.Fault != sound || s.Clock != "" || s.Lends != "" || s.NoSync }

// config is the configuration of the real program.
func (s spec) config() string {
	var storage strings.Builder
	switch s.Kind {
	case "postgres":
		fmt.Fprintf(&storage, "storage \"postgres\" {\n  connection_url = %q\n  tls_disable = true\n}\n", s.Conn)
	case "external":
		fmt.Fprintf(&storage, "storage \"etcd\" {\n  endpoints = [%q]\n  tls_disable = true\n}\n", s.Endpoint)
	case "etcd":
		fmt.Fprintf(&storage, "storage \"etcd\" {\n  path = %q\n  node_id = %q\n  listen = %q\n  tls_disable = true\n", s.Dir, s.Name, s.Peer)
		if s.QuotaMiB > 0 {
			fmt.Fprintf(&storage, "  quota_mib = %d\n", s.QuotaMiB)
		}
		for _, m := range s.Members {
			fmt.Fprintf(&storage, "  member %q {\n    peer_url = %q\n  }\n", m.Name, m.URL)
		}
		storage.WriteString("}\n")
	}
	return fmt.Sprintf("%slistener \"tcp\" {\n  address = %q\n  tls_disable = true\n}\nlog_level = \"warn\"\n", &storage, s.Listen)
}

// reborn is a spec as the environment of a process.
func (s spec) reborn() []string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return append(os.Environ(), nodeVar+"="+string(text))
}

// beNode is the main of a process that is no test.
func beNode(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if s.Kind == "cluster" {
		return s.beEtcd(ctx)
	}
	c := &server.Config{Listeners: []server.Listener{{Address: s.Listen, Plain: true}}, LogLevel: "warn",
		Shared: &server.Shared{Engine: func(log *slog.Logger) (store.Engine, error) { return s.open(ctx, log) }}}
	if s.Lends != "" {
		lender, err := fileLender{s.Lends}.engine()
		if err != nil {
			return err
		}
		c.Engines = append(c.Engines, lender)
	}
	sv, err := server.Open(ctx, c, server.NewLogger(c, os.Stderr), os.Stdout, s.now)
	if err != nil {
		return err
	}
	listeners, err := server.Listen(c)
	if err != nil {
		return errors.Join(err, sv.Close())
	}
	return errors.Join(sv.Serve(ctx, listeners), sv.Close())
}

// now is the node's clock.
func (s spec) now() time.Time {
	if s.Clock == "" || s.Deaf {
		return time.Now()
	}
	text, err := os.ReadFile(s.Clock)
	if err != nil {
		return time.Now()
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return time.Now().Add(time.Duration(n) * time.Second)
}

func (s spec) open(ctx context.Context, log *slog.Logger) (store.Engine, error) {
	e, err := s.engine(ctx, log)
	if err != nil {
		return nil, err
	}
	return s.Fault.of(ctx, e)
}

func (s spec) engine(ctx context.Context, log *slog.Logger) (store.Engine, error) {
	switch s.Kind {
	case "postgres":
		return postgres.Open(ctx, postgres.Options{Conn: postgres.NewConnString(s.Conn), Plain: true, Logger: log})
	case "external":
		return etcd.Open(ctx, etcd.Cluster{Endpoints: []string{s.Endpoint}, Plain: true}, etcd.Options{Logger: log})
	case "etcd":
		m, err := member.Start(ctx, member.Config{Members: s.Members, Name: s.Name, Dir: s.Dir, Listen: s.Peer, Plain: true, QuotaBytes: s.QuotaMiB << 20, Logger: log})
		if err != nil {
			return nil, err
		}
		return m.Open(ctx, etcd.Options{Logger: log})
	}
	return nil, fmt.Errorf("no engine %q", s.Kind)
}

// beEtcd runs an etcd of one member that others reach at Endpoint.
func (s spec) beEtcd(ctx context.Context) error {
	c := embed.NewConfig()
	c.Dir, c.Name, c.LogLevel = s.Dir, "x", "error"
	c.LogOutputs = []string{filepath.Join(filepath.Dir(s.Dir), "etcd.log")}
	c.UnsafeNoFsync = s.NoSync
	client, err := url(s.Endpoint)
	if err != nil {
		return err
	}
	peer, err := url(s.Peer)
	if err != nil {
		return err
	}
	c.ListenClientUrls, c.AdvertiseClientUrls, c.ListenPeerUrls, c.AdvertisePeerUrls = client, client, peer, peer
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	<-ctx.Done()
	e.Close()
	return nil
}

// awaitPort waits until something listens at an address.
func awaitPort(addr string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		<-tick.C
	}
	return fmt.Errorf("nothing listens at %s", addr)
}
