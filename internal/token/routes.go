package token

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints under auth/token/. The handlers expect that the gate
// has counted a use of the calling token, and revokes it after its last.
var Routes = []api.Route[*Store]{
	api.Handle(api.Write, "create", (*Store).Create),
	api.Handle(api.Write, "create-orphan", (*Store).CreateOrphan),
	api.Handle(api.Write, "create/{role_name}", (*Store).CreateWithRole),
	api.Handle(api.Read, "lookup", (*Store).LookupToken),
	api.Handle(api.Write, "lookup", (*Store).LookupToken),
	api.Handle(api.Read, "lookup-self", (*Store).LookupSelf, api.Self),
	api.Handle(api.Write, "lookup-self", (*Store).LookupSelfNamed, api.Self),
	api.Handle(api.Write, "lookup-accessor", (*Store).LookupAccessor),
	api.Handle(api.Write, "renew", (*Store).Renew),
	api.Handle(api.Write, "renew-self", (*Store).RenewSelf, api.Self),
	api.Handle(api.Write, "renew-accessor", (*Store).RenewAccessor),
	api.Handle(api.Write, "revoke", (*Store).RevokeToken),
	api.Handle(api.Write, "revoke-self", (*Store).RevokeSelf, api.Self),
	api.Handle(api.Write, "revoke-orphan", (*Store).RevokeTokenOrphan),
	api.Handle(api.Write, "revoke-accessor", (*Store).RevokeAccessor),
	api.Handle(api.List, "accessors", (*Store).ListAccessors, api.Sudo|api.Veiled),
	api.Handle(api.Write, "tidy", (*Store).Tidy),
	api.Handle(api.List, "roles", (*Store).ListRoles),
	api.Handle(api.Read, "roles/{role_name}", (*Store).ReadRole),
	api.Upsert("roles/{role_name}", (*Store).WriteRole, (*Store).RoleExists),
	api.Handle(api.Delete, "roles/{role_name}", (*Store).DeleteRole),
}

// TokenRequest names a token by its text.
type TokenRequest struct {
	Token api.Secret `json:"token"` // The token.
}

// AccessorRequest names a token by its accessor.
type AccessorRequest struct {
	Accessor string `json:"accessor"` // The token's accessor.
}

// LookupAnswer is what is known of a token.
type LookupAnswer struct {
	Accessor        string            `json:"accessor"`
	BoundCIDRs      []string          `json:"bound_cidrs,omitempty"`
	CreationTime    int64             `json:"creation_time"` // Unix seconds
	CreationTTL     api.Duration      `json:"creation_ttl"`
	DisplayName     string            `json:"display_name"`
	EntityID        string            `json:"entity_id"`
	ExpireTime      *api.Time         `json:"expire_time"` // null: never
	ExplicitMaxTTL  api.Duration      `json:"explicit_max_ttl"`
	ID              api.Disclosed     `json:"id"`
	Identity        []string          `json:"identity_policies,omitempty" audit:"clear"` // that the entity and its groups give
	IssueTime       api.Time          `json:"issue_time"`
	LastRenewal     *api.Time         `json:"last_renewal,omitempty"`
	LastRenewalTime int64             `json:"last_renewal_time,omitempty"` // Unix seconds
	Meta            map[string]string `json:"meta"`
	NamespacePath   string            `json:"namespace_path,omitempty"`
	NumUses         int               `json:"num_uses"`
	Orphan          bool              `json:"orphan"`
	Path            string            `json:"path"`
	Period          *api.Duration     `json:"period,omitempty"`
	Policies        []string          `json:"policies" audit:"clear"`
	Renewable       bool              `json:"renewable"`
	Role            string            `json:"role,omitempty"`
	TTL             api.Duration      `json:"ttl"`
	Type            string            `json:"type"`
}

// LookupSelf describes the calling token.
func (s *Store) LookupSelf(c *api.Call, _ *api.None) (*LookupAnswer, error) {
	t, err := s.caller(c)
	if err != nil {
		return nil, err
	}
	if t == nil || t.expired(c.Now) {
		return nil, errBadToken()
	}
	return s.describe(c, t, c.Caller.Token)
}

