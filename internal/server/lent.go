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
	return errors.Join(h.Leases.MountRemoved(tx, nsID, e), h.Tokens.MountRemoved(tx, nsID, e.ID, 0, lateWriters),
		h.Identity.MountRemoved(tx, nsID, e.Accessor, 0, lateWriters), h.Quotas.MountRemoved(tx, e.ID))
}

func (h *house) mountMoved(tx *store.Tx, nsID, from string, e *mount.Entry) error {
	return h.Leases.MountMoved(tx, nsID, from, e)
}

// below are the namespaces below one that are open. What lies in one that is sealed cannot be
// read, nor in one whose row is damaged.
func (h *house) below(ctx context.Context, nsID string) (out []string, err error) {
	children, err := h.Namespaces.Children(ctx, nsID)
	for _, n := range children {
		if n.Sealed || n.Damaged() != "" || !n.Live() {
			continue
		}
		deeper, err := h.below(ctx, n.ID)
		if err != nil {
			return nil, err
		}
		out = append(append(out, n.ID), deeper...)
	}
	return out, err
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
	id := string(j.Data)
	err := h.Leases.ClearNamespace(ctx, id, j.Tries >= stubborn)
	if err == nil {
		err = h.Tokens.Discount(ctx, id)
	}
	switch {
	case errors.Is(err, lease.ErrQuarantined):
		return h.waitForResume(ctx, j)
	case errors.Is(err, store.ErrSealed): // what was lent in one that is given up cannot be taken back
		if err := h.giveUp(ctx, id, err); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, barrier.ErrNoNamespace): // a destruction that was cut short
		return err
	}
	return errors.Join(h.Namespaces.Destroy(ctx, id), h.Branches.Forget(ctx, id), h.Quotas.Tidy(ctx))
}

// giveUp has nothing more counted that lies in a sealed namespace which is given up:
// nobody can read what that is. It returns the reason for the namespace to stay, if it is not.
func (h *house) giveUp(ctx context.Context, id string, sealed error) error {
	abandoned, err := h.Namespaces.Abandoned(ctx, id)
	if err != nil || !abandoned {
		return errors.Join(sealed, err)
	}
	return h.Quotas.Afresh(ctx)
}
