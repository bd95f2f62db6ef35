package operator

import (
	"encoding/json"
	"log/slog"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Backup is the unseal keys of the last rekey that asked for one, each encrypted to
// its keeper.
type Backup struct {
	Nonce  string                     `json:"nonce" audit:"clear"`
	Keys   map[string][]api.Disclosed `json:"keys"`        // hexadecimal, by fingerprint
	Base64 map[string][]api.Disclosed `json:"keys_base64"` // the same in base64
}

func backupKey(recovery bool) string {
	if recovery {
		return "root/operator/backup/recovery"
	}
	return "root/operator/backup/unseal"
}

// keepBackup stores encrypted unseal keys and reports whether it could. They are
// answered in any case.
func (d *Desk) keepBackup(c *api.Call, key string, m memo, h handed, nonce string) bool {
	b := Backup{Nonce: nonce, Keys: map[string][]api.Disclosed{}, Base64: map[string][]api.Disclosed{}}
	for i, print := range m.Fingerprints {
		b.Keys[print] = append(b.Keys[print], h.hexes[i])
		b.Base64[print] = append(b.Base64[print], h.base64s[i])
	}
	value, err := json.Marshal(b)
	if err == nil {
		_, err = d.Barrier.Commit(c, nil, []store.Write{{Key: key, Value: value}})
	}
	if err != nil {
		d.Log.Error("encrypted unseal keys could not be backed up", slog.Any("error", err))
		c.Warn("the encrypted keys could not be backed up: keep this answer")
	}
	return err == nil
}

func (d *Desk) backup(c *api.Call, key string) (*Backup, error) {
	e, err := d.Barrier.Get(c, key)
	if err != nil {
		return nil, err
	}
	if !e.Exists() {
		return nil, &api.Error{Kind: api.Invalid, Message: "no backed-up keys found", Hint: "a rekey keeps them when it is started with backup and pgp_keys"}
	}
	var b Backup
	return &b, json.Unmarshal(e.Value, &b)
}

func (d *Desk) forgetBackup(c *api.Call, key string) error {
	_, err := d.Barrier.Commit(c, nil, []store.Write{{Key: key, Delete: true}})
	return err
}

// readBackup answers the encrypted unseal keys of the last rekey that kept them.
func (d *Desk) readBackup(c *api.Call, _ *api.None) (*Backup, error) {
	return d.backup(c, backupKey(false))
}

// dropBackup deletes the encrypted unseal keys that a rekey has kept.
func (d *Desk) dropBackup(c *api.Call, _ *api.None) (*api.None, error) {
	return nil, d.forgetBackup(c, backupKey(false))
}

// readRecoveryBackup answers the encrypted recovery keys of the last rekey that
// kept them.
func (d *Desk) readRecoveryBackup(c *api.Call, _ *api.None) (*Backup, error) {
	return d.backup(c, backupKey(true))
}

// dropRecoveryBackup deletes the encrypted recovery keys that a rekey has kept.
func (d *Desk) dropRecoveryBackup(c *api.Call, _ *api.None) (*api.None, error) {
	return nil, d.forgetBackup(c, backupKey(true))
}