// SelfRequest is about the calling token, whatever it names.
type SelfRequest struct {
	Token api.Secret `json:"token"` // Ignored: the calling token is meant.
}

// told warns who names another token than the calling one.
func (q *SelfRequest) told(c *api.Call) {
	if !q.Token.Empty() && !q.Token.Equal(c.Caller.Token) {
		c.Warn("token is ignored: the answer is about the calling token")
	}
}

// LookupSelfNamed describes the calling token.
func (s *Store) LookupSelfNamed(c *api.Call, q *SelfRequest) (*LookupAnswer, error) {
	q.told(c)
	return s.LookupSelf(c, nil)
}

// LookupToken describes a token of the call's namespace; the calling one when
// none is named.
func (s *Store) LookupToken(c *api.Call, req *TokenRequest) (*LookupAnswer, error) {
	if req.Token.Empty() || req.Token.Equal(c.Caller.Token) {
		return s.LookupSelf(c, nil)
	}
	t, err := s.named(c, req.Token)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, errBadToken()
	}
	return s.describe(c, t, req.Token)
}

// LookupAccessor describes the token with an accessor, without its text.
func (s *Store) LookupAccessor(c *api.Call, req *AccessorRequest) (*LookupAnswer, error) {
	t, err := s.ByAccessor(c, req.Accessor)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, errBadAccessor()
	}
	return s.describe(c, t, api.Secret{})
}

func errBadToken() error    { return &api.Error{Kind: api.Denied, Message: "bad token"} }
func errBadAccessor() error { return api.Errorf(api.Invalid, "invalid accessor") }
func errMissingID() error   { return api.Errorf(api.Invalid, "missing token ID") }

// named is the live token of the call's namespace with a text. A token of any
// other namespace is as unknown as one that never was.
func (s *Store) named(c *api.Call, text api.Secret) (*Token, error) {
	if p, err := parse(text.Reveal()); err != nil || p.namespace != c.Namespace.ID {
		return nil, nil // as good as unknown
	}
	t, err := s.Lookup(c, text.Reveal(), c.Now)
	if api.KindOf(err) == api.Denied {
		return nil, nil
	}
	return t, err
}

// ByAccessor is the live token of the call's namespace with an accessor; nil
// when there is none. Only its being left out altogether is told apart.
func (s *Store) ByAccessor(c *api.Call, accessor string) (*Token, error) {
	if accessor == "" {
		return nil, api.Errorf(api.Invalid, "missing accessor")
	}
	if ns, err := accessorNamespace(accessor); err != nil || ns != c.Namespace.ID {
		return nil, nil // as good as unknown
	}
	hash, err := s.Keys.TokenHash(c, c.Namespace.ID, accessor)
	if err != nil {
		return nil, fmt.Errorf("token: hash: %w", err)
	}
	e, err := s.Store.Get(c, accessorKey(c.Namespace.ID, hash))
	if err != nil || !e.Exists() {
		return nil, err
	}
	var row accessorRow
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return nil, fmt.Errorf("token: accessor cannot be read: %w", store.ErrCorrupt)
	}
	t, err := s.tokens.Get(c, rowKey{c.Namespace.ID, row.TokenID})
	if err != nil || t == nil || !t.Alive(c.Now) {
		return nil, err
	}
	return t, nil
}

