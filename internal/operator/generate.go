package operator

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/seal"
)

// generateRoutes make a root token with unseal keys. The first two groups are
// Vault's, which take a token or an unseal key for a proof; the last is OpenBao's,
// which always takes a token.
func generateRoutes() []api.Route[*Desk] {
	const proven, open = api.Open | api.Public | api.Bare | api.RootOnly, api.Public | api.Bare | api.RootOnly
	return []api.Route[*Desk]{
		api.Handle(api.Read, "generate-root", (*Desk).rootStatus, open),
		api.Handle(api.Write, "generate-root", (*Desk).rootInit, proven),
		api.Handle(api.Delete, "generate-root", (*Desk).rootCancel, proven),
		api.Handle(api.Read, "generate-root/attempt", (*Desk).rootStatus, open),
		api.Handle(api.Write, "generate-root/attempt", (*Desk).rootInit, proven),
		api.Handle(api.Delete, "generate-root/attempt", (*Desk).rootCancel, proven),
		api.Handle(api.Write, "generate-root/update", (*Desk).rootUpdate, proven),
		api.Handle(api.Read, "generate-root-token/attempt", (*Desk).rootStatus, api.RootOnly),
		api.Handle(api.Write, "generate-root-token/attempt", (*Desk).rootInit, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "generate-root-token/attempt", (*Desk).rootCancel, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "generate-root-token/update", (*Desk).rootUpdate, api.RootOnly),
	}
}

// GenerateRequest starts making a root token.
type GenerateRequest struct {
	OTP    api.Secret `json:"otp"`     // One-time pad of otp_length characters for the token; without it and pgp_key, one is made and answered.
	PGPKey string     `json:"pgp_key"` // Public key to encrypt the token to instead: OpenPGP in base64, or an age recipient.
	Slot   string     `json:"slot"`    // Identifier of the key slot whose unseal keys are wanted; by default that of 'key', or the first.
	Key    api.Secret `json:"key"`     // An unseal key, from who has no token with sudo; counts as handed in.
}

// GenerateProgress is how far making a root token has come. The token is there once,
// in the answer to the last unseal key that was needed.
type GenerateProgress struct {
	Nonce       string        `json:"nonce" audit:"clear"`
	Started     bool          `json:"started"`
	Progress    int           `json:"progress"`
	Required    int           `json:"required"`
	Complete    bool          `json:"complete"`
	Encoded     api.Disclosed `json:"encoded_token"`      // the token XOR the one-time pad, or encrypted, in base64
	EncodedRoot api.Disclosed `json:"encoded_root_token"` // the same, under its old name
	Fingerprint string        `json:"pgp_fingerprint" audit:"clear"`
	OTP         api.Disclosed `json:"otp"` // where one was made, in the answer to the start
	OTPLength   int           `json:"otp_length"`
	Slot        string        `json:"slot,omitempty" audit:"clear"` // whose unseal keys count
}

func (d *Desk) generating(c *seal.Ceremony, required int) (*GenerateProgress, error) {
	out := &GenerateProgress{Required: required, OTPLength: d.TokenLength}
	if c == nil {
		return out, nil
	}
	m, err := memoOf(c)
	out.Nonce, out.Started, out.Progress, out.Required, out.Slot = c.Nonce, true, len(c.Shown), c.Required, c.Slot
	if len(m.Fingerprints) > 0 {
		out.Fingerprint = m.Fingerprints[0]
	}
	return out, err
}

// rootStatus says how far making a root token has come.
func (d *Desk) rootStatus(c *api.Call, _ *api.None) (*GenerateProgress, error) {
	now, required, err := d.Seal.CeremonyStatus(c, seal.RootToken)
	if err != nil {
		return nil, ceremonyError(err)
	}
	return d.generating(now, required)
}

