package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
)

// DefaultAddress is where a server listens unless it is told otherwise.
const DefaultAddress = "127.0.0.1:8200"

// Config is what a server is made of. The zero Config is a server in memory
// that waits for `operator init`; ParseConfig and the command line fill it in.
type Config struct {
	DataDir     string // of the embedded store; empty: in memory
	Listeners   []Listener
	LocalSlot   bool   // initialise with, and unseal by, a key slot in a local file
	SlotPath    string // of the local key slot's file; empty: beside the data
	AuditDirs   []string
	Audit       []*audit.Declaration
	RawAudit    bool // lets a declaration ask for log_raw
	LogLevel    string
	LogFormat   string // standard or json
	PIDFile     string
	ClusterName string

	// DevRoot makes a development server: initialised in memory, unsealed, with
	// this root token and secret/ mounted.
	DevRoot api.Secret
	DevKVv1 bool
}

// Listener is one address that is served.
type Listener struct {
	Address  string
	CertFile string
	KeyFile  string
	ClientCA string // certificates of clients are asked for and checked against it
	Plain    bool   // no TLS, said so explicitly

	RequireClient bool // refuse clients without a certificate of ClientCA
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
	for _, l := range c.Listeners {
		errs = append(errs, l.validate())
	}
	switch c.LogFormat {
	case "", "standard", "json":
	default:
		errs = append(errs, errors.New("log_format: must be standard or json"))
	}
	switch c.LogLevel {
	case "", "trace", "debug", "info", "warn", "error":
	default:
		errs = append(errs, errors.New("log_level: must be trace, debug, info, warn or error"))
	}
	return errors.Join(errs...)
}

func (l *Listener) validate() error {
	if _, _, err := net.SplitHostPort(l.Address); err != nil {
		return fmt.Errorf("listener %q: the address must be HOST:PORT", l.Address)
	}
	if (l.CertFile == "") != (l.KeyFile == "") {
		return fmt.Errorf("listener %q: tls_cert_file and tls_key_file go together", l.Address)
	}
	if l.RequireClient && l.ClientCA == "" {
		return fmt.Errorf("listener %q: tls_require_and_verify_client_cert needs tls_client_ca_file", l.Address)
	}
	if l.CertFile == "" && l.ClientCA != "" {
		return fmt.Errorf("listener %q: tls_client_ca_file needs tls_cert_file and tls_key_file", l.Address)
	}
	if l.CertFile == "" && !l.Plain && !loopback(l.Address) {
		return fmt.Errorf("listener %q: an address that others can reach needs TLS; give tls_cert_file and tls_key_file, or tls_disable = true to say that plain HTTP is meant", l.Address)
	}
	return nil
}

// LoadConfig reads configuration files in HCL or JSON, later ones on top.
func LoadConfig(paths ...string) (*Config, error) {
	c := &Config{}
	for _, p := range paths {
		src, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		if err := c.parse(p, src); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ParseConfig reads one configuration. Every mistake is reported, each with
// file, line and what to do.
func ParseConfig(name string, src []byte) (*Config, error) {
	c := &Config{}
	return c, c.parse(name, src)
}

const maxConfigBytes = 1 << 20

func (c *Config) parse(name string, src []byte) (err error) {
	if len(src) > maxConfigBytes {
		return fmt.Errorf("%s: larger than %d KiB", name, maxConfigBytes>>10)
	}
	file, err := parseHCL(src)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return fmt.Errorf("%s: is not a list of settings", name)
	}
	r := &reader{file: name, config: c}
	r.top(list)
	return errors.Join(r.errs...)
}

// parseHCL keeps a panic of the parser from ending the process.
func parseHCL(src []byte) (f *ast.File, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("cannot be parsed as HCL or JSON")
		}
	}()
	return hcl.ParseBytes(src)
}

// reader turns the syntax tree into a Config and gathers mistakes.
type reader struct {
	file   string
	config *Config
	errs   []error
}

func (r *reader) fault(pos token.Pos, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %s", r.file, pos.Line, fmt.Sprintf(format, args...)))
}

// settings that a Vault configuration may have and that mean nothing here.
func ignored(key string) bool {
	switch key {
	case "ui", "disable_mlock", "api_addr", "cluster_addr", "disable_cache", "plugin_directory", "raw_storage_endpoint",
		"default_lease_ttl", "max_lease_ttl", "telemetry", "disable_clustering", "enable_response_header_hostname", "log_requests_level":
		return true
	}
	return false
}

func (r *reader) top(list *ast.ObjectList) {
	for _, it := range list.Items {
		key := keyOf(it, 0)
		switch key {
		case "storage", "backend":
			r.storage(it)
		case "listener":
			r.listener(it)
		case "seal":
			r.seal(it)
		case "audit":
			r.audit(it)
		case "log_level":
			r.config.LogLevel = strings.ToLower(r.text(it))
		case "log_format":
			r.config.LogFormat = r.text(it)
		case "pid_file":
			r.config.PIDFile = r.text(it)
		case "cluster_name":
			r.config.ClusterName = r.text(it)
		case "audit_directory":
			r.config.AuditDirs = append(r.config.AuditDirs, r.text(it))
		case "audit_log_raw":
			r.config.RawAudit = r.flag(it)
		default:
			if !ignored(key) {
				r.fault(it.Pos(), "unknown setting %q; the reference in docs/reference lists the settings", key)
			}
		}
	}
}