// describe is the answer to a look-up. It leaves the parent out, whose identity
// is not the holder's to know.
func (s *Store) describe(c *api.Call, t *Token, text api.Secret) (*LookupAnswer, error) {
	a := &LookupAnswer{
		Accessor: t.Accessor, BoundCIDRs: t.BoundCIDRs, CreationTime: t.CreationTime.Unix(), CreationTTL: api.Duration(t.CreationTTL),
		DisplayName: t.DisplayName, EntityID: t.EntityID, ExplicitMaxTTL: api.Duration(t.ExplicitMaxTTL), ID: text.Disclose(),
		IssueTime: api.Time{Time: t.CreationTime}, Meta: t.Meta, NumUses: t.NumUses, Orphan: t.Orphan(), Path: t.Path,
		Policies: api.Full(t.Policies), Renewable: t.Renewable, Role: t.Role, TTL: api.Duration(t.ttlLeft(c.Now)), Type: t.Type,
	}
	if !t.ExpireTime.IsZero() {
		a.ExpireTime = &api.Time{Time: t.ExpireTime}
	}
	if !t.LastRenewal.IsZero() {
		a.LastRenewal, a.LastRenewalTime = &api.Time{Time: t.LastRenewal}, t.LastRenewal.Unix()
	}
	if t.Period != 0 {
		p := api.Duration(t.Period)
		a.Period = &p
	}
	if t.EntityID != "" && s.IdentityPolicies != nil {
		names, err := s.IdentityPolicies(c, t)
		if err != nil {
			return nil, err
		}
		a.Identity = names
	}
	if t.NamespaceID != RootNamespace {
		path, _, err := s.Namespaces.Path(c, t.NamespaceID)
		if err != nil {
			return nil, err
		}
		a.NamespacePath = path
	}
	return a, nil
}

// RevokeToken kills a token and everything below it. A token that does not
// exist is as good as revoked.
func (s *Store) RevokeToken(c *api.Call, req *TokenRequest) (*api.None, error) {
	if req.Token.Empty() {
		return nil, errMissingID()
	}
	t, err := s.named(c, req.Token)
	if err != nil || t == nil {
		return nil, err
	}
	return nil, s.revokeAs(c, t, false)
}

// RevokeSelf kills the calling token and everything below it.
func (s *Store) RevokeSelf(c *api.Call, _ *api.None) (*api.None, error) {
	t, err := s.caller(c)
	if err != nil || t == nil {
		return nil, err
	}
	return nil, s.revokeAs(c, t, false)
}

// RevokeTokenOrphan kills a token alone; its children become orphans. It takes sudo.
func (s *Store) RevokeTokenOrphan(c *api.Call, req *TokenRequest) (*api.None, error) {
	switch {
	case req.Token.Empty():
		return nil, errMissingID()
	case !c.Caller.Sudo && !c.Caller.Root:
		return nil, api.Errorf(api.Invalid, "root or sudo privileges required to revoke and orphan")
	}
	t, err := s.named(c, req.Token)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, api.Errorf(api.Invalid, "token to revoke not found")
	}
	return nil, s.revokeAs(c, t, true)
}

// RevokeAccessor kills the token with an accessor and everything below it.
func (s *Store) RevokeAccessor(c *api.Call, req *AccessorRequest) (*api.None, error) {
	t, err := s.ByAccessor(c, req.Accessor)
	if err != nil {
		return nil, err
	}
	if t == nil {
		c.Warn("No token found with this accessor")
		return nil, nil
	}
	return nil, s.revokeAs(c, t, false)
}

// revokeAs revokes for a caller, who may go away: what has been begun is ended.
func (s *Store) revokeAs(c *api.Call, t *Token, orphan bool) error {
	if t.Type == Batch {
		return api.Errorf(api.Invalid, "batch tokens cannot be revoked")
	}
	return s.revoke(context.WithoutCancel(c), t.key(), orphan)
}

// ListAccessors names the accessors of the namespace's tokens. Those whose rows are
// damaged are told of beside them.
func (s *Store) ListAccessors(c *api.Call, _ *api.None) (*api.Keys, error) {
	r := store.Prefix(accessorKey(c.Namespace.ID, ""))
	r.Limit = 1000
	keys, unread := []string{}, 0
	for {
		last, n := "", 0
		damaged, err := store.SiftJSON(c, s.Store, r, func(e store.Entry, row *accessorRow) {
			keys, last, n = append(keys, row.Accessor), e.Key, n+1
		})
		if err != nil {
			return nil, err
		}
		for _, e := range damaged {
			last, n = max(last, e.Key), n+1
		}
		if unread += len(damaged); n < r.Limit {
			break
		}
		r = r.After(last)
	}
	if unread > 0 {
		c.Warn(fmt.Sprintf("%d more rows of accessors are damaged and cannot be told; their tokens are not", unread))
	}
	slices.Sort(keys)
	return &api.Keys{Keys: keys}, nil
}
