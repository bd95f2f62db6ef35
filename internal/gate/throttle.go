package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/quota"
	"github.com/strongroom/strongroom/internal/token"
)

// throttle counts the request against the rate limits, and refuses it when it is over
// one. What is, or will be, refused anyway is counted where every stranger is: in what
// the root namespace lets all others inherit. So nobody learns from a limit what there is, and
// nobody uses up what others may do. refused is why who asks is not known.
func (p *passage) throttle(refused error) error {
	plan, err := p.house.Quotas.Plan(&p.call)
	if err != nil || !plan.Limits() {
		return err
	}
	ask := &quota.Request{Namespace: p.house.Namespaces.Root()}
	mayAsk := refused == nil && p.ns != nil
	if mayAsk {
		if mayAsk, err = p.mayAsk(); err != nil {
			return err
		}
	}
	if mayAsk {
		if remedy(p.path) && p.token != nil {
			return nil
		}
		ask = p.sought()
	}
	if p.ns != nil && plan.Exempt(p.ns.Path, p.path) {
		return nil
	}
	who := quota.Client{Entity: p.call.Caller.EntityID, From: Neighbourhood(p.call.Remote)}
	v, err := p.house.Quotas.Take(&p.call, plan, ask, who, p.call.Now)
	if err != nil || v.Limit == 0 {
		return err
	}
	if plan.Tells() {
		p.resp.Allowance = &Allowance{v.Limit, v.Remaining, int64((v.Wait + time.Second - 1) / time.Second)}
	}
	if v.Allowed {
		return nil
	}
	p.limited = plan
	return &api.Error{Kind: api.TooMany, Message: fmt.Sprintf("request path %q: rate limit quota exceeded", token.Conceal(p.path)), RetryAfter: v.Wait}
}

// remedy reports whether a path leads to what undoes a limit that is too low, or ends
// everything: who may ask for that is never limited.
func remedy(path string) bool { return strings.HasPrefix(path, "sys/quotas/") || path == "sys/seal" }

// mayAsk reports whether the policies allow the request, in any way: whether what a
// write names exists is not looked up for it.
func (p *passage) mayAsk() (bool, error) {
	if p.public() || p.shut() {
		return true, nil
	}
	if err := p.gather(); err != nil {
		return false, err
	}
	p.understand()
	ask := p.ask(p.judged(p.path), verbs[p.r.Op])
	if p.acl.Decide(ask).Allowed {
		return true, nil
	}
	ask.Op = policy.Create
	return p.r.Op == api.Write && p.acl.Decide(ask).Allowed, nil
}

// roomy refuses a login for whose token there is no room, before a credential that can
// be used but once is used up for it.
func (p *passage) roomy() error {
	if e := p.match.Endpoint; e == nil || e.Answer != api.Login || !e.Has(api.Public) || p.r.Help || p.lost != nil || p.ns == nil {
		return nil
	}
	plan, err := p.house.Quotas.Plan(&p.call)
	if err != nil || !plan.Counts() {
		return err
	}
	role, err := p.loginRole()
	if err != nil {
		return err
	}
	return p.house.Quotas.Admit(&p.call, token.Counted{NamespaceID: p.ns.ID, MountID: p.mount.ID, Path: p.path, Role: role, Unknown: true})
}

// sought is what the quota of the request is sought for.
func (p *passage) sought() *quota.Request {
	r := &quota.Request{Namespace: p.ns}
	if p.mount != nil {
		r.MountID, r.Rest = p.mount.ID, strings.TrimPrefix(p.path, p.mount.Path)
	}
	if p.match.Endpoint != nil && p.match.Endpoint.NamesLoginRole() {
		r.Role = p.loginRole
	}
	return r
}

// loginRole is the role that a login is by; empty: none. It is sought once.
func (p *passage) loginRole() (string, error) {
	if p.role != nil {
		return *p.role, nil
	}
	p.understand()
	by, ok := p.req.(api.LoginRole)
	if !ok {
		return "", nil
	}
	role, err := by.LoginRole(&p.call)
	if err == nil {
		p.role = &role
	}
	return role, err
}
