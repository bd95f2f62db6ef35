// Package gate owns the way of a request: every request of every door takes
// the same steps in the same order, so that no engine can forget one.
//
// The steps: make sure that what this node remembers is fresh; find namespace,
// mount and endpoint; identify the caller; count the request against its rate limit;
// authorise by policy; write the request down; call the handler; write the answer down; answer. A request is
// written down before it is acted on and its answer before it is sent; if it
// cannot be, it is refused.
//
// A caller learns the same "permission denied" from having no token, a bad
// token or too few rights, whether or not what was asked for exists.
package gate

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/quota"
	"github.com/strongroom/strongroom/internal/settings"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// Request is what a door hands in. The door has bounded and parsed the body;
// nothing in it has been judged yet.
type Request struct {
	ID        string // UUID that names the request in logs and answers
	Namespace string // path of the namespace, from the root; may be empty
	Path      string // below the namespace, not yet canonical; may begin with further namespaces
	Op        api.Op
	Body      api.Body
	Upload    io.Reader // the body as it comes, where Uploads says so; else nil
	Token     api.Secret
	Peer      []*x509.Certificate // see api.Call
	Basic     *api.Basic          // likewise
	Remote    netip.AddrPort
	Headers   http.Header
	WrapTTL   time.Duration // of the wrapped answer that is asked for; 0: not wrapped
	WrapJWT   bool          // the wrapping token is asked for as a JWT
	Help      bool          // asks for the endpoint's help instead of its answer
	Filter    bool          // asks that a list hold only what the caller may do something with
}

// Response is the answer for the door to put into its dialect's form.
type Response struct {
	RequestID     string
	Namespace     string // path of the namespace it ran in
	MountType     string
	Flags         api.Flag
	Data          []byte // the handler's answer as JSON; nil: it had nothing to say
	Raw           *api.Raw
	Auth          *api.Auth
	Wrap          *api.WrapInfo // where the answer is kept; nil: it is here
	LeaseID       string        // of what is lent with the answer; empty: nothing
	Renewable     bool          // of the lease
	LeaseDuration time.Duration
	Warnings      []string
	Err           error      // an *api.Error, or internal
	ErrData       []byte     // JSON that accompanies the error; nil: none
	Takes         []api.Op   // where the error is Unsupported: what the path takes; else nil
	Allowance     *Allowance // of the rate limit that the request has met; nil: it is not told
	// Sent is for the door to run, once, when it has sent the answer, or failed to:
	// see api.Call.Sent.
	Sent []func(ok bool)
}

// Allowance is what a rate limit leaves to a client.
type Allowance struct {
	Limit     int64 // requests in an interval
	Remaining int64 // that may be made now
	Reset     int64 // seconds until there is room for one more; 0: there is
}

// Gate takes requests while the server is sealed and open.
type Gate struct {
	sealed *api.Router // endpoints that answer in either state
	house  atomic.Pointer[House]
	log    *slog.Logger
	now    func() time.Time
	ready  func() bool // the store has been initialised

	ending  chan struct{} // closed by endOnce
	endOnce func()
	flight  flight
	away    atomic.Int64 // when it was last logged that the store is away, in nanoseconds since 1970
	uses    uses
	asking  asking

	observer Observer // nil: nobody is told
}

// New makes a gate of the endpoints that answer also while the server is
// sealed; their patterns are relative to sys/.
func New(sealed *api.Router, initialised func() bool, log *slog.Logger, now func() time.Time) *Gate {
	g := &Gate{sealed: sealed, log: log, now: now, ready: initialised, ending: make(chan struct{})}
	g.endOnce = sync.OnceFunc(func() { close(g.ending) })
	return g
}

// House is everything that a request needs once the server is unsealed.
type House struct {
	Cache      *store.Cache
	Data       store.Store // the encrypted store
	Namespaces *namespace.Registry
	Mounts     *mount.Mounts
	Policies   *policies.Store
	Tokens     *token.Store
	Audit      *audit.Broker
	Branches   *audit.Tree // of namespaces below the root; nil: they have no audit devices
	Wrapping   *wrapping.Store
	Settings   *settings.Store
	Identity   *identity.Store
	MFA        *mfa.Store
	Quotas     *quota.Store
	Attempts   api.Attempts // nil: wrong credentials are not counted
	Passwords  api.Passwords
	Upkeep     api.Scheduler // what handlers ask for with Call.Later
	Leases     *lease.Store
	Refusals   Refusals // of this node, for sys/policies/explain
	// Alone says that no other node serves from the store.
	Alone bool
	// Recalled reports whether the node has been ordered to seal, as of no earlier
	// than the cache's last Fresh.
	Recalled func(context.Context) (bool, error)
	// CatchUp makes what this node holds open, its audit devices, what the store says,
	// as of no earlier than the cache's last Fresh.
	CatchUp func(context.Context) error
	// Confine is the context in which a namespace's auth methods ask others: within what the operator
	// lets it reach. Nil: anything.
	Confine func(ctx context.Context, namespaceID string) context.Context
	// ConditionHeaders are the headers of a request that conditions of policies
	// may weigh. Clients choose what stands in them.
	ConditionHeaders []string
	// Help describes, as JSON, what answers on a path pattern of a mount; with no
	// pattern, what there is in it.
	Help func(m *mount.Entry, pattern string) ([]byte, error)
}

