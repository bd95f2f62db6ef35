// Package member owns the etcd members that run inside Strongroom processes, so that
// a few machines with one configuration file are a cluster and nothing else need be
// installed.
//
// The members speak to each other on their peer URLs and to nobody else: the process
// they run in calls them without a connection.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/strongroom/strongroom/internal/store/etcd"
)

// Peer is one member as the configuration lists it.
type Peer struct {
	Name string // name within the cluster
	URL  string // where the other members reach it, https://host:port
}

// Config configures a member. All members of a cluster can be given the same.
type Config struct {
	// Members are all members, this one among them.
	Members []Peer
	// Name is which of them this is; empty: the one whose host is of this machine.
	Name string
	// Dir is the directory below which each member keeps its data, in one of its name.
	Dir string
	// Listen is the URL to listen on when that differs from the member's own; empty:
	// its own.
	Listen string
	// CertFile and KeyFile are what this member shows to the others, as their server
	// and as their client, and CAFile the authority that vouches for all of them.
	// Members without it cannot connect.
	CertFile, KeyFile, CAFile string
	// Plain allows connections that are not encrypted between machines.
	Plain bool
	// QuotaBytes is the size of the database at which nothing more is written; 0: 8 GiB.
	QuotaBytes int64
	// Maintain is how often the member sees to its database; 0: every 10 minutes.
	Maintain time.Duration
	// Logger receives what etcd has to say. nil: nothing is said.
	Logger *slog.Logger
	// Waits is told, again and again, whom a member that starts waits for, by their
	// names. It is not called any more once Start has returned. nil: nobody is told.
	Waits func(reason string)

	tickMs uint // milliseconds of a heartbeat; 0: etcd's own. Tests make elections quick.
}

// Member is a running member of the cluster.
type Member struct {
	cfg     Config
	etcd    *embed.Etcd
	client  *clientv3.Client
	open    context.Context
	end     context.CancelFunc
	work    sync.WaitGroup
	closing sync.Once
}

// Start starts the member and waits until it takes part in a cluster that can write.
// The context bounds only that. A member without data waits for the others, to learn
// whether they are as new as itself: a member that lost its data must not take part
// under its old name, as it may have promised what it no longer knows.
func Start(ctx context.Context, c Config) (*Member, error) {
	c, err := c.complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("etcd member: %w", err)
	}
	p, err := c.plan(ctx)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", c.Name, err)
	}
	e, err := embed.StartEtcd(c.embed(p))
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", c.Name, c.unusable(err))
	}
	m := &Member{cfg: c, etcd: e, client: v3client.New(e.Server)}
	m.open, m.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := m.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("etcd member %s: %w", c.Name, err), m.Close())
	}
	m.work.Go(m.maintain)
	return m, nil
}

// ready waits until the member takes part, and tells the others its URL when that
// has changed.
func (m *Member) ready(ctx context.Context) error {
	stop, err := m.majority(ctx)
	if err != nil {
		return err
	}
	err = m.takesPart(ctx)
	stop()
	if err != nil {
		return err
	}
	return m.tellURL(ctx)
}

func (m *Member) takesPart(ctx context.Context) error {
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case err := <-m.etcd.Err():
		return err
	case <-m.etcd.Server.StopNotify():
		return m.Ended(ctx)
	case <-ctx.Done():
		return fmt.Errorf("no majority of the members is there: %w", ctx.Err())
	}
}

func (m *Member) tellURL(ctx context.Context) error {
	all, err := m.Members(ctx)
	if err != nil {
		return err
	}
	url := []string{m.cfg.self().URL}
	for _, i := range all {
		if i.ID == uint64(m.etcd.Server.MemberID()) && !slices.Equal(i.URLs, url) {
			_, err = m.client.MemberUpdate(ctx, i.ID, url)
		}
	}
	return err
}

// Open opens a store in the cluster, by way of this member.
func (m *Member) Open(ctx context.Context, o etcd.Options) (*etcd.Store, error) {
	client := v3client.New(m.etcd.Server)
	return etcd.New(ctx, client, func() error { return closeClient(client) }, o)
}

// closeClient closes a client of a member in this process, which always answers
// that it has ended.
func closeClient(c *clientv3.Client) error {
	if err := c.Close(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Ended is why a member has stopped by itself: because it is none any more, or for a reason that etcd has logged.
func (m *Member) Ended(ctx context.Context) error {
	if m.removed(ctx) {
		return fmt.Errorf("this member was removed from the cluster, and what it has is of no more use: to have it take part again empty %s, "+
			"make room for it on another node with: strongroom operator storage add %s, and start it again", m.cfg.Dir, m.cfg.self().URL)
	}
	return errors.New("etcd in this process has stopped; the log has the cause")
}

// removed reports whether the cluster has this member no longer, as itself knows or the others say.
func (m *Member) removed(ctx context.Context) bool {
	id := m.etcd.Server.MemberID()
	if !slices.ContainsFunc(m.local(), func(i Info) bool { return i.ID == uint64(id) }) {
		return true
	}
	client, err := m.cfg.peerClient()
	if err != nil {
		return false
	}
	defer client.CloseIdleConnections()
	answers, _ := m.cfg.askAll(ctx, client)
	for _, a := range answers {
		if len(a.members) > 0 && !slices.ContainsFunc(a.members, func(k known) bool { return k.ID == uint64(id) }) {
			return true
		}
	}
	return false
}

// ID is the member's own.
func (m *Member) ID() uint64 { return uint64(m.etcd.Server.MemberID()) }

// Failed is closed when the member has stopped by itself or was closed.
func (m *Member) Failed() <-chan struct{} { return m.etcd.Server.StopNotify() }

// Close stops the member, which hands its leadership on first. Stores opened on it
// are closed before.
func (m *Member) Close() (err error) {
	m.closing.Do(func() {
		m.end()
		m.work.Wait()
		err = closeClient(m.client)
		m.etcd.Close()
	})
	return err
}

// Info is a member as the cluster knows it.
type Info struct {
	ID      uint64
	Name    string // empty: it was added and has not started yet
	URLs    []string
	Started bool
	Leader  bool
	Answers bool // it answered just now, when this member asked it
}

// Members lists the members of the cluster, as a majority knows it.
func (m *Member) Members(ctx context.Context) ([]Info, error) {
	got, err := m.client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the members: %w", err)
	}
	out := make([]Info, 0, len(got.Members))
	for _, i := range got.Members {
		out = append(out, Info{
			ID: i.ID, Name: i.Name, URLs: i.PeerURLs,
			Started: len(i.ClientURLs) > 0, Leader: i.ID == uint64(m.etcd.Server.Leader()),
		})
	}
	away := m.away(ctx, out)
	for i := range out {
		out[i].Answers = !slices.ContainsFunc(away, func(a Info) bool { return a.ID == out[i].ID })
	}
	return out, nil
}
