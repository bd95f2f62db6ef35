package audit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Broker writes entries to the sinks there are. Those can be replaced while
// requests are being written. With no sinks nothing is written and all is
// allowed. It is safe for concurrent use.
type Broker struct {
	set      atomic.Pointer[set]
	entries  sync.Pool   // of *Entry
	refusing atomic.Bool // the last entry could not be written down
}

// set is sinks that do not change, and the formats that they share.
type set struct {
	sinks    []*Sink
	formatOf []int // of each sink: index in formats
	formats  []format
	headers  []header
	routing
}

// NewBroker makes a broker without sinks.
func NewBroker() *Broker {
	b := &Broker{}
	b.entries.New = func() any { return &Entry{broker: b} }
	b.set.Store(&set{})
	return b
}

// Entry is an empty entry to fill in, log and release.
func (b *Broker) Entry() *Entry { return b.entries.Get().(*Entry) }

// Replace sets the sinks, and the request headers that entries show: by name,
// with whether the value is hashed. Sinks that are no longer among them are
// the caller's to close. Headers that carry credentials are always hashed.
func (b *Broker) Replace(sinks []*Sink, headers map[string]bool) {
	b.set.Store(newSet(slices.Clone(sinks), headers))
}

func newSet(sinks []*Sink, headers map[string]bool) *set {
	s := &set{sinks: sinks}
	for _, sink := range sinks {
		i := slices.IndexFunc(s.formats, sink.format.equal)
		if i < 0 {
			i = len(s.formats)
			s.formats = append(s.formats, sink.format)
		}
		s.formatOf = append(s.formatOf, i)
	}
	for name, hashed := range headers {
		key := http.CanonicalHeaderKey(name)
		s.headers = append(s.headers, header{strings.ToLower(name), key, hashed || isCredential(key)})
	}
	slices.SortFunc(s.headers, func(a, b header) int { return cmp.Compare(a.name, b.name) })
	s.routing = route(sinks)
	return s
}

func isCredential(key string) bool {
	switch key {
	case "Authorization", "Proxy-Authorization", "Cookie", "X-Vault-Token", "X-Strongroom-Token", "X-Vault-Mfa":
		return true
	}
	return false
}

// LogRequest writes the request down, before it is acted on. failure is why it
// is not going to be, if that is so. The error is Unavailable and names the
// sink; the request must then be refused.
func (b *Broker) LogRequest(ctx context.Context, now time.Time, e *Entry, failure error) error {
	return b.log(ctx, now, e, nil, failure)
}

// LogResponse writes the answer down, before it is sent. The error is
// Unavailable and names the sink; the answer must then be withheld.
func (b *Broker) LogResponse(ctx context.Context, now time.Time, e *Entry, r *Response) error {
	return b.log(ctx, now, e, r, r.Err)
}

// log writes an entry to the sinks of the moment, and to those of the namespaces that it
// is for besides.
func (b *Broker) log(ctx context.Context, now time.Time, e *Entry, r *Response, failure error) error {
	if err := b.write(ctx, now, e, r, failure); err != nil || len(e.also) == 0 {
		return err
	}
	return e.writeBelow(ctx, now, r, failure)
}

// write writes an entry to the sinks of the moment: of the answer when there is
// one, else of the request. A sink that was disabled meanwhile is no failure:
// the entry goes to those that have taken over.
func (b *Broker) write(ctx context.Context, now time.Time, e *Entry, r *Response, failure error) error {
	for {
		s := b.set.Load()
		if len(s.sinks) == 0 {
			b.note(nil)
			return nil
		}
		e.prepare(s)
		e.build(now, r, failure)
		err := s.write(ctx, e, kindOf(r), failure)
		if err == nil || !errors.Is(err, errClosed) || b.set.Load() == s {
			b.note(err)
			return err
		}
	}
}

// note remembers whether entries are taken. A request that was given up says
// nothing about that.
func (b *Broker) note(err error) {
	if refusing := err != nil; refusing != b.refusing.Load() && !errors.Is(err, context.Canceled) {
		b.refusing.Store(refusing)
	}
}

// Check is why requests are refused, or nil when the last entry was taken. While
// they are, it tries with an entry of its own, so that a device which works again
// is found without any traffic.
func (b *Broker) Check(ctx context.Context, now time.Time, requestID string) error {
	if !b.refusing.Load() {
		return nil
	}
	e := b.Entry()
	defer e.Release()
	e.Request = Request{ID: requestID, Operation: "read", Namespace: api.Namespace{ID: "root"}, Path: "sys/health"}
	return b.LogRequest(ctx, now, e, nil)
}

// Reopen has every sink open its file or connection anew, as after the
// rotation of a log. A sink that cannot be opened is tried again at each write.
func (b *Broker) Reopen() error {
	var errs []error
	for _, s := range b.set.Load().sinks {
		if err := s.line.out.reopen(); err != nil {
			errs = append(errs, s.unavailable(err))
		}
	}
	return errors.Join(errs...)
}

// Status is how one sink fares.
type Status struct {
	Path string
	Err  error  // of the last write; nil: it succeeded
	Lost uint64 // entries that this sink did not take since it was opened
}

// Status is how every sink fares.
func (b *Broker) Status() []Status {
	sinks := b.set.Load().sinks
	out := make([]Status, len(sinks))
	for i, s := range sinks {
		err, lost := s.line.status()
		if err != nil {
			err = s.unavailable(err)
		}
		out[i] = Status{s.path, err, lost}
	}
	return out
}

// kindOf is the type of an entry: of the answer's when there is one.
func kindOf(r *Response) string {
	if r == nil {
		return "request"
	}
	return "response"
}

// prepare has the entry's parts built for the formats of s.
func (e *Entry) prepare(s *set) {
	if e.set == s {
		return
	}
	e.set = s
	for len(e.parts) < len(s.formats) {
		e.parts = append(e.parts, part{})
		e.lines = append(e.lines, nil)
	}
	for i, f := range s.formats {
		b := builder{out: append(e.parts[i].json[:0], '{'), format: f, mac: f.key.mac(), limit: e.limits(), headers: s.headers}
		b.auth(&e.Auth)
		e.parts[i].auth = len(b.out)
		b.request(e)
		f.key.macs.Put(b.mac)
		e.parts[i].json = b.out
	}
}

// build makes the line for each format.
func (e *Entry) build(now time.Time, r *Response, failure error) {
	for i, f := range e.set.formats {
		b := builder{out: append(append(e.lines[i][:0], f.prefix...), '{'), format: f, mac: f.key.mac(), limit: e.limits()}
		b.time("time", now, time.RFC3339Nano)
		if r == nil {
			b.text("type", "request")
			b.part(&e.parts[i])
		} else {
			b.answer(e, &e.parts[i], r)
		}
		b.failure(failure)
		f.key.macs.Put(b.mac)
		e.lines[i] = append(b.out, '}', '\n')
	}
}

// part appends the members that the request's entry and the answer's share.
func (b *builder) part(p *part) {
	b.out = append(append(b.out, ','), p.json[1:]...)
}

// answer appends an answer's entry. After a login the caller is the one who
// has logged in.
func (b *builder) answer(e *Entry, p *part, r *Response) {
	b.text("type", "response")
	if r.Auth != nil && e.Auth.ClientToken.Empty() {
		b.login(r.Auth)
		b.out = append(b.out, p.json[p.auth:]...)
	} else {
		b.part(p)
	}
	b.response(r, &e.Request)
}
