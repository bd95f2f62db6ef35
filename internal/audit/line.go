package audit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds on what waits for one sink.
const (
	maxBacklog  = 4 << 20         // bytes that may wait behind a write in progress
	maxSpare    = 256 << 10       // largest buffer kept for a batch to come, in bytes
	maxSpares   = 2               // batches kept for later
	maxPatience = 5 * time.Second // longest wait for a batch that another request writes, unless a deadline says otherwise
	maxDeadline = time.Minute     // longest deadline that a declaration may ask for
)

var (
	errClosed  = errors.New("it has been disabled")
	errBacklog = errors.New("too many entries are waiting for it")
	errSlow    = errors.New("it does not take entries in time")
)

// output is where a sink's lines go. write is given whole lines, in one call at
// a time, and leaves either all of them or whole lines from their beginning;
// reopen, ready
// and close may be called meanwhile; ready says whether a write could begin, as far
// as that can be told at once.
type output interface {
	write(lines []byte) error
	reopen() error
	ready() error
	close() error
}

// line shares one output among concurrent requests. Whoever comes first
// writes its own entry at once, with no change of goroutine; entries that come
// meanwhile gather in one batch and share the next write.
type line struct {
	out      output
	patience time.Duration // longest wait for a batch that another request writes
	report   func(error)   // told when writes begin to fail, and with nil when they succeed again

	mu      sync.Mutex
	next    *batch   // what gathers behind the write in progress
	spare   []*batch // to be used again: one to write, one to gather in
	busy    bool     // someone is writing, and will write next too
	closed  bool
	slow    bool      // somebody has waited for the write in progress in vain
	hanging bool      // the write in progress is no longer waited for
	idle    sync.Cond // busy has become false, or hanging true
	last    error     // of the last write
	lost    uint64    // entries that were not written
}

// batch is the entries of one write. err may be read once done is closed.
type batch struct {
	lines   []byte
	entries uint64
	done    chan struct{} // nil: nobody waits
	err     error
}

func newLine(out output) *line {
	l := &line{out: out}
	l.idle.L = &l.mu
	l.patience, l.report = maxPatience, func(error) {}
	return l
}

// put writes an entry and returns when it has been written.
func (l *line) put(ctx context.Context, entry []byte) error {
	b, first, err := l.add(entry)
	if err != nil {
		return err
	}
	if !first {
		return l.wait(ctx, b)
	}
	l.write(b)
	err = b.err
	if next := l.advance(b); next != nil {
		go l.drain(next)
	}
	return err
}

// post has an entry written in the background. The batch is to be waited for.
func (l *line) post(entry []byte) (*batch, error) {
	b, first, err := l.add(entry)
	if err == nil && first {
		b.done = make(chan struct{})
		go l.drain(b)
	}
	return b, err
}

// add puts an entry in a batch. first says that the caller must write the
// batch, which holds nothing else.
func (l *line) add(entry []byte) (b *batch, first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false, errClosed
	}
	if l.next == nil {
		l.next = l.fresh()
	}
	b = l.next
	if b.entries > 0 && len(b.lines)+len(entry) > maxBacklog {
		l.lost++
		return nil, false, errBacklog
	}
	b.lines = append(b.lines, entry...)
	b.entries++
	if !l.busy {
		l.busy, l.next = true, nil
		return b, true, nil
	}
	if b.done == nil {
		b.done = make(chan struct{})
	}
	return b, false, nil
}

func (l *line) fresh() *batch {
	last := len(l.spare) - 1
	if last < 0 {
		return &batch{}
	}
	b := l.spare[last]
	l.spare = l.spare[:last]
	return b
}

func (l *line) write(b *batch) { b.err = l.out.write(b.lines) }

// drain writes a batch and all that gather behind it.
func (l *line) drain(b *batch) {
	for b != nil {
		l.write(b)
		b = l.advance(b)
	}
}

// advance ends a batch and takes the next; nil when there is none.
func (l *line) advance(b *batch) *batch {
	next, turned, err := l.settle(b)
	if turned {
		l.report(err)
	}
	return next
}

// settle is advance but for the report. turned: what became of the batch is not
// what became of the one before.
func (l *line) settle(b *batch) (next *batch, turned bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = false
	err = b.err
	turned = (l.last == nil) != (err == nil)
	if l.last = err; err != nil {
		l.lost += b.entries
	}
	next, l.next = l.next, nil
	if next == nil {
		l.busy = false
		l.idle.Broadcast()
	}
	l.finish(b)
	return next, turned, err
}

// finish wakes who waits for a batch, or keeps its buffer when nobody does.
func (l *line) finish(b *batch) {
	lines := b.lines[:0]
	b.lines = nil
	if cap(lines) > maxSpare {
		lines = nil
	}
	if b.done != nil {
		close(b.done)
		b = &batch{}
	}
	if len(l.spare) < maxSpares {
		*b = batch{lines: lines}
		l.spare = append(l.spare, b)
	}
}

// wait returns when a batch has been written. Once one wait was in vain, none
// is begun before the write in progress has ended.
func (l *line) wait(ctx context.Context, b *batch) error {
	if l.isSlow() {
		return l.tooSlow(b)
	}
	t := time.NewTimer(l.patience)
	defer t.Stop()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return l.tooSlow(b)
	}
}

func (l *line) isSlow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow
}

func (l *line) tooSlow(b *batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	default:
		l.slow = true
		return errSlow
	}
}

// status is the last write's outcome and how many entries were not written.
func (l *line) status() (last error, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.lost
}

// close waits until all entries are written, then closes the output. An output
// that hangs is closed after a while regardless.
func (l *line) close() error { return l.closeWithin(maxPatience) }

// closeWithin is close with a bound of the wait. Beyond it the output is closed
// in the background: that too may hang.
func (l *line) closeWithin(patience time.Duration) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	t := time.AfterFunc(patience, l.giveUp)
	for l.busy && !l.hanging {
		l.idle.Wait()
	}
	hanging := l.busy
	l.mu.Unlock()
	t.Stop()
	if !hanging {
		return l.out.close()
	}
	go func() {
		if err := l.out.close(); err != nil {
			l.report(err)
		}
	}()
	return nil
}

func (l *line) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hanging = true
	l.idle.Broadcast()
}
