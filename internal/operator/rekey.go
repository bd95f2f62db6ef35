package operator

import (
	"context"
	"errors"
	"log/slog"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/recipient"
	"github.com/strongroom/strongroom/internal/seal"
)

// rekeyRoutes replace the unseal keys that people hold. The first two groups are
// Vault's, which take a token or an unseal key for a proof; the others are
// OpenBao's, which always take a token.
func rekeyRoutes() []api.Route[*Desk] {
	const proven, open = api.Open | api.Public | api.Bare | api.RootOnly, api.Public | api.Bare | api.RootOnly
	const sudo, plain = api.Sudo | api.RootOnly, api.RootOnly
	var all []api.Route[*Desk]
	for _, g := range []struct {
		path                string
		begin, read, update api.Flag
		recovery            bool
	}{
		{"rekey/", proven, open, proven, false},
		{"rekey-recovery-key/", proven, open, proven, true},
		{"rotate/root/", sudo, plain, plain, false},
		{"rotate/recovery/", sudo, plain, plain, true},
	} {
		if g.recovery {
			all = append(all, recoveryRoutes(g.path, g.begin, g.read, g.update)...)
		} else {
			all = append(all, unsealRoutes(g.path, g.begin, g.read, g.update)...)
		}
	}
	return append(all,
		api.Handle(api.Read, "rekey/backup", (*Desk).readBackup, sudo),
		api.Handle(api.Delete, "rekey/backup", (*Desk).dropBackup, sudo),
		api.Handle(api.Read, "rekey/recovery-key-backup", (*Desk).readRecoveryBackup, sudo),
		api.Handle(api.Delete, "rekey/recovery-key-backup", (*Desk).dropRecoveryBackup, sudo),
		api.Handle(api.Read, "rotate/root/backup", (*Desk).readBackup, sudo),
		api.Handle(api.Delete, "rotate/root/backup", (*Desk).dropBackup, sudo),
		api.Handle(api.Read, "rotate/recovery/backup", (*Desk).readRecoveryBackup, sudo),
		api.Handle(api.Delete, "rotate/recovery/backup", (*Desk).dropRecoveryBackup, sudo),
	)
}

func unsealRoutes(path string, begin, read, update api.Flag) []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Read, path+"init", (*Desk).rekeyStatus, read),
		api.Handle(api.Write, path+"init", (*Desk).rekeyInit, begin),
		api.Handle(api.Delete, path+"init", (*Desk).rekeyCancel, begin),
		api.Handle(api.Write, path+"update", (*Desk).rekeyUpdate, update),
		api.Handle(api.Read, path+"verify", (*Desk).verifyStatus, read),
		api.Handle(api.Write, path+"verify", (*Desk).verify, update),
		api.Handle(api.Delete, path+"verify", (*Desk).verifyCancel, begin),
	}
}

func recoveryRoutes(path string, begin, read, update api.Flag) []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Read, path+"init", (*Desk).recoveryStatus, read),
		api.Handle(api.Write, path+"init", (*Desk).recoveryInit, begin),
		api.Handle(api.Delete, path+"init", (*Desk).rekeyCancel, begin),
		api.Handle(api.Write, path+"update", (*Desk).rekeyUpdate, update),
		api.Handle(api.Read, path+"verify", (*Desk).verifyStatus, read),
		api.Handle(api.Write, path+"verify", (*Desk).verify, update),
		api.Handle(api.Delete, path+"verify", (*Desk).verifyCancel, begin),
	}
}

// RekeyRequest starts replacing unseal keys.
type RekeyRequest struct {
	Shares    int        `json:"secret_shares"`                        // How many new unseal keys to make.
	Threshold int        `json:"secret_threshold"`                     // How many of them unseal.
	Stored    int        `json:"stored_shares"`                        // Kept for compatibility.
	PGPKeys   []string   `json:"pgp_keys"`                             // Public keys to encrypt the new unseal keys to, one for each: OpenPGP in base64, or age recipients.
	Backup    bool       `json:"backup"`                               // Keep the encrypted unseal keys until they are deleted.
	Capital   bool       `json:"Backup" api:"alias=backup,deprecated"` // As Vault's Go client spells 'backup'.
	Verify    bool       `json:"require_verification"`                 // The old unseal keys work until enough of the new ones were handed in.
	Slot      string     `json:"slot"`                                 // Identifier of the key slot whose unseal keys to replace; by default that of 'key', or the first.
	Key       api.Secret `json:"key"`                                  // An unseal key, from who has no token with sudo; counts as handed in.
}

