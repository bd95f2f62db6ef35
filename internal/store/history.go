package store

import (
	"context"
	"sort"
	"sync"
)

// History keeps the newest commits of an engine in memory and wakes the feeds
// that wait for more. It is for engines that assign revisions themselves, and
// is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	changes []Change
	keep    int
	floor   Rev           // every commit after it is kept
	last    Rev           // the newest commit, kept or not
	grown   chan struct{} // closed when there is more; nil while nobody waits
	closed  bool
}

// NewHistory is an empty history behind revision last that remembers at least
// keep commits.
func NewHistory(keep int, last Rev) *History {
	return &History{keep: keep, floor: last, last: last}
}

// Append adds commits, which must be in order and newer than all before. A mark of
// progress at the end gives way: what comes after it says as much.
func (h *History) Append(changes ...Change) {
	if len(changes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.changes); n > 0 && len(h.changes[n-1].Keys) == 0 {
		h.changes = h.changes[:n-1]
	}
	h.changes = append(h.changes, changes...)
	h.last = changes[len(changes)-1].Rev
	// Trimming at double size makes the copying cost of each commit constant.
	if extra := len(h.changes) - h.keep; extra > h.keep {
		h.floor = h.changes[extra-1].Rev
		h.changes = append(make([]Change, 0, 2*h.keep+1), h.changes[extra:]...)
	}
	h.wake()
}

// Reset forgets every commit: what is remembered begins behind revision last, and
// feeds that have not reached it end with ErrCompacted.
func (h *History) Reset(last Rev) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes, h.floor, h.last = nil, last, last
	h.wake()
}

// Close ends every feed of the history with ErrClosed.
func (h *History) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

func (h *History) wake() {
	if h.grown != nil {
		close(h.grown)
		h.grown = nil
	}
}

// Next waits for the first commit after a revision. It returns ErrCompacted when
// that commit is no longer remembered, ErrClosed once the history or done is
// closed, and the context's error when it ends first.
func (h *History) Next(ctx context.Context, after Rev, done <-chan struct{}) (Change, error) {
	for {
		c, more, err := h.find(after)
		if more == nil {
			return c, err
		}
		select {
		case <-more:
		case <-done:
			return Change{}, ErrClosed
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

// find returns the first commit after a revision, or a channel that is closed
// when there may be one.
func (h *History) find(after Rev) (Change, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return Change{}, nil, ErrClosed
	}
	if after < h.floor {
		return Change{}, nil, ErrCompacted
	}
	i := sort.Search(len(h.changes), func(i int) bool { return h.changes[i].Rev > after })
	if i < len(h.changes) {
		return h.changes[i], nil, nil
	}
	if h.grown == nil {
		h.grown = make(chan struct{})
	}
	return Change{}, h.grown, nil
}

// Feed reports the commits after a revision from memory alone; ErrCompacted when
// they are no longer remembered.
func (h *History) Feed(after Rev) (*HistoryFeed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if after < h.floor {
		return nil, ErrCompacted
	}
	return &HistoryFeed{history: h, after: after, done: make(chan struct{})}, nil
}

// HistoryFeed is a Feed from a History.
type HistoryFeed struct {
	history *History
	after   Rev
	done    chan struct{}
	once    sync.Once
}

// Next implements Feed.
func (f *HistoryFeed) Next(ctx context.Context) (Change, error) {
	if err := FeedErr(ctx, f.done); err != nil {
		return Change{}, err
	}
	c, err := f.history.Next(ctx, f.after, f.done)
	if err == nil {
		f.after = c.Rev
	}
	return c, err
}

// Close implements Feed.
func (f *HistoryFeed) Close() error {
	f.End()
	return nil
}

// End closes the feed.
func (f *HistoryFeed) End() { f.once.Do(func() { close(f.done) }) }

// FeedErr is the error with which a feed's Next must answer at once: the
// context's when it has ended, ErrClosed when done is closed.
func FeedErr(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return ErrClosed
	default:
		return ctx.Err()
	}
}