// confined is the context in which what answers a call, of its namespace, asks others.
func (h *House) confined(c *api.Call) context.Context {
	if h.Confine == nil {
		return c.Context
	}
	return h.Confine(c.Context, c.Namespace.ID)
}

// Open lets requests into a house; nil closes the gate.
func (g *Gate) Open(h *House) { g.house.Store(h) }

// Settings are how doors behave towards browsers; nil while the server is
// sealed. deciding says that they decide something: they are then no older than
// any change that was acknowledged before the call.
func (g *Gate) Settings(ctx context.Context, deciding bool) (*settings.Settings, error) {
	h := g.house.Load()
	switch {
	case h == nil:
		return nil, nil
	case deciding:
		return h.Settings.Fresh(ctx)
	}
	return h.Settings.Current(ctx)
}

// errSealed is what every request meets while the server is sealed.
func (g *Gate) errSealed() *api.Error {
	if !g.ready() {
		return &api.Error{Kind: api.Unavailable, Message: "Vault is not initialized", Hint: "run: strongroom operator init", RetryAfter: api.Stays}
	}
	return &api.Error{Kind: api.Unavailable, Message: "Vault is sealed", Hint: "run: strongroom operator unseal", RetryAfter: api.Stays}
}

// serve takes one request through all steps.
func (g *Gate) serve(ctx context.Context, r *Request) *Response {
	if resp := g.serveSealed(ctx, r); resp != nil {
		return resp
	}
	h := g.house.Load()
	if h == nil {
		return &Response{RequestID: r.ID, Err: g.errSealed()}
	}
	p := &passage{gate: g, house: h, r: r, resp: &Response{RequestID: r.ID}}
	ctx, p.trace = store.Traced(ctx)
	p.call = api.Call{Context: ctx, RequestID: r.ID, Now: g.now(), Remote: r.Remote.Addr(), WrapTTL: r.WrapTTL, WrapJWT: r.WrapJWT, Upkeep: h.Upkeep,
		Peer: r.Peer, Basic: r.Basic, Passwords: h.Passwords}
	if h.Attempts != nil {
		p.call.Attempts = (*attempts)(p)
	}
	g.flight.begin(p)
	defer g.flight.end(p)
	if err := p.run(); err != nil {
		p.fail(err)
	}
	p.resp.Warnings, p.resp.Sent = p.call.Warnings(), p.call.TakeSent()
	return p.resp
}

// serveSealed answers the few endpoints that need neither store nor token. They
// speak of the node, so a namespace in the header, whether there is one or not,
// changes nothing.
func (g *Gate) serveSealed(ctx context.Context, r *Request) *Response {
	rest, ok := strings.CutPrefix(r.Path, "sys/")
	if !ok || r.Help {
		return nil
	}
	m, err := g.sealed.Match(r.Op, rest)
	if err != nil {
		return nil
	}
	p := &passage{gate: g, r: r, match: m, resp: &Response{RequestID: r.ID, Flags: m.Endpoint.Flags}}
	ctx, p.trace = store.Traced(ctx)
	p.call = api.Call{Context: ctx, RequestID: r.ID, Now: g.now(), Remote: r.Remote.Addr(), Path: m.Path, Upload: r.Upload}
	p.note(p.serveBare())
	p.resp.Warnings = p.call.Warnings()
	return p.resp
}

// Uploads reports whether a request's body is to be handed in as it comes, unread.
func (g *Gate) Uploads(r *Request) bool {
	rest, ok := strings.CutPrefix(r.Path, "sys/")
	if !ok || r.Op != api.Write {
		return false
	}
	m, err := g.sealed.Match(r.Op, rest)
	return err == nil && m.Endpoint.Has(api.Upload)
}

// serveBare answers without any step but the handler.
func (p *passage) serveBare() error {
	if p.r.WrapTTL != 0 {
		return errWrap()
	}
	if err := p.decode(); err != nil {
		return err
	}
	return p.dispatch()
}

// Client names whom a token stands for, so that a door can share out what it has:
// by the token's accessor or, where it has none, by the address. It reports false
// unless the token may be used at this moment from the address. A wrapping token
// is never a caller and counts as none. It is no authorisation.
func (g *Gate) Client(ctx context.Context, text api.Secret, from netip.Addr) (who string, known bool) {
	h := g.house.Load()
	if h == nil || text.Empty() {
		return "", false
	}
	if _, err := h.Cache.Fresh(ctx); err != nil {
		return "", false
	}
	t, err := h.Tokens.Lookup(ctx, text.Reveal(), g.now())
	if err != nil || t.Wrapping() || !t.AllowedFrom(from) {
		return "", false
	}
	if _, err := h.standing(ctx, t); err != nil {
		return "", false
	}
	if t.Accessor == "" {
		return Neighbourhood(from).String(), true
	}
	return t.Accessor, true
}

// Neighbourhood is the addresses that count as one client: an IPv4 address alone,
// and of IPv6 the 64 bits that name a network, since whoever has one address of it
// has them all.
func Neighbourhood(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	p, err := a.Prefix(min(a.BitLen(), 64))
	if err != nil {
		return netip.Prefix{} // no address at all
	}
	return p
}
