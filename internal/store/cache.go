package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Cache follows a store's commits for the memos that keep what was read from
// it. One Cache serves any number of memos, and is safe for concurrent use.
//
// A request calls Fresh once and then reads memos: what they answer is no older
// than any commit acknowledged, on any node, before that call.
type Cache struct {
	store   Store
	applied atomic.Uint64 // every commit up to it has been applied to the memos
	loads   atomic.Uint64 // how often a memo had to read
	fills   atomic.Uint64 // how often a memo has come to know something
	ctx     context.Context
	end     context.CancelFunc
	exited  chan struct{}

	mu       sync.Mutex
	deps     deps          // what the memos keep rests on
	moved    chan struct{} // closed when applied moves; nil while nobody waits
	stopped  error         // why the cache no longer follows
	trouble  error         // why it has not been able to follow for a while
	closeErr error         // what closing feeds returned
}

// NewCache begins to follow s. The context bounds only the beginning.
func NewCache(ctx context.Context, s Store) (*Cache, error) {
	c := &Cache{store: s, exited: make(chan struct{}), deps: newDeps()}
	rev, feed, err := c.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("following the store: %w", err)
	}
	c.applied.Store(uint64(rev))
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(ctx))
	go c.follow(feed)
	return c, nil
}

// Loads is how often memos had to read the store because they did not have what
// was asked for.
func (c *Cache) Loads() uint64 { return c.loads.Load() }

// Applied is the revision up to which the memos have applied every commit.
func (c *Cache) Applied() Rev { return Rev(c.applied.Load()) }

// begin opens a feed at the present.
func (c *Cache) begin(ctx context.Context) (Rev, Feed, error) {
	rev, err := c.store.Sync(ctx)
	if err != nil {
		return 0, nil, err
	}
	feed, err := c.store.Watch(ctx, rev)
	return rev, feed, err
}

// Fresh waits until the memos have applied every commit that was acknowledged,
// on any node, before the call, and returns the store's revision. When the
// store cannot be reached it returns an error: nothing may then be answered
// from the memos. On an embedded engine with nothing to wait for it costs two
// reads of memory.
func (c *Cache) Fresh(ctx context.Context) (Rev, error) {
	rev, err := c.store.Sync(ctx)
	if err != nil {
		return 0, err
	}
	if Rev(c.applied.Load()) >= rev {
		return rev, nil
	}
	return rev, c.wait(ctx, rev)
}

// wait waits until rev has been applied.
func (c *Cache) wait(ctx context.Context, rev Rev) error {
	for {
		moved, err := c.moving()
		if Rev(c.applied.Load()) >= rev {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// moving is a channel that is closed when applied next moves, and the reason if
// it never will, or not soon.
func (c *Cache) moving() (<-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved, cmp.Or(c.stopped, c.trouble)
}

// Close ends the cache. Memos then answer nothing that Fresh vouches for.
func (c *Cache) Close() error {
	c.end()
	<-c.exited
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeErr
}

// follow applies commits until the cache or its store is closed.
func (c *Cache) follow(feed Feed) {
	defer close(c.exited)
	for attempt := 0; ; {
		change, err := feed.Next(c.ctx)
		if err == nil {
			attempt = 0
			c.apply(change)
			continue
		}
		if errors.Is(err, ErrCompacted) {
			c.lose()
		}
		c.closeFeed(feed)
		attempt++
		if feed, err = c.resume(err, &attempt); err != nil {
			c.stop(err)
			return
		}
	}
}

// apply drops what rests on a commit's keys, then counts the commit as applied.
func (c *Cache) apply(change Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = nil
	for _, key := range change.Keys {
		c.deps.changed(key)
	}
	c.advance(change.Rev)
}

// lose drops everything, and counts no commit as applied until the cache follows the
// store again. An engine whose data were replaced by older ones answers Sync with a
// smaller revision once the feeds from before are closed: nothing may pass for fresh by it.
func (c *Cache) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deps.all()
	c.advance(0)
}

// advance moves applied and wakes who waits for it; the lock is held.
func (c *Cache) advance(rev Rev) {
	c.applied.Store(uint64(rev))
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

func (c *Cache) closeFeed(feed Feed) {
	if err := feed.Close(); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closeErr = errors.Join(c.closeErr, err)
	}
}

// stop tells all who wait, now or later, why nothing moves any more.
func (c *Cache) stop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = err
	c.advance(Rev(c.applied.Load()))
}

// resume opens a feed in the place of one that ended with err. It returns an
// error only when the cache or the store has been closed.
func (c *Cache) resume(err error, attempt *int) (Feed, error) {
	for {
		if c.ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return nil, ErrClosed
		}
		c.ail(err, *attempt)
		var feed Feed
		if errors.Is(err, ErrCompacted) {
			feed, err = c.restart()
		} else if err = c.pause(*attempt); err == nil {
			feed, err = c.store.Watch(c.ctx, Rev(c.applied.Load()))
		}
		if err == nil {
			return feed, nil
		}
		*attempt++
	}
}

// restart opens a feed at the present and drops everything: which of it has
// changed in between is not known.
func (c *Cache) restart() (Feed, error) {
	rev, feed, err := c.begin(c.ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = nil
	c.deps.all()
	c.advance(rev)
	return feed, nil
}

// patience is how many attempts to follow may fail, in a good second, before who waits
// is told: what a store that answers Sync has to report cannot be taken over.
const patience = 8

// ail tells who waits, from the last of several attempts on, why nothing moves.
func (c *Cache) ail(err error, attempt int) {
	if attempt < patience {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = fmt.Errorf("store: cannot be followed: %w", err)
	c.advance(Rev(c.applied.Load()))
}

// pause waits before another attempt to reach the store: 10 ms, then twice as
// long each time, up to a second.
func (c *Cache) pause(attempt int) error {
	t := time.NewTimer(min(10*time.Millisecond<<min(attempt, 10), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}
