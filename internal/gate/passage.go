package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/quota"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// passage is one request's way through the gate.
type passage struct {
	gate  *Gate
	house *House
	r     *Request
	call  api.Call
	resp  *Response

	path     string // canonical, relative to the namespace
	ns       *namespace.Namespace
	mount    *mount.Entry
	match    api.Match
	lost     error                // why no endpoint was found
	locked   *namespace.Namespace // what keeps requests out of the namespace; nil: nothing
	missing  error                // why the namespace that answers is none
	token    *token.Token
	stands   *standing // of the token
	issued   *api.Auth // the token that was made for a login; nil: none
	waits    bool      // the login waits for a second factor
	proven   bool      // the login took a second factor
	overdone bool      // a credential was not looked at, as too many were wrong
	role     *string   // that the login is by; nil: nobody has asked yet
	using    holder    // the token, when its uses are limited
	spent    bool      // this is the token's last use
	req      any       // decoded
	unknown  []string  // names of parameters that the request has no field for
	misread  error     // why the body did not decode
	page     int       // most keys of a list that is filtered; 0: all
	decision policy.Decision
	acl      *policy.ACL
	facts    *policy.Facts  // nil where no policy has a condition
	asked    policy.Request // what decision answers
	result   any
	lent     *lease.Lease // with the answer; nil: nothing
	began    store.Moment // what the request has to see
	limited  *quota.Plan  // by which it is refused for its rate; nil: it is not
	acted    bool         // the handler was called
	trace    *store.Trace // of the commits since then

	before, after *passage // in flight
}

// run takes the steps in their order.
func (p *passage) run() (err error) {
	defer p.leave()
	defer p.recovered(&err)
	if err := p.step("fresh", (*passage).freshen); err != nil {
		return p.unreachable(err)
	}
	p.call.Context = store.Confirmed(p.call.Context, p.began)
	if err := p.step("locate", (*passage).locate); err != nil {
		return err
	}
	refused := p.step("identify", (*passage).identify)
	if p.limited != nil && p.limited.Audits() {
		return p.audited(refused)
	}
	if refused != nil && api.KindOf(refused) != api.Denied {
		return refused
	}
	p.understand()
	if refused == nil {
		refused = p.step("authorise", (*passage).authorise)
	}
	if refused == nil {
		refused = p.roomy()
	}
	return p.audited(refused)
}

// public reports whether no policy is asked: the endpoint needs no token, or
// decides for itself what a token shows. That a name in its path is malformed
// does not change that.
func (p *passage) public() bool {
	e := p.match.Endpoint
	return e != nil && (e.Has(api.Public|api.Open) || p.bearer()) && (p.lost == nil || api.KindOf(p.lost) == api.Invalid)
}

// bearer reports whether the token that was presented is itself what the endpoint
// is asked about: the request names no other.
func (p *passage) bearer() bool {
	if !p.match.Endpoint.Has(api.Bearer) {
		return false
	}
	named := strings.Trim(string(p.r.Body.Get("token")), `"`)
	return named == "" || named == "null" || p.r.Token.Equal(api.NewSecret(named))
}

// shut reports whether the path lies in an auth method whose row is damaged. Who logs
// in shows no token, and must learn that it is not the password that is wrong: which methods there
// are is no secret.
func (p *passage) shut() bool {
	return p.mount != nil && p.mount.Auth() && !p.mount.Builtin && p.mount.Refusal() != nil
}

// barred reports whether a token may not be used for this request at all. A
// wrapping token is never a caller; trying costs it nothing.
func (p *passage) barred(t *token.Token, owner *namespace.Namespace) bool {
	return owner == nil || owner.Deleting || t.Wrapping() || !t.AllowedFrom(p.call.Remote) ||
		p.ns != nil && !strings.HasPrefix(p.ns.Path, owner.Path) && !p.returns(owner)
}

