package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// New holders of a namespace's shares come in two steps. The present holders hand in their
// shares, which open the slot there is and so are a proof that nobody can make up; new shares are made and answered,
// and the slot for them lies in the row of the change. The new holders hand in theirs, which open that slot; it takes
// the place of the present one in one commit. Until then the present shares work, whatever happens to the change.

// Change is how far a change of a namespace's holders has come.
type Change struct {
	Nonce     string     // names it
	Begun     time.Time  // it lasts 24 hours
	Shares    int        // how many new shares there are to be
	Threshold int        // how many of them unseal
	Made      bool       // the new shares have been made, and wait to be handed in
	Required  int        // how many shares the present step needs
	Progress  int        // how many of them were handed in on this node
	Memo      api.Secret // what BeginChange was told to keep
}

// changeRow is a change as it is stored, sealed under the root key.
type changeRow struct {
	Version   int       `json:"version"`
	Nonce     string    `json:"nonce"`
	Begun     time.Time `json:"begun"`
	Old       []byte    `json:"old"` // header of the slot that it is to replace
	Shares    int       `json:"shares"`
	Threshold int       `json:"threshold"`
	Memo      string    `json:"memo"`
	New       []byte    `json:"new,omitempty"` // the slot that is to take its place
}

// turn is what a step of a change sees.
type turn struct {
	id   string
	slot store.Entry // the namespace's slot
	old  *slotRow    // slot, decoded
	row  store.Entry // of the change
	c    *changeRow  // nil: none is under way
	made *slotRow    // c.New, decoded; nil: it is not made yet
}

func (t *Tenants) turn(ctx context.Context, id string) (*turn, error) {
	u := &turn{id: id}
	var err error
	if u.slot, _, err = t.barrier.NamespaceSlot(ctx, id); err != nil {
		return nil, err
	}
	if u.old, err = decodeSlotAt(u.slot, id); err != nil {
		return nil, err
	}
	if u.row, err = t.barrier.NamespaceChange(ctx, id); err != nil {
		return nil, err
	}
	if u.c, err = t.decodeChange(u.row); err != nil || u.c == nil {
		return u, err
	}
	if t.now().Sub(u.c.Begun) >= ceremonyLife || !bytes.Equal(u.c.Old, u.old.encoded) {
		u.c = nil
		return u, nil
	}
	if u.c.New != nil {
		u.made, err = decodeSlotAt(store.Entry{Key: u.row.Key, Value: u.c.New}, id)
	}
	return u, err
}

// decodeChange is the change of a row; nil when there is none or its row does not open: it
// is then begun anew, and the present shares work.
func (t *Tenants) decodeChange(e store.Entry) (*changeRow, error) {
	if !e.Exists() {
		return nil, nil
	}
	var plain []byte
	err := t.barrier.UseRootKey(func(root []byte) error {
		k, err := barrier.DeriveKey(root, t.barrier.ClusterID(), barrier.Ceremony)
		if err == nil {
			plain, err = k.Open(e.Value, e.Key)
		}
		return err
	})
	if errors.Is(err, barrier.ErrOpen) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c changeRow
	if err := json.Unmarshal(plain, &c); err != nil || c.Version != ceremonyVersion {
		return nil, &barrier.DamagedError{Key: e.Key, Reason: "the change of holders has an unknown form"}
	}
	return &c, nil
}

// write replaces the row of the change, provided that neither it nor the slot has changed.
func (t *Tenants) write(ctx context.Context, u *turn, c *changeRow) error {
	plain, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("seal: encoding a change of holders: %w", err)
	}
	var sealed []byte
	err = t.barrier.UseRootKey(func(root []byte) error {
		k, err := barrier.DeriveKey(root, t.barrier.ClusterID(), barrier.Ceremony)
		if err == nil {
			sealed, err = k.Seal(plain, u.row.Key)
		}
		return err
	})
	if err != nil {
		return err
	}
	return t.barrier.ChangeNamespace(ctx, u.slot, u.row, nil, sealed)
}

// BeginChange begins to replace the shares of a namespace. ErrCeremony: that is under way.
func (t *Tenants) BeginChange(ctx context.Context, id string, spec SlotSpec, memo api.Secret) (*Change, error) {
	u, err := t.turn(ctx, id)
	if err != nil {
		return nil, err
	}
	if u.c != nil {
		return nil, ErrCeremony
	}
	t.forgetChange(id)
	c := &changeRow{Version: ceremonyVersion, Nonce: api.NewUUID(), Begun: t.now().UTC(), Old: u.old.encoded, Shares: spec.Shares, Threshold: spec.Threshold, Memo: memo.Reveal()}
	if err := t.write(ctx, u, c); err != nil {
		return nil, err
	}
	u.c = c
	return t.change(u)
}

// Change is the change that is under way; nil: none is.
func (t *Tenants) Change(ctx context.Context, id string) (*Change, error) {
	u, err := t.turn(ctx, id)
	if err != nil || u.c == nil {
		return nil, err
	}
	return t.change(u)
}

// asked is the slot whose shares the present step needs.
func (u *turn) asked() *slotRow {
	if u.made != nil {
		return u.made
	}
	return u.old
}

