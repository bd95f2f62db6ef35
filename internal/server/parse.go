package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/identity"
)

// LoadConfig reads configuration files in HCL or JSON, later ones on top; of a
// directory, its *.hcl and *.json in the order of their names. It reports the
// mistakes of all of them, and certificates that cannot be read.
func LoadConfig(paths ...string) (*Config, error) {
	c := &Config{}
	var errs []error
	for _, p := range paths {
		files, err := configFiles(p)
		errs = append(errs, err)
		for _, f := range files {
			errs = append(errs, c.load(f))
		}
	}
	for _, check := range c.checks {
		errs = append(errs, check())
	}
	c.checks = nil
	return c, errors.Join(append(errs, c.checkLimits())...)
}

func (c *Config) load(file string) error {
	src, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return c.parse(file, src)
}

// configFiles are the files of a path that may be a directory.
func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); !e.IsDir() && !strings.HasPrefix(name, ".") && (ext == ".hcl" || ext == ".json") {
			out = append(out, filepath.Join(path, name))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("configuration: the directory %s has no file that ends with .hcl or .json: name the file itself, or rename it", path)
	}
	return out, nil
}

// ParseConfig reads one configuration. Every mistake is reported, each with
// file, line and what to do; what the configuration names is not looked at.
func ParseConfig(name string, src []byte) (*Config, error) {
	c := &Config{}
	err := c.parse(name, src)
	c.checks, c.stored, c.withPassword = nil, "", nil
	return c, err
}

const maxConfigBytes = 1 << 20

func (c *Config) parse(name string, src []byte) error {
	if len(src) > maxConfigBytes {
		return fmt.Errorf("%s: larger than %d KiB", name, maxConfigBytes>>10)
	}
	list, err := parseSettings(src)
	if err != nil {
		return syntaxError(name, src, err)
	}
	r := &reader{file: name, config: c}
	r.top(list)
	r.repeats(list)
	return errors.Join(r.errs...)
}

// parseSettings reads JSON, which begins with a brace, or HCL, which never does.
func parseSettings(src []byte) (*ast.ObjectList, error) {
	if bytes.HasPrefix(bytes.TrimSpace(src), []byte("{")) {
		return parseJSON(src)
	}
	file, err := parseHCL(src)
	if err != nil {
		return nil, err
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("is not a list of settings")
	}
	return list, nil
}

// parseHCL keeps a panic of the parser from ending the process.
func parseHCL(src []byte) (f *ast.File, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("cannot be parsed as HCL")
		}
	}()
	return parser.Parse(src)
}

// reader turns the syntax tree into a Config and gathers mistakes.
type reader struct {
	file    string
	config  *Config
	storage bool // a storage block has been read
	errs    []error
}

func (r *reader) fault(it *ast.ObjectItem, format string, args ...any) {
	r.errs = append(r.errs, r.mistake(it, format, args...))
}

// mistake is an error with its place.
func (r *reader) mistake(it *ast.ObjectItem, format string, args ...any) error {
	where := r.file
	if n := len(it.Keys); n > 0 {
		where += ":" + strconv.Itoa(it.Keys[n-1].Pos().Line)
	}
	return fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...))
}

// later has a block judged once all files have been read.
func (r *reader) later(b *block, check func() error) {
	r.config.checks = append(r.config.checks, func() error {
		if err := check(); err != nil {
			return r.mistake(b.ObjectItem, "%w", err)
		}
		return nil
	})
}

// repeats reports settings that stand twice in one place, of which the first would
// be passed over: the parser of HCL has told of those, and JSON allows them. Blocks
// may stand there many times.
func (r *reader) repeats(list *ast.ObjectList) {
	seen := map[string]int{}
	for _, it := range list.Items {
		if inner, ok := it.Val.(*ast.ObjectType); ok {
			r.repeats(inner.List)
			continue
		}
		key := keyOf(it, 0)
		if line, ok := seen[key]; ok {
			r.fault(it, "%s: is given twice; it stands in line %d already", key, line)
		}
		if len(it.Keys) == 1 {
			seen[key] = it.Keys[0].Pos().Line
		}
	}
}

// unused are settings that a Vault configuration may have and that mean nothing
// here, or are never needed.
func unused(key string) bool {
	switch key {
	case "ui", "disable_mlock", "cluster_addr", "disable_cache", "plugin_directory", "introspection_endpoint",
		"disable_clustering", "log_rotate_bytes", "log_rotate_duration", "log_rotate_max_files", "enable_response_header_hostname",
		"disable_sealwrap", "disable_printable_check", "ha_storage", "service_registration", "license_path":
		return true
	}
	return false
}

