package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// stubborn is how often the leases of a mount or namespace that is going are tried
// to be taken back, some twenty minutes, before what is left of them is forgotten:
// what an engine could no longer undo does not keep the data of others for ever.
const stubborn = 11

// The hooks of packages that are made before leases.

func (h *house) endLeases(ctx context.Context, nsID, tokenID string) error {
	return h.Leases.HolderDied(ctx, nsID, tokenID)
}

func (h *house) mountRemoved(tx *store.Tx, nsID string, e *mount.Entry) error {
	return errors.Join(h.Leases.MountRemoved(tx, nsID, e), h.Tokens.MountRemoved(tx, nsID, e.ID, 0, lateWriters), h.Identity.MountRemoved(tx, nsID, e.Accessor, 0, lateWriters),
		h.Quotas.MountRemoved(tx, e.ID))
}

func (h *house) mountMoved(tx *store.Tx, nsID, from string, e *mount.Entry) error {
	return h.Leases.MountMoved(tx, nsID, from, e)
}

// dropMount removes what a mount that was disabled leaves: first what it has lent,
// which takes its settings, then its data. A job that names anything else is
// refused, and stays to be seen in the log.
func (h *house) dropMount(ctx context.Context, j *schedule.Job) error {
	prefix := string(j.Data)
	if !mount.IsPrefix(prefix) {
		return fmt.Errorf("%q is not the place of a mount's data", prefix)
	}
	nsID, rest, _ := strings.Cut(prefix, "/m/")
	err := h.Leases.ClearMount(ctx, nsID, strings.TrimSuffix(rest, "/"), j.Tries >= stubborn)
	if errors.Is(err, lease.ErrQuarantined) {
		return h.waitForResume(ctx, j)
	}
	if err != nil && !errors.Is(err, barrier.ErrNoNamespace) { // whose leases went before its key
		return err
	}
	return namespace.DeletePrefix(ctx, h.Data, prefix)
}

// dropNamespace destroys a namespace: first what was lent in it, then all else.
func (h *house) dropNamespace(ctx context.Context, j *schedule.Job) error {
	err := h.Leases.ClearNamespace(ctx, string(j.Data), j.Tries >= stubborn)
	if errors.Is(err, lease.ErrQuarantined) {
		return h.waitForResume(ctx, j)
	}
	if errors.Is(err, store.ErrSealed) { // what was lent in one that is given up cannot be taken back
		abandoned, lerr := h.Namespaces.Abandoned(ctx, string(j.Data))
		if lerr != nil || !abandoned {
			return errors.Join(err, lerr)
		}
		return h.Namespaces.Destroy(ctx, string(j.Data))
	}
	if err != nil && !errors.Is(err, barrier.ErrNoNamespace) { // a destruction that was cut short
		return err
	}
	if err := h.Tokens.Discount(ctx, string(j.Data)); err != nil && !errors.Is(err, barrier.ErrNoNamespace) {
		return err
	}
	return errors.Join(h.Namespaces.Destroy(ctx, string(j.Data)), h.Quotas.Tidy(ctx))
}
