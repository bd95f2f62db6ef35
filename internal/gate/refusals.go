package gate

import (
	"cmp"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// How many refusals a node remembers: of callers that are known, of those who are not, and of
// logins, so that strangers cannot push out what people ask about.
const (
	rememberedRefusals  = 1024
	rememberedStrangers = 256
	rememberedLogins    = 256
)

// refusal is what is remembered of a request that was refused, so that it can
// be explained. It holds no parameter's value and no token.
type refusal struct {
	id        string
	at        time.Time
	cause     string        // in words, where the policies are not the cause
	namespace string        // path of the request's
	owner     api.Namespace // of the token; zero for a stranger
	accessor  string
	policies  []string
	acl       *policy.ACL
	request   policy.Request // without its parameters
	decision  policy.Decision
	sudo      bool // the endpoint is root-protected
	login     bool // by an auth method
}

// Refusals remembers the last refusals of this node, in memory. It is safe for
// concurrent use.
type Refusals struct {
	mu                      sync.Mutex
	known, stranger, logins ring
	told                    told
}

// toldLogins is how many refused logins a node logs in a minute: whoever fails without end is not to fill its disk.
const toldLogins = 60

// told counts the refused logins of a minute.
type told struct {
	began   time.Time
	logged  int
	leftOut int // since the last that was logged
}

// tells reports whether one more refused login is logged, and how many were left out before it.
func (f *Refusals) tells(now time.Time) (bool, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.told.began) >= time.Minute || now.Before(f.told.began) {
		f.told.began, f.told.logged = now, 0
	}
	if f.told.logged >= toldLogins {
		f.told.leftOut++
		return false, 0
	}
	left := f.told.leftOut
	f.told.logged, f.told.leftOut = f.told.logged+1, 0
	return true, left
}

// ring is the last few refusals, each overwritten in its turn.
type ring struct {
	held []*refusal
	next int
}

func (g *ring) add(r *refusal, most int) {
	if len(g.held) < most {
		g.held = append(g.held, r)
		return
	}
	g.held[g.next] = r
	g.next = (g.next + 1) % most
}

func (g *ring) find(id string) *refusal {
	for _, r := range g.held {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (f *Refusals) keep(r *refusal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.login:
		f.logins.add(r, rememberedLogins)
	case r.owner.ID == "":
		f.stranger.add(r, rememberedStrangers)
	default:
		f.known.add(r, rememberedRefusals)
	}
}

// find is the refusal of a request, or nil when it is not, or no longer, known.
func (f *Refusals) find(id string) *refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.known.find(id), f.logins.find(id), f.stranger.find(id))
}

// logsIn reports whether the request is a login, or a step of one, that shows no token.
func (p *passage) logsIn() bool {
	return p.token == nil && p.mount != nil && p.public() && (p.mount.Auth() && !p.mount.Builtin || p.mount.Builtin && strings.HasPrefix(p.match.Endpoint.Pattern, "mfa/"))
}

// entryRefused reports whether a failure is one of a login that somebody who is to mend it asks
// about: it is of the kinds whose cause is not told to who logs in.
func entryRefused(err error) bool {
	switch api.KindOf(err) {
	case api.Denied, api.Invalid, api.NotFound, api.Conflict, api.Unavailable:
		return true
	}
	return false
}

// reason is why a request was refused, for those who run the server: what its caller was told, and
// the cause of that, which its caller was not. It has no secret, as no error has.
func (p *passage) reason(err error) string {
	var e *api.Error
	switch {
	case p.overdone:
		return "the account is locked for wrong credentials, or was just then: sys/locked-users has it"
	case !errors.As(err, &e):
		return "it failed; the server's log has the cause"
	case e.Err == nil:
		return small(e.Message)
	case e.Kind == api.Denied:
		return small(e.Err.Error())
	}
	return small(e.Message + ": " + e.Err.Error())
}

