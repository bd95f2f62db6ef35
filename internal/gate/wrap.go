package gate

import (
	"context"
	"log/slog"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/token"
)

// wrap keeps the answer for the bearer of a token, and answers with that token.
// Where there is nothing to say, or what there is is wrapped already, it does nothing.
func (p *passage) wrap() error {
	r := p.resp
	if r.Wrap != nil || r.Data == nil && r.Raw == nil && r.Auth == nil && r.LeaseID == "" && len(p.call.Warnings()) == 0 {
		return nil
	}
	if p.public() { // the token's namespace would tell whether the request's exists
		p.call.Namespace = p.call.Caller.Namespace
		if p.token == nil {
			p.call.Namespace = p.house.Namespaces.Root().API()
		}
	}
	warnings := p.call.TakeWarnings() // what wrapping itself warns of is told outside
	info, err := p.house.Wrapping.Wrap(&p.call, token.Conceal(p.path), &api.Answer{Data: r.Data, Raw: r.Raw, Auth: r.Auth,
		LeaseID: r.LeaseID, Renewable: r.Renewable, LeaseDuration: r.LeaseDuration, MountType: r.MountType, Warnings: warnings})
	if err != nil {
		return err
	}
	p.resp = &Response{RequestID: r.RequestID, Namespace: r.Namespace, Wrap: info, Allowance: r.Allowance}
	return nil
}

// withdraw ends the wrapping token of an answer that nobody gets.
func (p *passage) withdraw() {
	if p.resp.Wrap == nil {
		return
	}
	call := p.call
	call.Context = context.WithoutCancel(&p.call)
	if err := p.house.Wrapping.Withdraw(&call, p.resp.Wrap); err != nil {
		p.gate.log.Warn("ending the wrapping token of an answer that was not sent", slog.String("request_id", p.r.ID), slog.Any("error", err))
	}
	p.resp.Wrap = nil
}

// mayKeep reports whether the answer may be kept for the bearer of a wrapping
// token. What anybody may ask for is not: who shows no token must not be able to
// fill the store. Of a wrapping token alone, what uses it up is: as one answer stays
// one answer, and no longer than before, which the handler sees to.
func (p *passage) mayKeep() bool {
	e := p.match.Endpoint
	return p.token != nil || e.Answer == api.Login || p.bearer() && (e.Answer == api.Wrapped || e.Answer == api.Whole)
}

// unwrapped answers with a whole answer that was made before.
func (p *passage) unwrapped(a *api.Answer) {
	p.resp.Data, p.resp.Raw, p.resp.Auth = a.Data, a.Raw, a.Auth
	p.resp.LeaseID, p.resp.Renewable, p.resp.LeaseDuration, p.resp.MountType = a.LeaseID, a.Renewable, a.LeaseDuration, a.MountType
	for _, w := range a.Warnings {
		p.call.Warn(w)
	}
}

// errWrap refuses what would else be answered in the clear.
func errWrap() *api.Error {
	return &api.Error{Kind: api.Invalid, Message: "this answer cannot be wrapped", Hint: "ask without X-Vault-Wrap-TTL"}
}
