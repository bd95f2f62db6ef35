package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const jobRotation = "keyring-rotation"

// rotationGrid is how often it is asked whether the key ring is due for rotation. The
// moments are whole hours, so that however often a server starts, and however many
// there are, one row stands for each.
const rotationGrid = time.Hour

// rotationLater records when it is asked next.
func (s *Server) rotationLater(ctx context.Context) error {
	next := s.now().Truncate(rotationGrid).Add(rotationGrid)
	_, err := store.Update(ctx, s.barrier, func(tx *store.Tx) error {
		return schedule.Add(tx, schedule.Item{Namespace: namespace.RootID, At: next, Kind: jobRotation, ID: jobRotation})
	})
	return err
}

// rotateIfDue rotates the key ring if its settings say so, and records when to ask
// again first: a failure is tried again, and so is the next time.
func (s *Server) rotateIfDue(ctx context.Context, _ *schedule.Job) error {
	if err := s.rotationLater(ctx); err != nil {
		return err
	}
	done, err := s.desk.RotateIfDue(ctx, s.now())
	if done && err == nil {
		s.log.Info("the key ring was rotated by its schedule", slog.Uint64("term", uint64(s.barrier.Status().Epoch)))
	}
	return err
}
