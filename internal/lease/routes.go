package lease

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints under sys/ that are about leases. Those outside
// leases/ are their older names.
func Routes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Read, "leases", (*Store).ListIrrevocable, api.Sudo),
		api.Handle(api.Read, "leases/count", (*Store).Count),
		api.Handle(api.List, "leases/lookup", (*Store).Browse, api.Sudo),
		api.Handle(api.List, "leases/lookup/{prefix...}", (*Store).BrowseBelow, api.Sudo),
		api.Handle(api.Write, "leases/lookup", (*Store).Lookup),
		api.Handle(api.Write, "leases/renew", (*Store).Renew),
		api.Handle(api.Write, "leases/renew/{url_lease_id...}", (*Store).RenewNamed),
		api.Handle(api.Write, "leases/revoke", (*Store).RevokeLease),
		api.Handle(api.Write, "leases/revoke/{url_lease_id...}", (*Store).RevokeNamed),
		api.Handle(api.Write, "leases/revoke-prefix/{prefix...}", (*Store).RevokePrefix, api.Sudo),
		api.Handle(api.Write, "leases/revoke-force/{prefix...}", (*Store).RevokeForce, api.Sudo),
		api.Handle(api.Write, "leases/tidy", (*Store).Tidy),
		api.Handle(api.Read, "leases/quarantine", (*Store).ReadQuarantine, api.RootOnly),
		api.Handle(api.Delete, "leases/quarantine", (*Store).EndQuarantine, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "renew", (*Store).Renew),
		api.Handle(api.Write, "renew/{url_lease_id...}", (*Store).RenewNamed),
		api.Handle(api.Write, "revoke", (*Store).RevokeLease),
		api.Handle(api.Write, "revoke/{url_lease_id...}", (*Store).RevokeNamed),
		api.Handle(api.Write, "revoke-prefix/{prefix...}", (*Store).RevokePrefix, api.Sudo),
		api.Handle(api.Write, "revoke-force/{prefix...}", (*Store).RevokeForce, api.Sudo),
	}
}

// LookupRequest names a lease.
type LookupRequest struct {
	LeaseID string `json:"lease_id"` // Identifier of the lease.
}

// LookupAnswer is what is known of a lease.
type LookupAnswer struct {
	ExpireTime    *api.Time    `json:"expire_time"` // null: never
	ID            string       `json:"id"`
	IssueTime     api.Time     `json:"issue_time"`
	LastRenewal   *api.Time    `json:"last_renewal"` // null: never
	NamespacePath string       `json:"namespace_path,omitempty"`
	Path          string       `json:"path" audit:"clear"` // of the request that asked for it
	Renewable     bool         `json:"renewable"`
	TTL           api.Duration `json:"ttl"` // left
}

func errMissingID() error { return api.Errorf(api.Invalid, "lease_id must be specified") }

// Lookup describes a lease of the call's namespace.
func (s *Store) Lookup(c *api.Call, q *LookupRequest) (*LookupAnswer, error) {
	if q.LeaseID == "" {
		return nil, errMissingID()
	}
	a := &LookupAnswer{ID: q.LeaseID, NamespacePath: c.Namespace.Path}
	a.Path, _ = cut(q.LeaseID)
	t, err := s.tokenLease(c, c.Namespace.ID, q.LeaseID, c.Now)
	if err != nil {
		return nil, err
	}
	if t != nil {
		a.Renewable = t.Renewable
		a.times(c.Now, t.CreationTime, t.ExpireTime, t.LastRenewal)
		return a, nil
	}
	l, err := s.load(c, c.Namespace.ID, q.LeaseID)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, api.Errorf(api.Invalid, "invalid lease")
	}
	a.Renewable = l.Renewable && l.Alive(c.Now)
	a.times(c.Now, l.Issued, l.Expires, l.Renewed)
	if !l.Alive(c.Now) {
		a.TTL = 0
		c.Warn("The lease has ended and is being taken back")
	}
	return a, nil
}

func (a *LookupAnswer) times(now, issued, expires, renewed time.Time) {
	a.IssueTime = api.Time{Time: issued}
	if !expires.IsZero() {
		a.ExpireTime, a.TTL = &api.Time{Time: expires}, api.Duration(max(expires.Sub(now), 0))
	}
	if !renewed.IsZero() {
		a.LastRenewal = &api.Time{Time: renewed}
	}
}

// RenewRequest asks for a lease to last longer.
type RenewRequest struct {
	LeaseID    string       `json:"lease_id"`                          // Identifier of the lease.
	URLLeaseID string       `json:"url_lease_id" api:"alias=lease_id"` // Another name of lease_id.
	Increment  api.Duration `json:"increment"`                         // For how long from now; absent: for as long as usual.
}

// NamedRenewRequest asks for a lease, named by the path, to last longer.
type NamedRenewRequest struct {
	LeaseID    string       `json:"lease_id"`     // Identifier of the lease; where it is given, it is that of the path.
	URLLeaseID string       `path:"url_lease_id"` // Identifier of the lease.
	Increment  api.Duration `json:"increment"`    // For how long from now; absent: for as long as usual.
}

// one is the lease that a request names in up to two places. A policy has judged
// the path, so a body cannot name another.
func one(id, url string) (string, error) {
	switch {
	case id == "" && url == "":
		return "", errMissingID()
	case id == "":
		return url, nil
	case url != "" && id != url:
		return "", api.Errorf(api.Invalid, "lease_id: names another lease than the path or url_lease_id")
	}
	return id, nil
}

