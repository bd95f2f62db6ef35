package barrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// A namespace that can be sealed has its seed twice: wrapped by the key ring, as any
// has, while it is open, and under a key that its holders share, always. Sealing takes
// the first away, and unsealing puts it back. Namespaces below it that cannot be sealed
// themselves have their seeds wrapped by its key, too.

// sealedMark is what the key row of a sealed namespace holds.
const sealedMark = "\x00sealed"

// aboveMark begins the key row of a namespace whose seed is wrapped by another's key:
// mark | id of the other | 0 | message.
const aboveMark = "\x00below\x00"

const (
	namespaceSlotPrefix   = "core/ns-seal/"
	namespaceChangePrefix = "core/ns-seal-change/"
)

// NamespaceSlotKey is where, in the store below, a namespace's seed lies under the key
// that its holders share.
func NamespaceSlotKey(id string) string { return namespaceSlotPrefix + id }

// ErrShared says that people hold shares of a namespace's key already.
var ErrShared = errors.New("barrier: people hold shares of the namespace's key already")

// ErrNotSealable says that nobody holds shares of a namespace's key.
var ErrNotSealable = errors.New("barrier: the namespace cannot be sealed")

// cutAbove takes a key row apart: what comes before the message, and the id that it
// names; both empty when the seed takes no other key.
func cutAbove(value []byte) (mark, above string, message []byte) {
	rest, ok := bytes.CutPrefix(value, []byte(aboveMark))
	id, message, cut := bytes.Cut(rest, []byte{0})
	if !ok || !cut {
		return "", "", value
	}
	return string(value[:len(value)-len(message)]), string(id), message
}

// sealSeed is the key row of a namespace.
func (s *session) sealSeed(ctx context.Context, id, above string, seed []byte) ([]byte, error) {
	key := namespaceKey(id)
	if above == "" {
		return s.sealWrapped(ctx, labelNamespace, key, seed)
	}
	k, err := s.purpose(ctx, above, labelBelow)
	if err != nil {
		return nil, err
	}
	inner, err := k.Seal(seed, key)
	if err != nil {
		return nil, err
	}
	outer, err := s.sealWrapped(ctx, labelNamespace, key, inner)
	return append([]byte(aboveMark+above+"\x00"), outer...), err
}

// openSeed opens a key row; the caller wipes the seed.
func (s *session) openSeed(ctx context.Context, l *loading, e store.Entry) ([]byte, error) {
	_, above, message := cutAbove(e.Value)
	e.Value = message
	seed, err := s.openWrapped(ctx, labelNamespace, e)
	if err != nil || above == "" {
		return seed, err
	}
	s.takes(l, above)
	// One that can be sealed takes no other's key: a row that says so could name itself.
	over, err := s.phys.Get(ctx, namespaceKey(above))
	if err != nil {
		return nil, fmt.Errorf("barrier: reading a namespace key: %w", err)
	}
	if mark, _, _ := cutAbove(over.Value); mark != "" {
		return nil, &DamagedError{Key: e.Key, Reason: "it names a namespace that cannot be sealed"}
	}
	k, err := s.purpose(ctx, above, labelBelow)
	if err != nil {
		return nil, err
	}
	seed, err = k.Open(seed, e.Key)
	return seed, damaged(e.Key, err)
}

// ShareNamespace makes a namespace one that can be sealed, once: wrap makes the value of
// the row at NamespaceSlotKey of the namespace's seed, which it must not keep. It returns
// ErrShared when that was done before, and ErrNamespaceSealed, or ErrNoNamespace, when the
// seed is not at hand.
func (b *Barrier) ShareNamespace(ctx context.Context, id string, wrap func(seed []byte) ([]byte, error)) error {
	s, err := b.currentFor(id)
	if err != nil {
		return err
	}
	var slot, row []byte
	e, err := s.phys.Get(ctx, namespaceKey(id))
	if err == nil {
		err = Erasing(func() error {
			seed, err := s.loadSeed(ctx, &loading{ns: id})
			if err != nil {
				return err
			}
			defer clear(seed)
			if slot, err = wrap(seed); err != nil {
				return err
			}
			row, err = s.sealSeed(ctx, id, "", seed)
			return err
		})
	}
	if err != nil {
		return err
	}
	_, err = s.phys.Commit(ctx, []store.Check{{Key: e.Key, Rev: e.Rev}, {Key: NamespaceSlotKey(id)}},
		[]store.Write{{Key: NamespaceSlotKey(id), Value: slot}, {Key: e.Key, Value: row}})
	if errors.Is(err, store.ErrConflict) {
		if _, _, found := b.NamespaceSlot(ctx, id); found == nil {
			return ErrShared
		}
	}
	if err != nil {
		return fmt.Errorf("barrier: writing a namespace's key slot: %w", err)
	}
	return nil
}