// returns reports whether a request that is about its token alone goes on in the
// token's namespace, though one above was asked: clients look up, renew and end the
// token of a login without naming the login's namespace. One beside is refused, as one
// that does not exist is.
func (p *passage) returns(owner *namespace.Namespace) bool {
	return p.lost == nil && p.mount != nil && p.mount.Path == "auth/token/" && p.match.Endpoint.Has(api.Self) &&
		p.ns.ID != owner.ID && strings.HasPrefix(owner.Path, p.ns.Path)
}

// identify finds the token's owner, and asks the rate limits before a use of the
// token is counted: who is to try again must be able to. Public endpoints need no token; one
// that is Open, too, takes a token that may not be used for none.
func (p *passage) identify() error {
	err := p.indulge(p.owner())
	if err != nil && api.KindOf(err) != api.Denied {
		return err
	}
	if limited := p.throttle(err); limited != nil {
		return limited
	}
	if err != nil || p.token == nil {
		return err
	}
	return p.indulge(p.spend())
}

// indulge lets those who show a token that may not be used ask as strangers where
// strangers may.
func (p *passage) indulge(err error) error {
	if p.token == nil && api.KindOf(err) == api.Denied && p.public() && p.match.Endpoint.Flags&(api.Public|api.Open) == api.Public|api.Open {
		return nil
	}
	return err
}

func (p *passage) owner() error {
	if p.shut() {
		return nil
	}
	if p.public() && (p.r.Token.Empty() || !p.match.Endpoint.Has(api.Open)) {
		if p.mount.Builtin && p.match.Endpoint.Has(api.Bearer) {
			p.call.Caller.Token = p.r.Token
		}
		return nil
	}
	if p.r.Token.Empty() {
		return api.ErrDenied()
	}
	t, err := p.house.Tokens.Lookup(&p.call, p.r.Token.Reveal(), p.call.Now)
	if err != nil {
		return err
	}
	owner, err := p.house.Namespaces.ByID(&p.call, t.NamespaceID)
	if err != nil {
		return err
	}
	if p.barred(t, owner) {
		return api.ErrDenied()
	}
	sealed, locked, err := p.house.Namespaces.Closed(&p.call, owner)
	if err != nil || sealed != nil {
		return p.closedBy(sealed, err)
	}
	if p.ns != nil && p.returns(owner) {
		p.ns, p.locked, p.resp.Namespace, p.call.Namespace = owner, locked, owner.Path, owner.API()
	}
	stands, err := p.house.standing(&p.call, t)
	if err != nil {
		return err
	}
	if err := p.uncrowded(stands); err != nil {
		return err
	}
	p.token, p.stands = t, stands
	p.call.Caller = api.Caller{TokenID: t.ID, Accessor: t.Accessor, DisplayName: t.DisplayName,
		Policies: stands.names(), Namespace: owner.API(), Batch: t.Type == token.Batch}
	if stands.who != nil {
		p.call.Caller.EntityID, p.call.Caller.EntityNamespace, p.call.Caller.EntityEpoch = stands.who.ID, t.EntityNamespace(), stands.who.Epoch()
	}
	if p.mount != nil && p.mount.Builtin {
		p.call.Caller.Token = p.r.Token // engines never see it (CVE-2026-4525)
	}
	p.acl = stands.acl
	return nil
}

// spend counts a use of the token. One that has none left is no caller.
func (p *passage) spend() (err error) {
	t := p.token
	if t.NumUses != 0 {
		p.using = holder{t.NamespaceID, t.ID}
		p.gate.uses.begin(p.using) // before the use is counted, so that whoever has the last one knows of it
	}
	if p.spent, err = p.house.Tokens.Use(&p.call, t); err != nil {
		p.token, p.stands, p.acl, p.facts, p.call.Caller = nil, nil, nil, nil, api.Caller{}
		return err
	}
	if err := p.atHome(); err != nil {
		return err
	}
	return p.gather()
}

// closedBy is why a token of a sealed namespace is of no use now.
func (p *passage) closedBy(sealed *namespace.Namespace, err error) error {
	if err != nil {
		return err
	}
	return namespace.ErrSealed(sealed)
}

