package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Branch is the audit devices of one namespace below the root, on one node.
type Branch struct {
	tree    *Tree
	ns      api.Namespace
	devices *Devices
	broker  *Broker

	mu sync.Mutex    // held while the devices are loaded
	at atomic.Uint64 // revision of the mark as of which they were loaded

	refs int  // how many use it; the tree's lock is held
	gone bool // it is no longer the tree's
}

// catchUp loads the devices when they have changed since the mark had an older revision.
func (b *Branch) catchUp(ctx context.Context, mark store.Rev) error {
	if b.at.Load() >= uint64(mark) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.Load() >= uint64(mark) {
		return nil
	}
	if err := b.devices.Reload(ctx); err != nil {
		return fmt.Errorf("loading the audit devices of a namespace: %w", err)
	}
	b.at.Store(uint64(mark))
	return nil
}

// lack is the failure of an entry that the devices of the root namespace have, and those of
// one below do not.
type lack struct {
	ns  string
	err error
}

// Error implements error.
func (l *lack) Error() string { return l.err.Error() }

// Unwrap is the failure itself.
func (l *lack) Unwrap() error { return l.err }

// Lacking is the identifier of the namespace whose devices have not taken an entry that
// those of all namespaces above it have; empty where the root namespace's have not.
func Lacking(failure error) string {
	var l *lack
	if errors.As(failure, &l) {
		return l.ns
	}
	return ""
}

// writeBelow writes an entry to the devices of each namespace that it is for, the outermost
// first, up to the first that does not take it.
func (e *Entry) writeBelow(ctx context.Context, now time.Time, r *Response, failure error) error {
	for _, a := range e.also {
		if a.set == nil {
			a.Auth, a.Request = e.Auth, e.Request
		}
		if err := a.broker.write(ctx, now, a, r, failure); err != nil {
			return &lack{a.branch.ns.ID, err}
		}
	}
	return nil
}

// marked tells of a change of the devices, in its transaction.
func (d *Devices) marked(tx *store.Tx, path string, enabling bool) error {
	if d.mark == nil {
		return nil
	}
	return d.mark(tx, path, enabling)
}
