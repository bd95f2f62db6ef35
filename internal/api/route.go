package api

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Flag marks what is special about an endpoint.
type Flag uint16

// The flags.
const (
	Public   Flag = 1 << iota // needs no token
	Sudo                      // needs the sudo capability
	Bare                      // the answer is the response itself, with no envelope
	Flat                      // the envelope repeats the response's fields at top level
	RootOnly                  // exists in the root namespace only
	Sealed                    // answers also while the server is sealed
	Open                      // takes a token but asks no policy: the handler decides what is shown
	Hidden                    // left out of the documentation: it answers what the surface does not have
	Rescue                    // answers who may disable audit devices also when none takes the request: the server's log does
	Bearer                    // is about a token: where the request names none, the one that was presented, and no policy is asked
	Self                      // is about the calling token: it is answered in that token's namespace, whichever is asked, and policies see the path so
	Veiled                    // the keys of its list give power, as accessors do: the audit log hashes them
	Upload                    // takes the body of a request as it comes, in Call.Upload, whatever its size; only where it answers also while the server is sealed
	Unlock                    // answers also in a namespace that is locked
	Asks                      // may ask others over the network for whoever sends a request: no more than so many are served at once
)

// Route is one declared endpoint of an engine or domain E, not yet bound to one.
type Route[E any] struct {
	op      Op
	pattern string
	flags   Flag
	req     reflect.Type
	resp    reflect.Type
	name    string
	bind    func(E) (call, exists func(*Call, any) (any, error))
}

// Handle declares an endpoint: an operation on a path pattern, answered by fn.
// A pattern has literal segments, {name} for one segment and, last or before
// one literal, {name...} for any number of them; each placeholder fills the request field
// with that path tag. fn returns a nil response for "done, nothing to say".
func Handle[E, Req, Resp any](op Op, pattern string, fn func(E, *Call, *Req) (*Resp, error), flags ...Flag) Route[E] {
	r := Route[E]{op: op, pattern: pattern, req: reflect.TypeFor[Req](), resp: reflect.TypeFor[Resp](), name: nameOf(fn)}
	for _, f := range flags {
		r.flags |= f
	}
	r.bind = func(e E) (call, exists func(*Call, any) (any, error)) {
		return func(c *Call, req any) (any, error) {
			resp, err := fn(e, c, req.(*Req))
			if resp == nil {
				return nil, err
			}
			return resp, err
		}, nil
	}
	return r
}

// nameOf is a method's name with package and receiver, such as token.Store.Renew, or a
// generic function's with its package: the key of its lifted comment.
func nameOf(fn any) string {
	full := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
	full, _, _ = strings.Cut(full, "[") // type arguments, which hold slashes
	full = full[strings.LastIndexByte(full, '/')+1:]
	return strings.NewReplacer("(*", "", ")", "").Replace(strings.TrimSuffix(full, "-fm"))
}

// Upsert declares a Write that the policy judges as create when exists answers
// false and as update when it answers true.
func Upsert[E, Req, Resp any](pattern string, fn func(E, *Call, *Req) (*Resp, error), exists func(E, *Call, *Req) (bool, error), flags ...Flag) Route[E] {
	r := Handle(Write, pattern, fn, flags...)
	bind := r.bind
	r.bind = func(e E) (call, ex func(*Call, any) (any, error)) {
		call, _ = bind(e)
		return call, func(c *Call, req any) (any, error) { return exists(e, c, req.(*Req)) }
	}
	return r
}

// None is the request or response of an endpoint that has none.
type None struct{}

// Form is what an endpoint's answer looks like.
type Form uint8

// The forms of answer.
const (
	Nothing  Form = iota // done, nothing to say
	Data                 // fields, which Response describes
	Login                // an Auth
	Document             // a Raw: bytes with a content type of their own
	Whole                // an Answer: of whatever form it had
	Wrapped              // a WrapInfo
)

func formOf(t reflect.Type) Form {
	switch t {
	case typeRaw:
		return Document
	case typeAuth:
		return Login
	case reflect.TypeFor[Answer]():
		return Whole
	case reflect.TypeFor[WrapInfo]():
		return Wrapped
	case reflect.TypeFor[None]():
		return Nothing
	}
	return Data
}