// atHome has what is about the calling token answered by the mount of the token's
// own namespace, whichever was asked: its limits apply, and what a token keeps for
// itself lies where its revocation finds it. Nothing is kept there for a token that
// is dead.
func (p *passage) atHome() error {
	if p.lost != nil || p.mount == nil || !p.match.Endpoint.Has(api.Self) {
		return nil
	}
	table, err := p.house.Mounts.Table(&p.call, p.token.NamespaceID)
	if err != nil {
		return err
	}
	e := table.Get(p.mount.Path)
	if e != nil && e.Refusal() != nil {
		p.lost = e.Refusal()
		return nil
	}
	if e == nil || e.Type != p.mount.Type {
		p.lost = noRoute()
		return nil
	}
	p.mount, p.call.Mount = e, e.API()
	p.call.Store = store.Sub(p.house.Tokens.While(p.token), e.Prefix(p.token.NamespaceID))
	return nil
}

// understand decodes the request, if that has not been done.
func (p *passage) understand() {
	if p.lost == nil && !p.r.Help && p.req == nil && p.misread == nil {
		p.misread = p.decode()
	}
}

// decode makes the typed request.
func (p *passage) decode() error {
	req, unknown, err := p.match.Endpoint.Decode(&p.match, p.r.Body)
	if err != nil {
		return err
	}
	p.req, p.unknown = req, unknown
	return nil
}

// authorise asks the policies. It returns Denied before anything that would
// tell whether the thing exists.
func (p *passage) authorise() error {
	if p.shut() {
		return p.lost
	}
	if p.public() {
		return p.open()
	}
	if p.ns == nil {
		return p.nowhere()
	}
	failed := p.decide()
	p.call.Caller.Root, p.call.Caller.Sudo = p.decision.Root, p.decision.Sudo
	switch {
	case !p.decision.Allowed:
		return api.ErrDenied()
	case p.shutOut():
		return namespace.ErrLocked(p.locked)
	case p.lost != nil:
		return p.lost
	case p.match.Endpoint.Has(api.Sudo) && !p.decision.Sudo:
		return api.ErrDenied()
	}
	if err := p.limit(); err != nil {
		return err
	}
	return failed
}

// open is what stands against a request that no policy is asked about. In a
// namespace that does not exist, who could do in it what is asked is told so.
func (p *passage) open() error {
	if p.token != nil {
		d := p.acl.Decide(p.ask(p.judged(p.path), verbs[p.r.Op]))
		if p.missing != nil && d.Allowed {
			return p.missing
		}
		p.call.Caller.Root, p.call.Caller.Sudo = d.Allowed && d.Root, d.Allowed && d.Sudo // for handlers that take sudo or another proof
	}
	if p.shutOut() {
		return namespace.ErrLocked(p.locked)
	}
	if p.lost != nil {
		return p.lost
	}
	return p.misread
}

// shutOut reports whether the namespace is locked, and the endpoint is not what unlocks it.
func (p *passage) shutOut() bool {
	return p.locked != nil && !(p.match.Endpoint != nil && p.match.Endpoint.Has(api.Unlock))
}

// nowhere answers a request in a namespace that does not exist. Only who could
// do in it what is asked, if it existed, is told that it does not.
func (p *passage) nowhere() error {
	full, inside := strings.CutPrefix(strings.TrimPrefix(strings.Trim(p.r.Namespace, "/")+"/"+p.path, "/"), p.call.Caller.Namespace.Path)
	path, err := policy.Canonical(full)
	if err != nil || !inside {
		return api.ErrDenied()
	}
	if !p.acl.Decide(p.ask(path, verbs[p.r.Op])).Allowed {
		return api.ErrDenied()
	}
	return p.lost
}

// judged is a path of the request's namespace as the caller's policies name it:
// from the namespace of the token.
func (p *passage) judged(path string) string {
	if p.lost == nil && p.match.Endpoint.Has(api.Self) {
		return path
	}
	return strings.TrimPrefix(p.ns.Path, p.call.Caller.Namespace.Path) + path
}