// RekeyProgress is how far replacing unseal keys has come. Keys are there once, in
// the answer to the last unseal key that was needed.
type RekeyProgress struct {
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
	Slot         string          `json:"slot,omitempty" audit:"clear"` // whose unseal keys count
}

// progress describes a rekey; nil: none is under way.
func progress(c *seal.Ceremony, required int) (*RekeyProgress, error) {
	if c == nil {
		return &RekeyProgress{Required: required}, nil
	}
	m, err := memoOf(c)
	return &RekeyProgress{Nonce: c.Nonce, Started: true, Threshold: c.New.Threshold, Shares: c.New.Shares, Progress: len(c.Shown), Required: c.Required,
		Fingerprints: m.Fingerprints, Backup: m.Backup, Verify: c.New.Verify || c.Verifying(), VerifyNonce: c.New.Nonce, Slot: c.Slot}, err
}

// target sees whether the server's unseal keys are what the path calls them:
// recovery keys, where it unseals itself.
func (d *Desk) target(c *api.Call, recovery bool) error {
	p, err := d.Seal.Status(c)
	switch {
	case err != nil:
		return err
	case recovery && !p.Alone:
		return &api.Error{Kind: api.Invalid, Message: "recovery keys are not supported: people unseal this server", Hint: "use sys/rekey or sys/rotate/root"}
	case !recovery && p.Alone:
		return &api.Error{Kind: api.Invalid, Message: "this server unseals itself: the keys that people hold are its recovery keys", Hint: "use sys/rekey-recovery-key or sys/rotate/recovery"}
	}
	return nil
}

func (d *Desk) rekeyNow(c *api.Call) (*RekeyProgress, error) {
	d.settle()
	now, required, err := d.Seal.CeremonyStatus(c, seal.Rekey)
	if err != nil {
		return nil, ceremonyError(err)
	}
	return progress(now, required)
}

// rekeyStatus says how far replacing the unseal keys has come.
func (d *Desk) rekeyStatus(c *api.Call, _ *api.None) (*RekeyProgress, error) {
	if err := d.target(c, false); err != nil {
		return nil, err
	}
	return d.rekeyNow(c)
}

// recoveryStatus says how far replacing the recovery keys has come.
func (d *Desk) recoveryStatus(c *api.Call, _ *api.None) (*RekeyProgress, error) {
	if err := d.target(c, true); err != nil {
		return nil, err
	}
	return d.rekeyNow(c)
}

// rekeyInit starts replacing the unseal keys. It takes a token with sudo, or one
// of the unseal keys. They work until enough of them were handed in and the new ones
// were made, and with require_verification until those were handed in, too.
func (d *Desk) rekeyInit(c *api.Call, q *RekeyRequest) (*RekeyProgress, error) {
	if err := hasSay(c, q.Key); err != nil {
		return nil, err
	}
	if err := d.target(c, false); err != nil {
		return nil, err
	}
	return d.beginRekey(c, q)
}

// recoveryInit starts replacing the recovery keys, as sys/rekey/init does with
// unseal keys. Where there are none yet, sys/rotate/recovery/init makes and
// answers them at once.
func (d *Desk) recoveryInit(c *api.Call, q *RekeyRequest) (*RekeyProgress, error) {
	if err := hasSay(c, q.Key); err != nil {
		return nil, err
	}
	if err := d.target(c, true); err != nil {
		return nil, err
	}
	_, required, err := d.Seal.CeremonyStatus(c, seal.Rekey)
	if err != nil {
		return nil, ceremonyError(err)
	}
	if required == 0 && c.Path == "rotate/recovery/init" {
		return d.firstRecovery(c, q)
	}
	return d.beginRekey(c, q)
}

