package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// ErrPeopleHold says that the root key cannot be changed, since people hold the
// keys of slots that wrap it.
var ErrPeopleHold = errors.New("seal: people hold the keys of slots that wrap the root key")

// RotateRoot makes a new root key and wraps it under every slot's own key, all in
// one commit. It needs slots that all open without people, on this machine. Other
// nodes have to be unsealed again.
func (m *Manager) RotateRoot(ctx context.Context) error {
	if m.barrier.Sealed() {
		return barrier.ErrSealed
	}
	d, rows, damaged, err := m.read(ctx)
	if err != nil || damaged != nil {
		return errors.Join(err, damaged)
	}
	for _, r := range rows {
		if _, ok := m.kinds[r.Kind].(Opener); !ok {
			return fmt.Errorf("%w: %s", ErrPeopleHold, r.ID)
		}
	}
	return m.rewrapSlots(ctx, d, rows)
}

// rewrapSlots wraps a new root key under the slots' own keys.
func (m *Manager) rewrapSlots(ctx context.Context, d *directory, rows []*slotRow) error {
	cluster := m.barrier.ClusterID()
	err := m.barrier.UseRootKey(func(root []byte) error { return d.verify(root, cluster) })
	if err != nil {
		return err
	}
	fresh := make([]byte, barrier.KeyBytes)
	defer clear(fresh)
	if _, err := rand.Read(fresh); err != nil {
		return fmt.Errorf("seal: reading random bytes: %w", err)
	}
	var writes []store.Write
	for _, r := range rows {
		w, err := m.rewrapSlot(ctx, r, cluster, fresh)
		if err != nil {
			return err
		}
		writes = append(writes, w)
	}
	list, err := d.write(fresh, cluster)
	if err != nil {
		return err
	}
	checks := []store.Check{{Key: directoryKey, Rev: d.rev}}
	return m.barrier.RewrapRoot(ctx, fresh, checks, append(writes, list))
}

// rewrapSlot wraps a root key under a slot's key, once that has opened the slot.
func (m *Manager) rewrapSlot(ctx context.Context, r *slotRow, cluster string, root []byte) (store.Write, error) {
	key, err := m.slotKey(ctx, r.header, nil)
	if err != nil {
		return store.Write{}, fmt.Errorf("seal: key slot %s: %w", r.ID, err)
	}
	defer clear(key)
	old, err := r.unwrap(key, cluster)
	if err != nil {
		return store.Write{}, err
	}
	clear(old)
	return wrapSlot(r.header, key, cluster, root)
}
