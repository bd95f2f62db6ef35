package token

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Spec asks for a token that no other token is the parent of: a login's, or a
// root token's.
type Spec struct {
	Auth      api.Auth // what the auth method answered; TTL 0: the mount's default
	Namespace string   // identifier
	Path      string   // of the login, such as auth/userpass/login/alice
	Mount     Limits   // of the auth method's mount; zero fields: the server's
	MountID   string   // of the auth method whose login it is; empty: none's
	// EntityEpoch is the count of revocations of Auth.EntityID.
	EntityEpoch int
	// Root makes a root token, which with TTL 0 never expires. It is for
	// initialisation and for the ceremony that replaces a lost root token; nothing
	// else can attach the root policy.
	Root bool
	// Wrapping makes a wrapping token: see WrappingPolicy.
	Wrapping bool
	Role     string // that the login was by; empty: none
	Exempt   bool   // no quota refuses it: who asks holds the root policy
	Reuse    bool   // a live token that is as this one would be may be handed out in its place
	// With writes what belongs to the token in the commit that makes it. It may be
	// called many times; nil: nothing.
	With func(tx *store.Tx, t *Token) error
	ID   api.Secret   // the token's text, when the operator names it
	Now  time.Time    // zero: the clock's
	Warn func(string) // told of limits that were applied; nil: nobody
}

// Issue makes a token and answers with its text, which cannot be had again. It
// refuses the root policy, in any spelling, unless the Spec says Root.
func (s *Store) Issue(ctx context.Context, sp Spec) (*api.Auth, error) {
	if sp.Now.IsZero() {
		sp.Now = s.Now()
	}
	policies, err := sp.policies()
	if err != nil {
		return nil, err
	}
	t := &Token{
		NamespaceID:     sp.Namespace,
		Type:            Service,
		Policies:        policies,
		NoDefaultPolicy: sp.Auth.NoDefaultPolicy,
		Path:            sp.Path,
		DisplayName:     sp.Auth.DisplayName,
		Meta:            sp.Auth.Metadata,
		EntityID:        sp.Auth.EntityID,
		EntityEpoch:     sp.EntityEpoch,
		BoundCIDRs:      sp.Auth.BoundCIDRs,
		CreationTime:    sp.Now,
		Renewable:       sp.Auth.Renewable,
		Period:          sp.Auth.Period,
		ExplicitMaxTTL:  sp.Auth.ExplicitMaxTTL,
		MaxTTL:          sp.Auth.MaxTTL,
		NumUses:         sp.Auth.NumUses,
		MountID:         sp.MountID,
		Login:           sp.MountID != "",
		Private:         sp.Auth.Private,
		LoginRole:       sp.Role,
	}
	if t.Login {
		t.MountNamespace = sp.Namespace
	}
	if t.Login && sp.Auth.Alias != nil {
		t.Alias = sp.Auth.Alias.Name
	}
	if sp.Auth.TokenType == Batch { // which is not renewed
		t.Type, t.Renewable, t.Private, t.Alias = Batch, false, nil, ""
	}
	if err := s.setLoginTTL(t, sp); err != nil {
		return nil, err
	}
	if sp.reuses(t) {
		return s.issueAgain(ctx, t, sp)
	}
	text, err := s.create(ctx, t, creation{custom: sp.ID, with: sp.with(), exempt: sp.Root || sp.Exempt})
	if err != nil {
		return nil, err
	}
	return t.auth(text), nil
}

// with is what belongs to the token's commit.
func (sp Spec) with() func(*store.Tx, *Token, string) error {
	if sp.With == nil {
		return nil
	}
	return func(tx *store.Tx, t *Token, _ string) error { return sp.With(tx, t) }
}

func (sp Spec) policies() ([]string, error) {
	switch {
	case sp.Root:
		return []string{rootPolicy}, nil
	case sp.Wrapping:
		return []string{WrappingPolicy}, nil
	}
	names, err := canonical(sp.Auth.TokenPolicies)
	if err != nil {
		return nil, err
	}
	if len(names) == 1 && names[0] == rootPolicy {
		return nil, api.Errorf(api.Invalid, "auth methods cannot create root tokens")
	}
	if err := assignable(names); err != nil {
		return nil, err
	}
	if !sp.Auth.NoDefaultPolicy {
		names = withDefault(names)
	}
	return names, nil
}

func (s *Store) setLoginTTL(t *Token, sp Spec) error {
	if sp.Root && sp.Auth.TTL == 0 && sp.Auth.Period == 0 && sp.Auth.ExplicitMaxTTL == 0 {
		t.Renewable = false
		return nil
	}
	tm := terms{
		Limits: s.limits(api.Mount{DefaultTTL: sp.Mount.Default, MaxTTL: sp.Mount.Max}), usual: sp.Auth.TTL, period: t.Period,
		roleMax: t.MaxTTL, explicit: t.ExplicitMaxTTL, issued: sp.Now, nowIs: sp.Now, warn: sp.Warn,
	}
	ttl, err := tm.resolve()
	if err != nil {
		return err
	}
	t.live(ttl, sp.Now)
	t.CreationTTL = ttl
	return nil
}

// live sets a token's expiry.
func (t *Token) live(ttl time.Duration, now time.Time) {
	t.TTL, t.ExpireTime = ttl, now.Add(ttl)
}