var verbs = [...]policy.Capabilities{api.Read: policy.Read, api.Write: policy.Update, api.Patch: policy.Patch,
	api.Delete: policy.Delete, api.List: policy.List, api.Scan: policy.Scan}

// decide asks the policies for the capability that the request needs. Where a
// write may create or update, whether there is something already is looked up
// only if the policies tell the two apart: so it is not told by the time that a
// refusal takes either.
func (p *passage) decide() error {
	ask := p.ask(p.judged(p.path), verbs[p.r.Op])
	p.decision, p.asked = p.acl.Decide(ask), ask
	if p.r.Op != api.Write || p.req == nil || !p.match.Endpoint.CanCreate() {
		return nil
	}
	ask.Op = policy.Create
	creating := p.acl.Decide(ask)
	if creating.Allowed == p.decision.Allowed && slices.Equal(creating.Rules, p.decision.Rules) {
		return nil
	}
	exists, err := p.exists()
	if err == nil && !exists {
		p.decision, p.asked = creating, ask
	}
	return err
}

func (p *passage) exists() (exists bool, err error) {
	defer p.recovered(&err)
	return p.match.Endpoint.Exists(&p.call, p.req)
}

// audited writes the request down, has it answered unless refused, and writes
// the answer down.
func (p *passage) audited(refused error) error {
	e := p.house.Audit.Entry()
	defer e.Release()
	p.describe(e, refused)
	if err := p.witnessed(e); err != nil && refused == nil {
		refused = p.unreachable(err)
	}
	if err := p.logRequest(e, refused); err != nil && !p.rescue("request", refused, err) {
		return err
	}
	err := refused
	if err == nil {
		err = p.step("answer", (*passage).answer)
	}
	p.remember(refused, err)
	if err != nil {
		p.takeBack()
		p.fail(err)
	}
	if err := p.logResponse(e, err); err != nil && !p.rescue("answer", refused, err) {
		p.resp.ErrData = nil
		p.takeBack()
		return err
	}
	return p.call.Finish()
}

// rescue reports whether a request is answered though no audit device takes its
// entry: it is how one that is dead is found and disabled, and its caller may do
// that. It is written to the server's log instead.
func (p *passage) rescue(what string, refused, failure error) bool {
	below := audit.Lacking(failure)
	if below != "" && api.KindOf(refused) == api.Denied {
		return true // nothing is done, and who may not ask does not learn of devices of a namespace
	}
	if refused != nil || p.lost != nil || p.r.Help || !p.match.Endpoint.Has(api.Rescue) || !p.mayRescue(below) {
		return false
	}
	p.gate.log.Error("no audit device has taken this "+what+"; it is let through, so that the device can be disabled",
		slog.String("request_id", p.r.ID), slog.String("operation", p.r.Op.String()), slog.String("path", token.Conceal(p.path)),
		slog.String("remote", p.r.Remote.String()), slog.String("display_name", p.token.DisplayName), slog.Any("error", failure))
	return true
}

func (p *passage) answer() (err error) {
	if p.r.WrapTTL != 0 && (p.r.Help || !p.mayKeep()) {
		return errWrap()
	}
	if p.r.Help {
		p.resp.Flags = api.Bare
		p.resp.Data, err = p.house.Help(p.mount, p.match.Endpoint.Pattern)
		return err
	}
	if err := p.dispatch(); err != nil {
		return err
	}
	if err := p.admit(); err != nil {
		return err
	}
	if err := p.lend(); err != nil || p.call.WrapTTL == 0 || p.waits {
		return err
	}
	return p.wrap()
}

// recovered, deferred, makes a panic an internal error. The log gets the place
// and never the value, which may hold what was asked for.
func (p *passage) recovered(err *error) {
	if v := recover(); v != nil {
		p.gate.log.Error("handler panicked", slog.String("request_id", p.r.ID), slog.String("stack", string(debug.Stack())))
		*err = fmt.Errorf("handler panicked (%T)", v)
	}
}

