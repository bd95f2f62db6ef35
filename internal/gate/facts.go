package gate

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// ask is what the policies are asked about a path of the request's namespace.
func (p *passage) ask(path string, op policy.Capabilities) policy.Request {
	return policy.Request{Path: path, Op: op, Params: (*params)(p), WrapTTL: p.r.WrapTTL, Now: p.call.Now, Facts: p.facts}
}

// gather learns what conditions may weigh, if there are any.
func (p *passage) gather() (err error) {
	if !p.acl.Conditional() {
		return nil
	}
	p.facts, err = p.house.facts(&p.call, p.token, p.stands.names(), p.stands.entity())
	if err != nil {
		return err
	}
	p.facts.Source = p.call.Remote
	if p.ns == nil { // one that does not exist is judged by the name it would have
		p.facts.Namespace = strings.Trim(p.r.Namespace, "/") + "/"
	}
	p.facts.Headers = p.weighable()
	return nil
}

// weighable are the headers that conditions may weigh.
func (p *passage) weighable() map[string]string {
	out := make(map[string]string, len(p.house.ConditionHeaders))
	for _, name := range p.house.ConditionHeaders {
		if values := p.r.Headers.Values(name); len(values) > 0 {
			out[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	return out
}

// facts are what is known of a token, for requests in the call's namespace. The entity is the one behind it by now: by a
// merge it may be another than it was made for.
func (h *House) facts(c *api.Call, t *token.Token, names []string, entity string) (*policy.Facts, error) {
	f := &policy.Facts{AuthTime: t.Begun(), TokenType: t.Type, DisplayName: t.DisplayName, EntityID: entity,
		Metadata: t.Meta, Policies: names, Namespace: c.Namespace.Path}
	e, err := h.Maker(c, t)
	if err != nil {
		return nil, err
	}
	if e != nil {
		if err := e.Refusal(); err != nil && !e.Builtin { // a condition may deny by the type
			return nil, err
		}
		f.AuthMethod, f.AuthMount = e.Type, e.Path
	}
	return f, nil
}

// Maker is the mount that made a token, or nil when there is none: of a login the method
// itself, wherever it has been moved since and whatever is at its path now.
func (h *House) Maker(ctx context.Context, t *token.Token) (*mount.Entry, error) {
	if t.Login {
		table, err := h.Mounts.Table(ctx, t.MountNamespace)
		if err != nil {
			return nil, err
		}
		return table.ByID(t.MountID)
	}
	table, err := h.Mounts.Table(ctx, t.NamespaceID)
	if err != nil {
		return nil, err
	}
	e, _, _ := table.Resolve(t.Path)
	return e, nil
}

// ownFacts are those of the calling token, where its policies have conditions.
func (h *House) ownFacts(c *api.Call, acl *policy.ACL) (*policy.Facts, error) {
	if !acl.Conditional() {
		return nil, nil
	}
	t, err := h.Tokens.Lookup(c, c.Caller.Token.Reveal(), c.Now)
	if err != nil { // its last use is under way: it may do nothing more
		return &policy.Facts{}, nil
	}
	f, err := h.facts(c, t, c.Caller.Policies, c.Caller.EntityID)
	if f != nil {
		f.Source = c.Remote
	}
	return f, err
}
