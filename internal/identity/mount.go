package identity

import (
	"context"
	"errors"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindMount is the work of removing the aliases of an auth method that was disabled.
const kindMount = "identity-mount"

// MountRemoved records in the transaction that disables an auth method that its aliases
// are to be removed, after each of some delays: a login that was under way may make one after the
// first. Its accessor is never another's.
func (s *Store) MountRemoved(tx *store.Tx, nsID, accessor string, delays ...time.Duration) error {
	for _, d := range delays {
		if err := schedule.Add(tx, schedule.Item{Namespace: nsID, At: s.Now().Add(d), Kind: kindMount, ID: accessor}); err != nil {
			return err
		}
	}
	return nil
}

// mountGone removes the aliases of a mount that is gone, and with them who was in groups
// by it. The entities stay.
func (s *Store) mountGone(ctx context.Context, job *schedule.Job) error {
	c := &api.Call{Context: ctx, Namespace: api.Namespace{ID: job.Namespace}, Now: s.Now()}
	var failed error
	_, err := each(ctx, s.Store, area(job.Namespace, "alias")+job.ID+"/", "", func(_ store.Entry, a *aliasRow) bool {
		_, failed = s.dropAlias(c, a.ID, true)
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	_, err = each(ctx, s.Store, area(job.Namespace, "group-alias")+job.ID+"/", "", func(_ store.Entry, a *groupAliasRow) bool {
		g, err := groupIn(reading(ctx, s.Store), job.Namespace, a.GroupID)
		if err == nil && g != nil && g.Alias != nil && g.Alias.Accessor == job.ID {
			_, err = s.removeGroupAlias(c, &IDRequest{ID: api.Name(g.Alias.ID)})
		}
		failed = err
		return err == nil
	})
	return errors.Join(err, failed)
}

// Count is how many entities a namespace has. It reads the key of each name.
func (s *Store) Count(ctx context.Context, nsID string) (int, error) {
	return store.Count(ctx, s.Store, area(nsID, "entity-name"), nil)
}
