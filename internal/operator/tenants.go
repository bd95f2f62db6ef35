package operator

import (
	"context"
	"errors"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/seal"
)

// Tenants hands out and takes the unseal keys of namespaces.
type Tenants struct {
	Keys *seal.Tenants
	Now  func() time.Time
}

var _ namespace.Seals = (*Tenants)(nil)

// Judge implements namespace.Seals.
func (t *Tenants) Judge(s *namespace.SealSpec) error {
	if err := checkShares(s.Shares, s.Threshold, "seal"); err != nil {
		return err
	}
	if _, _, err := recipients("pgp_keys", s.PGPKeys, t.Now()); err != nil {
		return err
	}
	return checkKeys("pgp_keys", s.PGPKeys, s.Shares)
}

// Share implements namespace.Seals.
func (t *Tenants) Share(ctx context.Context, id string, s *namespace.SealSpec) ([]api.Disclosed, error) {
	to, _, err := recipients("pgp_keys", s.PGPKeys, t.Now())
	if err != nil {
		return nil, err
	}
	shares, err := t.Keys.Share(ctx, id, seal.SlotSpec{Shares: s.Shares, Threshold: s.Threshold})
	if err != nil {
		return nil, tenantError(err)
	}
	h, err := hand(shares, to, t.Now())
	return h.hexes, err
}

// Status implements namespace.Seals.
func (t *Tenants) Status(ctx context.Context, id string) (*namespace.SealStatus, error) {
	return answered(t.Keys.Status(ctx, id))
}

// Submit implements namespace.Seals.
func (t *Tenants) Submit(ctx context.Context, id string, key api.Secret) (*namespace.SealStatus, error) {
	return answered(t.Keys.Submit(ctx, id, key))
}

// Reset implements namespace.Seals.
func (t *Tenants) Reset(id string) { t.Keys.Reset(id) }

// Seal implements namespace.Seals.
func (t *Tenants) Seal(ctx context.Context, id string, ordered func() (bool, error)) error {
	return tenantError(t.Keys.Seal(ctx, id, ordered))
}

func answered(st seal.TenantStatus, err error) (*namespace.SealStatus, error) {
	if err != nil {
		return nil, tenantError(err)
	}
	return &namespace.SealStatus{Type: seal.KindShamir, Initialized: true, Sealed: st.Sealed, T: st.Threshold, N: st.Shares, Progress: st.Progress, Nonce: st.Nonce}, nil
}

// tenantError tells people what is wrong with a namespace's seal, or a share of it.
func tenantError(err error) error {
	switch {
	case errors.Is(err, barrier.ErrNotSealable):
		return &api.Error{Kind: api.Invalid, Message: "the namespace has no unseal keys", Hint: "give it a seal with: strongroom namespace patch -key-shares=5 -key-threshold=3 NAME", Err: err}
	case errors.Is(err, barrier.ErrShared):
		return &api.Error{Kind: api.Conflict, Message: "seal: the namespace has a seal of its own already", Hint: "where nobody has seen its unseal keys, delete it and make it anew", Err: err}
	case errors.Is(err, seal.ErrManyAttempts):
		return &api.Error{Kind: api.TooMany, Message: "unseal keys are being handed in for too many namespaces", Hint: "try again in ten minutes", Err: err}
	}
	return shareError(err)
}
