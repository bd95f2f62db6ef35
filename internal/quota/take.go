package quota

import (
	"context"
	"net/netip"
	"time"
)

// Client is whose request is counted.
type Client struct {
	Entity string       // identifier; empty: it has no identity
	From   netip.Prefix // the addresses that count as one client
}

// Take counts a request against the most specific rate limit that there is for it.
// Without one it is allowed, and the limit of the Verdict is 0.
func (s *Store) Take(ctx context.Context, p *Plan, r *Request, c Client, now time.Time) (Verdict, error) {
	q, err := p.rates.find(ctx, r, s.Namespaces.ByID)
	if err != nil || q == nil {
		return Verdict{Allowed: err == nil}, err
	}
	who, t := q.client(c)
	return s.buckets.Take(q.ID, who, t, now), nil
}

// client is whose bucket a request is counted in, and its terms.
func (r *Rate) client(c Client) (string, terms) {
	t := terms{r.Rate, r.Interval, r.Block}
	switch r.GroupBy {
	case byNone:
		return "", t
	case byEntityThenIP, byEntityThenNone:
		if c.Entity != "" {
			return "entity/" + c.Entity, t
		}
		if r.Secondary > 0 {
			t.rate = r.Secondary
		}
		if r.GroupBy == byEntityThenNone {
			return "", t
		}
	}
	return c.From.String(), t
}
