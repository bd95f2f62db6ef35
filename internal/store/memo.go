package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// evictionSample is how many entries are looked at to find one to evict.
const evictionSample = 8

// Memo keeps values that were made from a store, each until something that it
// was made from changes. K names a value: use a struct of its parts rather than
// a joined string. It is safe for concurrent use; many callers of one absent
// value share one load.
type Memo[K comparable, V any] struct {
	cache *Cache
	load  func(context.Context, Reader, K) (V, error)
	max   int

	mu    sync.RWMutex
	items map[K]*item[K, V]
}

type item[K comparable, V any] struct {
	slot
	key    K
	value  V
	err    error
	again  bool          // the load gave neither a value nor an error to share
	ready  chan struct{} // closed when the load has ended
	loaded atomic.Bool   // value may be read
	used   atomic.Bool   // it has been asked for since eviction last looked
}

// NewMemo keeps at most max values that load makes. load must read the store
// only through the Reader it is given, which notes what the value rests on: the
// keys it gets, and the prefix common to a range it lists. It may run more than
// once. Its errors are not kept; to remember that something is absent, return a
// value that says so. What it reads is of one moment, even when it reads twice.
func NewMemo[K comparable, V any](c *Cache, max int, load func(context.Context, Reader, K) (V, error)) *Memo[K, V] {
	return &Memo[K, V]{cache: c, load: load, max: max, items: map[K]*item[K, V]{}}
}

// Get returns the value named key, as of no earlier than the caller's last
// Fresh. The value is shared: it must not be modified.
func (m *Memo[K, V]) Get(ctx context.Context, key K) (V, error) {
	m.mu.RLock()
	it := m.items[key]
	m.mu.RUnlock()
	if it != nil && it.loaded.Load() {
		it.touch()
		return it.value, nil
	}
	return m.get(ctx, key)
}

// touch writes only when there is something to change: hot entries are read by
// all processors at once.
func (it *item[K, V]) touch() {
	if !it.used.Load() {
		it.used.Store(true)
	}
}

// Len is the number of values kept.
func (m *Memo[K, V]) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.items)
}

func (m *Memo[K, V]) get(ctx context.Context, key K) (V, error) {
	var none V
	for attempt := range maxAttempts {
		it, mine := m.claim(key)
		if mine {
			m.fill(ctx, it)
		}
		select {
		case <-it.ready:
		case <-ctx.Done():
			return none, ctx.Err()
		}
		if !it.again {
			return it.value, it.err
		}
		if err := ctx.Err(); err != nil {
			return none, err
		}
		if mine {
			if err := backoff(ctx, attempt); err != nil {
				return none, err
			}
		}
	}
	return none, fmt.Errorf("store: what is read keeps changing: %w", ErrConflict)
}

// claim returns the item of a key, and whether it is the caller who must fill it.
func (m *Memo[K, V]) claim(key K) (it *item[K, V], mine bool) {
	m.mu.Lock()
	it = m.items[key]
	if it != nil {
		m.mu.Unlock()
		return it, false
	}
	var victim *item[K, V]
	if len(m.items) >= m.max {
		victim = m.victim()
	}
	it = &item[K, V]{key: key, again: true, ready: make(chan struct{})}
	it.drop = func() { m.remove(it) }
	m.items[key] = it
	m.mu.Unlock()
	if victim != nil {
		m.cache.forget(&victim.slot)
	}
	return it, true
}

// victim picks, from a few at random, one that has not been asked for lately
// and is not being loaded.
func (m *Memo[K, V]) victim() *item[K, V] {
	var victim *item[K, V]
	seen := 0
	for _, it := range m.items {
		victim = it
		if seen++; seen == evictionSample || it.loaded.Load() && !it.used.Swap(false) {
			break
		}
	}
	return victim
}

func (m *Memo[K, V]) remove(it *item[K, V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items[it.key] == it {
		delete(m.items, it.key)
	}
}

// fill loads an item's value and lets those who wait for it go on, also when
// load panics.
func (m *Memo[K, V]) fill(ctx context.Context, it *item[K, V]) {
	defer func() {
		if !it.loaded.Load() {
			m.cache.forget(&it.slot)
		}
		close(it.ready)
	}()
	m.cache.loads.Add(1)
	ctx = direct(ctx) // what memos below remember may be of before a change that this one has applied
	r := &recorder{cache: m.cache, slot: &it.slot}
	value, err := m.load(ctx, r, it.key)
	if err == nil {
		err = r.settle(ctx)
	}
	if r.torn || err != nil && ctx.Err() != nil {
		return // it.again stays: this says nothing to others
	}
	m.cache.fills.Add(1) // before anybody sees the value: see Moment
	it.value, it.err, it.again = value, err, false
	if err == nil && r.reads > 0 {
		it.loaded.Store(true)
	}
}

// recorder is the Reader of one load. It notes what the load rests on before
// reading it, so that no change in between is missed.
type recorder struct {
	cache *Cache
	slot  *slot
	mu    sync.Mutex
	reads int
	torn  bool // something changed between its reads
}

// Get implements Reader.
func (r *recorder) Get(ctx context.Context, key string) (Entry, error) {
	r.note(key, false)
	return r.cache.store.Get(ctx, key)
}

// List implements Reader.
func (r *recorder) List(ctx context.Context, rg Range) ([]Entry, error) {
	r.note(prefixOf(rg), true)
	return r.cache.store.List(ctx, rg)
}

func (r *recorder) note(key string, prefix bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	r.cache.depend(r.slot, key, prefix)
}

// settle makes sure that several reads are of one moment: once the cache has
// applied everything up to now, nothing they rest on may have changed.
func (r *recorder) settle(ctx context.Context) error {
	if r.reads < 2 {
		return nil
	}
	if _, err := r.cache.Fresh(ctx); err != nil {
		return err
	}
	r.torn = r.cache.isDead(r.slot)
	return nil
}

// depend notes what a slot rests on, unless it is dead already.
func (c *Cache) depend(s *slot, key string, prefix bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.dead {
		c.deps.add(s, key, prefix)
	}
}

func (c *Cache) isDead(s *slot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.dead
}

// forget drops a slot.
func (c *Cache) forget(s *slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deps.kill(s)
}