// dispatch calls the handler.
func (p *passage) dispatch() (err error) {
	defer p.recovered(&err)
	if p.match.Endpoint.Has(api.Asks) {
		who := asker{tenantOf(p.ns.Path), p.mount.ID, Neighbourhood(p.call.Remote)}
		if !p.gate.asking.begin(who) {
			return errAsking()
		}
		defer p.gate.asking.end(who)
	}
	p.acted = true
	p.trace.Reset() // a use of the token that was counted is not what was asked for
	if p.house != nil {
		p.call.Context = p.house.confined(&p.call)
	}
	p.result, err = p.match.Endpoint.Invoke(&p.call, p.req)
	if err != nil {
		return err
	}
	if err := p.render(); err != nil {
		return err
	}
	p.warnUnknown()
	return nil
}

// render gives the handler's answer its form on the wire.
func (p *passage) render() (err error) {
	if _, ok := p.result.(*api.Keys); !ok && p.filters() {
		return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "the policy, the mount or the request wants keys filtered here, and this answer cannot be filtered"}
	}
	switch v := p.result.(type) {
	case nil:
	case *api.Raw:
		return p.raw(v)
	case *api.Auth:
		p.resp.Auth = v
	case *api.Answer:
		p.unwrapped(v)
	case *api.WrapInfo:
		p.resp.Wrap, p.resp.MountType = v, ""
	case *api.Keys:
		if err := p.filter(v); err != nil {
			return err
		}
		if len(v.Keys) == 0 {
			return api.ErrNotFound()
		}
		p.resp.Data, err = marshal(v)
	default:
		p.resp.Data, err = marshal(v)
		if l, ok := v.(api.Hint); ok {
			p.resp.LeaseDuration = l.LeaseDuration()
		}
	}
	return err
}

func marshal(v any) ([]byte, error) {
	if a, ok := v.(api.Appender); ok {
		return a.AppendJSON(make([]byte, 0, 512)), nil
	}
	return json.Marshal(v)
}

// note puts a failure into the answer.
func (p *passage) note(err error) {
	if err != nil {
		p.fail(err)
	}
}

func (p *passage) fail(err error) {
	p.resp.Err = err
	p.resp.Data, p.resp.Raw, p.resp.Auth, p.resp.Wrap, p.resp.LeaseID = nil, nil, nil, nil, ""
	var e *api.Error
	switch {
	case p.doubtful(err):
		p.gate.logAway(p.r.ID, err)
		p.resp.Err = unsure(err)
	case errors.As(err, &e) && e.Kind != api.Internal:
		p.resp.Err, p.resp.Takes = p.hinted(e, err), p.takes(e)
		if e.Data != nil {
			if b, merr := marshal(e.Data); merr == nil {
				p.resp.ErrData = b
			}
		}
	case away(err) && !errors.Is(err, context.Canceled):
		p.resp.Err = p.unreachable(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p.resp.Err = &api.Error{Kind: api.Unavailable, Message: "the request was given up before it was done", Err: err}
	case p.gate.house.Load() == nil && p.house != nil:
		p.resp.Err = p.gate.errSealed()
	case errors.Is(err, store.ErrSealed):
		p.resp.Err = &api.Error{Kind: api.Unavailable, Message: "the namespace is sealed", Hint: "its holders unseal it with: strongroom namespace unseal", RetryAfter: api.Stays, Err: err}
	case errors.Is(err, store.ErrTooLarge): // the caller's doing, not the log's business
		p.resp.Err = &api.Error{Kind: api.TooLarge, Message: "this is more than one entry of the store can hold: " + p.written(), Hint: "send less, or in parts", Err: err}
	default:
		p.gate.log.Error("request failed", slog.String("request_id", p.r.ID), slog.Any("error", err))
		if errors.Is(err, store.ErrFull) {
			p.resp.Err = errFull(p.written(), err)
		} else if told := storeTrouble(err); told != nil {
			p.resp.Err = told
		}
	}
}
