package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const kindTidy = "token-tidy"

// Tidy has the schedule go through the namespace's rows and put right what
// meddling with the store or a restored part of it may have left behind. Tokens of entities that
// were deleted, or have had all tokens revoked since, are revoked, with what they lease.
func (s *Store) Tidy(c *api.Call, _ *api.None) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		return schedule.Add(tx, schedule.Item{Namespace: c.Namespace.ID, At: c.Now, Kind: kindTidy, ID: "rows"})
	})
	if err == nil {
		c.Warn("Tidy operation successfully started. Any information from the operation will be printed to the server logs.")
	}
	return nil, err
}

// tidy removes accessors and texts without a token and revokes tokens that should have
// been revoked.
func (s *Store) tidy(ctx context.Context, job *schedule.Job) error {
	ns := job.Namespace
	var failed failures
	s.every(ctx, &failed, accessorKey(ns, ""), func(e store.Entry) error { return s.passOver(s.tidyAccessor(ctx, ns, e)) })
	s.every(ctx, &failed, reuseKey(ns, ""), func(e store.Entry) error { return s.passOver(s.tidyAccessor(ctx, ns, e)) })
	s.every(ctx, &failed, rowKey{ns, ""}.String(), func(e store.Entry) error { return s.passOver(s.tidyToken(ctx, ns, e)) })
	return failed.err()
}

// every is each where what fails for one entry, such as a token's child in a namespace that is sealed, does not keep the
// others waiting.
func (s *Store) every(ctx context.Context, failed *failures, prefix string, visit func(store.Entry) error) {
	failed.add(s.each(ctx, prefix, func(e store.Entry) error {
		failed.add(visit(e))
		return ctx.Err()
	}))
}

// passOver tells of a damaged row, which ends nothing.
func (s *Store) passOver(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		s.tell(err)
		return nil
	}
	return err
}

// each visits the entries with a prefix, a page at a time. One that is damaged is
// passed over and told of: it must not keep the others from being revoked.
func (s *Store) each(ctx context.Context, prefix string, visit func(store.Entry) error) error {
	r := store.Prefix(prefix)
	r.Limit = 256
	for {
		es, err := s.Store.List(ctx, r)
		if err != nil && (len(es) == 0 || !errors.Is(err, store.ErrCorrupt)) {
			return fmt.Errorf("token: tidy: %w", err)
		}
		s.tell(err)
		for _, e := range es {
			if e.Value == nil {
				continue
			}
			if err := visit(e); err != nil {
				return err
			}
		}
		if len(es) < r.Limit {
			return nil
		}
		r = r.After(es[len(es)-1].Key)
	}
}

// tell tells of a damaged row.
func (s *Store) tell(err error) {
	if err != nil && s.Damaged != nil {
		s.Damaged(err)
	}
}

func (s *Store) tidyAccessor(ctx context.Context, ns string, e store.Entry) error {
	var row accessorRow
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return fmt.Errorf("token: accessor cannot be read: %w", store.ErrCorrupt)
	}
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		t, err := read(tx, rowKey{ns, row.TokenID})
		if err != nil || t != nil {
			return err
		}
		tx.Delete(e.Key)
		return nil
	})
	return err
}

func (s *Store) tidyToken(ctx context.Context, ns string, e store.Entry) error {
	k := rowKey{ns, e.Key[len(rowKey{ns, ""}.String()):]}
	t, err := decodeToken(k, e.Value)
	if err != nil {
		return err
	}
	if t.Alive(s.Now()) {
		if gone, err := s.nobodys(ctx, t); err != nil || !gone {
			return err
		}
	}
	return s.revoke(ctx, k, false)
}

// nobodys reports whether a token is of an entity that is no more, or has had all tokens revoked since: it is refused everywhere, but what it
// leases lives on.
func (s *Store) nobodys(ctx context.Context, t *Token) (bool, error) {
	if s.Nobodys == nil || t.EntityID == "" {
		return false, nil
	}
	return s.Nobodys(ctx, t)
}