func (d *Desk) beginRekey(c *api.Call, q *RekeyRequest) (*RekeyProgress, error) {
	m, _, err := q.memo(c)
	if err != nil {
		return nil, err
	}
	kept, err := m.secret()
	if err != nil {
		return nil, err
	}
	d.settle()
	begun, err := d.Seal.Begin(c, seal.Rekey, seal.CeremonySpec{Slot: q.Slot, Proof: q.Key, Memo: kept,
		New: &seal.NewSet{Shares: q.Shares, Threshold: q.Threshold, Verify: q.Verify}})
	if err != nil {
		return nil, keyError(c, err)
	}
	return progress(begun, begun.Required)
}

// firstRecovery makes the first recovery keys: nobody holds any that could be
// asked for.
func (d *Desk) firstRecovery(c *api.Call, q *RekeyRequest) (*RekeyProgress, error) {
	m, to, err := q.memo(c)
	if err != nil {
		return nil, err
	}
	made, err := d.Seal.AddFirst(c, seal.SlotSpec{Kind: seal.KindShamir, Name: "recovery keys", Shares: q.Shares, Threshold: q.Threshold})
	if errors.Is(err, seal.ErrHeld) {
		return nil, api.Errorf(api.Invalid, "recovery keys have been made meanwhile")
	}
	if err != nil {
		return nil, slotError(err)
	}
	h, err := hand(made.Handed, to, c.Now)
	if err != nil {
		return nil, err
	}
	out := &RekeyProgress{Complete: true, Shares: q.Shares, Threshold: q.Threshold, Keys: h.hexes, KeysBase64: h.base64s, Fingerprints: m.Fingerprints, Slot: made.ID}
	if q.Backup {
		out.Backup = d.keepBackup(c, backupKey(true), m, h, made.ID)
	}
	return out, nil
}

// memo checks a request and reads its public keys.
func (q *RekeyRequest) memo(c *api.Call) (memo, []*recipient.Recipient, error) {
	if err := checkShares(q.Shares, q.Threshold, "secret"); err != nil {
		return memo{}, nil, err
	}
	if err := checkKeys("pgp_keys", q.PGPKeys, q.Shares); err != nil {
		return memo{}, nil, err
	}
	q.Backup = q.Backup || q.Capital
	if q.Backup && len(q.PGPKeys) == 0 {
		return memo{}, nil, &api.Error{Kind: api.Invalid, Message: "backup: only encrypted unseal keys are kept", Hint: "give pgp_keys"}
	}
	to, fingerprints, err := recipients("pgp_keys", q.PGPKeys, c.Now)
	return memo{Keys: q.PGPKeys, Fingerprints: fingerprints, Backup: q.Backup}, to, err
}

// rekeyUpdate hands in one of the unseal keys that are to be replaced. The last
// one that is needed is answered with the new ones, this once.
func (d *Desk) rekeyUpdate(c *api.Call, q *UpdateRequest) (*RekeyProgress, error) {
	if err := q.check(c); err != nil {
		return nil, err
	}
	if c.WrapTTL != 0 {
		return nil, errWrappedKeys()
	}
	d.handing.Lock() // so that nobody cancels between the making of new keys and their answer
	kept := false
	defer func() {
		if !kept {
			d.handing.Unlock()
		}
	}()
	shown, err := d.Seal.Show(c, seal.Rekey, q.Nonce, q.Key)
	if err != nil {
		return nil, keyError(c, err)
	}
	out, err := progress(&shown.Ceremony, shown.Required)
	if err != nil || !shown.Complete {
		return out, err
	}
	kept, err = d.handOver(c, shown, out)
	return out, err
}

// errWrappedKeys refuses what would leave the only keys that unseal in the store
// that they unseal.
func errWrappedKeys() error {
	return &api.Error{Kind: api.Invalid, Message: "new unseal keys cannot be wrapped: a seal or a restart would leave them where nobody reaches them",
		Hint: "ask without X-Vault-Wrap-TTL; to have them encrypted, start with pgp_keys"}
}

