package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
)

// Save writes a snapshot of the store at this moment to out, while others write. The
// barrier must be unsealed. After an error what was written is no snapshot.
func (k *Keeper) Save(ctx context.Context, out io.Writer) (err error) {
	key, err := k.key(ctx)
	if err != nil {
		return err
	}
	view, err := k.Store.View(ctx)
	if err != nil {
		return fmt.Errorf("taking a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	header, err := k.header(ctx, view)
	if err != nil {
		return err
	}
	w, err := framed.NewWriter(out, header)
	if err != nil {
		return err
	}
	err = each(ctx, view, false, func(e store.Entry) error {
		if left(e.Key) {
			return nil
		}
		return w.Row(e.Key, e.Value)
	})
	if err != nil {
		return fmt.Errorf("taking a snapshot: %w", err)
	}
	return w.Close(func(message []byte) ([]byte, error) { return key.HMAC(nil, message) })
}

func (k *Keeper) header(ctx context.Context, view store.View) (framed.Header, error) {
	h := framed.Header{Cluster: k.Barrier.ClusterID(), Revision: uint64(view.Rev()), Taken: k.Now().UTC(), Version: k.Version, Engine: k.Engine}
	slots, err := k.Seal.ListSlots(ctx)
	if err != nil {
		return h, err
	}
	h.KeySlots = len(slots)
	h.Format, err = fleet.Stored(ctx, view)
	return h, err
}

// SaveArchive is Save in the form that clients of the Vault API expect.
func (k *Keeper) SaveArchive(ctx context.Context, out io.Writer) error {
	a, err := framed.NewArchive(out)
	if err != nil {
		return err
	}
	if err := k.Save(ctx, a); err != nil {
		return err
	}
	return a.Close()
}
