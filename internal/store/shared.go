package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// Shared lets concurrent callers share one round trip to a remote store. A
// caller never joins a round trip that began before it called, since that may
// have read the revision before a commit the caller must see; it joins the next
// one. So at most two are under way for any number of callers. The zero value
// is not usable: see NewShared.
type Shared struct {
	ask  func(context.Context) (Rev, error)
	mu   sync.Mutex
	next *trip // what arriving callers join; nil when there is none
	busy bool  // a round trip is under way

	trips atomic.Uint64
}

type trip struct {
	done chan struct{}
	rev  Rev
	err  error
}

// NewShared shares the round trips that ask makes. ask is called with a context
// that does not end with any one caller's, so it must bound its own time.
func NewShared(ask func(context.Context) (Rev, error)) *Shared { return &Shared{ask: ask} }

// Trips is how many round trips there have been.
func (s *Shared) Trips() uint64 { return s.trips.Load() }

// Sync returns the answer of a round trip that began after the call.
func (s *Shared) Sync(ctx context.Context) (Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t := s.join(context.WithoutCancel(ctx))
	select {
	case <-t.done:
		return t.rev, t.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (s *Shared) join(ctx context.Context) *trip {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &trip{done: make(chan struct{})}
	}
	t := s.next
	if !s.busy {
		s.busy = true
		go s.run(ctx)
	}
	return t
}

// run makes round trips until nobody waits for one.
func (s *Shared) run(ctx context.Context) {
	for {
		s.mu.Lock()
		t := s.next
		s.next = nil
		s.busy = t != nil
		s.mu.Unlock()
		if t == nil {
			return
		}
		s.trips.Add(1)
		t.rev, t.err = s.ask(ctx)
		close(t.done)
	}
}
