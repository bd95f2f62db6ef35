package gate

import (
	"context"
	"log/slog"

	"github.com/strongroom/strongroom/internal/api"
)

// lend keeps the lease that an answer asks for, before anybody gets the answer.
func (p *passage) lend() error {
	answer, ok := p.result.(api.Leased)
	if !ok {
		return nil
	}
	asked := answer.Lease()
	if asked == nil {
		return nil
	}
	l, err := p.house.Leases.Register(&p.call, asked, p.token)
	if err != nil {
		return err
	}
	p.lent = l
	p.resp.LeaseID, p.resp.Renewable, p.resp.LeaseDuration = l.ID, l.Renewable, l.TTL
	return nil
}

// takeBack ends the lease and the tokens of an answer that nobody gets. Should this fail, each
// ends at its time.
func (p *passage) takeBack() {
	p.revokeIssued()
	p.withdraw()
	if p.lent == nil {
		return
	}
	if err := p.house.Leases.Revoke(context.WithoutCancel(&p.call), p.lent.NamespaceID, p.lent.ID, false); err != nil {
		p.gate.log.Warn("ending the lease of an answer that was not sent", slog.String("request_id", p.r.ID), slog.Any("error", err))
	}
	p.lent = nil
}