// rootInit starts making a root token. It takes a token with sudo or, where that is
// lost, one of the unseal or recovery keys.
func (d *Desk) rootInit(c *api.Call, q *GenerateRequest) (*GenerateProgress, error) {
	if err := hasSay(c, q.Key); err != nil {
		return nil, err
	}
	m, made, err := d.generateMemo(c, q)
	if err != nil {
		return nil, err
	}
	kept, err := m.secret()
	if err != nil {
		return nil, err
	}
	d.settle()
	begun, err := d.Seal.Begin(c, seal.RootToken, seal.CeremonySpec{Slot: q.Slot, Proof: q.Key, Memo: kept})
	if err != nil {
		return nil, keyError(c, err)
	}
	out, err := d.generating(begun, begun.Required)
	if made {
		out.OTP = api.Disclosed(m.OTP)
	}
	return out, err
}

// generateMemo checks a request, and makes a one-time pad where it needs one.
func (d *Desk) generateMemo(c *api.Call, q *GenerateRequest) (m memo, made bool, err error) {
	switch {
	case q.PGPKey != "" && !q.OTP.Empty():
		return m, false, &api.Error{Kind: api.Invalid, Message: "otp and pgp_key exclude each other", Hint: "give one of them, or none"}
	case q.PGPKey != "":
		m.Keys = []string{q.PGPKey}
		_, m.Fingerprints, err = recipients("pgp_key", m.Keys, c.Now)
		return m, false, err
	case q.OTP.Empty():
		m.OTP, err = newOTP(d.TokenLength)
		return m, true, err
	case len(q.OTP.Reveal()) != d.TokenLength:
		return m, false, &api.Error{Kind: api.Invalid, Message: "otp: has the wrong length", Hint: fmt.Sprintf("give %d characters, or none to have one made", d.TokenLength)}
	}
	m.OTP = q.OTP.Reveal()
	return m, false, nil
}

// otpDigits are what one-time pads are made of: 64, so that a byte chooses evenly.
const otpDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func newOTP(length int) (string, error) {
	b := make([]byte, length)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	for i := range b {
		b[i] = otpDigits[b[i]%64]
	}
	return string(b), nil
}

// rootUpdate hands in an unseal or recovery key. The last one that is needed is
// answered with a root token, encoded, this once.
func (d *Desk) rootUpdate(c *api.Call, q *UpdateRequest) (*GenerateProgress, error) {
	if err := q.check(c); err != nil {
		return nil, err
	}
	shown, err := d.Seal.Show(c, seal.RootToken, q.Nonce, q.Key)
	if err != nil {
		return nil, keyError(c, err)
	}
	out, err := d.generating(&shown.Ceremony, shown.Required)
	if err != nil || !shown.Complete {
		return out, err
	}
	return out, d.grantRoot(c, &shown.Ceremony, out)
}

// grantRoot issues the root token. The ceremony is over: however this ends, the same
// unseal keys do not make a second one.
func (d *Desk) grantRoot(c *api.Call, done *seal.Ceremony, out *GenerateProgress) error {
	m, err := memoOf(done)
	if err != nil {
		return err
	}
	root, err := d.IssueRoot(c)
	if err != nil {
		return err
	}
	if out.Encoded, err = encodeToken(c, root.ClientToken, m); err != nil {
		return err
	}
	out.EncodedRoot, out.Complete = out.Encoded, true
	return nil
}

// encodeToken is a token in the form that only who started can read.
func encodeToken(c *api.Call, token api.Secret, m memo) (api.Disclosed, error) {
	if len(m.Keys) == 0 {
		text := []byte(token.Reveal())
		if len(m.OTP) != len(text) {
			return "", errors.New("the one-time pad is not as long as the token")
		}
		subtle.XORBytes(text, text, []byte(m.OTP))
		return api.Disclosed(base64.RawStdEncoding.EncodeToString(text)), nil
	}
	to, _, err := recipients("pgp_key", m.Keys, c.Now)
	if err != nil {
		return "", err
	}
	message, err := to[0].Encrypt(token, c.Now)
	return api.Disclosed(base64.StdEncoding.EncodeToString(message)), err
}

// rootCancel ends making a root token. It takes a token with sudo, or one of the
// unseal or recovery keys.
func (d *Desk) rootCancel(c *api.Call, q *CancelRequest) (*api.None, error) {
	return nil, d.cancel(c, seal.RootToken, q)
}
