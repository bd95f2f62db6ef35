package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	rev, err := s.Sync(ctx)
	if err != nil {
		return nil, err
	}
	if after > rev {
		return nil, store.ErrCompacted // it was told by an etcd that has gone back since
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &feed{store: s, epoch: s.epoch, after: after}
	f.open, f.end = context.WithCancelCause(s.epoch.open)
	f.epoch.feeds.Add(1)
	return f, nil
}

// feed is served from the history, and from a watch of its own while it is behind
// that.
type feed struct {
	store *Store
	epoch *epoch
	after store.Rev
	open  context.Context // its cause is the error that the feed ended with
	end   context.CancelCauseFunc
	once  sync.Once
	past  *past // nil: none
}

// past is what a feed reads that is behind the history.
type past struct {
	*watch
	queue []store.Change
	delay time.Duration // until progress is asked for
}

// Next implements store.Feed.
func (f *feed) Next(ctx context.Context) (store.Change, error) {
	if err := f.ended(ctx); err != nil {
		return store.Change{}, err
	}
	if f.after < f.store.birth {
		f.after = f.store.birth // nothing of ours is older
		return store.Change{Rev: f.after}, nil
	}
	c, err := f.epoch.history.Next(ctx, f.after, f.open.Done())
	if errors.Is(err, store.ErrCompacted) {
		c, err = f.older(ctx)
	} else {
		f.forget()
	}
	if err == nil {
		f.after = c.Rev
		return c, nil
	}
	if gone := f.ended(ctx); gone != nil {
		return store.Change{}, gone
	}
	return store.Change{}, err
}

// ended is why the feed tells no more; nil: it does.
func (f *feed) ended(ctx context.Context) error {
	if f.store.open.Err() != nil {
		return store.ErrClosed
	}
	if f.open.Err() != nil {
		return context.Cause(f.open)
	}
	return ctx.Err()
}

// older reads the next commit that the history no longer has from etcd.
func (f *feed) older(ctx context.Context) (store.Change, error) {
	if f.past == nil {
		name := fmt.Sprintf("feed-%d", f.store.streams.Add(1))
		f.past = &past{watch: f.store.watch(f.open, f.after, name), delay: firstNudge}
	}
	for len(f.past.queue) == 0 {
		err := f.past.receive(ctx)
		if err != nil && ctx.Err() == nil {
			f.forget()
		}
		if err != nil {
			return store.Change{}, err
		}
		f.past.queue = slices.DeleteFunc(f.past.queue, func(c store.Change) bool { return c.Rev <= f.after })
	}
	c := f.past.queue[0]
	f.past.queue = f.past.queue[1:]
	return c, nil
}

// receive waits for a response of the watch, and asks for progress meanwhile: there
// may be no commit between where the feed stands and where the history begins.
func (p *past) receive(ctx context.Context) error {
	t := time.NewTimer(p.delay)
	defer t.Stop()
	select {
	case resp, ok := <-p.responses:
		if !ok {
			return errors.New("etcd: the watch has ended")
		}
		_, p.queue = p.changes(resp)
		return p.store.translate(ctx, resp.Err())
	case <-t.C:
		p.ask()
		p.delay = min(2*p.delay, lastNudge)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forget ends the feed's own watch.
func (f *feed) forget() {
	if f.past != nil {
		f.past.end()
		f.past = nil
	}
}

// Close implements store.Feed.
func (f *feed) Close() error {
	f.once.Do(func() {
		f.end(store.ErrClosed)
		f.epoch.feeds.Add(-1)
	})
	return nil
}

// streams numbers the streams of watches, so that each has one of its own.
type streams struct{ atomic.Uint64 }
