package token

import (
	"context"
	"errors"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// While is the whole encrypted store as what a token keeps for itself is written
// through: a commit is refused with Denied once the token is gone, so that nothing
// comes to lie where its revocation has cleared away already. A batch token keeps
// nothing, and its writes are refused by who would keep it.
func (s *Store) While(t *Token) store.Store {
	if t.Type == Batch {
		return s.Store
	}
	return &lifelong{s.Store, t.key()}
}

// lifelong is a store that a token writes to as long as it lives.
type lifelong struct {
	store.Store
	token rowKey
}

// Commit commits while the token's row stands. That the row has changed meanwhile,
// by a renewal or a use, is no conflict of the caller's.
func (l *lifelong) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	seen, err := l.row(ctx)
	for err == nil {
		var rev store.Rev
		rev, err = l.Store.Commit(ctx, append(slices.Clip(checks), seen), writes)
		if !errors.Is(err, store.ErrConflict) {
			return rev, err
		}
		before := seen
		if seen, err = l.row(ctx); err == nil && seen == before {
			return 0, store.ErrConflict
		}
	}
	return 0, err
}

// row is the check that the token's row is as it is now.
func (l *lifelong) row(ctx context.Context) (store.Check, error) {
	e, err := l.Get(ctx, l.token.String())
	if err == nil && !e.Exists() {
		err = api.ErrDenied()
	}
	return store.Check{Key: e.Key, Rev: e.Rev}, err
}
