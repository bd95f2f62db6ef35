package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/strongroom/strongroom/internal/store/etcd"
)

// Settings of etcd. Its raft log is held in memory, so that few entries are kept in
// it: a commit may have 800 KiB.
const (
	token          = "strongroom"
	maxTxnOps      = 128      // a commit has at most 100 checks and 100 writes
	maxRequest     = 3 << 19  // bytes; the largest commit has fewer, see etcd.Options.Prefix
	snapshotCount  = 4000     // entries between snapshots
	catchUpEntries = 2000     // entries kept behind a snapshot for slow members
	defaultQuota   = 8 << 30  // bytes
	minQuota       = 64 << 20 // bytes; below, a few large commits fill it
	defaultEvery   = 10 * time.Minute
	electionTicks  = 10 // heartbeats without which a new leader is chosen
	minTLS         = "TLS1.3"
)

// complete checks the configuration and fills in what it leaves out.
func (c Config) complete(ctx context.Context) (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.QuotaBytes == 0 {
		c.QuotaBytes = defaultQuota
	}
	if c.Maintain == 0 {
		c.Maintain = defaultEvery
	}
	if err := c.validate(); err != nil {
		return c, err
	}
	if c.Name == "" {
		name, err := c.whoAmI(ctx)
		if err != nil {
			return c, err
		}
		c.Name = name
	}
	if c.self().Name == "" {
		return c, c.errNoSuch()
	}
	c.Dir = filepath.Join(c.Dir, c.Name)
	if c.Listen == "" {
		c.Listen = c.self().URL
	}
	_, err := peerURL(c.Listen, c.Plain)
	return c, err
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("no data directory")
	case len(c.Members) == 0:
		return errors.New("no members")
	case c.Maintain < 0:
		return errors.New("the time between maintenances must not be negative")
	}
	errs := []error{c.Check()}
	for i := range c.Members {
		errs = append(errs, c.CheckMember(i))
	}
	return errors.Join(errs...)
}

// Check reports what is wrong about all members, the files of certificates among it.
// Which member this one is may be said later.
func (c Config) Check() error {
	if c.QuotaBytes != 0 && c.QuotaBytes < minQuota {
		return fmt.Errorf("quota_mib: must be at least %d: a few large commits fill less", minQuota>>20)
	}
	if c.Name != "" && c.self().Name == "" {
		return c.errNoSuch()
	}
	if c.Listen != "" {
		if _, err := peerURL(c.Listen, c.Plain); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	for _, p := range c.Members {
		if strings.HasPrefix(p.URL, "https:") {
			return c.checkFiles()
		}
	}
	return nil
}

// errNoSuch says which members there are.
func (c Config) errNoSuch() error {
	return fmt.Errorf("no member is called %q: -node-id, or node_id in the configuration, names one of %s", c.Name, c.called())
}

// called are the names of all members.
func (c Config) called() string {
	var names []string
	for _, p := range c.Members {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// checkFiles reads what members with https show each other.
func (c Config) checkFiles() error {
	if c.CertFile == "" || c.KeyFile == "" || c.CAFile == "" {
		return errors.New("members with https need tls_cert_file, tls_key_file and tls_ca_file: a certificate, its key and the authority that vouches for all members")
	}
	if err := etcd.CheckPair(c.CertFile, c.KeyFile); err != nil {
		return err
	}
	return etcd.CheckAuthority(c.CAFile)
}

// CheckMember reports what is wrong about a member of the list.
func (c Config) CheckMember(i int) error {
	p := c.Members[i]
	if _, err := peerURL(p.URL, c.Plain); err != nil {
		return fmt.Errorf("member %q: peer_url: %w", p.Name, err)
	}
	if strings.ContainsAny(p.Name, "=, /\\") || strings.Trim(p.Name, ".") == "" {
		return fmt.Errorf("member %q: a name has letters, digits and dashes", p.Name)
	}
	for _, before := range c.Members[:i] {
		switch {
		case before.Name == p.Name:
			return fmt.Errorf("member %q: there is one of that name already", p.Name)
		case before.URL == p.URL:
			return fmt.Errorf("member %q: peer_url: is that of member %q too", p.Name, before.Name)
		case strings.HasPrefix(before.URL, "https:") != strings.HasPrefix(p.URL, "https:"):
			return fmt.Errorf("member %q: peer_url: all members have https, or none has", p.Name)
		}
	}
	return nil
}

// peerURL is a member's URL, refused when what passes could be read on the way.
func peerURL(s string, plain bool) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Port() == "" || u.Path != "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("a peer URL is of the form https://host:port")
	}
	if u.Scheme == "http" && !plain && !etcd.Loopback(u.Hostname()) {
		return nil, fmt.Errorf("%s is not encrypted, and not of this machine alone: use https, or say that this is meant with tls_disable = true", u.Host)
	}
	return u, nil
}

// self is this member in the list.
func (c Config) self() Peer {
	for _, p := range c.Members {
		if p.Name == c.Name {
			return p
		}
	}
	return Peer{}
}

// others are the URLs of the other members.
func (c Config) others() []string {
	var out []string
	for _, p := range c.Members {
		if p.Name != c.Name {
			out = append(out, p.URL)
		}
	}
	return out
}

// whoAmI is the one member whose host is an address of this machine.
func (c Config) whoAmI(ctx context.Context) (string, error) {
	own, err := ownAddresses()
	if err != nil {
		return "", err
	}
	var found []string
	for _, p := range c.Members {
		u, err := peerURL(p.URL, c.Plain)
		if err != nil {
			return "", err
		}
		addrs, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if err != nil {
			c.Logger.Warn("a member's host is not known", "member", p.Name, "error", err)
		}
		if slices.ContainsFunc(addrs, func(a string) bool { return slices.Contains(own, a) }) {
			found = append(found, p.Name)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d of the members %s have an address of this machine: say which of them this node is with -node-id=NAME, or node_id in the configuration", len(found), c.called())
	}
	return found[0], nil
}

func ownAddresses() ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("reading this machine's addresses: %w", err)
	}
	var out []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP.String())
		}
	}
	return out, nil
}

