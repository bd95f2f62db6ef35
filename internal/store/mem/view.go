package mem

import (
	"context"
	"sync"

	"github.com/tidwall/btree"

	"github.com/strongroom/strongroom/internal/store"
)

// View implements store.Engine. The copy shares what neither side changes.
func (s *Store) View(ctx context.Context) (store.View, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return nil, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	open, end := context.WithCancel(s.open)
	return &view{rows: s.data.rows.Copy(), rev: store.Rev(s.data.rev.Load()), open: open, end: end}, nil
}

// view is a copy of the data. Even reading a copied tree may move its nodes, so
// readers take turns.
type view struct {
	mu   sync.Mutex
	rows *btree.Map[string, row]
	rev  store.Rev
	open context.Context // ends with the view or its store
	end  context.CancelFunc
}

// Get implements store.View.
func (v *view) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.FeedErr(ctx, v.open.Done()); err != nil {
		return store.Entry{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return get(v.rows, key), nil
}

// List implements store.View.
func (v *view) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if err := store.FeedErr(ctx, v.open.Done()); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return list(v.rows, r), nil
}

// Rev implements store.View.
func (v *view) Rev() store.Rev { return v.rev }

// Close implements store.View.
func (v *view) Close() error {
	v.end()
	return nil
}