func (t *Tenants) change(u *turn) (*Change, error) {
	_, required, err := (Shamir{}).Size(u.asked().Params)
	c := &Change{Nonce: u.c.Nonce, Begun: u.c.Begun, Shares: u.c.Shares, Threshold: u.c.Threshold, Made: u.made != nil, Required: required, Memo: api.NewSecret(u.c.Memo)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.changes[u.id]; a != nil && a.nonce == u.c.Nonce && t.now().Sub(a.last) < attemptLife {
		c.Progress = len(a.shares)
	}
	return c, err
}

// CancelChange ends a change, if one is under way: the present shares stay.
func (t *Tenants) CancelChange(ctx context.Context, id string) error {
	u, err := t.turn(ctx, id)
	if err != nil {
		return err
	}
	t.forgetChange(id)
	if !u.row.Exists() {
		return nil
	}
	return t.barrier.ChangeNamespace(ctx, u.slot, u.row, nil, nil)
}

func (t *Tenants) forgetChange(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dropFrom(t.changes, id)
}

// HandIn hands in a share for a change: of the present ones, until new ones are made, which
// the last that is needed does and which it answers, this once; then of the new ones, and with the last that is
// needed they are in force and the others are not. done says that. What is wrong with a share is as in Submit.
func (t *Tenants) HandIn(ctx context.Context, id, nonce string, verifying bool, text api.Secret) (c *Change, made []Share, done bool, err error) {
	s, err := ParseShare(text)
	if err != nil {
		return nil, nil, false, err
	}
	u, err := t.turn(ctx, id)
	switch {
	case err != nil:
		return nil, nil, false, err
	case u.c == nil:
		return nil, nil, false, ErrNoCeremony
	case u.c.Nonce != nonce:
		return nil, nil, false, ErrNonce
	case u.made != nil && !verifying:
		return nil, nil, false, ErrVerifying
	case u.made == nil && verifying:
		return nil, nil, false, ErrNotVerifying
	}
	if ok, err := (Shamir{}).Accept(u.asked().Params, s); err != nil || !ok {
		return nil, nil, false, errors.Join(err, unknownUnless(ok, s))
	}
	shares, err := t.gatherChange(u, s)
	if err != nil {
		return nil, nil, false, err
	}
	if shares == nil {
		c, err = t.change(u)
		return c, nil, false, err
	}
	defer clear(shares)
	return t.advance(ctx, u, shares)
}

// gatherChange keeps a share; it answers all of them, for the caller to wipe, once they are
// as many as are needed.
func (t *Tenants) gatherChange(u *turn, s Share) ([]Share, error) {
	_, required, err := (Shamir{}).Size(u.asked().Params)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.changes[u.id]; a != nil && a.nonce != u.c.Nonce {
		dropFrom(t.changes, u.id)
	}
	if err := t.keepIn(t.changes, u.id, s); err != nil {
		return nil, err
	}
	a := t.changes[u.id]
	if a.nonce = u.c.Nonce; len(a.shares) < required {
		return nil, nil
	}
	shares := slices.Clone(a.shares)
	dropFrom(t.changes, u.id)
	return shares, nil
}

// advance takes the step that a whole set of shares allows: it opens the slot that they are of,
// which is what proves them.
func (t *Tenants) advance(ctx context.Context, u *turn, shares []Share) (c *Change, made []Share, done bool, err error) {
	err = barrier.Erasing(func() error {
		key, err := (Shamir{}).Combine(u.asked().Params, shares)
		if err != nil {
			return err
		}
		defer clear(key)
		seed, err := u.asked().unwrapWith(barrier.NamespaceSlot, u.slot.Key, key, t.barrier.ClusterID())
		if err != nil {
			return err
		}
		defer clear(seed)
		if u.made != nil {
			done = true
			return t.barrier.ChangeNamespace(ctx, u.slot, u.row, u.c.New, nil)
		}
		made, err = t.makeNew(ctx, u, seed)
		return err
	})
	if err != nil {
		return nil, nil, false, err
	}
	c, err = t.change(u)
	return c, made, done, err
}

// makeNew makes the new shares, and the slot that they open, in the row of the change.
func (t *Tenants) makeNew(ctx context.Context, u *turn, seed []byte) ([]Share, error) {
	next, err := (Shamir{}).Create(ctx, u.id, SlotSpec{Shares: u.c.Shares, Threshold: u.c.Threshold})
	if err != nil {
		return nil, err
	}
	defer clear(next.Key)
	h := header{ID: u.id, Kind: KindShamir, Created: t.now().UTC(), Params: next.Params}
	w, err := wrapWith(barrier.NamespaceSlot, u.slot.Key, h, next.Key, t.barrier.ClusterID(), seed)
	if err != nil {
		return nil, err
	}
	c := *u.c
	c.Nonce, c.New = api.NewUUID(), w.Value
	if err := t.write(ctx, u, &c); err != nil {
		return nil, err
	}
	u.c = &c
	u.made, err = decodeSlotAt(store.Entry{Key: u.row.Key, Value: w.Value}, u.id)
	return next.Shares, err
}