// tls is how members know each other. All of them are read from files at each
// handshake.
func (c Config) tls() transport.TLSInfo {
	if !strings.HasPrefix(c.Listen, "https:") {
		return transport.TLSInfo{}
	}
	return transport.TLSInfo{CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.CAFile, ClientCertAuth: true}
}

// hasData reports whether the member has taken part in a cluster before.
func (c Config) hasData() (bool, error) {
	files, err := os.ReadDir(filepath.Join(c.Dir, "member", "wal"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(files) > 0, err
}

// plan is how to start: as part of which cluster, and whether it is there already.
type plan struct {
	state   string // etcd's: new or existing
	cluster string // name=url, separated by commas
}

// asConfigured starts a cluster of the members that the configuration lists.
func (c Config) asConfigured() plan {
	var all []string
	for _, p := range c.Members {
		all = append(all, p.Name+"="+p.URL)
	}
	return plan{embed.ClusterStateFlagNew, strings.Join(all, ",")}
}

// embed is the configuration of etcd. No port is opened for clients; the URL that is
// said to be for them marks a member as one that has started, and nobody connects to it.
func (c Config) embed(p plan) *embed.Config {
	out := embed.NewConfig()
	out.Name, out.Dir = c.Name, c.Dir
	out.ListenPeerUrls, out.AdvertisePeerUrls = parsed(c.Listen), parsed(c.self().URL)
	out.ListenClientUrls, out.ListenClientHttpUrls = nil, nil
	out.AdvertiseClientUrls = parsed("http://localhost:1")
	out.EnableGRPCGateway = false
	out.ClusterState, out.InitialCluster, out.InitialClusterToken = p.state, p.cluster, token
	out.PeerTLSInfo, out.TlsMinVersion = c.tls(), minTLS
	out.MaxTxnOps, out.MaxRequestBytes = maxTxnOps, maxRequest
	out.SnapshotCount, out.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	out.QuotaBackendBytes = c.QuotaBytes
	out.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcd.Zap(c.Logger))
	if c.tickMs > 0 {
		out.TickMs, out.ElectionMs = c.tickMs, electionTicks*c.tickMs
	}
	return out
}

// parsed is a URL that has been checked before.
func parsed(s string) []url.URL {
	u, err := url.Parse(s)
	if err != nil {
		return nil
	}
	return []url.URL{*u}
}
