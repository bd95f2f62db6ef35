package token

import (
	"context"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindMount is the work of revoking the tokens of an auth method that was disabled.
const kindMount = "token-mount"

// MountRemoved records in the transaction that disables an auth method that its
// tokens are to be revoked, after each of some delays: a login that was under way may make one after
// the first. They are refused from that commit on; what they hold is taken back by the schedule.
func (s *Store) MountRemoved(tx *store.Tx, nsID, mountID string, delays ...time.Duration) error {
	for _, d := range delays {
		if err := schedule.Add(tx, schedule.Item{Namespace: nsID, At: s.Now().Add(d), Kind: kindMount, ID: mountID}); err != nil {
			return err
		}
	}
	return nil
}

// endMount revokes the tokens of a mount, and those that they made in namespaces below and
// that have no parent any more.
func (s *Store) endMount(ctx context.Context, job *schedule.Job) error {
	spaces := []string{job.Namespace}
	if s.Below != nil {
		below, err := s.Below(ctx, job.Namespace)
		if err != nil {
			return err
		}
		spaces = append(spaces, below...)
	}
	for _, ns := range spaces {
		if err := s.endMountIn(ctx, ns, job); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) endMountIn(ctx context.Context, nsID string, job *schedule.Job) error {
	prefix := rowKey{nsID, ""}.String()
	return s.each(ctx, prefix, func(e store.Entry) error {
		k := rowKey{nsID, e.Key[len(prefix):]}
		t, err := decodeToken(k, e.Value)
		if err != nil {
			return s.passOver(err)
		}
		if t.MountID != job.ID || t.MountNamespace != job.Namespace {
			return nil
		}
		if err := s.revoke(ctx, k, false); err != nil {
			return fmt.Errorf("token: ending those of a mount: %w", err)
		}
		return nil
	})
}