func (r *reader) top(list *ast.ObjectList) {
	for _, it := range list.Items {
		switch key := keyOf(it, 0); key {
		case "storage", "backend":
			r.blocks(it, 1, r.readStorage)
		case "listener":
			r.blocks(it, 1, r.readListener)
		case "seal":
			r.blocks(it, 1, r.readSeal)
		case "audit":
			r.blocks(it, 2, r.readAudit)
		case "telemetry":
			r.blocks(it, 0, r.readTelemetry)
		case "user_lockout":
			r.blocks(it, 1, r.readLockout)
		default:
			r.setting(it, key)
		}
	}
}

// setting reads a setting that is one value.
func (r *reader) setting(it *ast.ObjectItem, key string) {
	c := r.config
	switch key {
	case "log_level":
		c.LogLevel = strings.ToLower(r.text(it))
		r.check(it, checkLevel(c.LogLevel))
	case "log_format":
		c.LogFormat = r.text(it)
		r.check(it, checkFormat(c.LogFormat))
	case "pid_file":
		c.PIDFile = r.text(it)
	case "cluster_name":
		c.ClusterName = r.text(it)
	case "api_addr":
		c.APIAddress = r.text(it)
		r.check(it, checkAddress(c.APIAddress))
	case "audit_directory":
		c.AuditDirs = append(c.AuditDirs, r.text(it))
	case "audit_namespace_directory":
		c.AuditHome = r.text(it)
	case "audit_namespace_peers":
		c.AuditPeers = append(c.AuditPeers, r.peers(it)...)
	case "auth_namespace_peers":
		c.AuthPeers = append(api.Full(c.AuthPeers), r.texts(it)...)
		_, err := c.reach()
		r.check(it, err)
	case "raw_storage_endpoint":
		c.RawStorage = r.flag(it)
	case "audit_log_raw":
		c.RawAudit = r.flag(it)
	case "policy_headers":
		c.PolicyHeaders = append(c.PolicyHeaders, r.headers(it)...)
	case "default_lease_ttl":
		c.DefaultTTL = r.duration(it)
	case "max_lease_ttl":
		c.MaxTTL = r.duration(it)
	case "unused_entity_ttl":
		c.UnusedEntityTTL = r.unused(it)
	case "log_requests_level":
		c.LogRequests = strings.ToLower(r.text(it))
		r.check(it, checkRequests(c.LogRequests))
	case "log_file":
		c.LogFile = r.text(it)
	default:
		if !unused(key) {
			r.fault(it, "unknown setting %q%s", key, suggest(key, topSettings))
			return
		}
		c.Ignored = append(c.Ignored, key)
	}
}

// peers are addresses as host:port, or * for any.
func (r *reader) peers(it *ast.ObjectItem) []string {
	out := r.texts(it)
	for i, p := range out {
		if host, port, err := net.SplitHostPort(p); p != "*" && (err != nil || host == "" || port == "") {
			r.fault(it, "%s: write each as HOST:PORT, or \"*\" for any", keyOf(it, 0))
		}
		out[i] = strings.ToLower(p)
	}
	return out
}

func (r *reader) check(it *ast.ObjectItem, err error) {
	if err != nil {
		r.fault(it, "%v", err)
	}
}

// keyOf is a key of a setting or block; empty when it has no such key.
func keyOf(it *ast.ObjectItem, i int) string {
	if i >= len(it.Keys) {
		return ""
	}
	s, err := value(it.Keys[i].Token.Value)
	if err != nil {
		return ""
	}
	return s
}

// value is a token's value. The parser panics on what it cannot read, such as a
// number out of range.
func value(of func() any) (s string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("cannot be read")
		}
	}()
	return fmt.Sprint(of()), nil
}

func (r *reader) text(it *ast.ObjectItem) string {
	lit, ok := it.Val.(*ast.LiteralType)
	if !ok || len(it.Keys) != 1 {
		r.fault(it, "%s: must be one value", keyOf(it, 0))
		return ""
	}
	s, err := value(lit.Token.Value)
	if err != nil {
		r.fault(it, "%s: %v", keyOf(it, 0), err)
	}
	return s
}

// duration is longer than zero.
func (r *reader) duration(it *ast.ObjectItem) time.Duration {
	s := r.text(it)
	d, err := api.ParseDuration(s)
	switch {
	case err != nil:
		r.fault(it, "%s: %v", keyOf(it, 0), err)
	case d <= 0 && s != "":
		r.fault(it, "%s: must be longer than zero", keyOf(it, 0))
	}
	return d
}

