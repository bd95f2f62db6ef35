package operator

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
)

// SlotInfo describes a key slot.
type SlotInfo struct {
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Created   api.Time `json:"created_time"`
	Shares    int      `json:"secret_shares,omitempty"`
	Threshold int      `json:"secret_threshold,omitempty"`
	Tested    bool     `json:"tested"` // it has passed a test since it was made
}

func slotInfo(s *seal.Slot) SlotInfo {
	return SlotInfo{Kind: s.Kind, Name: s.Name, Created: api.Time{Time: s.Created}, Shares: s.Shares, Threshold: s.Threshold, Tested: s.Tested}
}

// listSlots lists the key slots, each of which unseals on its own.
func (d *Desk) listSlots(c *api.Call, _ *api.None) (*api.Keys, error) {
	slots, err := d.Seal.ListSlots(c)
	if slots == nil && err != nil {
		return nil, err
	}
	if err != nil {
		c.Warn("a key slot is damaged: " + err.Error())
	}
	out := &api.Keys{Info: map[string]any{}}
	for i := range slots {
		out.Keys = append(out.Keys, slots[i].ID)
		out.Info[slots[i].ID] = slotInfo(&slots[i])
	}
	return out, nil
}

// maxSlotName bounds a key slot's name, in bytes.
const maxSlotName = 256

// AddSlotRequest adds a way to unseal.
type AddSlotRequest struct {
	Kind      string `json:"kind"`             // Kind of key slot: shamir or file.
	Name      string `json:"name"`             // What people call it.
	Shares    int    `json:"secret_shares"`    // Of a shamir slot: how many unseal keys to make.
	Threshold int    `json:"secret_threshold"` // Of a shamir slot: how many of them unseal.
}

// AddedSlot is a new key slot with its unseal keys, which are kept nowhere else.
type AddedSlot struct {
	ID         string          `json:"id"`
	Keys       []api.Disclosed `json:"keys,omitempty"`
	KeysBase64 []api.Disclosed `json:"keys_base64,omitempty"`
}

// addSlot adds a key slot and answers what unseals by it, this once.
func (d *Desk) addSlot(c *api.Call, q *AddSlotRequest) (*AddedSlot, error) {
	switch q.Kind {
	case seal.KindShamir:
		if err := checkShares(q.Shares, q.Threshold, "secret"); err != nil {
			return nil, err
		}
	case seal.KindFile:
	default:
		return nil, api.Errorf(api.Invalid, "kind: must be %s or %s", seal.KindShamir, seal.KindFile)
	}
	if len(q.Name) > maxSlotName {
		return nil, api.Errorf(api.Invalid, "name: longer than %d bytes", maxSlotName)
	}
	made, err := d.Seal.AddSlot(c, seal.SlotSpec{Kind: q.Kind, Name: q.Name, Shares: q.Shares, Threshold: q.Threshold})
	if err != nil {
		return nil, slotError(err)
	}
	if made.Threshold == 0 {
		c.Warn(fmt.Sprintf("this server no longer needs people: it unseals itself by a key in %s, and whoever has that directory and the data can read everything; "+
			"to need people again, remove this slot", d.KeyDir))
	}
	out := &AddedSlot{ID: made.ID}
	for _, share := range made.Handed {
		out.Keys = append(out.Keys, share.Hex().Disclose())
		out.KeysBase64 = append(out.KeysBase64, share.Base64().Disclose())
	}
	return out, nil
}

// SlotRequest names a key slot.
type SlotRequest struct {
	ID string `path:"id"` // Identifier of the key slot.
}

// slotError tells the operator what is wrong with a key slot.
func slotError(err error) error {
	switch {
	case errors.Is(err, seal.ErrNoSlot):
		return api.Errorf(api.NotFound, "no key slot has this id")
	case errors.Is(err, seal.ErrLastSlot):
		return &api.Error{Kind: api.Invalid, Message: "the last key slot cannot be removed", Hint: "add another one first"}
	case errors.Is(err, seal.ErrUntested):
		return &api.Error{Kind: api.Invalid, Message: "of the key slots that would stay, none is known to unseal",
			Hint: "test one with its unseal keys first: strongroom operator key-slot test ID"}
	case errors.Is(err, seal.ErrKind):
		return &api.Error{Kind: api.Invalid, Message: "kind: this server cannot keep key slots of this kind", Err: err}
	case errors.Is(err, seal.ErrMode):
		return &api.Error{Kind: api.Invalid, Message: err.Error(), Err: err} // says what to run
	}
	return err
}

// removeSlot removes a key slot. One has to stay that has been tested or that
// needs no people.
func (d *Desk) removeSlot(c *api.Call, q *SlotRequest) (*api.None, error) {
	return nil, slotError(d.Seal.RemoveSlot(c, q.ID))
}

// TestSlotRequest tries a key slot without unsealing.
type TestSlotRequest struct {
	ID   string   `path:"id"`   // Identifier of the key slot.
	Keys []string `json:"keys"` // Of a shamir slot: enough of its unseal keys.
}

// testSlot tries a key slot without unsealing anything, and records that it
// would unseal.
func (d *Desk) testSlot(c *api.Call, q *TestSlotRequest) (*api.None, error) {
	shares := make([]api.Secret, len(q.Keys))
	for i, k := range q.Keys {
		shares[i] = api.NewSecret(k)
	}
	return nil, testError(d.Seal.TestSlot(c, q.ID, shares...))
}

// testError is the outcome of a test: that a slot would not unseal is what the
// caller asked for, and no fault of the server's.
func testError(err error) error {
	if err == nil || errors.Is(err, barrier.ErrSealed) {
		return err
	}
	err = shareError(slotError(err))
	for _, known := range []error{seal.ErrSlotKey, seal.ErrFewShares, store.ErrCorrupt, fs.ErrNotExist} {
		if api.KindOf(err) == api.Internal && errors.Is(err, known) {
			return &api.Error{Kind: api.Invalid, Message: "the key slot would not unseal: " + known.Error(), Err: err}
		}
	}
	return err
}
