package audit

import (
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// options reads a declaration's options. Its errors are Invalid and name the
// option, never its value.
type options struct {
	given      map[string]string
	configured bool // by the operator's configuration, which may do more
	env        Env
}

func invalid(name, why, hint string) *api.Error {
	return &api.Error{Kind: api.Invalid, Message: "options." + name + ": " + why, Hint: hint}
}

// maxShown bounds the names that are shown, in bytes.
const maxShown = 32

// shown is an unknown option's name for an error, where it is spelled as names
// are: what is not may be a value that was meant for another place.
func shown(name string) string {
	if len(name) > maxShown || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return " " + strconv.Quote(name)
}

// known refuses options that the type does not have.
func (o *options) known(names ...string) error {
	names = append(names, "format", "hmac_accessor", "log_raw", "elide_list_responses", "prefix")
	for given := range o.given {
		if !slices.Contains(names, given) {
			return &api.Error{Kind: api.Invalid, Message: "options: unknown option" + shown(given), Hint: "the options are " + strings.Join(names[:len(names)-1], ", ")}
		}
	}
	return nil
}

func (o *options) boolean(name string, absent bool) (bool, error) {
	v := o.given[name]
	if v == "" {
		return absent, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, invalid(name, "must be true or false", "")
	}
	return b, nil
}

// format reads the options that all types share.
func (o *options) format(f *format) error {
	if v := o.given["format"]; v != "" && v != "json" {
		return invalid("format", "is not supported", "json is the one format")
	}
	if o.given["prefix"] != "" {
		return invalid("prefix", "is not supported", "it would let a caller choose what a file begins with")
	}
	hashed, err := o.boolean("hmac_accessor", true)
	if err != nil {
		return err
	}
	f.showAccessor = !hashed
	if f.elide, err = o.boolean("elide_list_responses", false); err != nil {
		return err
	}
	if f.raw, err = o.boolean("log_raw", false); err != nil {
		return err
	}
	if f.raw && !o.env.AllowRaw {
		return invalid("log_raw", "is not allowed", "the server's configuration must allow it first")
	}
	return nil
}

func (o *options) stdout(names ...string) (output, error) {
	if err := o.known(names...); err != nil {
		return nil, err
	}
	if o.env.Stdout == nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "type: this server has no standard output for audit"}
	}
	return &streamOutput{w: o.env.Stdout}, nil
}

func (o *options) file() (output, error) {
	if o.given["file_path"] == "stdout" {
		return o.stdout("file_path", "mode")
	}
	if err := o.known("file_path", "mode", "sync"); err != nil {
		return nil, err
	}
	dir, name, err := o.filePath()
	if err != nil {
		return nil, err
	}
	mode, err := o.mode()
	if err != nil {
		return nil, err
	}
	sync, err := o.boolean("sync", false)
	return &fileOutput{dir: dir, name: name, mode: mode, sync: sync}, err
}

// filePath splits the path into a directory that may be trusted and the rest,
// which must not lead out of it. The configuration may name any directory.
func (o *options) filePath() (dir, name string, err error) {
	p := o.given["file_path"]
	switch {
	case p == "":
		return "", "", invalid("file_path", "is required", "")
	case !filepath.IsAbs(p):
		return "", "", invalid("file_path", "must be absolute", "")
	case strings.HasSuffix(p, "/"):
		return "", "", invalid("file_path", "must name a file", "")
	}
	p = filepath.Clean(p)
	if o.configured {
		return filepath.Dir(p), filepath.Base(p), nil
	}
	for _, d := range o.env.Dirs {
		if name, err := filepath.Rel(d, p); err == nil && name != "." && filepath.IsLocal(name) {
			return d, name, nil
		}
	}
	return "", "", invalid("file_path", "is not below a directory for audit files",
		`name the directory when the server starts: -audit-dir=DIR, or audit_directory = "DIR" in the configuration`)
}

// mode is the file's permission: readable and writable for its owner, for
// others at most readable, executable for nobody.
func (o *options) mode() (fs.FileMode, error) {
	v := o.given["mode"]
	if v == "" {
		return defaultMode, nil
	}
	n, err := strconv.ParseUint(v, 8, 32)
	if m := fs.FileMode(n); err == nil && m&^0o644 == 0 && m&0o600 == 0o600 {
		return m, nil
	}
	return 0, invalid("mode", "is not allowed", "one of 0600, 0640, 0604, 0644")
}

func (o *options) socket() (output, error) {
	if err := o.known("address", "socket_type", "write_timeout"); err != nil {
		return nil, err
	}
	out := &socketOutput{address: o.given["address"], network: o.given["socket_type"], now: o.env.Now}
	switch out.network {
	case "":
		out.network = "tcp"
	case "tcp", "unix":
	default:
		return nil, invalid("socket_type", "is not supported", "one of tcp, unix")
	}
	if out.address == "" {
		return nil, invalid("address", "is required", "")
	}
	if out.network == "tcp" {
		if _, _, err := net.SplitHostPort(out.address); err != nil {
			return nil, invalid("address", "must be host:port", "")
		}
	}
	var err error
	out.timeout, err = o.timeout()
	return out, err
}

func (o *options) timeout() (time.Duration, error) {
	v := o.given["write_timeout"]
	if v == "" {
		return defaultWriteTimeout, nil
	}
	d, err := api.ParseDuration(v)
	if err != nil || d <= 0 || d > maxPatience {
		return 0, invalid("write_timeout", "must be a duration of at most "+maxPatience.String(), "")
	}
	return d, nil
}
