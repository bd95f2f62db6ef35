package kv

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// defaultVersions is how many versions a secret keeps when neither it nor the
// mount says.
const defaultVersions = 10

// settings are what holds for all secrets of a mount.
type settings struct {
	casRequired     bool
	metaCASRequired bool
	maxVersions     uint64        // 0: not set
	deleteAfter     time.Duration // 0: not set; negative: no version is ever deleted for its age
}

// Flags of settings.
const (
	settingCAS = 1 << iota
	settingMetaCAS
	settingsEnd
)

func (g settings) encode() []byte {
	var f uint64
	flag(&f, settingCAS, g.casRequired)
	flag(&f, settingMetaCAS, g.metaCASRequired)
	b := binary.AppendUvarint([]byte{formatConfig}, f)
	b = binary.AppendUvarint(b, g.maxVersions)
	return binary.AppendVarint(b, int64(g.deleteAfter))
}

// decodeSettings reads the mount's row; an absent one is the zero settings.
func decodeSettings(e store.Entry) (settings, error) {
	if !e.Exists() {
		return settings{}, nil
	}
	r := &reader{b: e.Value}
	r.format(formatConfig)
	f := r.flags(settingsEnd)
	g := settings{casRequired: f&settingCAS != 0, metaCASRequired: f&settingMetaCAS != 0}
	g.maxVersions, g.deleteAfter = r.uvarint(), time.Duration(r.varint())
	if err := r.end(); err != nil {
		return settings{}, fmt.Errorf("the mount's settings: %w", err)
	}
	return g, nil
}

// settings reads the mount's settings as part of the change.
func (ch *change) settings() (settings, error) {
	e, err := ch.tx.Get(keyConfig)
	if err != nil {
		return settings{}, err
	}
	return decodeSettings(e)
}

// keep is the number of versions that a secret keeps.
func (g settings) keep(s *secret) int {
	n := max(g.maxVersions, s.maxVersions)
	if n == 0 {
		n = defaultVersions
	}
	return int(min(n, maxVersions))
}

// deletion is when a version written now is deleted for its age: after the
// shorter of the mount's and the secret's terms. Zero: never, as when either of
// them is negative.
func (g settings) deletion(s *secret, now time.Time) time.Time {
	after := g.deleteAfter
	if s.deleteAfter > 0 && (after == 0 || s.deleteAfter < after) {
		after = s.deleteAfter
	}
	if g.deleteAfter < 0 || s.deleteAfter < 0 || after == 0 {
		return time.Time{}
	}
	if t := now.Add(after); t.Before(lastTime) {
		return t
	}
	return lastTime
}

// Config is the settings of a mount.
type Config struct {
	CASRequired         bool   `json:"cas_required"`          // Writes must name the current version.
	DeleteVersionAfter  string `json:"delete_version_after"`  // Age at which versions are deleted; 0s: not set, negative: never.
	MaxVersions         uint64 `json:"max_versions"`          // Versions kept of each secret; 0: not set, which is 10.
	MetadataCASRequired bool   `json:"metadata_cas_required"` // Metadata writes must name the current metadata version.
}

// WriteConfig changes the settings of a mount. What is not named stays.
type WriteConfig struct {
	CASRequired         *bool         `json:"cas_required"`          // Demand the cas option on every write.
	DeleteVersionAfter  *api.Duration `json:"delete_version_after"`  // Age at which versions are deleted; 0 unsets it, a negative one forbids it.
	MaxVersions         *int          `json:"max_versions"`          // Versions to keep of each secret; 0 unsets it.
	MetadataCASRequired *bool         `json:"metadata_cas_required"` // Demand metadata_cas on every metadata write.
}

// readConfig answers the mount's settings.
func (v2) readConfig(c *api.Call, _ *api.None) (*Config, error) {
	e, err := c.Store.Get(c, keyConfig)
	if err != nil {
		return nil, err
	}
	g, err := decodeSettings(e)
	if err != nil {
		return nil, err
	}
	return &Config{
		CASRequired:         g.casRequired,
		DeleteVersionAfter:  g.deleteAfter.String(),
		MaxVersions:         g.maxVersions,
		MetadataCASRequired: g.metaCASRequired,
	}, nil
}

// writeConfig changes the mount's settings; those that are not named stay.
func (v2) writeConfig(c *api.Call, r *WriteConfig) (*api.None, error) {
	limit, err := versionLimit(c, r.MaxVersions)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(keyConfig)
		if err != nil {
			return err
		}
		g, err := decodeSettings(e)
		if err != nil {
			return err
		}
		r.apply(&g, limit)
		tx.Put(keyConfig, g.encode())
		return nil
	})
	return nil, err
}

func (r *WriteConfig) apply(g *settings, limit uint64) {
	if r.CASRequired != nil {
		g.casRequired = *r.CASRequired
	}
	if r.MetadataCASRequired != nil {
		g.metaCASRequired = *r.MetadataCASRequired
	}
	if r.MaxVersions != nil {
		g.maxVersions = limit
	}
	if d := r.DeleteVersionAfter; d != nil {
		g.deleteAfter = ageLimit(*d)
	}
}

// ageLimit is a delete_version_after as it is kept: all negative ones mean never,
// and look the same.
func ageLimit(d api.Duration) time.Duration { return max(d.Std(), -time.Second) }

// versionLimit is a max_versions as it was asked for, or 0. The caller learns
// when it is more than one secret can have.
func versionLimit(c *api.Call, asked *int) (uint64, error) {
	switch {
	case asked == nil:
		return 0, nil
	case *asked < 0:
		return 0, api.Errorf(api.Invalid, "max_versions must not be negative")
	case *asked > maxVersions:
		c.Warn(fmt.Sprintf("max_versions: at most %d versions of a secret are kept", maxVersions))
	}
	return uint64(*asked), nil
}
