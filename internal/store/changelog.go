package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// AppendChange appends the stored form of one commit's keys, as engines keep it in
// their change logs: the number of keys, then each key with its length before it
// (all uvarint). Commits that follow each other without a gap may share a row.
func AppendChange(dst []byte, keys []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
	}
	return dst
}

// DecodeChanges reads the commits of a row that AppendChange made, of which the
// first has revision first. A damaged row is ErrCorrupt.
func DecodeChanges(first Rev, stored []byte) ([]Change, error) {
	var out []Change
	for rev := first; len(stored) > 0; rev++ {
		keys, rest, err := decodeChange(stored)
		if err != nil {
			return nil, fmt.Errorf("%w: change log row %d: %s", ErrCorrupt, first, err)
		}
		out = append(out, Change{Rev: rev, Keys: keys})
		stored = rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: change log row %d is empty", ErrCorrupt, first)
	}
	return out, nil
}

func decodeChange(b []byte) (keys []string, rest []byte, err error) {
	n, b, err := decodeUvarint(b)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 || n > MaxWrites {
		return nil, nil, fmt.Errorf("a commit of %d keys", n)
	}
	keys = make([]string, n)
	for i := range keys {
		var size uint64
		if size, b, err = decodeUvarint(b); err != nil {
			return nil, nil, err
		}
		if size == 0 || size > MaxKeyBytes+LayerKeyBytes || size > uint64(len(b)) {
			return nil, nil, fmt.Errorf("a key of %d bytes", size)
		}
		keys[i], b = string(b[:size]), b[size:]
	}
	return keys, b, nil
}

func decodeUvarint(b []byte) (uint64, []byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, fmt.Errorf("a damaged number")
	}
	return n, b[size:], nil
}

// Older reads the next commits after a revision from where an engine keeps them;
// ErrCompacted when it no longer has the first of them.
type Older func(ctx context.Context, after Rev) ([]Change, error)

// Follow is a feed of the commits after a revision: from memory, and those that
// memory no longer holds from older.
func (h *History) Follow(ctx context.Context, after Rev, older Older) (Feed, error) {
	f := &loggedFeed{history: h, older: older, after: after, done: make(chan struct{})}
	_, err := h.Feed(after)
	if errors.Is(err, ErrCompacted) {
		f.behind, err = older(ctx, after)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// loggedFeed is a feed from a history with a log behind it.
type loggedFeed struct {
	history *History
	older   Older
	after   Rev
	behind  []Change // read from the log, not yet reported
	done    chan struct{}
	once    sync.Once
}

// Next implements Feed.
func (f *loggedFeed) Next(ctx context.Context) (Change, error) {
	if err := FeedErr(ctx, f.done); err != nil {
		return Change{}, err
	}
	c, err := f.next(ctx)
	if err == nil {
		f.after = c.Rev
	}
	return c, err
}

func (f *loggedFeed) next(ctx context.Context) (Change, error) {
	for len(f.behind) == 0 {
		c, err := f.history.Next(ctx, f.after, f.done)
		if !errors.Is(err, ErrCompacted) {
			return c, err
		}
		if f.behind, err = f.older(ctx, f.after); err != nil {
			return Change{}, err
		}
	}
	c := f.behind[0]
	f.behind = f.behind[1:]
	return c, nil
}

// Close implements Feed.
func (f *loggedFeed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}
