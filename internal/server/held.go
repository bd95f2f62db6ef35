package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// heldWarning is told of a store that was restored, until its operator has said that the
// cluster which the snapshot was taken from is gone.
const heldWarning = "this store was restored: leases that came with the snapshot are not taken back, since the cluster that it was taken from may still lend them"

// isolate puts a restored store into quarantine.
func (s *Server) isolate(ctx context.Context, restore string, restored, taken time.Time) error {
	return lease.Isolate(ctx, s.barrier, lease.Quarantine{ID: restore, Since: restored, Taken: taken})
}

// held reports whether the leases of an unsealed server are held since a restore.
func (s *Server) held(ctx context.Context) bool {
	h := s.current()
	return h != nil && s.holds(ctx, h)
}

func (s *Server) holds(ctx context.Context, h *house) bool {
	q, err := h.Leases.Quarantine(ctx)
	if err != nil {
		s.log.Warn("whether leases are held since a restore cannot be learnt", slog.Any("error", err))
	}
	return q.Holds() || errors.Is(err, store.ErrCorrupt) // until that row is put back, none is taken back
}

// notice is what the operator must know of the store, whichever node is asked.
func (s *Server) notice(ctx context.Context) string {
	if !s.held(ctx) {
		return ""
	}
	return heldWarning + "; when that one has ended for good, run: " + lease.Resume
}

// heldPause is how often it is looked whether leases that a deletion waits for are held
// still.
const heldPause = time.Minute

// waitForResume puts off a deletion whose leases are held since a restore. It does not
// count as tried in vain: engines have not been asked.
func (h *house) waitForResume(ctx context.Context, j *schedule.Job) error {
	_, err := store.Update(ctx, h.Data, func(tx *store.Tx) error {
		next := j.Item
		next.At = h.Tokens.Now().Add(heldPause)
		j.Done(tx)
		return schedule.Add(tx, next)
	})
	return err
}
