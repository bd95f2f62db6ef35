package quota

import (
	"context"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

var _ token.Counter = (*Store)(nil)

// Counts reports whether there is any bound on how many leases there are.
func (p *Plan) Counts() bool { return p.counts.size > 0 }

// counter is the quota that is about a lease or token; nil: none is.
func (s *Store) counter(ctx context.Context, p *Plan, what token.Counted) (*Count, error) {
	if !p.Counts() {
		return nil, nil
	}
	ns, err := s.Namespaces.ByID(ctx, what.NamespaceID)
	if err != nil || ns == nil {
		return nil, err
	}
	table, err := s.Mounts.Table(ctx, what.NamespaceID)
	if err != nil {
		return nil, err
	}
	r := &Request{Namespace: ns, MountID: what.MountID}
	if what.Role != "" {
		r.Role = func() (string, error) { return what.Role, nil }
	}
	if e := mountOf(table, what); e != nil {
		r.MountID = e.ID
		r.Rest, _ = strings.CutPrefix(what.Path, e.Path)
	}
	return p.counts.find(ctx, r, s.Namespaces.ByID)
}

func mountOf(t *mount.Table, what token.Counted) *mount.Entry {
	if what.MountID == "" {
		e, _, _ := t.Resolve(what.Path)
		return e
	}
	e, err := t.ByID(what.MountID)
	if err != nil || e == nil || !strings.HasPrefix(what.Path, e.Path) {
		return nil // it counts with the whole mount, wherever that has gone
	}
	return e
}

// errFull is what somebody is told for whom there is no room. Who logs in holds nothing that they could revoke, and no more than
// others can they change the quota.
func errFull(what token.Counted) error {
	hint := "too many leases or tokens live: revoke some of yours, or wait until some end; who runs the server can raise max_leases of the quota, see sys/quotas/lease-count"
	if what.Unknown || strings.HasPrefix(what.Path, "auth/") && !strings.HasPrefix(what.Path, "auth/token/") {
		hint = "too many tokens of such logins live: try again when some have ended, and use a token that you have for as long as it lives; who runs the server can make room"
	}
	return &api.Error{Kind: api.TooMany, Message: fmt.Sprintf("request path %q: lease count quota exceeded", token.Conceal(what.Path)), Hint: hint, RetryAfter: api.Stays}
}

// Admit implements token.Counter.
func (s *Store) Admit(ctx context.Context, what token.Counted) error {
	p, err := s.Plan(ctx)
	if err != nil || !p.Counts() || what.Exempt {
		return err
	}
	q, err := s.counter(ctx, p, what)
	if err != nil || q == nil {
		return err
	}
	if q.each() && what.Unknown {
		return nil // it is refused, should there be no room, when its commit is made
	}
	left, err := s.left(ctx, q, what.EntityID)
	if err == nil && left <= 0 {
		err = errFull(what)
	}
	return err
}

// planned is the plan as part of a transaction, which fails when a quota is made,
// changed or removed meanwhile: what is made is counted by what holds at its commit.
func (s *Store) planned(tx *store.Tx) (*Plan, error) {
	p, err := s.Plan(tx.Context())
	if err == nil {
		tx.Require(guardKey, p.rev)
	}
	return p, err
}

// Charge implements token.Counter.
func (s *Store) Charge(tx *store.Tx, what token.Counted) (string, error) {
	p, err := s.planned(tx)
	if err != nil {
		return "", err
	}
	q, err := s.counter(tx.Context(), p, what)
	if err != nil || q == nil {
		return "", err
	}
	if err := s.Namespaces.Require(tx, what.NamespaceID); err != nil {
		return "", err // else it could be made after those of its namespace were discounted
	}
	return q.mark(what), s.take(tx, q, what)
}

// take counts one that is made under a quota.
func (s *Store) take(tx *store.Tx, q *Count, what token.Counted) error {
	entered := true
	var err error
	switch key, own := q.own(what.EntityID); {
	case own:
		entered, err = add(tx, key, q.Max, what.Exempt)
	case what.Exempt:
		err = owe(tx, s.Store, q.ID)
	default:
		entered, err = enter(tx, s.Store, q.ID)
	}
	if err == nil && !entered {
		err = errFull(what)
	}
	return err
}

// Credit implements token.Counter.
func (s *Store) Credit(tx *store.Tx, marks ...string) error {
	gone := map[string]int64{}
	for _, mark := range marks {
		if mark != "" {
			gone[mark]++
		}
	}
	for mark, n := range gone {
		if err := release(tx, mark, n); err != nil {
			return err
		}
	}
	return nil
}

// Counts implements token.Counter.
func (s *Store) Counts(ctx context.Context, what token.Counted, mark string) (bool, error) {
	p, err := s.Plan(ctx)
	if err != nil {
		return false, err
	}
	q, err := s.counter(ctx, p, what)
	return q.mark(what) == mark, err
}

// mark is what the row of something bears that a quota counts; that of no quota is
// empty.
func (q *Count) mark(what token.Counted) string {
	switch {
	case q == nil:
		return ""
	case q.each() && what.EntityID != "":
		return q.ID + "/" + what.EntityID
	}
	return q.ID
}

// Move implements token.Counter.
func (s *Store) Move(tx *store.Tx, what token.Counted, mark string) (string, error) {
	p, err := s.planned(tx)
	if err != nil {
		return "", err
	}
	q, err := s.counter(tx.Context(), p, what)
	if err != nil || q.mark(what) == mark {
		return mark, err
	}
	if err := s.Credit(tx, mark); err != nil || q == nil {
		return "", err
	}
	what.Exempt = true // it is there
	return q.mark(what), s.take(tx, q, what)
}