// auth is the answer that hands a token out.
func (t *Token) auth(text string) *api.Auth {
	return &api.Auth{
		ClientToken:     api.NewSecret(text),
		Accessor:        t.Accessor,
		Policies:        t.Policies,
		TokenPolicies:   t.Policies,
		Metadata:        t.Meta,
		TTL:             t.TTL,
		MaxTTL:          t.MaxTTL,
		ExplicitMaxTTL:  t.ExplicitMaxTTL,
		Period:          t.Period,
		Renewable:       t.Renewable,
		EntityID:        t.EntityID,
		TokenType:       t.Type,
		Orphan:          t.Orphan(),
		NumUses:         t.NumUses,
		DisplayName:     t.DisplayName,
		NoDefaultPolicy: t.NoDefaultPolicy,
		BoundCIDRs:      t.BoundCIDRs,
	}
}

// creation is how a token is made.
type creation struct {
	custom api.Secret                                      // its text, when it is chosen
	with   func(tx *store.Tx, t *Token, text string) error // part of the commit; nil: nothing
	exempt bool                                            // no quota refuses it
}

// create makes a token whose content is decided and returns its text.
func (s *Store) create(ctx context.Context, t *Token, c creation) (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	if err := s.lives(ctx, t); err != nil {
		return "", err
	}
	if t.Type == Batch {
		return s.createBatch(ctx, t, c)
	}
	text, err := s.name(ctx, t, c.custom)
	if err != nil {
		return "", err
	}
	t.Accessor = newAccessor(t.NamespaceID)
	accessor, err := s.Keys.TokenHash(ctx, t.NamespaceID, t.Accessor)
	if err != nil {
		return "", fmt.Errorf("token: hash: %w", err)
	}
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		if c.with != nil {
			if err := c.with(tx, t, text); err != nil {
				return err
			}
		}
		if err := s.charge(tx, t, c.exempt); err != nil {
			return err
		}
		return t.insert(tx, accessor)
	})
	return text, err
}

// lives tells until when a token of an entity lives.
func (s *Store) lives(ctx context.Context, t *Token) error {
	if s.Lives == nil || t.EntityID == "" {
		return nil
	}
	return s.Lives(ctx, t)
}

// name gives a token its text and storage identity. A text of the operator's
// choice cannot come back while what hung on its last bearer is still being revoked.
func (s *Store) name(ctx context.Context, t *Token, custom api.Secret) (text string, err error) {
	text = newText(t.NamespaceID)
	if !custom.Empty() {
		text = custom.Reveal()
		if err := checkCustom(text); err != nil {
			return "", api.Errorf(api.Invalid, "%v", err)
		}
		if t.NamespaceID != RootNamespace {
			return "", api.Errorf(api.Invalid, "token IDs can only be manually specified in the root namespace")
		}
	}
	if t.ID, err = s.Keys.TokenHash(ctx, t.NamespaceID, text); err != nil {
		return "", fmt.Errorf("token: hash: %w", err)
	}
	if custom.Empty() {
		return text, nil
	}
	links, err := s.links(ctx, t.key())
	if err == nil && len(links) > 0 {
		err = errDuplicate()
	}
	return text, err
}

func errDuplicate() error {
	return api.Errorf(api.Invalid, "cannot create a token with a duplicate ID")
}

// check refuses content that no path may ask for.
func (t *Token) check() error {
	if t.Type == Batch {
		if t.Root() {
			return api.Errorf(api.Invalid, "batch tokens cannot be root tokens")
		}
		if t.NumUses != 0 || t.Period != 0 || t.ExplicitMaxTTL != 0 || t.ExpireTime.IsZero() {
			return api.Errorf(api.Invalid, "batch tokens cannot have a use limit, a period or an explicit maximum TTL")
		}
	}
	for _, c := range t.BoundCIDRs {
		if _, err := parseCIDR(c); err != nil {
			return api.Errorf(api.Invalid, "bound_cidrs: not an address or a range of addresses")
		}
	}
	return nil
}

// insert writes a service token and all that indexes it. A parent must be alive
// at that very moment, so that none is added to a tree that is being revoked.
func (t *Token) insert(tx *store.Tx, accessor string) error {
	old, err := tx.Get(t.key().String())
	if err != nil {
		return err
	}
	if old.Exists() {
		return errDuplicate()
	}
	if !t.Orphan() {
		p, err := read(tx, t.parent())
		if err != nil {
			return err
		}
		if p == nil || !p.Alive(t.CreationTime) {
			return errNoParent()
		}
		tx.Put(t.key().link(t.parent()), []byte{})
	}
	if err := setDue(tx, t, t.ExpireTime); err != nil {
		return err
	}
	value, err := json.Marshal(accessorRow{t.Accessor, t.ID})
	if err != nil {
		return fmt.Errorf("token: encode accessor: %w", err)
	}
	tx.Put(accessorKey(t.NamespaceID, accessor), value)
	return write(tx, t)
}

func errNoParent() error {
	return api.Errorf(api.Invalid, "parent token lookup failed: no parent found")
}

// createBatch seals a batch token's content into its text. It is counted by no quota,
// and refused by one that has no room.
func (s *Store) createBatch(ctx context.Context, t *Token, c creation) (string, error) {
	if s.Counter != nil {
		if err := s.Counter.Admit(ctx, t.counted(c.exempt)); err != nil {
			return "", err
		}
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("token: encode batch token: %w", err)
	}
	blob, err := s.Keys.SealBatch(ctx, t.NamespaceID, plain)
	if err != nil {
		return "", fmt.Errorf("token: seal batch token: %w", err)
	}
	text := batchText(blob, t.NamespaceID)
	if len(text) > maxTextLen {
		return "", &api.Error{Kind: api.TooLarge, Message: "a batch token cannot hold so much metadata"}
	}
	return text, nil
}
