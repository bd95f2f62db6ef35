package chaos

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// fault is a promise that a node breaks, for a check to find. It is broken in the store beneath the node, which the test's
// own program puts there: the real program has no option that does.
type fault string

const (
	sound    fault = ""
	stale    fault = "stale"    // what the node remembers is no longer vouched for by the store
	careless fault = "careless" // a token's row is written whatever others have written meanwhile
	deadly   fault = "deadly"   // who cancels a rekey ends the keys that it was to replace
	vain     fault = "vain"     // keys that were replaced are never retired; orders to seal and new root tokens are acknowledged and not written
	boastful fault = "boastful" // a write that the store has no room for is taken for done
)

// of breaks the promise of an engine.
func (f fault) of(ctx context.Context, e store.Engine) (store.Engine, error) {
	switch f {
	case stale:
		rev, err := e.Sync(ctx)
		return &staleStore{e, rev}, err
	case careless:
		return carelessStore{e}, nil
	case deadly:
		return deadlyStore{e}, nil
	case vain:
		return &vainStore{Engine: lenientStore{e}}, nil
	case boastful:
		return boastfulStore{e}, nil
	}
	return e, nil
}

// staleStore is a store as it was a while ago: what the node caches is not checked, and changes come late. It is what a
// node is that answers from what it remembers.
type staleStore struct {
	store.Engine
	at store.Rev
}

// late is by how much changes come late to a stale store.
const late = 400 * time.Millisecond

// Sync implements store.Store, wrongly.
func (s *staleStore) Sync(context.Context) (store.Rev, error) { return s.at, nil }

// Watch implements store.Store, late.
func (s *staleStore) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	f, err := s.Engine.Watch(ctx, after)
	return &lateFeed{f}, err
}

type lateFeed struct{ store.Feed }

// Next implements store.Feed.
func (f *lateFeed) Next(ctx context.Context) (store.Change, error) {
	c, err := f.Feed.Next(ctx)
	select {
	case <-time.After(late):
	case <-ctx.Done():
	}
	return c, err
}

// carelessStore takes the checks of tokens' rows out: two nodes that count a use at the same time count one.
type carelessStore struct{ store.Engine }

// Commit implements store.Store, wrongly.
func (s carelessStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	checks = slices.DeleteFunc(slices.Clone(checks), func(c store.Check) bool { return strings.Contains(c.Key, "/token/id/") })
	return s.Engine.Commit(ctx, checks, writes)
}

// Rows of key slots, ceremonies and the order to seal, as they are stored.
const (
	slotRows = "core/slot/"
	rekeyRow = "core/ceremony/rekey"
	rootRow  = "core/ceremony/root-token"
	orderRow = "root/fleet/seal"
)

// removal reports whether a commit removes what begins so.
func removal(writes []store.Write, prefix string) bool {
	return slices.ContainsFunc(writes, func(w store.Write) bool { return w.Delete && strings.HasPrefix(w.Key, prefix) })
}

// deadlyStore removes every key slot with a rekey that is cancelled.
type deadlyStore struct{ store.Engine }

// Commit implements store.Store, wrongly.
func (s deadlyStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	begun, err := s.Get(ctx, rekeyRow)
	if err != nil || !begun.Exists() || !removal(writes, rekeyRow) || removal(writes, slotRows) {
		return s.Engine.Commit(ctx, checks, writes)
	}
	slots, err := s.List(ctx, store.Prefix(slotRows))
	if err != nil {
		return 0, err
	}
	writes = slices.Clone(writes)
	for _, slot := range slots {
		writes = append(writes, store.Write{Key: slot.Key, Delete: true})
	}
	return s.Engine.Commit(ctx, checks, writes)
}

// lenientStore fails to remove a key slot.
type lenientStore struct{ store.Engine }

// Commit implements store.Store, wrongly.
func (s lenientStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if removal(writes, slotRows) {
		return 0, errors.New("this slot stays")
	}
	return s.Engine.Commit(ctx, checks, writes)
}

// vainStore says that it has written what nodes are ordered, and the token after the end of a ceremony for one.
type vainStore struct {
	store.Engine

	granted atomic.Bool
}

// Commit implements store.Store, wrongly.
func (s *vainStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	writing := func(part string) bool {
		return slices.ContainsFunc(writes, func(w store.Write) bool { return !w.Delete && strings.Contains(w.Key, part) })
	}
	if writing(orderRow) || writing("/token/id/") && s.granted.CompareAndSwap(true, false) {
		return s.Sync(ctx)
	}
	rev, err := s.Engine.Commit(ctx, checks, writes)
	if err == nil && removal(writes, rootRow) {
		s.granted.Store(true)
	}
	return rev, err
}

// boastfulStore says that it has written what it had no room for.
type boastfulStore struct{ store.Engine }

// Commit implements store.Store, wrongly.
func (s boastfulStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	rev, err := s.Engine.Commit(ctx, checks, writes)
	if errors.Is(err, store.ErrFull) {
		return s.Sync(ctx)
	}
	return rev, err
}
