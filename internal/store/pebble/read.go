package pebble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	crdb "github.com/cockroachdb/pebble/v2"

	"github.com/strongroom/strongroom/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	e := store.Entry{Key: key}
	v, err := s.view(ctx)
	if err != nil {
		return e, err
	}
	defer s.release(v)
	e.Rev, e.Value, err = read(v.snap, key, true)
	return e, err
}

// read reads one entry from a state of the database, its value (as a copy) only
// when that is wanted.
func read(from crdb.Reader, key string, wanted bool) (rev store.Rev, value []byte, err error) {
	stored, closer, err := from.Get(appendDataKey(make([]byte, 0, 1+len(key)), key))
	if errors.Is(err, crdb.ErrNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, damaged(key, err)
	}
	rev, value, err = decodeRow(stored)
	if wanted {
		value = slices.Clone(value)
	}
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, nil, damaged(key, err)
	}
	return rev, value, nil
}

// view is the view to read from, unless the context or the store has ended.
func (s *Store) view(ctx context.Context) (*view, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if v := s.acquire(); v != nil {
		return v, nil
	}
	return nil, store.ErrClosed
}

// damaged names what an error of the engine touched, as store.ErrCorrupt when
// the engine found damage.
func damaged(what string, err error) error {
	if crdb.IsCorruptionError(err) && !errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w: %q: %w", store.ErrCorrupt, what, err)
	}
	return fmt.Errorf("store: %q: %w", what, err)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	v, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(v)
	return s.list(ctx, v, r)
}

// list reads a range of a view that its caller holds.
func (s *Store) list(ctx context.Context, v *view, r store.Range) ([]store.Entry, error) {
	if r.End != "" && r.Start >= r.End {
		return nil, nil
	}
	it, err := v.snap.NewIter(dataBounds(r))
	if err != nil {
		return nil, damaged(r.Start, err)
	}
	l := s.listers.get()
	defer s.listers.put(l)
	l.keysOnly = r.KeysOnly
	for ok := it.First(); ok; ok = it.Next() {
		if r.Limit > 0 && len(l.entries) == r.Limit {
			break
		}
		if err = l.add(it); err != nil {
			break
		}
	}
	if cerr := errors.Join(err, it.Error(), it.Close()); cerr != nil {
		return nil, damaged(r.Start, cerr)
	}
	return l.finish(), ctx.Err()
}

func dataBounds(r store.Range) *crdb.IterOptions {
	o := &crdb.IterOptions{
		LowerBound: appendDataKey(nil, r.Start),
		UpperBound: []byte{dataSpace + 1},
	}
	if r.End != "" {
		o.UpperBound = appendDataKey(nil, r.End)
	}
	return o
}

// lister gathers entries. All keys are cut from one string, and what it grows
// while gathering is used again: a thousand keys cost two allocations.
type lister struct {
	entries  []store.Entry
	keys     []byte
	ends     []int
	keysOnly bool
}

// maxPooledEntries bounds the lister that is kept for the next list.
const maxPooledEntries = 4096

// listers keeps listers between lists.
type listers struct{ pool sync.Pool }

func (p *listers) get() *lister {
	if l, ok := p.pool.Get().(*lister); ok {
		return l
	}
	return &lister{}
}

func (p *listers) put(l *lister) {
	if cap(l.entries) > maxPooledEntries {
		return
	}
	clear(l.entries)
	l.entries, l.keys, l.ends = l.entries[:0], l.keys[:0], l.ends[:0]
	p.pool.Put(l)
}

func (l *lister) add(it *crdb.Iterator) error {
	stored, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	rev, value, err := decodeRow(stored)
	if err != nil {
		return err
	}
	e := store.Entry{Rev: rev}
	if !l.keysOnly {
		e.Value = slices.Clone(value)
	}
	l.entries = append(l.entries, e)
	l.keys = append(l.keys, it.Key()[1:]...)
	l.ends = append(l.ends, len(l.keys))
	return nil
}

func (l *lister) finish() []store.Entry {
	all, from := string(l.keys), 0
	out := slices.Clone(l.entries)
	for i, end := range l.ends {
		out[i].Key, from = all[from:end], end
	}
	return out
}
