package operator

import (
	"context"
	"errors"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
)

// Holders replaces those who hold the unseal keys of namespaces.
type Holders struct{ *Tenants }

var _ namespace.Holders = (*Holders)(nil)

// Begin implements namespace.Holders.
func (h *Holders) Begin(ctx context.Context, id string, s *namespace.SealSpec) (*namespace.HolderChange, error) {
	_, fingerprints, err := recipients("pgp_keys", s.PGPKeys, h.Now())
	if err != nil {
		return nil, err
	}
	kept, err := memo{Keys: s.PGPKeys, Fingerprints: fingerprints}.secret()
	if err != nil {
		return nil, err
	}
	c, err := h.Keys.BeginChange(ctx, id, seal.SlotSpec{Shares: s.Shares, Threshold: s.Threshold}, kept)
	if err != nil {
		return nil, holderError(err)
	}
	return holderChange(c)
}

// Current implements namespace.Holders.
func (h *Holders) Current(ctx context.Context, id string) (*namespace.HolderChange, error) {
	c, err := h.Keys.Change(ctx, id)
	if err != nil {
		return nil, holderError(err)
	}
	return holderChange(c)
}

// Cancel implements namespace.Holders.
func (h *Holders) Cancel(ctx context.Context, id string) error {
	return holderError(h.Keys.CancelChange(ctx, id))
}

// HandIn implements namespace.Holders.
func (h *Holders) HandIn(ctx context.Context, id, nonce string, verifying bool, key api.Secret) (*namespace.HolderChange, error) {
	c, made, done, err := h.Keys.HandIn(ctx, id, nonce, verifying, key)
	if err != nil {
		return nil, holderError(err)
	}
	out, err := holderChange(c)
	switch {
	case err != nil:
		return nil, err
	case done:
		return &namespace.HolderChange{Nonce: nonce, Complete: true, Verify: true, Threshold: c.Threshold, Shares: c.Shares, Required: c.Required}, nil
	case made == nil:
		return out, nil
	}
	m, err := memoIn(c.Memo)
	if err != nil {
		return nil, err
	}
	to, _, err := recipients("pgp_keys", m.Keys, h.Now())
	if err != nil {
		return nil, err
	}
	handed, err := hand(made, to, h.Now())
	if err != nil {
		return nil, err
	}
	out.Nonce, out.Complete, out.Keys, out.KeysBase64 = nonce, true, handed.hexes, handed.base64s
	return out, nil
}

// holderChange describes a change; nil: none is under way.
func holderChange(c *seal.Change) (*namespace.HolderChange, error) {
	if c == nil {
		return &namespace.HolderChange{Verify: true}, nil
	}
	m, err := memoIn(c.Memo)
	out := &namespace.HolderChange{Started: true, Threshold: c.Threshold, Shares: c.Shares, Progress: c.Progress, Required: c.Required, Fingerprints: m.Fingerprints, Verify: true}
	if c.Made {
		out.VerifyNonce = c.Nonce
	} else {
		out.Nonce = c.Nonce
	}
	return out, err
}

// holderError tells people what is wrong.
func holderError(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return &api.Error{Kind: api.Conflict, Message: "the unseal keys of the namespace are being changed by somebody else", Hint: "look at the status, and try again", Err: err}
	}
	for _, known := range ceremonyErrors {
		if errors.Is(err, known.err) {
			return &api.Error{Kind: api.Invalid, Message: known.message, Hint: known.hint, Err: err}
		}
	}
	return tenantError(err)
}
