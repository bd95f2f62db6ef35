package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Lookup finds the token that a caller shows. It returns the one denial, from
// which nothing can be learned, for a text that is malformed, unknown, expired,
// used up or revoked. The caller has called Cache.Fresh for this request.
func (s *Store) Lookup(ctx context.Context, text string, now time.Time) (*Token, error) {
	t, err := s.find(ctx, text)
	if err != nil {
		return nil, err
	}
	if t == nil || !t.Alive(now) {
		return nil, api.ErrDenied()
	}
	if t.Type == Batch && !t.Orphan() {
		p, err := s.tokens.Get(ctx, t.parent())
		if err != nil {
			return nil, err
		}
		if p == nil || !p.Alive(now) {
			return nil, api.ErrDenied()
		}
	}
	return t, nil
}

// find reads the token that a text names, alive or not; nil when there is none.
func (s *Store) find(ctx context.Context, text string) (*Token, error) {
	p, err := parse(text)
	if err != nil {
		return nil, nil // what cannot be a token is no token
	}
	if p.namespace != RootNamespace {
		if _, ok, err := s.Namespaces.Path(ctx, p.namespace); err != nil || !ok {
			return nil, err
		}
	}
	id, err := s.Keys.TokenHash(ctx, p.namespace, text)
	if err != nil {
		return nil, fmt.Errorf("token: hash: %w", err)
	}
	k := rowKey{p.namespace, id}
	if p.batch {
		return s.open(ctx, k, p.blob)
	}
	return s.tokens.Get(ctx, k)
}

// open reads a batch token's own content.
func (s *Store) open(ctx context.Context, k rowKey, blob []byte) (*Token, error) {
	plain, err := s.Keys.OpenBatch(ctx, k.namespace, blob)
	if errors.Is(err, ErrBatch) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("token: open batch token: %w", err)
	}
	return decodeToken(k, plain)
}

// Use counts one use of a token with a limited number of them; for others it
// does nothing. It is called once a request, before anything is done for it.
// last says that there are no more: the caller may call Revoke once no request of the
// token is under way; the schedule does in any case, half a minute later. Of any number of concurrent callers exactly as many succeed
// as uses are left; the others are denied.
func (s *Store) Use(ctx context.Context, t *Token) (last bool, err error) {
	if t.NumUses == 0 {
		return false, nil
	}
	for {
		last, err = s.use(ctx, t.key())
		// A conflict is somebody else's use, of which there are only so many.
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return last, err
		}
	}
}

// use takes one use off a token's row.
func (s *Store) use(ctx context.Context, k rowKey) (last bool, err error) {
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		last = false // an attempt that lost may have set it
		now, err := read(tx, k)
		if err != nil {
			return err
		}
		if now == nil || now.NumUses <= 0 {
			return api.ErrDenied()
		}
		if now.NumUses--; now.NumUses > 0 {
			return write(tx, now)
		}
		// Should the caller die before it revokes, the schedule does.
		last, now.NumUses = true, exhausted
		if err := setDue(tx, now, s.Now().Add(grace)); err != nil {
			return err
		}
		return write(tx, now)
	})
	return last, err
}