// Endpoint is a route bound to its engine: what the gate dispatches to and
// what documentation is derived from.
type Endpoint struct {
	Op       Op
	Pattern  string // relative to the mount
	Flags    Flag
	Request  *Schema
	Response *Schema // nil where Answer is not Data
	Answer   Form
	Handler  string // package, type and method, the key of its lifted comment

	params []string // names of the pattern's placeholders
	call   func(*Call, any) (any, error)
	exists func(*Call, any) (any, error)
}

// Landing is an endpoint that takes nothing and is never invoked: what a request
// for the help of a whole mount is about.
func Landing() *Endpoint {
	return &Endpoint{Op: Read, Request: &Schema{Shape: &Shape{}, typ: reflect.TypeFor[None]()}}
}

// Has reports whether a flag is set.
func (e *Endpoint) Has(f Flag) bool { return e.Flags&f != 0 }

// Invoke calls the handler with a request that Request.Decode made. A handler
// that panics is the gate's to catch.
func (e *Endpoint) Invoke(c *Call, req any) (any, error) { return e.call(c, req) }

// NamesLoginRole reports whether requests may name a role to log in by.
func (e *Endpoint) NamesLoginRole() bool {
	return reflect.PointerTo(e.Request.typ).Implements(reflect.TypeFor[LoginRole]())
}

// CanCreate reports whether the endpoint tells a create from an update.
func (e *Endpoint) CanCreate() bool { return e.exists != nil }

// Exists reports whether what a Write names exists already; true when the
// endpoint does not tell a create from an update.
func (e *Endpoint) Exists(c *Call, req any) (bool, error) {
	if e.exists == nil {
		return true, nil
	}
	v, err := e.exists(c, req)
	ok, _ := v.(bool)
	return ok, err
}

// Bind binds an engine's routes to the engine. It returns an error when a
// request or response type cannot be carried by the wire or does not fit its
// pattern, so that a wrong declaration fails at start, and in every test.
func Bind[E any](engine E, routes []Route[E]) ([]*Endpoint, error) {
	out := make([]*Endpoint, 0, len(routes))
	for _, r := range routes {
		req, err := schemaOf(r.req)
		if err != nil {
			return nil, fmt.Errorf("%s %s: request: %w", r.op, r.pattern, err)
		}
		resp, err := responseSchema(r.resp)
		if err != nil {
			return nil, fmt.Errorf("%s %s: response: %w", r.op, r.pattern, err)
		}
		ep := &Endpoint{Op: r.op, Pattern: r.pattern, Flags: r.flags, Request: req, Response: resp, Answer: formOf(r.resp), Handler: r.name}
		ep.params = placeholders(r.pattern)
		ep.call, ep.exists = r.bind(engine)
		if err := checkPattern(ep); err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.op, r.pattern, err)
		}
		out = append(out, ep)
	}
	return out, nil
}

// Engine is one row of the table of secret engines or auth methods.
type Engine struct {
	Type        string // as in `secrets enable TYPE`
	Auth        bool   // an auth method
	Description string
	Endpoints   []*Endpoint
	// CheckOptions judges mount options at enable and tune; nil takes none.
	CheckOptions func(options map[string]string) error
	// Variant picks the endpoints for a mount's options, where one type has
	// several views (kv version 1 and 2); nil: Endpoints.
	Variant func(options map[string]string) []*Endpoint
	// Upkeep erases what handlers that came to no end have left in a mount's store.
	// It runs when Call.Later said, and may run at any time, on several nodes at
	// once; nil: there is nothing to do.
	Upkeep func(ctx context.Context, mount store.Store, now time.Time) error
	// Leases are the kinds of lease that the engine's answers ask for.
	Leases map[string]LeaseKind
	// Renew has a say in renewals of the auth method's tokens; nil: they are renewed
	// within their terms.
	Renew Renewer
	// Spell is the auth method's canonical spelling of the name of an alias, as its
	// logins give it in Alias.Name; nil: every spelling is another name.
	Spell func(name string) string
	// Spelling is Spell where the settings of a mount, in its store, have a say.
	Spelling func(ctx context.Context, mount store.Store, name string) (string, error)
}
