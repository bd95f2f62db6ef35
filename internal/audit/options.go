package audit

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/strongroom/strongroom/internal/api"
)

// options reads a declaration's options. Its errors are Invalid and name the
// option, never its value.
type options struct {
	given      map[string]string
	kind       string // the device's type
	configured bool   // by the operator's configuration, which may do more
	env        Env
	log        *slog.Logger
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
	names = append(names, "delivery", "deadline", "filter", "fallback", "prefix", "format", "hmac_accessor", "log_raw", "elide_list_responses")
	for given := range o.given {
		if !slices.Contains(names, given) {
			return &api.Error{Kind: api.Invalid, Message: "options: unknown option" + shown(given), Hint: "the options are " + strings.Join(names, ", ")}
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

// shared reads the options that all types share, but for the deadline.
func (o *options) shared(s *Sink) error {
	if err := o.format(&s.format); err != nil {
		return err
	}
	return o.routing(s)
}

// routing reads what the sink means for which entries.
func (o *options) routing(s *Sink) (err error) {
	switch o.given["delivery"] {
	case "", "any":
	case "required":
		s.delivery = required
	case "best-effort":
		s.delivery = bestEffort
	default:
		return invalid("delivery", "is not supported", "one of any, required, best-effort")
	}
	if s.fallback, err = o.boolean("fallback", false); err != nil {
		return err
	}
	if text := o.given["filter"]; text != "" {
		s.filter, err = compileFilter(text)
	}
	switch {
	case err != nil:
		return err
	case s.fallback && s.filter != nil:
		return invalid("fallback", "does not go with a filter", "a fallback takes what no other device has taken")
	case s.fallback && s.delivery != anyOf:
		return invalid("fallback", "does not go with delivery", "a fallback is asked only where other devices have not taken an entry")
	}
	return nil
}

// maxPrefix bounds the prefix option, in bytes.
const maxPrefix = 128

// prefix is what each entry begins with, as some readers of syslog want it. A
// caller of the API must not choose what a file begins with (CVE-2025-6000).
func (o *options) prefix() (string, error) {
	p := o.given["prefix"]
	switch {
	case p == "":
	case o.kind == "file" && !o.configured:
		return "", invalid("prefix", "is not supported for files", "it would let a caller choose what a file begins with; declare the device in the server's configuration")
	case len(p) > maxPrefix || !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return "", invalid("prefix", fmt.Sprintf("must be at most %d bytes of text in one line", maxPrefix), "")
	}
	return p, nil
}

// format reads the options on the form of entries.
func (o *options) format(f *format) (err error) {
	if v := o.given["format"]; v != "" && v != "json" {
		return invalid("format", "is not supported", "json is the one format")
	}
	if f.prefix, err = o.prefix(); err != nil {
		return err
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
	if err := o.known("file_path", "mode", "sync", "rotate_bytes", "rotate_duration", "rotate_max_files", "rotate_max_age", "rotate_compress"); err != nil {
		return nil, err
	}
	dir, name, err := o.filePath("file_path")
	if err != nil {
		return nil, err
	}
	home := ""
	if o.env.below() {
		home = o.env.Namespace.ID
	}
	mode, err := o.mode()
	if err != nil {
		return nil, err
	}
	sync, err := o.boolean("sync", false)
	if err != nil {
		return nil, err
	}
	rotation, err := o.rotation()
	return &fileOutput{dir: dir, home: home, name: name, mode: mode, sync: sync, rotation: rotation, now: o.env.Now, log: o.log}, err
}

// filePath splits an option's path into a directory that may be trusted and the
// rest, which must not lead out of it. The configuration may name any directory.
func (o *options) filePath(option string) (dir, name string, err error) {
	p := o.given[option]
	switch {
	case p == "":
		return "", "", invalid(option, "is required", "")
	case o.env.below():
		return o.env.Home, p, homely(option, p)
	case !filepath.IsAbs(p):
		return "", "", invalid(option, "must be absolute", "")
	case strings.HasSuffix(p, "/"):
		return "", "", invalid(option, "must name a file", "")
	}
	p = filepath.Clean(p)
	if o.configured {
		return filepath.Dir(p), filepath.Base(p), nil
	}
	if name, err := filepath.Rel(o.env.Home, p); o.env.Home != "" && err == nil && filepath.IsLocal(name) {
		return "", "", invalid(option, "is in the directory of the namespaces' audit files", "")
	}
	for _, d := range o.env.Dirs {
		if name, err := filepath.Rel(d, p); err == nil && name != "." && filepath.IsLocal(name) {
			return d, name, nil
		}
	}
	return "", "", invalid(option, "is not below a directory for audit files",
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

// span reads a duration of at most limit; zero: it is not given.
func (o *options) span(name string, limit time.Duration) (time.Duration, error) {
	v := o.given[name]
	if v == "" {
		return 0, nil
	}
	d, err := api.ParseDuration(v)
	if err != nil || d <= 0 || d > limit {
		return 0, invalid(name, "must be a duration of at most "+limit.String(), "")
	}
	return d, nil
}

// count reads a whole number from least to most; zero: it is not given.
func (o *options) count(name string, least, most int) (int, error) {
	v := o.given[name]
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, invalid(name, fmt.Sprintf("must be a whole number from %d to %d", least, most), "")
	}
	return n, nil
}

// size reads a number of bytes from least to most; zero: it is not given.
func (o *options) size(name string, least, most int64) (int64, error) {
	v := o.given[name]
	if v == "" {
		return 0, nil
	}
	n, ok := parseSize(v)
	if !ok || n < least || n > most {
		return 0, invalid(name, fmt.Sprintf("must be a size from %d to %d bytes", least, most), "write it as 1048576, 1024KiB or 1MiB")
	}
	return n, nil
}

// parseSize reads a number of bytes, or of KiB, MiB, GiB or TiB.
func parseSize(text string) (int64, bool) {
	unit := int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if number, found := strings.CutSuffix(text, suffix); found {
			text, unit = number, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// deadline is how long a request waits for the device; zero: as long as its type
// says.
func (o *options) deadline() (time.Duration, error) { return o.span("deadline", maxDeadline) }

// timeout is the time limit of one write to a peer.
func (o *options) timeout() (time.Duration, error) {
	d, err := o.deadline()
	if err != nil {
		return 0, err
	}
	t, err := o.span("write_timeout", maxPatience)
	switch {
	case err != nil:
		return 0, err
	case t > 0 && d > 0:
		return 0, invalid("write_timeout", "does not go with deadline", "deadline is its newer name")
	}
	return cmp.Or(d, t, defaultWriteTimeout), nil
}
