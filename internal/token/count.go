package token

import (
	"context"

	"github.com/strongroom/strongroom/internal/store"
)

// countPage is how many keys are read at once while counting.
const countPage = 4096

// Count is how many service tokens a namespace has, those included that have
// expired and are not cleared away yet. It reads the key of each.
func (s *Store) Count(ctx context.Context, nsID string) (int, error) {
	r := store.Prefix(rowKey{nsID, ""}.String())
	r.KeysOnly, r.Limit = true, countPage
	total := 0
	for {
		page, err := s.Store.List(ctx, r)
		if err != nil {
			return 0, err
		}
		total += len(page)
		if len(page) < countPage {
			return total, nil
		}
		r.Start = page[len(page)-1].Key + "\x00"
	}
}
