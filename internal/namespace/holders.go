package namespace

import (
	"context"

	"github.com/strongroom/strongroom/internal/api"
)

// Holders replaces the people who hold shares of a namespace's key. Its errors are for
// callers to be told.
type Holders interface {
	// Begin begins to replace them.
	Begin(ctx context.Context, id string, s *SealSpec) (*HolderChange, error)
	// Current is how far that has come.
	Current(ctx context.Context, id string) (*HolderChange, error)
	// HandIn takes one unseal key: of the present ones, or where new ones wait to be
	// verified, of those.
	HandIn(ctx context.Context, id, nonce string, verifying bool, key api.Secret) (*HolderChange, error)
	// Cancel ends it; the present unseal keys stay.
	Cancel(ctx context.Context, id string) error
}

// HolderRequest starts replacing the unseal keys of a namespace.
type HolderRequest struct {
	NameRequest
	Shares    int      `json:"secret_shares"`        // How many new unseal keys to make.
	Threshold int      `json:"secret_threshold"`     // How many of them unseal.
	PGPKeys   []string `json:"pgp_keys"`             // Public keys to encrypt the new unseal keys to, one for each: OpenPGP in base64, or age recipients.
	Verify    bool     `json:"require_verification"` // Kept for compatibility: the new unseal keys are always verified.
}

// HolderKey hands in one unseal key.
type HolderKey struct {
	NameRequest
	Key   api.Secret `json:"key" api:"required"`                 // An unseal key of the namespace, in base64 or hexadecimal.
	Nonce string     `json:"nonce" audit:"clear" api:"required"` // What the change, or its verification, is called by its status.
}

// HolderChange is how far replacing the unseal keys has come. Keys are there once, in the
// answer to the last of the present unseal keys that was needed.
type HolderChange struct {
	Nonce        string          `json:"nonce" audit:"clear"`
	Started      bool            `json:"started"`
	Threshold    int             `json:"t"`
	Shares       int             `json:"n"`
	Progress     int             `json:"progress"`
	Required     int             `json:"required"`
	Complete     bool            `json:"complete,omitempty"`
	Keys         []api.Disclosed `json:"keys,omitempty"`
	KeysBase64   []api.Disclosed `json:"keys_base64,omitempty"`
	Fingerprints []string        `json:"pgp_fingerprints" audit:"clear"`
	Backup       bool            `json:"backup"`
	Verify       bool            `json:"verification_required"`
	VerifyNonce  string          `json:"verification_nonce" audit:"clear"`
}

// held is a namespace right below whose holders can be replaced.
func (r *Registry) held(c *api.Call, path string) (*Namespace, error) {
	n, err := r.guarded(c, path)
	if err == nil && r.hooks.Holders == nil {
		err = api.Errorf(api.Invalid, "the holders of namespaces' unseal keys cannot be replaced here")
	}
	return n, err
}

// holderStatus says how far replacing the unseal keys of a namespace has come.
func (r *Registry) holderStatus(c *api.Call, q *NameRequest) (*HolderChange, error) {
	n, err := r.held(c, q.Path)
	if err != nil {
		return nil, err
	}
	return r.hooks.Holders.Current(c, n.ID)
}

// holderInit starts replacing the unseal keys of a namespace. They work until enough of the
// new ones were handed in to verify.
func (r *Registry) holderInit(c *api.Call, q *HolderRequest) (*HolderChange, error) {
	n, err := r.held(c, q.Path)
	if err != nil {
		return nil, err
	}
	s := &SealSpec{Shares: q.Shares, Threshold: q.Threshold, PGPKeys: q.PGPKeys}
	if err := r.hooks.Seals.Judge(s); err != nil {
		return nil, err
	}
	return r.hooks.Holders.Begin(c, n.ID, s)
}

// holderCancel ends replacing the unseal keys of a namespace; the present ones stay.
func (r *Registry) holderCancel(c *api.Call, q *NameRequest) (*api.None, error) {
	n, err := r.held(c, q.Path)
	if err != nil {
		return nil, err
	}
	return nil, r.hooks.Holders.Cancel(c, n.ID)
}

// holderUpdate hands in one of the present unseal keys. The last one that is needed is
// answered with the new ones, this once.
func (r *Registry) holderUpdate(c *api.Call, q *HolderKey) (*HolderChange, error) {
	if c.WrapTTL != 0 {
		return nil, &api.Error{Kind: api.Invalid, Message: "new unseal keys cannot be wrapped", Hint: "ask without X-Vault-Wrap-TTL; to have them encrypted, start with pgp_keys"}
	}
	return r.handIn(c, q, false)
}

// holderVerify hands in one of the new unseal keys. With the last one that is needed they
// are in force, and the others are not.
func (r *Registry) holderVerify(c *api.Call, q *HolderKey) (*HolderChange, error) {
	return r.handIn(c, q, true)
}

func (r *Registry) handIn(c *api.Call, q *HolderKey, verifying bool) (*HolderChange, error) {
	n, err := r.held(c, q.Path)
	if err != nil {
		return nil, err
	}
	return r.hooks.Holders.HandIn(c, n.ID, q.Nonce, verifying, q.Key)
}
