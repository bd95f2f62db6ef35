// Package mem owns the store engine that keeps everything in memory. It is for
// tests and for a development server: nothing outlives the process.
package mem

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/strongroom/strongroom/internal/store"
)

// defaultKeep is how many commits Watch can go back when Options does not say.
const defaultKeep = 10_000

// Options configures Data. The zero value is usable.
type Options struct {
	// KeepCommits is how many commits Watch can go back; 0: 10,000.
	KeepCommits int
}

// Data is what stores in memory keep. It outlives the stores opened on it, and
// several may be open at once, as nodes on one database are.
type Data struct {
	mu      sync.RWMutex
	rows    btree.Map[string, row]
	rev     atomic.Uint64
	history *store.History
}

type row struct {
	value []byte
	rev   store.Rev
}

// New is empty data.
func New(o Options) *Data {
	if o.KeepCommits == 0 {
		o.KeepCommits = defaultKeep
	}
	return &Data{history: store.NewHistory(o.KeepCommits, 0)}
}

// Open opens a store on the data.
func (d *Data) Open() *Store {
	open, end := context.WithCancel(context.Background())
	return &Store{data: d, open: open, end: end}
}

// Open opens a store on data of its own.
func Open() *Store { return New(Options{}).Open() }

// Store is a handle on Data.
type Store struct {
	data *Data
	open context.Context // ends when the store is closed
	end  context.CancelFunc
}

var _ store.Engine = (*Store)(nil)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return store.Entry{}, err
	}
	s.data.mu.RLock()
	defer s.data.mu.RUnlock()
	return get(&s.data.rows, key), nil
}

func get(rows *btree.Map[string, row], key string) store.Entry {
	r, _ := rows.Get(key)
	return store.Entry{Key: key, Value: r.value, Rev: r.rev}
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return nil, err
	}
	s.data.mu.RLock()
	defer s.data.mu.RUnlock()
	return list(&s.data.rows, r), nil
}

func list(rows *btree.Map[string, row], r store.Range) []store.Entry {
	var out []store.Entry
	rows.Ascend(r.Start, func(key string, row row) bool {
		if r.End != "" && key >= r.End {
			return false
		}
		e := store.Entry{Key: key, Value: row.value, Rev: row.rev}
		if r.KeysOnly {
			e.Value = nil
		}
		out = append(out, e)
		return r.Limit <= 0 || len(out) < r.Limit
	})
	return out
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if err := store.Validate(checks, writes); err != nil {
		return 0, err
	}
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return 0, err
	}
	d := s.data
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range checks {
		if r, _ := d.rows.Get(c.Key); r.rev != c.Rev {
			return 0, store.ErrConflict
		}
	}
	if len(writes) == 0 {
		return store.Rev(d.rev.Load()), nil
	}
	return d.apply(writes), nil
}

// apply makes the writes under the next revision; the lock is held.
func (d *Data) apply(writes []store.Write) store.Rev {
	rev := store.Rev(d.rev.Load()) + 1
	keys := make([]string, 0, len(writes))
	for _, w := range writes {
		keys = append(keys, w.Key)
		if w.Delete {
			d.rows.Delete(w.Key)
			continue
		}
		d.rows.Set(w.Key, row{value: slices.Clone(w.Value), rev: rev})
	}
	slices.SortFunc(keys, strings.Compare)
	d.rev.Store(uint64(rev))
	d.history.Append(store.Change{Rev: rev, Keys: keys})
	return rev
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return nil, err
	}
	f, err := s.data.history.Feed(after)
	if err != nil {
		return nil, err
	}
	return &feed{HistoryFeed: f, detach: context.AfterFunc(s.open, f.End)}, nil
}

// feed is a feed that ends with its store, while the data's history goes on.
type feed struct {
	*store.HistoryFeed
	detach func() bool
}

// Close implements store.Feed.
func (f *feed) Close() error {
	f.detach()
	return f.HistoryFeed.Close()
}

// Sync implements store.Store.
func (s *Store) Sync(ctx context.Context) (store.Rev, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return 0, err
	}
	return store.Rev(s.data.rev.Load()), nil
}

// Close implements store.Store. The data remain.
func (s *Store) Close() error {
	s.end()
	return nil
}
