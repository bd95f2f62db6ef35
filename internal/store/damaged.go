package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Sift reads a range as List does and tells the rows that are whole from those that
// are damaged, which have a key and a revision and no value. One damaged row is thus no reason to do
// without the others; what is damaged is there, and must never count as absent.
func Sift(ctx context.Context, s Reader, r Range) (whole, damaged []Entry, err error) {
	es, err := s.List(ctx, r)
	if err == nil {
		return es, nil, nil
	}
	if !errors.Is(err, ErrCorrupt) {
		return nil, nil, err
	}
	for _, e := range es {
		if e.Value == nil {
			damaged = append(damaged, e)
		} else {
			whole = append(whole, e)
		}
	}
	if len(damaged) == 0 { // then it is not known what is
		return nil, nil, err
	}
	return whole, damaged, nil
}

// SiftJSON hands take each row of a range in its decoded form, in key order. The rows that
// cannot be read come back, also in key order.
func SiftJSON[T any](ctx context.Context, s Reader, r Range, take func(e Entry, v *T)) (damaged []Entry, err error) {
	whole, damaged, err := Sift(ctx, s, r)
	for _, e := range whole {
		v, err := DecodeJSON[T](e)
		if err != nil {
			damaged = append(damaged, e)
			continue
		}
		take(e, v)
	}
	slices.SortFunc(damaged, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return damaged, err
}

// Touch makes the commit conflict with every other one that touches key, whose
// value says nothing: a guard. Since it says nothing, it serves when it is damaged as well, and is
// whole after the commit.
func (tx *Tx) Touch(key string) error {
	e, err := tx.store.Get(tx.ctx, key)
	if err != nil && (!errors.Is(err, ErrCorrupt) || !e.Exists()) {
		return err
	}
	if seen, ok := tx.reads[key]; ok && seen != e.Rev {
		return ErrConflict
	}
	tx.reads[key] = e.Rev
	tx.Put(key, []byte{1})
	return nil
}

// Quarantine knows the damaged rows that this node does without, and tells of each
// once. It is safe for concurrent use; a nil one knows of nothing.
type Quarantine struct {
	// Tell is told of a row that was found damaged, and of one that can be read again.
	Tell func(key string, mended bool)

	mu   sync.Mutex
	rows map[string]bool
}

// Found says which rows with a prefix are damaged: these and no others.
func (q *Quarantine) Found(prefix string, damaged ...string) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for key := range q.rows {
		if strings.HasPrefix(key, prefix) && !slices.Contains(damaged, key) {
			delete(q.rows, key)
			q.Tell(key, true)
		}
	}
	for _, key := range damaged {
		if !q.rows[key] {
			if q.rows == nil {
				q.rows = map[string]bool{}
			}
			q.rows[key] = true
			q.Tell(key, false)
		}
	}
}

// Rows are the keys of the damaged rows, in order.
func (q *Quarantine) Rows() []string {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]string, 0, len(q.rows))
	for key := range q.rows {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// Keys are the keys of entries.
func Keys(es []Entry) []string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Key
	}
	return out
}
