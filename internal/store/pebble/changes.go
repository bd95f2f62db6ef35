package pebble

import (
	"context"
	"errors"
	"slices"

	crdb "github.com/cockroachdb/pebble/v2"

	"github.com/strongroom/strongroom/internal/store"
)

// feedChunk is about how many commits a feed reads from the change log at once.
const feedChunk = 512

// logBounds reads where the change log stands: it holds every commit after
// floor, up to last.
func logBounds(db *crdb.DB) (floor, last store.Rev, err error) {
	it, err := db.NewIter(logRange(0, 0))
	if err != nil {
		return 0, 0, damaged("change log", err)
	}
	if it.First() {
		floor, last, err = readBounds(it)
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return 0, 0, damaged("change log", err)
	}
	return floor, last, nil
}

// readBounds reads the first and the last row; the iterator is at the first.
func readBounds(it *crdb.Iterator) (floor, last store.Rev, err error) {
	first, err := decodeLogKey(it.Key())
	if err != nil {
		return 0, 0, err
	}
	it.Last()
	changes, err := readLogRow(it)
	if err != nil {
		return 0, 0, err
	}
	return first - 1, changes[len(changes)-1].Rev, nil
}

// logRange bounds an iterator to the change log's rows that begin at from or
// later and before to; to 0: no upper bound.
func logRange(from, to store.Rev) *crdb.IterOptions {
	o := &crdb.IterOptions{LowerBound: logKey(from), UpperBound: []byte{logSpace + 1}}
	if to != 0 {
		o.UpperBound = logKey(to)
	}
	return o
}

// readLogRow decodes the row that an iterator stands on.
func readLogRow(it *crdb.Iterator) ([]store.Change, error) {
	first, err := decodeLogKey(it.Key())
	if err != nil {
		return nil, err
	}
	stored, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return store.DecodeChanges(first, stored)
}

// trim removes the oldest rows of the change log once it is well over its
// length, within the batch that makes it longer.
func (c *committer) trim(b *crdb.Batch) error {
	if c.last-c.floor <= c.keep+c.keep/8+1 {
		return nil
	}
	it, err := c.db.NewIter(logRange(0, 0))
	if err != nil {
		return damaged("change log", err)
	}
	cut := c.floor + 1
	// The row that holds the oldest commit to keep stays whole.
	if it.SeekLT(logKey(c.last - c.keep + 2)) {
		cut, err = decodeLogKey(it.Key())
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil || cut <= c.floor+1 {
		return err
	}
	if err := b.DeleteRange(logKey(c.floor+1), logKey(cut), nil); err != nil {
		return err
	}
	c.floor = cut - 1
	return nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.history.Follow(ctx, after, s.changesAfter)
}

// changesAfter reads the next commits after a revision from the change log;
// ErrCompacted when it no longer holds the first of them.
func (s *Store) changesAfter(ctx context.Context, after store.Rev) ([]store.Change, error) {
	v, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(v)
	it, err := v.snap.NewIter(logRange(0, 0))
	if err != nil {
		return nil, damaged("change log", err)
	}
	changes, err := readChanges(it, after)
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return nil, damaged("change log", err)
	}
	if len(changes) == 0 || changes[0].Rev != after+1 {
		return nil, store.ErrCompacted
	}
	return changes, nil
}

// readChanges reads whole rows from the one that holds the commit behind after.
func readChanges(it *crdb.Iterator, after store.Rev) ([]store.Change, error) {
	var changes []store.Change
	for ok := it.SeekLT(logKey(after + 2)); ok && len(changes) < feedChunk; ok = it.Next() {
		row, err := readLogRow(it)
		if err != nil {
			return nil, err
		}
		changes = append(changes, row...)
	}
	behind, _ := slices.BinarySearchFunc(changes, after+1, func(c store.Change, rev store.Rev) int {
		return int(int64(c.Rev) - int64(rev))
	})
	return changes[behind:], nil
}
