package token

import (
	"context"

	"github.com/strongroom/strongroom/internal/store"
)

// Rows is the prefix of the rows of a namespace's service tokens, one for each.
func Rows(nsID string) string { return rowKey{nsID, ""}.String() }

// Count is how many service tokens a namespace has, those included that have
// expired and are not cleared away yet. It reads the key of each.
func (s *Store) Count(ctx context.Context, nsID string) (int, error) {
	return store.Count(ctx, s.Store, Rows(nsID), nil)
}
