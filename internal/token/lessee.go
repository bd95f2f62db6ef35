package token

import (
	"context"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Lessee is the service token with which leases of this one die: itself or, for
// a batch token, its parent. An orphaned batch token has none. until is when a
// batch token ends, which its leases do not outlive; zero for any other.
func (t *Token) Lessee() (nsID, id string, until time.Time) {
	if t.Type == Batch {
		return t.ParentNamespace, t.ParentID, t.ExpireTime
	}
	return t.NamespaceID, t.ID, time.Time{}
}

// Hold makes a transaction fail with Denied unless a service token is alive, at
// its commit too.
func (s *Store) Hold(tx *store.Tx, nsID, id string, now time.Time) error {
	t, err := read(tx, rowKey{nsID, id})
	if err == nil && (t == nil || !t.Alive(now)) {
		err = api.ErrDenied()
	}
	return err
}

// ByID is a service token by its storage identity, alive or not; nil when there
// is none.
func (s *Store) ByID(ctx context.Context, nsID, id string) (*Token, error) {
	return loadToken(ctx, s.Store, rowKey{nsID, id})
}

// Each visits every service token of a namespace, a page at a time, and passes over
// those whose rows are damaged.
func (s *Store) Each(ctx context.Context, nsID string, visit func(*Token) error) error {
	prefix := rowKey{nsID, ""}.String()
	err := s.each(ctx, prefix, func(e store.Entry) error {
		t, err := decodeToken(rowKey{nsID, e.Key[len(prefix):]}, e.Value)
		if err != nil {
			s.tell(err)
			return nil
		}
		return visit(t)
	})
	if err != nil {
		return fmt.Errorf("token: visit: %w", err)
	}
	return nil
}
