package seal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
)

// Progress says how far unsealing with shares has come.
type Progress struct {
	Sealed    bool   // whether the barrier is sealed still
	Alone     bool   // whether a slot unseals without people
	Slot      string // id of the slot whose shares are gathered; empty when there is none
	Shares    int    // shares its set has
	Threshold int    // shares needed
	Progress  int    // different shares handed in so far
	Nonce     string // names this attempt, 32 hexadecimal digits; empty before the first share
	// Damaged are the keys of the rows of slots, or of their list, that cannot be read: by
	// none of these slots the barrier can be unsealed.
	Damaged []string
	Slots   []Slot // all that can be read, in the order they were made
}

// attempt is the shares of one slot handed in so far.
type attempt struct {
	nonce  string
	shares []Share
	last   time.Time // when a share of its set was handed in
}

// resetAfter is how long an attempt is left alone after each share, so that who
// has no share cannot keep the others from getting theirs together.
const resetAfter = time.Minute

// Unseal opens the barrier by a slot that needs no people; the first that works
// is enough. It returns why each of them did not; and ErrSealed when there is
// none, so that people have to hand in shares.
func (m *Manager) Unseal(ctx context.Context) error {
	if !m.barrier.Sealed() {
		return nil
	}
	_, rows, failed, err := m.read(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		opener, ok := m.kinds[r.Kind].(Opener)
		if !ok {
			continue
		}
		key, err := opener.Recover(ctx, r.Params)
		if err == nil {
			err = m.open(ctx, r, key)
		}
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, fmt.Errorf("seal: key slot %s (%s): %w", r.ID, r.Kind, err))
	}
	if failed == nil {
		return fmt.Errorf("%w: every key slot needs shares that people hold", barrier.ErrSealed)
	}
	return failed
}

// open unwraps the root key with a slot's key, wipes both, and unseals. The list
// of slots must be as the root key's holders made it.
func (m *Manager) open(ctx context.Context, r *slotRow, slotKey []byte) error {
	defer clear(slotKey)
	cluster, err := m.barrier.ReadClusterID(ctx)
	if err != nil {
		return err
	}
	root, err := r.unwrap(slotKey, cluster)
	if err != nil {
		return err
	}
	defer clear(root)
	d, _, _, err := m.read(ctx)
	if err != nil {
		return err
	}
	if err := d.verify(root, cluster); err != nil {
		return err
	}
	return m.barrier.Unseal(ctx, root)
}

// Status is how far unsealing has come: of the slot that shares were handed in
// for, else of the first slot with shares. An error that is store.ErrCorrupt says that there is
// no such slot, or that nobody knows; what else is known comes with it.
func (m *Manager) Status(ctx context.Context) (Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, rows, damaged, err := m.read(ctx)
	if err != nil {
		return Progress{Sealed: m.barrier.Sealed(), Damaged: damagedKeys(err)}, err
	}
	var first *slotRow
	var slots []Slot
	alone := false
	for _, r := range rows {
		slot, err := m.describe(r.header)
		if damaged = errors.Join(damaged, err); err == nil {
			slots = append(slots, slot)
		}
		if _, ok := m.kinds[r.Kind].(Opener); ok {
			alone = true
		}
		if _, ok := m.kinds[r.Kind].(Gatherer); !ok {
			continue
		}
		if first == nil || m.attempts[first.ID] == nil && m.attempts[r.ID] != nil {
			first = r
		}
	}
	if first == nil {
		return Progress{Sealed: m.barrier.Sealed(), Alone: alone, Damaged: damagedKeys(damaged), Slots: slots}, damaged
	}
	p, err := m.progress(first)
	p.Alone, p.Damaged, p.Slots = alone, damagedKeys(damaged), slots
	return p, err
}

// damagedKeys are the keys of the rows that an error names as damaged.
func damagedKeys(err error) (out []string) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out = append(out, damagedKeys(e)...)
		}
		return out
	}
	var d *barrier.DamagedError
	if errors.As(err, &d) {
		out = append(out, d.Key)
	}
	return out
}

func (m *Manager) progress(r *slotRow) (Progress, error) {
	s, err := m.describe(r.header)
	p := Progress{Sealed: m.barrier.Sealed(), Slot: s.ID, Shares: s.Shares, Threshold: s.Threshold}
	if a := m.attempts[r.ID]; a != nil {
		p.Progress, p.Nonce = len(a.shares), a.nonce
	}
	return p, err
}

