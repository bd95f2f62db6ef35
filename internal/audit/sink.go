package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Declaration is one audit device as it was enabled. Accessor and Key are
// given to it by Complete.
type Declaration struct {
	Path        string // with a trailing slash; names the sink
	Type        string // file, stdout or socket
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
	// Headers are the request headers that entries show: by name, with whether the
	// value is hashed. Those that carry credentials always are.
	Headers map[string]bool
	// AllowRaw lets a declaration ask for log_raw.
	AllowRaw bool
}

// Sink is one opened audit device.
type Sink struct {
	path   string
	line   *line
	format format
	remote bool // may hang: other sinks are not kept waiting for it
}

// Open opens a declared device. An Invalid *api.Error names the option that is
// wrong. That a file or peer is out of reach is no error of Open: each write
// tries again.
func Open(d *Declaration, env Env) (*Sink, error) {
	s := &Sink{path: d.Path, format: format{key: d.Key}}
	o := options{given: d.Options, configured: d.Configured, env: env}
	out, err := s.open(d.Type, &o)
	if err != nil {
		return nil, err
	}
	s.line = newLine(out)
	return s, nil
}

func (s *Sink) open(kind string, o *options) (out output, err error) {
	switch kind {
	case "file":
		out, err = o.file()
	case "stdout":
		out, err = o.stdout()
	case "socket":
		s.remote = true
		out, err = o.socket()
	case "":
		return nil, &api.Error{Kind: api.Invalid, Message: "missing type", Hint: "one of file, stdout, socket"}
	default:
		return nil, &api.Error{Kind: api.Invalid, Message: "type: there is no such audit device", Hint: "one of file, stdout, socket"}
	}
	if err != nil {
		return nil, err
	}
	return out, o.format(&s.format)
}

// refused is a device that must not be opened: all that is written to it fails.
type refused struct{ err error }

func (r refused) write([]byte) error { return r.err }
func (r refused) reopen() error      { return nil }
func (r refused) ready() error       { return r.err }
func (r refused) close() error       { return nil }

// refuse is a sink that stands for a declaration which Open does not take.
func refuse(d *Declaration, err error) *Sink {
	return &Sink{path: d.Path, format: format{key: d.Key}, line: newLine(refused{err})}
}

// probe writes an entry that says that the sink is being enabled.
func (s *Sink) probe(ctx context.Context, now time.Time, id string) error {
	e := Entry{Request: Request{ID: id, Operation: "update", Namespace: api.Namespace{ID: "root"}, Path: "sys/audit/test"}}
	e.prepare(newSet([]*Sink{s}, nil))
	e.build(now, nil, nil)
	return s.line.put(ctx, e.lines[0])
}

// Path is the sink's name, with a trailing slash.
func (s *Sink) Path() string { return s.path }

// unavailable is the answer to a request that cannot be written down.
func unavailable(path string, err error) *api.Error {
	return &api.Error{
		Kind:    api.Unavailable,
		Message: fmt.Sprintf("audit sink %q cannot be written: %s", path, cause(err)),
		Hint:    "requests are refused until it can be, or until another audit sink works",
		Err:     err,
	}
}

// cause is what a caller may know of a sink's failure: no path and no address.
func cause(err error) string {
	var no syscall.Errno
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return known.Message
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errSlow.Error()
	case errors.As(err, &no):
		return no.Error()
	}
	for _, plain := range []error{errClosed, errBacklog, errSlow, errLink, errNotRegular, context.Canceled} {
		if errors.Is(err, plain) {
			return plain.Error()
		}
	}
	return "input/output error"
}
