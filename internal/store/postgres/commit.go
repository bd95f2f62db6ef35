package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

const (
	queueLength   = 1024    // commits that wait before callers block
	maxGroup      = 256     // commits in one transaction
	maxGroupBytes = 4 << 20 // bytes after which a group takes no more commits
	retryAfter    = 20 * time.Millisecond
)

// request is one Commit on its way through the committer. It has copies of what the caller may change.
type request struct {
	ctx    context.Context
	checks []store.Check
	writes []store.Write
	size   int
	rev    store.Rev
	err    error
	done   chan struct{} // closed when rev and err are set
	owner  atomic.Int32  // who has it: nobody, the committer, or nobody any more
}

const (
	waiting int32 = iota
	taken
	abandoned
)

func newRequest(ctx context.Context, checks []store.Check, writes []store.Write) *request {
	r := &request{ctx: ctx, checks: slices.Clone(checks), writes: slices.Clone(writes), done: make(chan struct{})}
	for i := range r.writes {
		w := &r.writes[i]
		w.Value = append(make([]byte, 0, len(w.Value)), w.Value...) // never nil: that would be NULL
		r.size += len(w.Key) + len(w.Value)
	}
	return r
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if err := store.Validate(checks, writes); err != nil {
		return 0, err
	}
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return 0, err
	}
	r := newRequest(ctx, checks, writes)
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.open.Done():
		return 0, store.ErrClosed
	}
	return s.await(r)
}

// await returns a commit's outcome, or gives the commit up when its caller wants to wait no longer.
func (s *Store) await(r *request) (store.Rev, error) {
	select {
	case <-r.done:
		return r.rev, r.err
	case <-r.ctx.Done():
		if r.owner.CompareAndSwap(waiting, abandoned) {
			return 0, fmt.Errorf("%w: the commit was given up before it was made: %w", store.ErrUnreachable, r.ctx.Err())
		}
		return 0, store.Unknown(r.ctx.Err())
	case <-s.open.Done():
	}
	if r.owner.CompareAndSwap(waiting, abandoned) {
		return 0, store.ErrClosed
	}
	<-r.done // the committer answers what it has taken
	return r.rev, r.err
}

// answer ends a request.
func (r *request) answer(rev store.Rev, err error) {
	r.rev, r.err = rev, err
	close(r.done)
}

// commitAll is the committer: while one group is at the server, the next gathers in the queue.
func (s *Store) commitAll() {
	c := &committer{Store: s}
	defer func() { s.hang(c.conn) }()
	for {
		select {
		case r := <-s.queue:
			if g := c.gather(r); len(g.requests) > 0 {
				c.commit(g)
			}
		case <-s.open.Done():
			c.refuseAll(store.ErrClosed)
			return
		}
	}
}

// gather makes a group of a request and of those that wait behind it.
func (c *committer) gather(first *request) *group {
	g := &group{}
	for r := first; ; {
		if r.owner.CompareAndSwap(waiting, taken) {
			g.requests = append(g.requests, r)
			g.size += r.size
		}
		if len(g.requests) >= maxGroup || g.size >= maxGroupBytes {
			return g
		}
		select {
		case r = <-c.queue:
		default:
			return g
		}
	}
}

// refuseAll answers what waits in the queue.
func (c *committer) refuseAll(err error) {
	for {
		select {
		case r := <-c.queue:
			if r.owner.CompareAndSwap(waiting, taken) {
				r.answer(0, err)
			}
		default:
			return
		}
	}
}

// commit brings a group to its end. What certainly was not written is tried again, on a new connection where the old
// one is broken, for as long as Options allow.
func (c *committer) commit(g *group) {
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
	defer cancel()
	for {
		err := c.try(ctx, g)
		var nothing *undone
		if err == nil {
			return
		}
		if !errors.As(err, &nothing) {
			g.fail(store.Unknown(c.explain("committing", err)))
			return
		}
		if !passing(nothing.err) || !c.pause(ctx) {
			err := c.explain("committing", nothing.err)
			g.fail(err)
			if broken(nothing.err) {
				c.refuseAll(err) // they have waited for the same server
			}
			return
		}
	}
}

// pause waits before another try; false when there is no time for one.
func (s *Store) pause(ctx context.Context) bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil && s.open.Err() == nil
	case <-ctx.Done():
		return false
	case <-s.open.Done():
		return false
	}
}

// undone is an error with which certainly nothing was written.
type undone struct{ err error }

func (u *undone) Error() string { return u.err.Error() }

func (u *undone) Unwrap() error { return u.err }
