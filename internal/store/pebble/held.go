package pebble

import (
	"context"
	"sync"

	"github.com/strongroom/strongroom/internal/store"
)

// View implements store.Engine.
func (s *Store) View(ctx context.Context) (store.View, error) {
	v, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	return &held{store: s, view: v}, nil
}

// held is a view that a caller keeps. Closing the store waits for it.
type held struct {
	store *Store
	mu    sync.RWMutex
	view  *view // nil once closed
}

// Get implements store.View.
func (h *held) Get(ctx context.Context, key string) (store.Entry, error) {
	e := store.Entry{Key: key}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if err := h.readable(ctx); err != nil {
		return e, err
	}
	var err error
	e.Rev, e.Value, err = read(h.view.snap, key, true)
	return e, err
}

// List implements store.View.
func (h *held) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if err := h.readable(ctx); err != nil {
		return nil, err
	}
	return h.store.list(ctx, h.view, r)
}

// readable is why the view cannot be read, or nil; the lock is held.
func (h *held) readable(ctx context.Context) error {
	if h.view == nil {
		return store.ErrClosed
	}
	return ctx.Err()
}

// Rev implements store.View.
func (h *held) Rev() store.Rev {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.view == nil {
		return 0
	}
	return h.view.rev
}

// Close implements store.View.
func (h *held) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.view != nil {
		h.store.release(h.view)
		h.view = nil
	}
	return nil
}