func keyOf(it *ast.ObjectItem, i int) string {
	if i >= len(it.Keys) {
		return ""
	}
	s, ok := it.Keys[i].Token.Value().(string)
	if !ok {
		return ""
	}
	return s
}

func (r *reader) text(it *ast.ObjectItem) string {
	lit, ok := it.Val.(*ast.LiteralType)
	if !ok {
		r.fault(it.Pos(), "%s: must be one value", keyOf(it, 0))
		return ""
	}
	return fmt.Sprint(lit.Token.Value())
}

func (r *reader) flag(it *ast.ObjectItem) bool {
	b, err := strconv.ParseBool(r.text(it))
	if err != nil {
		r.fault(it.Pos(), "%s: must be true or false", keyOf(it, 0))
	}
	return b
}

// block is a labelled block's settings: storage "pebble" { ... }.
func (r *reader) block(it *ast.ObjectItem) (label string, items []*ast.ObjectItem) {
	obj, ok := it.Val.(*ast.ObjectType)
	if !ok {
		r.fault(it.Pos(), "%s: must be a block", keyOf(it, 0))
		return "", nil
	}
	label, items = keyOf(it, 1), obj.List.Items
	if label == "" && len(items) == 1 { // JSON: {"storage": {"pebble": {...}}}
		if inner, ok := items[0].Val.(*ast.ObjectType); ok {
			return keyOf(items[0], 0), inner.List.Items
		}
	}
	return label, items
}

func (r *reader) storage(it *ast.ObjectItem) {
	label, items := r.block(it)
	switch label {
	case "inmem", "mem", "inmem_ha":
		return
	case "pebble", "file", "raft":
	default:
		r.fault(it.Pos(), "storage %q: this version has pebble (also under the names file and raft) and inmem", label)
	}
	for _, s := range items {
		switch keyOf(s, 0) {
		case "path":
			r.config.DataDir = r.text(s)
		case "node_id", "retry_join", "performance_multiplier":
		default:
			r.fault(s.Pos(), "storage: unknown setting %q; it takes path", keyOf(s, 0))
		}
	}
	if r.config.DataDir == "" {
		r.fault(it.Pos(), "storage %q: missing path, the directory of the data", label)
	}
}

func (r *reader) listener(it *ast.ObjectItem) {
	label, items := r.block(it)
	if label != "tcp" {
		r.fault(it.Pos(), "listener %q: this version has tcp", label)
	}
	l := Listener{Address: DefaultAddress}
	for _, s := range items {
		switch keyOf(s, 0) {
		case "address":
			l.Address = r.text(s)
		case "tls_cert_file":
			l.CertFile = r.text(s)
		case "tls_key_file":
			l.KeyFile = r.text(s)
		case "tls_client_ca_file":
			l.ClientCA = r.text(s)
		case "tls_disable":
			l.Plain = r.flag(s)
		case "tls_require_and_verify_client_cert":
			l.RequireClient = r.flag(s)
		case "cluster_address", "tls_min_version", "telemetry", "max_request_size", "max_request_duration", "tls_disable_client_certs":
		default:
			r.fault(s.Pos(), "listener: unknown setting %q; it takes address, tls_cert_file, tls_key_file, tls_client_ca_file and tls_disable", keyOf(s, 0))
		}
	}
	if err := l.validate(); err != nil {
		r.fault(it.Pos(), "%v", err)
	}
	r.config.Listeners = append(r.config.Listeners, l)
}

func (r *reader) seal(it *ast.ObjectItem) {
	label, items := r.block(it)
	switch label {
	case "shamir":
		return
	case "file", "local", "static":
		r.config.LocalSlot = true
	default:
		r.fault(it.Pos(), "seal %q: this version has shamir and file", label)
	}
	for _, s := range items {
		switch keyOf(s, 0) {
		case "path":
			r.config.SlotPath = r.text(s)
		default:
			r.fault(s.Pos(), "seal: unknown setting %q; it takes path", keyOf(s, 0))
		}
	}
}

// audit reads audit "file" "path" { options { file_path = "..." } }.
func (r *reader) audit(it *ast.ObjectItem) {
	obj, ok := it.Val.(*ast.ObjectType)
	d := &audit.Declaration{Type: keyOf(it, 1), Path: keyOf(it, 2), Options: map[string]string{}}
	if !ok || d.Type == "" {
		r.fault(it.Pos(), "audit: write it as audit \"file\" \"NAME\" { options { file_path = \"PATH\" } }")
		return
	}
	if d.Path == "" {
		d.Path = d.Type
	}
	d.Path = strings.Trim(d.Path, "/") + "/"
	for _, s := range obj.List.Items {
		switch keyOf(s, 0) {
		case "description":
			d.Description = r.text(s)
		case "options":
			if opts, ok := s.Val.(*ast.ObjectType); ok {
				for _, o := range opts.List.Items {
					d.Options[keyOf(o, 0)] = r.text(o)
				}
			}
		default:
			r.fault(s.Pos(), "audit: unknown setting %q; it takes description and options", keyOf(s, 0))
		}
	}
	r.config.Audit = append(r.config.Audit, d)
}

// Timeouts of the HTTP server.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 60 * time.Second
	idleTimeout     = 5 * time.Minute
	shutdownTimeout = 30 * time.Second
	maxHeaderBytes  = 64 << 10
)
