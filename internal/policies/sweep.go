package policies

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindEnd is the due-time of a policy that expires.
const kindEnd = "policy-end"

// sweepDelay is for how long the row of a policy that has expired is kept. It
// grants nothing and nobody sees it, so that this is only for clocks: one that is
// ahead by less takes nothing away for good.
const sweepDelay = time.Hour

// Jobs are the handlers of what the store has scheduled.
func (s *Store) Jobs() map[string]schedule.Handler {
	return map[string]schedule.Handler{kindEnd: s.sweep}
}

// due is when the row of a policy that expires is to go.
func due(nsID string, r *row) schedule.Item {
	return schedule.Item{Namespace: nsID, At: r.Expires.Add(sweepDelay), Kind: kindEnd, ID: hex.EncodeToString([]byte(r.Name)), Data: []byte(r.Name)}
}

// sweep removes a policy that has expired. One that was written anew meanwhile is
// looked at again in the commit, and stays: it has a due-time of its own, if any.
func (s *Store) sweep(ctx context.Context, job *schedule.Job) error {
	name := string(job.Data)
	_, err := store.Update(ctx, s.store, func(tx *store.Tx) error {
		r, err := stored(tx, job.Namespace, name)
		if err != nil || r == nil || !r.expired(s.now().Add(-sweepDelay)) {
			return err
		}
		tx.Delete(rowKey(job.Namespace, name))
		tx.Delete(expiryKey(job.Namespace, name))
		return nil
	})
	return err
}
