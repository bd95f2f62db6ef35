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
	maxPatience = 5 * time.Second // longest wait for a batch that another request writes
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
	out output

	mu      sync.Mutex
	next    *batch   // what gathers behind the write in progress
	spare   []*batch // to be used again: one to write, one to gather in
	busy    bool     // someone is writing, and will write next too
	closed  bool
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
	return l
}

// put writes an entry and returns when it has been written.
func (l *line) put(ctx context.Context, entry []byte) error {
	b, first, err := l.add(entry)
	if err != nil {
		return err
	}
	if !first {
		return b.wait(ctx)
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last = b.err; b.err != nil {
		l.lost += b.entries
	}
	next := l.next
	l.next = nil
	if next == nil {
		l.busy = false
		l.idle.Broadcast()
	}
	l.finish(b)
	return next
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

func (b *batch) wait(ctx context.Context) error {
	t := time.NewTimer(maxPatience)
	defer t.Stop()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
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
func (l *line) close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	t := time.AfterFunc(maxPatience, l.giveUp)
	for l.busy && !l.hanging {
		l.idle.Wait()
	}
	l.mu.Unlock()
	t.Stop()
	return l.out.close()
}

func (l *line) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hanging = true
	l.idle.Broadcast()
}
