package gate

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/token"
)

// describe fills in the audit entry.
func (p *passage) describe(e *audit.Entry, refused error) {
	a, q := &e.Auth, &e.Request
	a.Judged, a.Allowed = p.token != nil, refused == nil
	a.ClientToken = p.r.Token // also one that is nobody's, so that guesses can be told apart by their hashes
	if t := p.token; t != nil {
		a.Accessor, a.DisplayName = t.Accessor, t.DisplayName
		a.Policies, a.TokenPolicies, a.Metadata = p.stands.names(), t.Policies, t.Meta
		if who := p.stands.who; who != nil {
			a.IdentityPolicies = who.Policies[t.NamespaceID]
		}
		a.EntityID, a.TokenType, a.TTL, a.IssueTime = p.call.Caller.EntityID, t.Type, t.TTL, t.CreationTime
		for _, rule := range p.decision.Rules {
			if refused == nil {
				a.Granting = append(a.Granting, audit.Grant{Name: rule.Policy, Namespace: p.of(rule)})
			}
		}
	}
	q.ID, q.Operation, q.Mount, q.Namespace, q.Path = p.r.ID, p.r.Op.String(), p.call.Mount, p.call.Namespace, token.Conceal(p.path)
	q.Namespace.Path = token.Conceal(q.Namespace.Path) // of one that does not exist, it is what the request says
	q.Remote, q.Headers, q.WrapTTL = p.r.Remote, p.r.Headers, p.r.WrapTTL
	if p.r.Body.Len() > 0 {
		q.Data = p.r.Body.JSON()
	}
	if p.req != nil && p.misread == nil {
		q.Shape = p.match.Endpoint.Request.Shape
	}
}

// of is the namespace that a rule is of.
func (p *passage) of(rule *policy.Rule) api.Namespace {
	for _, part := range p.stands.parts[1:] {
		if part.Below == rule.Namespace {
			return api.Namespace{ID: part.Namespace, Path: p.call.Caller.Namespace.Path + part.Below}
		}
	}
	return p.call.Caller.Namespace
}

// logged is the answer as the audit log sees it.
func (p *passage) logged(err error) *audit.Response {
	out := &audit.Response{Data: p.resp.Data, Raw: p.resp.Raw, Auth: p.resp.Auth, LeaseID: p.resp.LeaseID, Wrap: p.resp.Wrap, Warnings: p.call.Warnings(), Err: p.resp.Err}
	if err != nil {
		out.Data = p.resp.ErrData
	}
	if p.match.Endpoint != nil && p.match.Endpoint.Response != nil && err == nil && !p.match.Endpoint.Has(api.Veiled) {
		out.Shape = p.match.Endpoint.Response.Shape
	}
	return out
}
