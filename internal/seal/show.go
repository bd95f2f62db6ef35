package seal

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// Shown is what came of handing in a share.
type Shown struct {
	Ceremony
	Complete bool     // enough were handed in: the ceremony has reached its purpose
	Made     *NewSlot // of a rekey: the new slot and its shares, handed out this once
}

// Show hands in a share. What is wrong with one is told as by SubmitShare, and
// disturbs no other; handing one in twice counts once.
//
// The last one that is needed allows a root token once: the ceremony is over when
// Show returns. In a rekey it makes the new slot, beside the old one: both unseal,
// until Verify or Retire takes the old one away. After an error from the store the
// new slot may be there; its shares were told to nobody, and Cancel takes it away.
func (m *Manager) Show(ctx context.Context, p Purpose, nonce string, text api.Secret) (*Shown, error) {
	s, err := ParseShare(text)
	if err != nil {
		return nil, err
	}
	var out *Shown
	var made draft
	err = m.step(ctx, p, func(st *stage) (err error) {
		wipe([]draft{made}) // of an attempt that met another change
		out, made, err = st.show(ctx, nonce, s)
		return err
	})
	defer wipe([]draft{made})
	if err != nil || made.ID == "" {
		return out, err
	}
	return out, m.readBack(ctx, made, out)
}

// show is one attempt of Show.
func (st *stage) show(ctx context.Context, nonce string, s Share) (*Shown, draft, error) {
	if err := st.expect(nonce); err != nil {
		return nil, draft{}, err
	}
	c := st.c
	if err := st.check(c.Slot, s); err != nil {
		return nil, draft{}, err
	}
	if slices.Contains(c.Shown, s.Index()) {
		return &Shown{Ceremony: *c}, draft{}, errUnchanged
	}
	c.Shown = append(slices.Clone(c.Shown), s.Index())
	if len(c.Shown) < c.Required {
		return &Shown{Ceremony: *c}, draft{}, nil
	}
	if c.New == nil {
		st.c = nil
		return &Shown{Ceremony: *c, Complete: true}, draft{}, nil
	}
	made, err := st.renew(ctx)
	return &Shown{Ceremony: *c, Complete: true}, made, err
}

// expect finds a ceremony that takes shares under a nonce.
func (st *stage) expect(nonce string) error {
	switch {
	case st.c == nil:
		return ErrNoCeremony
	case st.c.Verifying():
		return ErrVerifying
	case subtle.ConstantTimeCompare([]byte(nonce), []byte(st.c.Nonce)) != 1:
		return ErrNonce
	}
	return nil
}

// renew makes the slot that is to replace the ceremony's.
func (st *stage) renew(ctx context.Context) (draft, error) {
	old, _, err := st.gatherer(st.c.Slot)
	if err != nil {
		return draft{}, err
	}
	set := *st.c.New
	if set.Name == "" {
		set.Name = old.Name
	}
	made, err := st.m.draft(ctx, SlotSpec{Kind: old.Kind, Name: set.Name, Shares: set.Shares, Threshold: set.Threshold})
	if err != nil {
		return draft{}, err
	}
	w, err := wrapSlot(made.header, made.created.Key, st.cluster, st.root)
	if err == nil {
		err = st.d.add(made.header)
	}
	set.Slot, set.Nonce = made.ID, api.NewUUID()
	st.c.New, st.writes = &set, append(st.writes, w)
	return made, err
}

// readBack sees that the slot just stored unseals with the shares to be handed
// out, and puts them into the answer.
func (m *Manager) readBack(ctx context.Context, made draft, out *Shown) error {
	slot, err := m.describe(made.header)
	if err != nil {
		return err
	}
	texts := make([]api.Secret, slot.Threshold)
	for i := range texts {
		texts[i] = made.created.Shares[i].Base64()
	}
	if _, err := m.tryOpen(ctx, made.ID, texts); err != nil {
		return fmt.Errorf("seal: reading the new key slot back: %w", err)
	}
	out.New = &NewSet{Name: slot.Name, Shares: slot.Shares, Threshold: slot.Threshold, Verify: out.New.Verify, Slot: slot.ID, Nonce: out.New.Nonce}
	out.Made = &NewSlot{Slot: slot, Handed: made.created.Shares}
	return nil
}

// Verify hands in one of a rekey's new shares, and reports whether it was the last
// that is needed: then the new slot is listed as tested and the old one is gone,
// all in one commit. nonce is that of the verification.
func (m *Manager) Verify(ctx context.Context, nonce string, text api.Secret) (c *Ceremony, done bool, err error) {
	s, err := ParseShare(text)
	if err != nil {
		return nil, false, err
	}
	err = m.step(ctx, Rekey, func(st *stage) error {
		done = false
		if !st.c.Verifying() {
			return ErrNotVerifying
		}
		set := st.c.New
		if subtle.ConstantTimeCompare([]byte(nonce), []byte(set.Nonce)) != 1 {
			return ErrNonce
		}
		if err := st.check(set.Slot, s); err != nil {
			return err
		}
		c = st.c
		if slices.Contains(set.Verified, s.Index()) {
			return errUnchanged
		}
		set.Verified = append(set.Verified, s.Index())
		if done = len(set.Verified) >= set.Threshold; done {
			return st.retire()
		}
		return nil
	})
	return c, done, err
}

// retire puts the new slot in the old one's place and ends the ceremony.
func (st *stage) retire() error {
	fresh := st.c.New.Slot
	if _, _, err := st.gatherer(fresh); err != nil {
		return err
	}
	if !slices.Contains(st.d.Tested, fresh) {
		st.d.Tested = append(st.d.Tested, fresh)
	}
	if slices.Contains(st.d.Slots, st.c.Slot) {
		st.discard(st.c.Slot)
	}
	st.c = nil
	return nil
}

// Answer says that the new shares of a rekey without verification are about to be
// answered as good. From then on Cancel leaves their slot, on whichever node it comes.
// ErrNoCeremony: the rekey was cancelled, and the shares must not be answered.
func (m *Manager) Answer(ctx context.Context, nonce string) error {
	return m.step(ctx, Rekey, func(st *stage) error {
		if err := st.made(nonce); err != nil {
			return err
		}
		st.c.New.Answered = true
		return nil
	})
}

// made finds the rekey whose new slot was made under a nonce.
func (st *stage) made(nonce string) error {
	switch {
	case st.c == nil || st.c.Nonce != nonce:
		return ErrNoCeremony
	case !st.c.Verifying():
		return ErrNotVerifying
	}
	return nil
}

// Retire takes away the slot that a rekey without verification replaces. It is
// for when the new shares are on their way to who asked for them: until it
// succeeds, the old ones work beside them. ErrNoCeremony: it has been done, or
// the rekey was cancelled.
func (m *Manager) Retire(ctx context.Context, nonce string) error {
	return m.step(ctx, Rekey, func(st *stage) error {
		if err := st.made(nonce); err != nil {
			return err
		}
		return st.retire()
	})
}

// RestartVerification forgets the new shares handed in so far, under a new nonce.
// The new slot stays, and so does the old one. A proof is as in Cancel.
func (m *Manager) RestartVerification(ctx context.Context, proof api.Secret) (*Ceremony, error) {
	var c *Ceremony
	err := m.step(ctx, Rekey, func(st *stage) error {
		if !proof.Empty() {
			if err := st.vouch(proof); err != nil {
				return err
			}
		}
		if !st.c.Verifying() {
			return ErrNotVerifying
		}
		st.c.New.Verified, st.c.New.Nonce = nil, api.NewUUID()
		c = st.c
		return nil
	})
	return c, err
}
