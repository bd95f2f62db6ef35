package audit

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Declaration is one audit device as it was enabled. Accessor and Key are
// given to it by Complete.
type Declaration struct {
	Path        string // with a trailing slash; names the sink
	Type        string // file, stdout, socket or syslog
	Description string
	Options     map[string]string
	Local       bool
	Accessor    string // public handle, such as audit_file_1a2b3c4d
	Key         *Key   // hashes what the sink does not show
	Configured  bool   // declared in the configuration, not through the API
}

// row is a Declaration's stored form.
type row struct {
	Path        string            `json:"path"`
	Type        string            `json:"type"`
	Description string            `json:"description,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	Local       bool              `json:"local,omitempty"`
	Accessor    string            `json:"accessor"`
	Key         []byte            `json:"key"`
	Configured  bool              `json:"configured,omitempty"`
}

// Encode is the declaration's stored form, its key included: it belongs
// behind the barrier.
func (d *Declaration) Encode() ([]byte, error) {
	return json.Marshal(row{d.Path, d.Type, d.Description, d.Options, d.Local, d.Accessor, d.Key.bytes[:], d.Configured})
}

// DecodeDeclaration reads what Encode has written.
func DecodeDeclaration(b []byte) (*Declaration, error) {
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, errors.New("audit: a stored device is damaged")
	}
	if len(r.Key) != keyBytes {
		return nil, errors.New("audit: a stored device has no key")
	}
	return &Declaration{r.Path, r.Type, r.Description, r.Options, r.Local, r.Accessor, keyOf([keyBytes]byte(r.Key)), r.Configured}, nil
}

// Complete gives a new declaration its key and accessor.
func (d *Declaration) Complete() {
	d.Key = NewKey()
	id := NewKey().bytes
	d.Accessor = fmt.Sprintf("audit_%s_%x", d.Type, id[:4])
}

// Env is what sinks are opened in.
type Env struct {
	Now    func() time.Time
	Stdout io.Writer // where stdout sinks write; nil: there are none
	// Dirs are the directories below which audit files may be declared through
	// the API; none: they may not be.
	Dirs []string
	// Namespace is the one that the devices are of, where that is not the root namespace:
	// its people may do less.
	Namespace api.Namespace
	// Home is the directory in which the audit files of each namespace have one of their
	// own; empty: namespaces have no audit files.
	Home string
	// Peers are the addresses that devices of namespaces may send entries to, as
	// host:port; * stands for any.
	Peers []string
	// Headers are the request headers that entries show: by name, with whether the
	// value is hashed. Those that carry credentials always are.
	Headers map[string]bool
	// AllowRaw lets a declaration ask for log_raw.
	AllowRaw bool
	// Log is told of sinks that fail and recover, of rotation and of what a spool
	// holds; nil: nobody is.
	Log *slog.Logger
	// Damaged is told, at each reload, of the rows with a prefix that are damaged, by
	// their keys in the store of devices; nil: nobody is.
	Damaged func(prefix string, keys []string)
}

func (e *Env) log(path string) *slog.Logger {
	if e.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	log := e.Log.With(slog.String("device", path))
	if e.below() {
		log = log.With(slog.String("namespace", e.Namespace.Path))
	}
	return log
}

// Sink is one opened audit device.
type Sink struct {
	path       string
	home       string // path of the namespace that it is of; empty: the root namespace
	line       *line
	format     format
	background bool     // may hang until its own time limit: other sinks are not kept waiting for it
	patient    bool     // may hang for ever: no request writes to it itself
	delivery   delivery // what its failure means
	filter     *filter  // which entries it takes; nil: all
	fallback   bool     // takes what no other has taken
}

// Open opens a declared device. An Invalid *api.Error names the option that is
// wrong. That a file or peer is out of reach is no error of Open: each write
// tries again.
func Open(d *Declaration, env Env) (*Sink, error) {
	s := &Sink{path: d.Path, home: env.Namespace.Path, format: format{key: d.Key}}
	o := &options{given: d.Options, kind: d.Type, configured: d.Configured, env: env, log: env.log(d.Path)}
	out, err := s.open(o)
	if err != nil {
		return nil, err
	}
	s.line = newLine(out)
	s.line.report = o.report
	if d, err := o.deadline(); err != nil {
		return nil, errors.Join(err, out.close())
	} else if d > 0 {
		s.line.patience, s.patient = d, !s.background
	}
	return s, nil
}

func (s *Sink) open(o *options) (out output, err error) {
	if err := o.tame(); err != nil {
		return nil, err
	}
	if err := o.shared(s); err != nil {
		return nil, err
	}
	const types = "one of file, stdout, socket, syslog"
	switch o.kind {
	case "file":
		return o.file()
	case "stdout":
		return o.stdout()
	case "socket":
		return s.remote(o, o.socket)
	case "syslog":
		return s.remote(o, o.syslog)
	case "":
		return nil, &api.Error{Kind: api.Invalid, Message: "missing type", Hint: types}
	}
	return nil, &api.Error{Kind: api.Invalid, Message: "type: there is no such audit device", Hint: types}
}

// remote opens a device that sends entries to a peer, by way of a spool when the
// declaration asks for one.
func (s *Sink) remote(o *options, open func() (*socketOutput, error)) (output, error) {
	peer, err := open()
	if err != nil {
		return nil, err
	}
	spool, err := o.spool(peer)
	if err != nil || spool != nil {
		return spool, err
	}
	s.background = true
	return peer, nil
}

// report logs that the writes of a sink have begun to fail or to succeed.
func (o *options) report(err error) {
	if err != nil {
		o.log.Error("the audit device cannot be written", slog.Any("error", err))
		return
	}
	o.log.Info("the audit device can be written again")
}

// refused is a device that must not be opened: all that is written to it fails.
type refused struct{ err error }

func (r refused) write([]byte) error { return r.err }
func (r refused) reopen() error      { return nil }
func (r refused) ready() error       { return r.err }
func (r refused) close() error       { return nil }

// refuse is a sink that stands for a declaration which Open does not take. What its
// failure means, and for which entries, is as declared: a required device stays so.
func refuse(d *Declaration, home string, err error) *Sink {
	s := &Sink{path: d.Path, home: home, format: format{key: d.Key}, line: newLine(refused{err})}
	o := &options{given: d.Options}
	if o.routing(s) != nil {
		s.filter, s.fallback = nil, false
	}
	return s
}

// probe writes an entry that says that the sink is being enabled.
func (s *Sink) probe(c *api.Call) error {
	e := Entry{Request: Request{ID: c.RequestID, Operation: "update", Namespace: c.Namespace, Path: "sys/audit/test"}}
	e.prepare(newSet([]*Sink{s}, nil))
	e.build(c.Now, nil, nil)
	return s.line.put(c, e.lines[0])
}

// Path is the sink's name, with a trailing slash.
func (s *Sink) Path() string { return s.path }

// unavailable is the answer to a request that cannot be written down.
func (s *Sink) unavailable(err error) *api.Error {
	name, hint := strconv.Quote(s.path), "requests are refused until it can be, or until another audit device works"
	if s.delivery == required {
		hint = "requests are refused until it can be: it is a required one"
	}
	if s.home != "" {
		name += " of the namespace " + s.home
		hint += "; who has sudo there removes it with: strongroom audit disable -namespace=" + strings.TrimSuffix(s.home, "/") + " " + s.path
	}
	var known *api.Error
	switch {
	case !errors.As(err, &known) || known.Hint == "":
	case known.Kind == api.Damaged:
		hint = known.Hint
	default:
		hint = known.Hint + "; " + hint
	}
	return &api.Error{
		Kind:    api.Unavailable,
		Message: fmt.Sprintf("audit device %s cannot be written: %s", name, cause(err)),
		Hint:    hint,
		Err:     err,

		RetryAfter: api.Stays,
	}
}

// cause is what a caller may know of a sink's failure: no path and no address.
func cause(err error) string {
	var no syscall.Errno
	var known *api.Error
	switch {
	case distrusted(err):
		return "its certificate is not trusted"
	case errors.As(err, &known):
		return known.Message
	}
	for _, plain := range []error{errClosed, errBacklog, errSlow, errDeleted, errLink, errNotRegular, errForeign, errSpoolFull, errSpoolGone, errSpoolTaken, errSpoolDamaged, context.Canceled} {
		if errors.Is(err, plain) {
			return plain.Error()
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errSlow.Error()
	case errors.As(err, &no):
		return no.Error()
	}
	return "input/output error"
}

// distrusted reports whether a peer has a certificate that waiting does not mend.
func distrusted(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(err, &untrusted)
}
