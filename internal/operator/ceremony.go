package operator

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/recipient"
	"github.com/strongroom/strongroom/internal/seal"
)

// memo is what the desk keeps with a ceremony until it is over.
type memo struct {
	Keys         []string `json:"keys,omitempty"`         // public keys of those the outcome is for
	Fingerprints []string `json:"fingerprints,omitempty"` // of Keys
	Backup       bool     `json:"backup,omitempty"`
	OTP          string   `json:"otp,omitempty"`
}

func (m memo) secret() (api.Secret, error) {
	text, err := json.Marshal(m)
	return api.NewSecret(string(text)), err
}

func memoOf(c *seal.Ceremony) (m memo, err error) {
	if c == nil {
		return m, nil
	}
	return memoIn(c.Memo)
}

func memoIn(text api.Secret) (m memo, err error) {
	if err := json.Unmarshal([]byte(text.Reveal()), &m); err != nil {
		return m, fmt.Errorf("reading a ceremony's memo: %w", err)
	}
	return m, nil
}

// recipients reads public keys; field is where they stand in the request.
func recipients(field string, keys []string, now time.Time) (to []*recipient.Recipient, fingerprints []string, err error) {
	to, err = recipient.ParseAll(keys, now)
	if err != nil {
		return nil, nil, &api.Error{Kind: api.Invalid, Message: field + ": " + err.Error(), Err: err,
			Hint: "give OpenPGP public keys in base64 or armoured, or age recipients"}
	}
	for _, r := range to {
		fingerprints = append(fingerprints, r.Fingerprint())
	}
	return to, fingerprints, nil
}

// handed is shares as they are handed out: in the clear, or each encrypted to its
// keeper.
type handed struct{ hexes, base64s []api.Disclosed }

// hand puts shares into the forms of an answer. What is encrypted is a share's
// hexadecimal form, as Vault's clients expect.
func hand(shares []seal.Share, to []*recipient.Recipient, now time.Time) (handed, error) {
	var h handed
	for i, s := range shares {
		if len(to) == 0 {
			h.hexes, h.base64s = append(h.hexes, s.Hex().Disclose()), append(h.base64s, s.Base64().Disclose())
			continue
		}
		message, err := to[i].Encrypt(s.Hex(), now)
		if err != nil {
			return handed{}, err
		}
		h.hexes = append(h.hexes, api.Disclosed(hex.EncodeToString(message)))
		h.base64s = append(h.base64s, api.Disclosed(base64.StdEncoding.EncodeToString(message)))
	}
	return h, nil
}

// checkKeys sees that there is a public key for each share, or none.
func checkKeys(field string, keys []string, shares int) error {
	if len(keys) != 0 && len(keys) != shares {
		return &api.Error{Kind: api.Invalid, Message: fmt.Sprintf("%s: %d keys for %d shares", field, len(keys), shares), Hint: "give one for each share, or none"}
	}
	return nil
}

// hasSay refuses who has shown neither a token with sudo nor an unseal key: a
// stranger neither begins nor cancels anything. Whether the unseal key is one
// is for the seal to say.
func hasSay(c *api.Call, key api.Secret) error {
	if c.Caller.Sudo || c.Caller.Root || !key.Empty() {
		return nil
	}
	return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "this takes a token with sudo, or an unseal key as 'key'"}
}

// hasToken refuses a stranger.
func hasToken(c *api.Call) error {
	if c.Caller.TokenID == "" {
		return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "this takes an unseal key as 'key'"}
	}
	return nil
}

// keyError tells people what is wrong with an unseal key. Of who has no token it
// was the only proof.
func keyError(c *api.Call, err error) error {
	told := ceremonyError(err)
	if told == nil {
		return nil
	}
	for _, bad := range []error{seal.ErrShare, seal.ErrWrongShare, seal.ErrUnknownSet, seal.ErrOtherSet} {
		if errors.Is(err, bad) && hasToken(c) != nil {
			return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: told.Error(), Err: err}
		}
	}
	return told
}

// proof is the unseal key that speaks for a caller whose token does not.
func proof(c *api.Call, key api.Secret) api.Secret {
	if c.Caller.Sudo || c.Caller.Root {
		return api.Secret{}
	}
	return key
}

// ceremonyErrors are what people are told, with what to do.
var ceremonyErrors = [...]struct {
	err           error
	message, hint string
}{
	{seal.ErrCeremony, "it is already in progress", "go on with its nonce, or cancel it first"},
	{seal.ErrNoCeremony, "it is not in progress", "start it first; it is forgotten after 24 hours"},
	{seal.ErrNonce, "incorrect nonce", "ask who started it, or the status, for the nonce"},
	{seal.ErrOtherSet, "the unseal key is of another set", "the status says which key slot's unseal keys are wanted"},
	{seal.ErrVerifying, "the new unseal keys have been made and wait to be verified", "hand them in with verify, or cancel to keep the old ones"},
	{seal.ErrNotVerifying, "no verification is in progress", ""},
	{seal.ErrNoShares, "no key slot has unseal keys that people hold", "make some with: strongroom operator key-slot add shamir"},
	{seal.ErrUnproven, "the key slot has to be tested once before its unseal keys count here", "run: strongroom operator key-slot test ID"},
}

// ceremonyError tells people what is wrong.
func ceremonyError(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range ceremonyErrors {
		if errors.Is(err, known.err) {
			return &api.Error{Kind: api.Invalid, Message: known.message, Hint: known.hint, Err: err}
		}
	}
	return shareError(slotError(err))
}

// UpdateRequest hands in an unseal key.
type UpdateRequest struct {
	Key   api.Secret `json:"key"`                 // An unseal key, in base64 or hexadecimal.
	Nonce string     `json:"nonce" audit:"clear"` // What the operation is called by its status.
}

func (q *UpdateRequest) check(c *api.Call) error {
	if q.Key.Empty() {
		if err := hasToken(c); err != nil {
			return err
		}
		return &api.Error{Kind: api.Invalid, Message: "'key' must be specified", Hint: "give an unseal key in base64 or hexadecimal"}
	}
	return nil
}

// CancelRequest ends an operation.
type CancelRequest struct {
	Key   api.Secret `json:"key"`                 // An unseal key, from who has no token with sudo.
	Nonce string     `json:"nonce" audit:"clear"` // What the operation is called by its status; may be left out.
}

// cancel ends a ceremony, if one is under way.
func (d *Desk) cancel(c *api.Call, p seal.Purpose, q *CancelRequest) error {
	if err := hasSay(c, q.Key); err != nil {
		return err
	}
	if q.Nonce != "" {
		now, _, err := d.Seal.CeremonyStatus(c, p)
		if err != nil {
			return ceremonyError(err)
		}
		if now != nil && now.Nonce != q.Nonce {
			return ceremonyError(seal.ErrNonce)
		}
	}
	d.handing.Lock() // until it is done: new keys that are made meanwhile are answered
	defer d.handing.Unlock()
	return keyError(c, d.Seal.Cancel(c, p, proof(c, q.Key)))
}
