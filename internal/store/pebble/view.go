package pebble

import (
	"sync"
	"sync/atomic"

	crdb "github.com/cockroachdb/pebble/v2"

	"github.com/strongroom/strongroom/internal/store"
)

// view is the state up to one durable revision. Pebble shows a batch to readers
// before it is on disk; reading through views hides it until then, so that
// nothing served can be lost.
type view struct {
	snap *crdb.Snapshot
	rev  store.Rev
	refs atomic.Int64 // one for being current, one for each reader
}

// acquire returns the current view, or nil when the store is closed. The caller
// must release it.
func (s *Store) acquire() *view {
	for {
		v := s.current.Load()
		if v == nil {
			return nil
		}
		if n := v.refs.Load(); n > 0 && v.refs.CompareAndSwap(n, n+1) {
			return v
		}
	}
}

// release lets a view go. Closing a snapshot may wait while Pebble writes its
// manifest, which neither a reader nor the committer must do, and a goroutine for
// each would be dear: many are closed at once.
func (s *Store) release(v *view) {
	if v.refs.Add(-1) > 0 {
		return
	}
	s.past.Lock()
	defer s.past.Unlock()
	s.past.views = append(s.past.views, v)
	if len(s.past.views) >= pastViews || s.past.closed {
		go s.discard(s.past.take())
	}
}

// pastViews is how many views nobody reads any more may wait to be closed.
const pastViews = 64

// past is the views that nobody reads any more.
type past struct {
	sync.Mutex
	views  []*view
	closed bool // none is kept waiting any more
}

func (p *past) take() []*view {
	views := p.views
	p.views = nil
	return views
}

func (s *Store) discard(views []*view) {
	for _, v := range views {
		if err := v.snap.Close(); err != nil {
			s.log.Errorf("closing a snapshot: %v", err)
		}
		s.views.Done()
	}
}

// publish makes everything applied so far what readers see, and reports whether
// it did: after a failure what readers see stays. The caller knows that it is
// durable, and applies nothing meanwhile.
func (s *Store) publish(rev store.Rev) bool {
	v := &view{snap: s.db.NewSnapshot(), rev: rev}
	v.refs.Store(1)
	s.views.Add(1)
	// Pebble may hold its lock, which a snapshot needs, when it tells of a failure:
	// only the swap can be done while none is told of.
	old := v
	shown := s.log.whileSound(func() { old = s.current.Swap(v) })
	if old != nil {
		s.release(old)
	}
	return shown
}

// unpublish takes the current view away and waits for its readers.
func (s *Store) unpublish() error {
	if old := s.current.Swap(nil); old != nil {
		s.release(old)
	}
	s.past.Lock()
	s.past.closed = true
	last := s.past.take()
	s.past.Unlock()
	s.discard(last)
	s.views.Wait()
	return nil
}
