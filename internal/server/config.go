package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/outbound"
)

// DefaultAddress is where a server listens unless it is told otherwise.
const DefaultAddress = "127.0.0.1:8200"

// Config is what a server is made of. The zero Config is a server in memory
// that waits for `operator init`; ParseConfig and the command line fill it in.
type Config struct {
	DataDir     string  // of the embedded store; empty: in memory
	InMemory    bool    // the configuration asks for a store in memory
	Shared      *Shared // a store that several nodes share; nil: it is this server's own
	Listeners   []Listener
	NewRoot     bool   // print a new root token at the start, if the local key slot unseals
	LocalSlot   bool   // initialise with, and unseal by, a key slot in a local file
	SlotPath    string // of the local key slot's file; empty: beside the data
	AuditDirs   []string
	Audit       []*audit.Declaration
	AuditHome   string   // where each namespace has a directory for audit files of its own; empty: they have none
	AuditPeers  []string // host:port of those that audit devices of namespaces may send entries to; * stands for any
	AuthPeers   []string // what auth methods of namespaces may reach, as outbound.ParseBound has it; nil: what is of the network
	RawAudit    bool     // lets a declaration ask for log_raw
	RawStorage  bool     // lets who has sudo read and write stored rows
	LogLevel    string
	LogFormat   string // standard or json
	LogRequests string // level at which every request is logged; empty or off: they are not
	LogFile     string // takes the log besides standard error; a directory: strongroom.log in it
	PIDFile     string
	ClusterName string
	APIAddress  string        // where clients reach this node; empty: the first listener's
	DefaultTTL  time.Duration // of leases and tokens that ask for none; 0: 768 hours, or MaxTTL where that is shorter
	MaxTTL      time.Duration // of leases and tokens, where a mount sets none; 0: 768 hours

	// UnusedEntityTTL is for how long nobody uses an entity that a login has made and that
	// is then deleted; 0: 90 days, identity.Never: none is.
	UnusedEntityTTL time.Duration
	Ignored         []string // settings that mean nothing here, to be told of
	Telemetry       Telemetry
	Lockout         map[string]*mount.Lockout // when accounts are locked for wrong credentials, by type of auth method; "all": of any

	// PolicyHeaders are the headers of requests that conditions of policies may weigh.
	PolicyHeaders []string
	Engines       []api.Engine // secret engines and auth methods beside those built in

	stored       string         // the file that names the storage
	withPassword []string       // files that have a password in them
	checks       []func() error // of what is named by blocks, for when all files have been read

	// DevRoot makes a development server: initialised in memory, unsealed, with
	// this root token and secret/ mounted.
	DevRoot api.Secret
	DevKVv1 bool
	DevNoKV bool // mount no secret/
}

// loopback reports whether an address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Listeners) == 0 {
		errs = append(errs, errors.New("no listener: add -listen=ADDR, or listener \"tcp\" { address = \"ADDR\" } to the configuration"))
	}
	for i := range c.Listeners {
		errs = append(errs, c.Listeners[i].problems()...)
	}
	_, err := c.reach()
	errs = append(errs, c.checkLimits(), c.checkAuditHome(), err)
	return errors.Join(append(errs, checkFormat(c.LogFormat), checkLevel(c.LogLevel), checkRequests(c.LogRequests))...)
}

// checkAuditHome refuses a directory for namespaces in which the server's own audit files are.
func (c *Config) checkAuditHome() error {
	if c.AuditHome == "" {
		return nil
	}
	if !filepath.IsAbs(c.AuditHome) {
		return errors.New("audit_namespace_directory: must be absolute")
	}
	for _, d := range slices.Concat(c.AuditDirs, audit.Directories(c.Audit)) {
		if rel, err := filepath.Rel(c.AuditHome, d); err == nil && filepath.IsLocal(rel) {
			return fmt.Errorf("audit_namespace_directory: holds %s, where the server has audit files of its own: name another directory", d)
		}
	}
	return nil
}

// reach is what auth methods of namespaces may reach.
func (c *Config) reach() (*outbound.Bound, error) {
	list := c.AuthPeers
	if list == nil {
		list = []string{outbound.OnNetwork}
	}
	b, err := outbound.ParseBound(list)
	if err != nil {
		return nil, fmt.Errorf("auth_namespace_peers: %w", err)
	}
	return b, nil
}

// limits are the lease durations of mounts that set none.
func (c *Config) limits() mount.Limits {
	l := mount.Limits{Default: c.DefaultTTL, Max: c.MaxTTL}
	if l.Max == 0 {
		l.Max = mount.SystemMaxTTL
	}
	if l.Default == 0 {
		l.Default = min(mount.SystemDefaultTTL, l.Max)
	}
	return l
}

func (c *Config) checkLimits() error {
	l := c.limits()
	switch {
	case l.Max < 0:
		return errors.New("max_lease_ttl: must be longer than zero")
	case l.Default < 0:
		return errors.New("default_lease_ttl: must be longer than zero")
	case l.Default > l.Max:
		return fmt.Errorf("default_lease_ttl: is longer than max_lease_ttl, which is %s", l.Max)
	}
	return nil
}

func checkFormat(format string) error {
	switch format {
	case "", "standard", "json":
		return nil
	}
	return errors.New("log_format: must be standard or json")
}

// checkAddress looks at where clients reach this node, as other nodes list it.
func checkAddress(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("api_addr: write https://HOST:PORT, where clients reach this node")
	}
	return nil
}

func checkRequests(level string) error {
	if _, ok := requestLevel(level); !ok && level != "" && level != "off" {
		return errors.New("log_requests_level: must be off, trace, debug, info, warn or error")
	}
	return nil
}

func checkLevel(level string) error {
	switch level {
	case "", "trace", "debug", "info", "notice", "warn", "warning", "err", "error":
		return nil
	}
	return errors.New("log_level: must be trace, debug, info, warn or error")
}

// Timeouts of the HTTP server.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 60 * time.Second
	idleTimeout     = 5 * time.Minute
	shutdownTimeout = 30 * time.Second
	writeTimeout    = 10 * time.Minute // of a handler and its answer; the door sets a shorter one for the answer
	stuckTimeout    = 30 * time.Second // of an HTTP/2 connection that takes no byte
	maxHeaderBytes  = 64 << 10
	maxBodies       = 64 << 20 // bytes that all large bodies may hold at once
	maxConnections  = 8192     // open at once, on each address
)
