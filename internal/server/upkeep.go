package server

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const jobUpkeep = "mount-upkeep"

// upkeepGrid is what moments of upkeep are rounded up to, so that however many
// requests ask for it, a mount has one row for each such span of time.
const upkeepGrid = 5 * time.Minute

// upkeep is the schedule as engines see it.
type upkeep struct{ store store.Store }

// Schedule has the engine of a mount put its store in order. The row lies in the
// mount's namespace, and goes with it.
func (u upkeep) Schedule(ctx context.Context, namespaceID, mountID string, at time.Time) error {
	_, err := store.Update(ctx, u.store, func(tx *store.Tx) error {
		return schedule.Add(tx, schedule.Item{Namespace: namespaceID, At: roundUp(at), Kind: jobUpkeep, ID: mountID})
	})
	return err
}

// roundUp is the next moment on the grid.
func roundUp(at time.Time) time.Time {
	if down := at.Truncate(upkeepGrid); down.Before(at) {
		return down.Add(upkeepGrid)
	}
	return at
}

// upkeepJob does what Schedule has recorded.
func upkeepJob(m *mount.Mounts) schedule.Handler {
	return func(ctx context.Context, j *schedule.Job) error { return m.Upkeep(ctx, j.Namespace, j.ID) }
}
