package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// maxAttempts bounds how often Update runs its closure again after a conflict.
const maxAttempts = 50

// Tx is a transaction being built: it remembers the revision of everything
// that was read, sees its own writes, and is committed as data when the closure
// returns nil. It must not be used by more than one goroutine, nor kept.
type Tx struct {
	ctx    context.Context
	store  Store
	reads  map[string]Rev
	writes map[string]Write
}

// Get reads one entry, the transaction's own writes included (such an entry
// carries the revision that was read before, or 0). The commit demands that the
// key has not changed since.
func (tx *Tx) Get(key string) (Entry, error) {
	if w, ok := tx.writes[key]; ok {
		if w.Delete {
			return Entry{Key: key}, nil
		}
		return Entry{Key: key, Value: w.Value, Rev: max(tx.reads[key], 1)}, nil
	}
	e, err := tx.store.Get(tx.ctx, key)
	if err != nil {
		return Entry{}, err
	}
	if seen, ok := tx.reads[key]; ok && seen != e.Rev {
		return Entry{}, ErrConflict
	}
	tx.reads[key] = e.Rev
	return e, nil
}

// Require demands at commit that key is at rev (0: absent), without reading it.
func (tx *Tx) Require(key string, rev Rev) { tx.reads[key] = rev }

// Put sets key. The value must not be modified afterwards.
func (tx *Tx) Put(key string, value []byte) {
	tx.writes[key] = Write{Key: key, Value: value}
}

// Delete removes key; an absent key is no error.
func (tx *Tx) Delete(key string) { tx.writes[key] = Write{Key: key, Delete: true} }

// Len is the number of writes so far.
func (tx *Tx) Len() int { return len(tx.writes) }

// Context is the context Update was called with, in which reads are of the present.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Update runs fn and commits what it wrote, provided that nothing it read
// has changed; when something has, it runs fn again on the new state. fn may
// run many times, so it must have no effect of its own. An error of fn is
// returned as it is and nothing is written.
func Update(ctx context.Context, s Store, fn func(*Tx) error) (Rev, error) {
	for attempt := range maxAttempts {
		rev, err := updateOnce(ctx, s, fn)
		if !errors.Is(err, ErrConflict) {
			return rev, err
		}
		if err := backoff(ctx, attempt); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("gave up after %d attempts: %w", maxAttempts, ErrConflict)
}

func updateOnce(ctx context.Context, s Store, fn func(*Tx) error) (Rev, error) {
	tx := &Tx{ctx: direct(ctx), store: s, reads: map[string]Rev{}, writes: map[string]Write{}}
	if err := fn(tx); err != nil {
		return 0, err
	}
	if len(tx.writes) == 0 && len(tx.reads) == 0 {
		return 0, nil
	}
	checks := make([]Check, 0, len(tx.reads))
	for k, r := range tx.reads {
		checks = append(checks, Check{Key: k, Rev: r})
	}
	writes := make([]Write, 0, len(tx.writes))
	for _, w := range tx.writes {
		writes = append(writes, w)
	}
	slices.SortFunc(writes, func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
	return s.Commit(ctx, checks, writes)
}

// backoff waits a short random time, longer with each attempt, so that
// contenders for one key do not run in step.
func backoff(ctx context.Context, attempt int) error {
	limit := time.Duration(1<<min(attempt, 6)) * 100 * time.Microsecond
	t := time.NewTimer(rand.N(limit) + 1)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