// SubmitShare hands in one share, and unseals when it completes a slot's set. A
// share that is mistyped is ErrShare, one that is not as it was made
// ErrWrongShare with its number, one that no slot knows ErrUnknownSet; none of them
// disturbs the attempt. Handing one in twice counts once. On an unsealed barrier
// it does nothing.
func (m *Manager) SubmitShare(ctx context.Context, text api.Secret) (Progress, error) {
	s, err := ParseShare(text)
	if err != nil {
		return Progress{Sealed: m.barrier.Sealed()}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	row, err := m.slotOf(ctx, s)
	if err != nil {
		return Progress{Sealed: m.barrier.Sealed()}, err
	}
	if !m.barrier.Sealed() {
		return m.progress(row)
	}
	if err := m.gather(row.ID, s); err != nil {
		return Progress{Sealed: true}, err
	}
	p, err := m.progress(row)
	if err != nil || p.Progress < p.Threshold {
		return p, err
	}
	return m.complete(ctx, row)
}

// slotOf finds the slot that takes a share.
func (m *Manager) slotOf(ctx context.Context, s Share) (*slotRow, error) {
	_, rows, damaged, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		g, ok := m.kinds[r.Kind].(Gatherer)
		if !ok {
			continue
		}
		if ok, err := g.Accept(r.Params, s); ok || err != nil {
			return r, err
		}
	}
	return nil, errors.Join(fmt.Errorf("%w: number %d", ErrUnknownSet, s.index), damaged)
}

// gather adds a share to its slot's attempt.
func (m *Manager) gather(slot string, s Share) error {
	a := m.attempts[slot]
	if a == nil {
		var err error
		if a, err = newAttempt(); err != nil {
			return err
		}
		m.attempts[slot] = a
	}
	a.add(s, m.now())
	return nil
}

func newAttempt() (*attempt, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal: reading random bytes: %w", err)
	}
	return &attempt{nonce: hex.EncodeToString(nonce)}, nil
}

// add keeps a share that was handed in at a moment; the same twice counts once.
func (a *attempt) add(s Share, now time.Time) {
	a.last = now
	if !slices.ContainsFunc(a.shares, func(known Share) bool { return known.index == s.index }) {
		a.shares = append(a.shares, s)
	}
}

// complete unseals with a full set and ends every attempt, whatever comes of it.
func (m *Manager) complete(ctx context.Context, r *slotRow) (Progress, error) {
	key, err := m.kinds[r.Kind].(Gatherer).Combine(r.Params, m.attempts[r.ID].shares)
	m.reset()
	if err == nil {
		err = m.open(ctx, r, key)
	}
	if err == nil {
		m.opened = r
	}
	p, progressErr := m.progress(r)
	return p, errors.Join(err, progressErr)
}

// Confirm lists the slot whose shares have unsealed the barrier as tested: people have them. Who unseals with shares that
// nobody has been handed does not call it.
func (m *Manager) Confirm(ctx context.Context) error {
	m.mu.Lock()
	r := m.opened
	m.opened = nil
	m.mu.Unlock()
	if r == nil || m.barrier.Sealed() {
		return nil
	}
	return m.markTested(ctx, r)
}

// ResetUnseal forgets the shares handed in so far. It is for who holds a share of
// one of the slots; without one, it is ErrUnderWay as long as the last share came
// less than a minute ago. What is wrong with a share is as in SubmitShare.
func (m *Manager) ResetUnseal(ctx context.Context, text api.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mayReset(ctx, text); err != nil {
		return err
	}
	m.reset()
	return nil
}

func (m *Manager) mayReset(ctx context.Context, text api.Secret) error {
	if !text.Empty() {
		s, err := ParseShare(text)
		if err == nil {
			_, err = m.slotOf(ctx, s)
		}
		return err
	}
	for _, a := range m.attempts {
		if m.now().Sub(a.last) < resetAfter {
			return ErrUnderWay
		}
	}
	return nil
}

func (m *Manager) reset() {
	for _, a := range m.attempts {
		clear(a.shares)
	}
	clear(m.attempts)
}

// Seal seals the barrier and forgets shares handed in.
func (m *Manager) Seal() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reset()
	return m.barrier.Seal()
}