// unused is a time of a day or more, or never.
func (r *reader) unused(it *ast.ObjectItem) time.Duration {
	if r.text(it) == "never" {
		return identity.Never
	}
	d := r.duration(it)
	if 0 < d && d < 24*time.Hour {
		r.fault(it, "%s: must be never, or a day or longer", keyOf(it, 0))
	}
	return d
}

// count is one or more.
func (r *reader) count(it *ast.ObjectItem) int {
	s := r.text(it)
	n, err := strconv.Atoi(s)
	if (err != nil || n <= 0) && s != "" {
		r.fault(it, "%s: must be a whole number of one or more", keyOf(it, 0))
		return 0
	}
	return n
}

func (r *reader) flag(it *ast.ObjectItem) bool {
	s := r.text(it)
	b, err := strconv.ParseBool(s)
	if err != nil && s != "" {
		r.fault(it, "%s: must be true or false", keyOf(it, 0))
	}
	return b
}

// block is one labelled block: its labels, as many as it has, and its settings.
type block struct {
	*ast.ObjectItem
	labels   []string
	settings []*ast.ObjectItem
}

func (b *block) label(i int) string {
	if i < len(b.labels) {
		return b.labels[i]
	}
	return ""
}

// blocks reads storage "pebble" { ... } and its JSON forms, in which a label is a
// key of an object.
func (r *reader) blocks(it *ast.ObjectItem, most int, read func(*block)) {
	obj, ok := it.Val.(*ast.ObjectType)
	if !ok {
		r.fault(it, "%s: must be a block", keyOf(it, 0))
		return
	}
	b := &block{ObjectItem: it, settings: obj.List.Items}
	for i := 1; i < len(it.Keys); i++ {
		if len(b.labels) == most || keyOf(it, i) == "options" {
			b.settings = []*ast.ObjectItem{{Keys: it.Keys[i:], Val: it.Val}}
			break
		}
		b.labels = append(b.labels, keyOf(it, i))
	}
	if len(b.labels) < most && b.nested() {
		for _, inner := range b.settings {
			r.blocks(&ast.ObjectItem{Keys: append(it.Keys[:len(it.Keys):len(it.Keys)], inner.Keys...), Val: inner.Val}, most, read)
		}
		return
	}
	read(b)
}

// nested reports whether a block's settings are blocks under further labels.
func (b *block) nested() bool {
	for _, s := range b.settings {
		if _, ok := s.Val.(*ast.ObjectType); !ok || keyOf(s, 0) == "options" {
			return false
		}
	}
	return len(b.settings) > 0
}

func (r *reader) readSeal(b *block) {
	switch b.label(0) {
	case "shamir":
		return
	case "file", "local", "static":
		r.config.LocalSlot = true
	default:
		r.fault(b.ObjectItem, "seal %q: this version has shamir and file", b.label(0))
	}
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "path":
			r.config.SlotPath = r.text(s)
		default:
			r.fault(s, "seal: unknown setting %q; it takes path", keyOf(s, 0))
		}
	}
}

// readAudit reads audit "file" "path" { options { file_path = "..." } }.
func (r *reader) readAudit(b *block) {
	d := &audit.Declaration{Type: b.label(0), Path: b.label(1), Options: map[string]string{}}
	if d.Type == "" {
		r.fault(b.ObjectItem, "audit: write it as audit \"file\" \"NAME\" { options { file_path = \"PATH\" } }")
		return
	}
	if d.Path == "" {
		d.Path = d.Type
	}
	d.Path = strings.Trim(d.Path, "/") + "/"
	for _, other := range r.config.Audit {
		if other.Path == d.Path {
			r.fault(b.ObjectItem, "audit: there is a device %q already", d.Path)
		}
	}
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "description":
			d.Description = r.text(s)
		case "options":
			r.auditOptions(d, s)
		default:
			r.fault(s, "audit: unknown setting %q; it takes description and options", keyOf(s, 0))
		}
	}
	r.config.Audit = append(r.config.Audit, d)
	r.later(b, func() error {
		if err := d.Check(audit.Env{Stdout: io.Discard, AllowRaw: r.config.RawAudit}); err != nil {
			return fmt.Errorf("audit %q: %w", d.Path, err)
		}
		return nil
	})
}

func (r *reader) auditOptions(d *audit.Declaration, it *ast.ObjectItem) {
	obj, ok := it.Val.(*ast.ObjectType)
	if !ok {
		r.fault(it, "audit: options must be a block")
		return
	}
	for _, o := range obj.List.Items {
		d.Options[keyOf(o, 0)] = r.text(o)
	}
}
