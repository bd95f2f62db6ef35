package etcd

import (
	"context"
	"sync"

	"github.com/strongroom/strongroom/internal/store"
)

// View implements store.Engine. A view is a revision at which is read; this node
// compacts nothing that a view of its own needs.
func (s *Store) View(ctx context.Context) (store.View, error) {
	rev, err := s.Sync(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{store: s, rev: rev}
	v.open, v.end = context.WithCancel(s.open)
	s.pins.add(v)
	return v, nil
}

type view struct {
	store *Store
	rev   store.Rev
	open  context.Context // ends with the view or its store
	end   context.CancelFunc
}

// Get implements store.View.
func (v *view) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.FeedErr(ctx, v.open.Done()); err != nil {
		return store.Entry{}, err
	}
	return v.store.getAt(ctx, key, int64(v.rev))
}

// List implements store.View.
func (v *view) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if err := store.FeedErr(ctx, v.open.Done()); err != nil {
		return nil, err
	}
	return v.store.listAt(ctx, r, int64(v.rev))
}

// Rev implements store.View.
func (v *view) Rev() store.Rev { return v.rev }

// Close implements store.View.
func (v *view) Close() error {
	v.end()
	v.store.pins.remove(v)
	return nil
}

// pins are the open views of a node. The zero value is usable.
type pins struct {
	mu   sync.Mutex
	open map[*view]struct{}
}

func (p *pins) add(v *view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[*view]struct{}{}
	}
	p.open[v] = struct{}{}
}

func (p *pins) remove(v *view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, v)
}

// below is the newest revision up to rev that no view is older than.
func (p *pins) below(rev store.Rev) store.Rev {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := range p.open {
		rev = min(rev, v.rev)
	}
	return rev
}
