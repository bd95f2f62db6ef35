package gate

import (
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// How many refusals a node remembers: of callers that are known, and of those
// who are not, so that strangers cannot push out what people ask about.
const (
	rememberedRefusals  = 1024
	rememberedStrangers = 256
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
}

// Refusals remembers the last refusals of this node, in memory. It is safe for
// concurrent use.
type Refusals struct {
	mu              sync.Mutex
	known, stranger ring
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
	if r.owner.ID == "" {
		f.stranger.add(r, rememberedStrangers)
		return
	}
	f.known.add(r, rememberedRefusals)
}

// find is the refusal of a request, or nil when it is not, or no longer, known.
func (f *Refusals) find(id string) *refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.known.find(id); r != nil {
		return r
	}
	return f.stranger.find(id)
}

// remember keeps what it takes to explain a refusal. What is refused by the
// policies or before them comes as refused; what the handler refused, as answered.
func (p *passage) remember(refused, answered error) {
	denied := refused
	if denied == nil {
		denied = answered
	}
	if api.KindOf(denied) != api.Denied {
		return
	}
	r := &refusal{id: p.r.ID, at: p.call.Now, namespace: p.call.Namespace.Path}
	r.sudo = p.match.Endpoint != nil && p.match.Endpoint.Has(api.Sudo)
	switch allowed := p.decision.Allowed && (p.decision.Sudo || !r.sudo); {
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
