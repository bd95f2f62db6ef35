package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
)

// rotationRoutes rotate the key ring, now or by schedule, and the root key.
func rotationRoutes() []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Read, "key-status", (*Desk).keyStatus, api.Flat, api.RootOnly),
		api.Handle(api.Write, "rotate", (*Desk).rotate, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "rotate/keyring", (*Desk).rotate, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "rotate/root", (*Desk).rotateRoot, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "rotate/config", (*Desk).rotation, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "rotate/config", (*Desk).setRotation, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "rotate/keyring/config", (*Desk).rotation, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "rotate/keyring/config", (*Desk).setRotation, api.Sudo, api.RootOnly),
	}
}

// Rows of the desk about rotation.
const (
	rotationKey = "root/operator/rotation"
	countKey    = "root/operator/encryptions"
)

// Bounds of a rotation's settings. The numbers of operations are Vault's: here each
// entry has a key of its own, so that none of them is a limit of the cryptography.
const (
	minInterval   = 24 * time.Hour
	minOperations = 1_000_000
	maxOperations = 3_865_470_566
)

// KeyStatus is the key ring's newest epoch.
type KeyStatus struct {
	Encryptions uint64   `json:"encryptions"` // entries written under it, as far as this node knows
	InstallTime api.Time `json:"install_time"`
	Term        uint32   `json:"term"`
}

// keyStatus says which key encrypts what is written now, and since when.
func (d *Desk) keyStatus(c *api.Call, _ *api.None) (*KeyStatus, error) {
	s := d.Barrier.Status()
	kept, err := d.encryptions(c, s.Epoch)
	return &KeyStatus{Encryptions: kept + d.Barrier.Written(), InstallTime: api.Time{Time: s.Installed}, Term: s.Epoch}, err
}

// count is how many entries were written under an epoch.
type count struct {
	Epoch uint32 `json:"epoch"`
	Count uint64 `json:"count"`
}

// encryptions is what was counted of an epoch and kept.
func (d *Desk) encryptions(ctx context.Context, epoch uint32) (uint64, error) {
	e, err := d.Barrier.Get(ctx, countKey)
	if err != nil || !e.Exists() {
		return 0, err
	}
	var kept count
	if err := json.Unmarshal(e.Value, &kept); err != nil {
		return 0, fmt.Errorf("reading the number of entries written: %w", err)
	}
	if kept.Epoch != epoch {
		return 0, nil
	}
	return kept.Count, nil
}

// KeepCount adds what this node has written to what is kept, so that a restart does
// not forget it, and is the sum.
func (d *Desk) KeepCount(ctx context.Context) (uint64, error) {
	epoch, fresh := d.Barrier.Status().Epoch, d.Barrier.Written()
	sum := uint64(0)
	_, err := store.Update(ctx, d.Barrier, func(tx *store.Tx) error {
		e, err := tx.Get(countKey)
		if err != nil {
			return err
		}
		var kept count
		if e.Exists() {
			if err := json.Unmarshal(e.Value, &kept); err != nil {
				return fmt.Errorf("reading the number of entries written: %w", err)
			}
		}
		if kept.Epoch != epoch {
			kept = count{Epoch: epoch}
		}
		kept.Count += fresh
		sum = kept.Count
		value, err := json.Marshal(kept)
		if err == nil {
			tx.Put(countKey, value)
		}
		return err
	})
	if err == nil {
		d.Barrier.Counted(fresh)
	}
	return sum, err
}

// rotate makes a new key for what is written from now on, and moves older
// entries to it in the background.
func (d *Desk) rotate(c *api.Call, _ *api.None) (*api.None, error) { return nil, d.rotateNow(c) }

func (d *Desk) rotateNow(ctx context.Context) error {
	if _, err := d.KeepCount(ctx); err != nil { // from here on the new key's are counted
		return err
	}
	if err := d.Barrier.Rotate(ctx); err != nil {
		return err
	}
	return d.RewrapLater(ctx)
}

// rotateRoot makes a new root key. It is for servers that unseal themselves by key
// slots that nobody holds unseal keys of.
func (d *Desk) rotateRoot(c *api.Call, _ *api.None) (*api.None, error) {
	err := d.Seal.RotateRoot(c)
	if errors.Is(err, seal.ErrPeopleHold) {
		return nil, &api.Error{Kind: api.Invalid, Message: "the root key lies under unseal keys that people hold, and cannot be changed without them",
			Hint: "replace the unseal keys instead: strongroom operator rotate-keys -init", Err: err}
	}
	return nil, slotError(err)
}