// handOver puts new unseal keys into an answer, and retires the old ones once it
// has been sent, unless they are to be verified first. It reports whether d.handing
// stays locked until then.
func (d *Desk) handOver(c *api.Call, shown *seal.Shown, out *RekeyProgress) (kept bool, err error) {
	m, err := memoOf(&shown.Ceremony)
	if err != nil {
		return false, err
	}
	to, _, err := recipients("pgp_keys", m.Keys, c.Now)
	if err != nil {
		return false, err
	}
	h, err := hand(shown.Made.Handed, to, c.Now)
	if err != nil {
		return false, err
	}
	out.Complete, out.Keys, out.KeysBase64 = true, h.hexes, h.base64s
	if m.Backup {
		p, err := d.Seal.Status(c)
		out.Backup = err == nil && d.keepBackup(c, backupKey(p.Alone), m, h, shown.Nonce)
	}
	if shown.New.Verify {
		return false, nil
	}
	if err := d.Seal.Answer(c, shown.Nonce); err != nil { // another node can have cancelled meanwhile
		return false, ceremonyError(err)
	}
	out.Started, out.Verify, out.VerifyNonce = false, false, ""
	c.Sent(func(ok bool) {
		defer d.handing.Unlock()
		d.retire(context.WithoutCancel(c), shown.Nonce, ok)
	})
	return true, nil
}

// settle waits while new unseal keys are being handed out, so that what follows
// finds the old ones retired.
func (d *Desk) settle() {
	d.handing.Lock()
	d.handing.Unlock() //nolint:staticcheck // waiting is all
}

// retire makes the old unseal keys useless, once the new ones were sent. Where that
// failed, or retiring does, both work, as when the new ones are to be verified.
func (d *Desk) retire(ctx context.Context, nonce string, sent bool) {
	err := errors.New("the answer with the new ones could not be sent")
	if sent {
		d.mu.Lock()
		defer d.mu.Unlock()
		err = d.Seal.Retire(ctx, nonce)
	}
	if err != nil {
		d.Log.Error("the unseal keys that were to be replaced still work beside the new ones: verify these, or remove the slot of those (sys/key-slots)", slog.Any("error", err))
	}
}

// rekeyCancel ends replacing the unseal keys; the old ones stay. It takes a token
// with sudo, or one of the old or the new unseal keys.
func (d *Desk) rekeyCancel(c *api.Call, q *CancelRequest) (*api.None, error) {
	return nil, d.cancel(c, seal.Rekey, q)
}

// VerifyProgress is how many of the new unseal keys were handed in.
type VerifyProgress struct {
	Nonce     string `json:"nonce" audit:"clear"`
	Started   bool   `json:"started"`
	Threshold int    `json:"t"`
	Shares    int    `json:"n"`
	Progress  int    `json:"progress"`
	Complete  bool   `json:"complete"` // the new unseal keys are in force, and the old ones no longer work
}

func verification(c *seal.Ceremony) *VerifyProgress {
	if !c.Verifying() {
		return &VerifyProgress{}
	}
	return &VerifyProgress{Nonce: c.New.Nonce, Started: true, Threshold: c.New.Threshold, Shares: c.New.Shares, Progress: len(c.New.Verified)}
}

// verifyStatus says how many of the new unseal keys were handed in.
func (d *Desk) verifyStatus(c *api.Call, _ *api.None) (*VerifyProgress, error) {
	d.settle()
	now, _, err := d.Seal.CeremonyStatus(c, seal.Rekey)
	return verification(now), ceremonyError(err)
}

// verify hands in one of the new unseal keys. With the last one that is needed, the
// old ones stop working.
func (d *Desk) verify(c *api.Call, q *UpdateRequest) (*VerifyProgress, error) {
	if err := q.check(c); err != nil {
		return nil, err
	}
	d.settle()
	now, done, err := d.Seal.Verify(c, q.Nonce, q.Key)
	if err != nil {
		return nil, keyError(c, err)
	}
	out := verification(now)
	out.Complete = done
	return out, nil
}

// verifyCancel forgets the new unseal keys handed in so far. They and the old ones
// keep working, and there is a new nonce. It takes a token with sudo, or one of
// the old or the new unseal keys.
func (d *Desk) verifyCancel(c *api.Call, q *CancelRequest) (*VerifyProgress, error) {
	if err := hasSay(c, q.Key); err != nil {
		return nil, err
	}
	now, err := d.Seal.RestartVerification(c, proof(c, q.Key))
	if err != nil {
		return nil, keyError(c, err)
	}
	return verification(now), nil
}
