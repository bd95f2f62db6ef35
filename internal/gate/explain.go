package gate

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// ExplainRequest asks which rule decides about a request, and what would allow
// it. Whose policies are meant says request_id, token, accessor or policies;
// with none of them, they are the caller's own.
type ExplainRequest struct {
	RequestID  string            `json:"request_id"`              // A request that this node has refused, by the identifier in its answer; then nothing else is given.
	Path       string            `json:"path" audit:"clear"`      // Path of the request, from the namespace.
	Operation  string            `json:"operation" audit:"clear"` // create, read, update, patch, delete, list or scan; write is update, with a note where creating differs.
	Parameters api.Object        `json:"parameters"`              // Parameters of the request.
	Token      api.Secret        `json:"token"`                   // The token whose policies are meant.
	Accessor   string            `json:"accessor"`                // Accessor of that token.
	Policies   []string          `json:"policies" audit:"clear"`  // Names of the policies that are meant.
	Entity     string            `json:"entity"`                  // Not supported: name the policies.
	WrapTTL    api.Duration      `json:"wrap_ttl"`                // For how long the answer is to be wrapped; 0: not at all.
	Source     string            `json:"source" audit:"clear"`    // Address that the request comes from, for conditions.
	Headers    map[string]string `json:"headers"`                 // Headers of the request, for conditions.
	At         api.Time          `json:"at"`                      // When the request comes, for conditions and expirations; now when absent.
}

// Explained is a decision with whom it is about.
type Explained struct {
	policy.Explanation
	RequestID string   `json:"request_id,omitempty"` // The refused request that is explained.
	Time      api.Time `json:"time"`                 // When it came, or is taken to come.
	Namespace string   `json:"namespace"`            // Where it was made.
	Policies  []string `json:"policies"`             // Names of the policies in force.
	Accessor  string   `json:"accessor,omitempty"`   // Of the token.
	Cause     string   `json:"cause,omitempty"`      // Why it was refused, where it was not by the policies.
	Notes     []string `json:"notes,omitempty"`      // What else there is to know.
}

// within reports whether a namespace's path is another's or below it.
func within(outer api.Namespace, path string) bool { return strings.HasPrefix(path, outer.Path) }

// explain says which rule of which policy decides about a request, what each
// step weighed, and the smallest rule that would allow it. Who may ask learns
// what policies say, of this namespace and those below, and nothing of what is
// stored.
func (h *House) explain(c *api.Call, q *ExplainRequest) (*Explained, error) {
	if q.RequestID != "" {
		return h.explainRefusal(c, q)
	}
	op, verb, ok := operationNamed(q.Operation)
	switch {
	case q.Path == "":
		return nil, &api.Error{Kind: api.Invalid, Message: "path: missing", Hint: "give path and operation, or the request_id of a request that was refused"}
	case !ok:
		return nil, &api.Error{Kind: api.Invalid, Message: "operation: unknown", Hint: "it is create, read, update, write, patch, delete, list or scan"}
	case q.Entity != "":
		return nil, &api.Error{Kind: api.Invalid, Message: "entity: not supported", Hint: "name a token, an accessor or policies"}
	}
	if q.Token.Empty() && len(q.Policies) == 0 && (q.Accessor == "" || q.Accessor == c.Caller.Accessor) {
		q.Token, q.Accessor = c.Caller.Token, ""
	}
	p, err := h.imagined(c, q, op)
	if err != nil {
		return nil, err
	}
	if err := p.suppose(q, q.Token.Equal(c.Caller.Token)); err != nil {
		return nil, err
	}
	return p.explained(verb), nil
}

// explainRefusal explains what this node has refused.
func (h *House) explainRefusal(c *api.Call, q *ExplainRequest) (*Explained, error) {
	r := h.Refusals.find(q.RequestID)
	if r == nil || !r.visibleTo(c.Namespace) {
		return nil, &api.Error{Kind: api.NotFound, Message: "no refused request of that identifier is remembered",
			Hint: "each node remembers its last refusals until it restarts: ask the node that answered, or use policy explain with the audit log"}
	}
	out := &Explained{RequestID: r.id, Time: api.Time{Time: r.at}, Namespace: r.namespace, Policies: r.policies, Accessor: r.accessor, Cause: r.cause}
	if r.owner.ID == "" {
		out.Explanation = policy.Explanation{Reason: r.cause, Path: r.request.Path, Operation: r.request.Op.String()}
		return out, nil
	}
	request := r.request
	request.Facts = request.Facts.Anew() // others may ask at the same time
	out.Explanation = *r.acl.ExplainDecision(request, r.decision, r.sudo)
	return out, nil
}

// operationNamed is an operation with the capability that it needs; 0 where that
// depends on what exists.
func operationNamed(name string) (api.Op, policy.Capabilities, bool) {
	switch name {
	case "write":
		return api.Write, 0, true
	case "create":
		return api.Write, policy.Create, true
	}
	for op, verb := range verbs {
		if op > 0 && verb.String() == name {
			return api.Op(op), verb, true
		}
	}
	return 0, 0, false
}