// Rotation says when the key ring is rotated by itself.
type Rotation struct {
	Enabled       bool     `json:"enabled"`
	Interval      Interval `json:"interval"`       // age of a key at which it is; 0: no age
	MaxOperations int64    `json:"max_operations"` // entries written under a key after which it is
}

// Interval is a span of time that is written as Vault does here: 0, or a Go
// duration such as "48h0m0s".
type Interval time.Duration

// MarshalJSON writes 0 or the duration's text.
func (i Interval) MarshalJSON() ([]byte, error) {
	if i == 0 {
		return []byte("0"), nil
	}
	return json.Marshal(time.Duration(i).String())
}

// rotationRow is a Rotation as it is stored.
type rotationRow struct {
	Enabled       bool          `json:"enabled"`
	Interval      time.Duration `json:"interval"` // nanoseconds
	MaxOperations int64         `json:"max_operations"`
}

func decodeRotation(e store.Entry) (rotationRow, error) {
	row := rotationRow{Enabled: true, MaxOperations: maxOperations}
	if !e.Exists() {
		return row, nil
	}
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return row, fmt.Errorf("reading when to rotate the key ring: %w", err)
	}
	return row, nil
}

// rotation says when the key ring is rotated by itself.
func (d *Desk) rotation(c *api.Call, _ *api.None) (*Rotation, error) {
	e, err := d.Barrier.Get(c, rotationKey)
	if err != nil {
		return nil, err
	}
	row, err := decodeRotation(e)
	return &Rotation{Enabled: row.Enabled, Interval: Interval(row.Interval), MaxOperations: row.MaxOperations}, err
}

// RotationRequest sets when the key ring is rotated by itself. What is left out
// stays as it is.
type RotationRequest struct {
	Enabled       *bool         `json:"enabled"`        // Whether it is.
	Interval      *api.Duration `json:"interval"`       // Age of a key at which it is, at least 24 hours; 0: no age.
	MaxOperations *int64        `json:"max_operations"` // Entries written under a key after which it is, 1,000,000 to 3,865,470,566.
}

func (q *RotationRequest) check() error {
	switch {
	case q.Interval != nil && *q.Interval != 0 && q.Interval.Std() < minInterval:
		return &api.Error{Kind: api.Invalid, Message: "interval: must be at least 24 hours", Hint: "give 0 to rotate by the number of operations alone"}
	case q.MaxOperations != nil && (*q.MaxOperations < minOperations || *q.MaxOperations > maxOperations):
		return api.Errorf(api.Invalid, "max_operations: must be between %d and %d", minOperations, maxOperations)
	}
	return nil
}

// setRotation sets when the key ring is rotated by itself. It is looked at once an
// hour.
func (d *Desk) setRotation(c *api.Call, q *RotationRequest) (*api.None, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	_, err := store.Update(c, d.Barrier, func(tx *store.Tx) error {
		e, err := tx.Get(rotationKey)
		if err != nil {
			return err
		}
		row, err := decodeRotation(e)
		if err != nil {
			return err
		}
		if q.Enabled != nil {
			row.Enabled = *q.Enabled
		}
		if q.Interval != nil {
			row.Interval = q.Interval.Std()
		}
		if q.MaxOperations != nil {
			row.MaxOperations = *q.MaxOperations
		}
		value, err := json.Marshal(row)
		if err == nil {
			tx.Put(rotationKey, value)
		}
		return err
	})
	return nil, err
}

// RotateIfDue rotates the key ring when its settings say so at the given moment,
// and reports whether it did.
func (d *Desk) RotateIfDue(ctx context.Context, now time.Time) (bool, error) {
	written, err := d.KeepCount(ctx)
	if err != nil {
		return false, err
	}
	e, err := d.Barrier.Get(ctx, rotationKey)
	if err != nil {
		return false, err
	}
	row, err := decodeRotation(e)
	if err != nil || !row.Enabled {
		return false, err
	}
	aged := row.Interval > 0 && now.Sub(d.Barrier.Status().Installed) >= row.Interval
	if !aged && written < uint64(row.MaxOperations) {
		return false, nil
	}
	return true, d.rotateNow(ctx)
}