// NamespaceSlot is the row at NamespaceSlotKey, and whether the namespace is sealed. It
// returns ErrNotSealable when there is none.
func (b *Barrier) NamespaceSlot(ctx context.Context, id string) (slot store.Entry, sealed bool, err error) {
	s, err := b.currentFor(id)
	if err != nil {
		return slot, false, err
	}
	if slot, err = s.phys.Get(ctx, NamespaceSlotKey(id)); err != nil {
		return slot, false, fmt.Errorf("barrier: reading a namespace's key slot: %w", err)
	}
	if !slot.Exists() {
		return slot, false, ErrNotSealable
	}
	row, err := s.phys.Get(ctx, namespaceKey(id))
	return slot, string(row.Value) == sealedMark, err
}

// NamespaceChange is the row, in the store below, of a change of the people who hold shares
// of a namespace's key.
func (b *Barrier) NamespaceChange(ctx context.Context, id string) (store.Entry, error) {
	s, err := b.currentFor(id)
	if err != nil {
		return store.Entry{}, err
	}
	e, err := s.phys.Get(ctx, namespaceChangePrefix+id)
	if err != nil {
		return e, fmt.Errorf("barrier: reading a change of a namespace's holders: %w", err)
	}
	return e, nil
}

// ChangeNamespace replaces the row of NamespaceChange, or removes it where there is no
// value, and where one is given, that of NamespaceSlot: in one commit, which fails with store.ErrConflict when either
// has changed since it was read.
func (b *Barrier) ChangeNamespace(ctx context.Context, slot, change store.Entry, newSlot, newChange []byte) error {
	s, err := b.current()
	if err != nil {
		return err
	}
	writes := []store.Write{{Key: change.Key, Value: newChange, Delete: newChange == nil}}
	if newSlot != nil {
		writes = append(writes, store.Write{Key: slot.Key, Value: newSlot})
	}
	_, err = s.phys.Commit(ctx, []store.Check{{Key: slot.Key, Rev: slot.Rev}, {Key: change.Key, Rev: change.Rev}}, writes)
	if err != nil {
		return fmt.Errorf("barrier: changing a namespace's holders: %w", err)
	}
	return nil
}

// SealNamespace takes a namespace's key, and with it those of the namespaces below that
// take it, away from all nodes: this one at once, others as soon as they see the commit.
// Sealing twice is no error. Copies of the store made before hold the key still, wrapped
// by the key ring. ordered is asked once the rows are read, and nothing is written when
// it says no, nor when they have changed since it was asked: an order that was withdrawn
// meanwhile takes no key away.
func (b *Barrier) SealNamespace(ctx context.Context, id string, ordered func() (bool, error)) error {
	return again(func() error { return b.sealNamespace(ctx, id, ordered) })
}

// again tries the sealing or unsealing of a namespace whose rows others change, as another
// node that finishes the same.
func again(try func() error) error {
	var err error
	for range sealAttempts {
		if err = try(); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return err
}

const sealAttempts = 10

func (b *Barrier) sealNamespace(ctx context.Context, id string, ordered func() (bool, error)) error {
	s, err := b.currentFor(id)
	if err != nil {
		return err
	}
	slot, sealed, err := b.NamespaceSlot(ctx, id)
	if err != nil || sealed {
		return err
	}
	row, err := s.phys.Get(ctx, namespaceKey(id))
	switch {
	case err != nil:
		return fmt.Errorf("barrier: reading a namespace key: %w", err)
	case !row.Exists() || string(row.Value) == dropped:
		return fmt.Errorf("%w: %q", ErrNoNamespace, id)
	}
	if yes, err := ordered(); err != nil || !yes {
		return err
	}
	_, err = s.phys.Commit(ctx, []store.Check{{Key: slot.Key, Rev: slot.Rev}, {Key: row.Key, Rev: row.Rev}},
		[]store.Write{{Key: row.Key, Value: []byte(sealedMark)}})
	if err != nil {
		return fmt.Errorf("barrier: sealing a namespace: %w", err)
	}
	s.evict(id)
	return nil
}

// UnsealNamespace puts a sealed namespace's key back: open makes the seed of the row at
// NamespaceSlotKey, and it is wiped afterwards. It does nothing when the namespace is open.
func (b *Barrier) UnsealNamespace(ctx context.Context, id string, open func(slot store.Entry) (seed []byte, err error)) error {
	return again(func() error { return b.unsealNamespace(ctx, id, open) })
}

func (b *Barrier) unsealNamespace(ctx context.Context, id string, open func(slot store.Entry) (seed []byte, err error)) error {
	s, err := b.currentFor(id)
	if err != nil {
		return err
	}
	slot, sealed, err := b.NamespaceSlot(ctx, id)
	if err != nil || !sealed {
		return err
	}
	row, err := s.phys.Get(ctx, namespaceKey(id))
	if err != nil {
		return fmt.Errorf("barrier: reading a namespace key: %w", err)
	}
	if string(row.Value) != sealedMark {
		return nil
	}
	var value []byte
	err = Erasing(func() error {
		seed, err := open(slot)
		if err != nil {
			return err
		}
		defer clear(seed)
		value, err = s.sealSeed(ctx, id, "", seed)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.phys.Commit(ctx, []store.Check{{Key: slot.Key, Rev: slot.Rev}, {Key: row.Key, Rev: row.Rev}}, []store.Write{{Key: row.Key, Value: value}})
	if err != nil {
		return fmt.Errorf("barrier: unsealing a namespace: %w", err)
	}
	s.evict(id)
	return nil
}