// imagined is the passage of a request that is not made: it has found its way,
// and who asks is known.
func (h *House) imagined(c *api.Call, q *ExplainRequest, op api.Op) (*passage, error) {
	r := &Request{ID: c.RequestID, Namespace: c.Namespace.Path, Path: q.Path, Op: op, WrapTTL: q.WrapTTL.Std(), Headers: make(map[string][]string)}
	if len(q.Parameters) > 0 {
		body, err := api.ParseBody(q.Parameters)
		if err != nil {
			return nil, api.Errorf(api.Invalid, "parameters: must be an object")
		}
		r.Body = body
	}
	for name, value := range q.Headers {
		r.Headers.Set(name, value)
	}
	p := &passage{house: h, r: r, resp: &Response{}}
	p.call = api.Call{Context: c.Context, RequestID: c.RequestID, Now: c.Now, Upkeep: c.Upkeep}
	if !q.At.IsZero() {
		p.call.Now = q.At.Time
	}
	if q.Source != "" {
		addr, err := netip.ParseAddr(q.Source)
		if err != nil {
			return nil, api.Errorf(api.Invalid, "source: must be an address such as 192.0.2.1")
		}
		p.call.Remote = addr
	}
	err := p.locate()
	if err == nil && p.lost == nil {
		p.misread = p.decode()
	}
	return p, err
}

// suppose finds whose policies decide, and what is known of who has them. Of
// tokens from above this namespace, the caller's own alone may be asked about.
func (p *passage) suppose(q *ExplainRequest, own bool) error {
	h, asker := p.house, p.call.Namespace
	if p.ns == nil {
		return api.Errorf(api.Invalid, "path: begins with a namespace that does not exist")
	}
	t, err := h.meant(&p.call, q)
	if err != nil {
		return err
	}
	home, err := h.Namespaces.Find(&p.call, h.Namespaces.Root(), p.r.Namespace)
	if err != nil {
		return err
	}
	owner, stands := home, &standing{parts: []policies.Part{{Namespace: home.ID, Names: q.Policies}}}
	if t != nil {
		if owner, err = h.Namespaces.ByID(&p.call, t.NamespaceID); err != nil {
			return err
		}
		if owner == nil || !within(home.API(), owner.Path) && !own {
			return api.Errorf(api.Invalid, "token: is none of this namespace")
		}
		if stands, err = h.heldBy(&p.call, t); err != nil {
			return orInvalid(err)
		}
	}
	if !within(owner.API(), asker.Path) {
		return api.Errorf(api.Invalid, "path: lies outside the token's namespace, where it may do nothing")
	}
	p.token, p.stands = t, stands
	p.call.Caller = api.Caller{Policies: stands.names(), Namespace: owner.API()}
	if p.acl, err = h.Policies.ACLAt(&p.call, p.call.Now, stands.filler(), stands.parts...); err != nil {
		return err
	}
	return p.imagineFacts()
}

// orInvalid is what is told of a token whose entity is gone or disabled, or has had all its tokens revoked.
func orInvalid(err error) error {
	if api.KindOf(err) == api.Denied {
		return api.Errorf(api.Invalid, "token: may do nothing, whatever its policies: its entity is gone or disabled, or has had all its tokens revoked")
	}
	return err
}

// imagineFacts is gather for a request that is not made.
func (p *passage) imagineFacts() error {
	if p.token != nil {
		return p.gather()
	}
	p.facts = &policy.Facts{Source: p.call.Remote, Namespace: p.ns.Path, Policies: p.call.Caller.Policies}
	p.facts.Headers = p.weighable()
	return nil
}

// meant is the token that is asked about; nil where policies are named.
func (h *House) meant(c *api.Call, q *ExplainRequest) (*token.Token, error) {
	given := 0
	for _, is := range []bool{!q.Token.Empty(), q.Accessor != "", len(q.Policies) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, &api.Error{Kind: api.Invalid, Message: "name one of token, accessor and policies", Hint: "with request_id, name none"}
	case len(q.Policies) > 0:
		for i, name := range q.Policies {
			canonical, err := policy.CanonicalName(name)
			if err != nil {
				return nil, api.Errorf(api.Invalid, "policies: one is not a policy's name")
			}
			q.Policies[i] = canonical
		}
		return nil, nil
	case q.Accessor != "":
		t, err := h.Tokens.ByAccessor(c, q.Accessor)
		if err == nil && t == nil {
			err = api.Errorf(api.Invalid, "invalid accessor")
		}
		return t, err
	}
	t, err := h.Tokens.Lookup(c, q.Token.Reveal(), c.Now)
	if api.KindOf(err) == api.Denied {
		return nil, api.Errorf(api.Invalid, "invalid token")
	}
	return t, err
}

// explained decides and says how.
func (p *passage) explained(verb policy.Capabilities) *Explained {
	out := &Explained{Time: api.Time{Time: p.call.Now}, Namespace: p.call.Namespace.Path, Policies: p.call.Caller.Policies}
	if p.token != nil {
		out.Accessor = p.token.Accessor
	}
	ask := p.ask(p.judged(p.path), cmp.Or(verb, policy.Update))
	d := p.acl.Decide(ask)
	e := p.match.Endpoint
	out.Explanation = *p.acl.ExplainDecision(ask, d, e != nil && e.Has(api.Sudo))
	if ask.Op = policy.Create; verb == 0 && p.acl.Decide(ask).Allowed != d.Allowed {
		out.Notes = append(out.Notes, "what does not exist yet is created, about which the policies decide otherwise: ask about create")
	}
	if p.public() {
		out.Notes = append(out.Notes, "the endpoint needs no policy: it is answered whatever the policies say")
	}
	return out
}