// tellRefusedLogin logs why somebody was not let in. The name is not logged, where people type
// passwords by mistake: the audit log has it, under the same identifier. Not more than toldLogins are logged in a minute.
func (p *passage) tellRefusedLogin(r *refusal, err error) {
	told, leftOut := p.house.Refusals.tells(p.gate.now())
	if !told {
		return
	}
	tell := p.gate.log.Info
	if api.KindOf(err) == api.Unavailable {
		tell = p.gate.log.Warn
	}
	tell("a login was refused", slog.String("request_id", r.id), slog.String("mount", token.Conceal(p.call.Namespace.Path+p.mount.Path)),
		slog.String("remote", p.r.Remote.Addr().String()), slog.String("reason", r.cause), slog.Int("left_out", leftOut))
}

// attempts counts wrong credentials for a passage, and notes those that are not looked at.
type attempts passage

// Attempt implements api.Attempts.
func (a *attempts) Attempt(c *api.Call, account string, check func() (bool, error)) (bool, error) {
	wrong := false
	right, err := a.house.Attempts.Attempt(c, account, func() (bool, error) {
		ok, err := check()
		wrong = !ok
		return ok, err
	})
	a.overdone = err == nil && !right && !wrong
	return right, err
}

// remember keeps what it takes to explain a refusal. What is refused by the
// policies or before them comes as refused; what the handler refused, as answered. Of a login, all
// that keeps somebody out is.
func (p *passage) remember(refused, answered error) {
	denied := refused
	if denied == nil {
		denied = answered
	}
	if denied == nil || api.KindOf(denied) != api.Denied && !(p.logsIn() && entryRefused(denied)) {
		return
	}
	r := &refusal{id: p.r.ID, at: p.call.Now, namespace: p.call.Namespace.Path}
	r.sudo = p.match.Endpoint != nil && p.match.Endpoint.Has(api.Sudo)
	switch allowed := p.decision.Allowed && (p.decision.Sudo || !r.sudo); {
	case p.token == nil && p.public():
		r.cause = p.reason(denied)
	case p.token == nil && p.lost != nil && strings.Contains("/"+p.path, "/auth/"):
		r.cause = "nobody can log in there: " + p.reason(p.lost)
	case p.token == nil && p.r.Token.Empty():
		r.cause = "no token was shown"
	case p.token == nil:
		r.cause = "the token is unknown, has ended, or may not be used from this address, in this namespace or as a caller"
	case p.ns == nil:
		r.cause = "there is no such namespace"
	case allowed:
		r.cause = "the policies allow it; the endpoint refused: " + denied.Error()
	}
	if p.token != nil {
		r.owner, r.accessor, r.policies = p.call.Caller.Namespace, p.token.Accessor, p.token.Policies
		r.acl, r.decision = p.acl, p.decision
	}
	if r.request = p.asked; r.request.Op == 0 {
		r.request = policy.Request{Path: p.path, Op: verbs[p.r.Op]}
	}
	r.request.Path, r.request.Params, r.request.Facts = token.Conceal(r.request.Path), nil, smallFacts(r.request.Facts)
	r.decision.Parameter = small(r.decision.Parameter)
	if r.login = p.logsIn(); r.login {
		p.tellRefusedLogin(r, denied)
	}
	p.house.Refusals.keep(r)
}

// maxRemembered is how much is remembered of a text that a client chose, in
// bytes: what is kept of a refusal must not grow with the request.
const maxRemembered = 256

// small is the beginning of a text, and holds on to no more.
func small(text string) string {
	if len(text) > maxRemembered {
		text = text[:maxRemembered] + "…"
	}
	return strings.Clone(text)
}

// smallFacts leaves long headers out.
func smallFacts(f *policy.Facts) *policy.Facts {
	if f == nil {
		return nil
	}
	out := f.Anew()
	out.Headers = make(map[string]string, len(f.Headers))
	for name, value := range f.Headers {
		if len(value) <= maxRemembered {
			out.Headers[name] = strings.Clone(value)
		}
	}
	return out
}

// visibleTo reports whether who asks in a namespace may be told of the refusal:
// the request and the token must both lie in it or below.
func (r *refusal) visibleTo(asker api.Namespace) bool {
	if r.owner.ID == "" {
		return asker.ID == namespace.RootID || within(asker, r.namespace)
	}
	return within(asker, r.namespace) && within(asker, r.owner.Path)
}