// Renew makes a lease last longer, within its maximum.
func (s *Store) Renew(c *api.Call, q *RenewRequest) (*api.Answer, error) {
	id, err := one(q.LeaseID, q.URLLeaseID)
	if err != nil {
		return nil, err
	}
	if q.Increment < 0 {
		return nil, api.Errorf(api.Invalid, "increment: must not be negative")
	}
	t, err := s.tokenLease(c, c.Namespace.ID, id, c.Now)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "tokens cannot be renewed through this endpoint", Hint: "renew it with auth/token/renew"}
	}
	l, err := s.renew(c, id, q.Increment.Std())
	if err != nil {
		return nil, err
	}
	return &api.Answer{LeaseID: l.ID, Renewable: l.Renewable, LeaseDuration: l.TTL, MountType: c.Mount.Type}, nil
}

// RenewNamed makes a lease last longer, within its maximum.
func (s *Store) RenewNamed(c *api.Call, q *NamedRenewRequest) (*api.Answer, error) {
	return s.Renew(c, &RenewRequest{q.LeaseID, q.URLLeaseID, q.Increment})
}

// RevokeRequest ends a lease.
type RevokeRequest struct {
	LeaseID    string `json:"lease_id"`                          // Identifier of the lease.
	URLLeaseID string `json:"url_lease_id" api:"alias=lease_id"` // Another name of lease_id.
	Sync       bool   `json:"sync"`                              // Answer when the engine has taken back what was lent.
}

// NamedRevokeRequest ends a lease that the path names.
type NamedRevokeRequest struct {
	LeaseID    string `json:"lease_id"`     // Identifier of the lease; where it is given, it is that of the path.
	URLLeaseID string `path:"url_lease_id"` // Identifier of the lease.
	Sync       bool   `json:"sync"`         // Answer when the engine has taken back what was lent.
}

// RevokeLease ends a lease. One that does not exist is as good as ended.
func (s *Store) RevokeLease(c *api.Call, q *RevokeRequest) (*api.None, error) {
	id, err := one(q.LeaseID, q.URLLeaseID)
	if err != nil {
		return nil, err
	}
	return nil, s.revokeID(context.WithoutCancel(c), c, id, q.Sync)
}

// revokeID ends a lease or revokes a token.
func (s *Store) revokeID(ctx context.Context, c *api.Call, id string, wait bool) error {
	t, err := s.tokenLease(ctx, c.Namespace.ID, id, c.Now)
	if err != nil {
		return err
	}
	if t != nil {
		return s.Tokens.Revoke(ctx, t.NamespaceID, t.ID)
	}
	return s.Revoke(ctx, c.Namespace.ID, id, wait)
}

// RevokeNamed ends a lease. One that does not exist is as good as ended.
func (s *Store) RevokeNamed(c *api.Call, q *NamedRevokeRequest) (*api.None, error) {
	return s.RevokeLease(c, &RevokeRequest{q.LeaseID, q.URLLeaseID, q.Sync})
}

// PrefixRequest ends all leases below a path.
type PrefixRequest struct {
	Prefix string `path:"prefix"` // Path whose leases end, such as database/creds; or one lease.
	Sync   bool   `json:"sync"`   // Answer when the engines have taken back what was lent.
}

// ForceRequest ends and forgets all leases below a path.
type ForceRequest struct {
	Prefix string `path:"prefix"` // Path whose leases end, such as database/creds; or one lease.
}

// RevokePrefix ends all leases below a path and, below auth/, revokes the tokens
// made there.
func (s *Store) RevokePrefix(c *api.Call, q *PrefixRequest) (*api.None, error) {
	return nil, s.revokeBelow(c, q.Prefix, q.Sync, false)
}

// RevokeForce ends all leases below a path, and forgets those which an engine
// does not take back: what was lent under them may live on.
func (s *Store) RevokeForce(c *api.Call, q *ForceRequest) (*api.None, error) {
	return nil, s.revokeBelow(c, q.Prefix, true, true)
}

func (s *Store) revokeBelow(c *api.Call, prefix string, wait, force bool) error {
	ctx := context.WithoutCancel(c) // what has been begun is ended, though who asked may go away
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return &api.Error{Kind: api.Invalid, Message: "prefix: must not be empty", Hint: "name a mount, or a path in it"}
	}
	if err := s.revokeExact(ctx, c, prefix, wait, force); err != nil {
		return err
	}
	below := prefix + "/"
	sw := &sweep{Prefix: below, Before: c.Now, Force: force, Tokens: strings.HasPrefix(below, "auth/")}
	return s.launch(ctx, c.Namespace.ID, sw, wait)
}

// revokeExact ends the lease that a prefix names itself, if it does.
func (s *Store) revokeExact(ctx context.Context, c *api.Call, id string, wait, force bool) error {
	if !force {
		return s.revokeID(ctx, c, id, wait)
	}
	left := &leftover{}
	l, e, err := s.row(ctx, c.Namespace.ID, id)
	switch {
	case errors.Is(err, store.ErrCorrupt) && e.Exists():
		err = s.passOver(ctx, c.Namespace.ID, &sweep{Force: true}, []store.Entry{e}, left)
	case err == nil && l != nil:
		err = s.endPage(ctx, []*Lease{l}, true, left)
	}
	if err != nil || left.n == 0 {
		return err
	}
	return left.answer()
}

// Tidy has the schedule go through the namespace's leases and put right what a
// restored part of the store may have left behind.
func (s *Store) Tidy(c *api.Call, _ *api.None) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		return schedule.Add(tx, schedule.Item{Namespace: c.Namespace.ID, At: c.Now, Kind: kindTidy, ID: "rows"})
	})
	if err == nil {
		c.Warn("Tidy operation successfully started. Any information from the operation will be printed to the server logs.")
	}
	return nil, err
}

// suffix is what lease ids of a namespace end in.
func suffix(nsID string) string {
	if nsID == namespace.RootID {
		return ""
	}
	return "." + nsID
}
