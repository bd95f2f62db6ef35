package store

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
)

// maxHotBytes is the size of the largest value that Hot remembers.
const maxHotBytes = 4 << 10

// Hot is an engine whose entries are remembered, as they lie there, for requests
// that have learnt the store's revision already: such a request reads a hot entry
// without a round trip, and what it reads is no older than the revision that it has
// confirmed (Confirmed). It is for engines in other processes; memos above it
// remember what was made of entries, and it the entries themselves.
//
// A request is served from memory only until it has seen what may be newer than
// memory: its own commit, a range, a view, an entry that is gone or is newer.
// From then on it reads the engine, so that it never sees time run backwards. A memo
// above may be newer than what is remembered here: what was loaded since the
// request began, by anybody, sends it to the engine too. Else a policy that was changed
// after a secret could meet the secret from before.
type Hot struct {
	Engine
	cache   *Cache
	entries *Memo[string, Entry]
}

// NewHot remembers at most max entries of e, which it closes with itself. The
// context bounds only the beginning.
func NewHot(ctx context.Context, e Engine, max int) (*Hot, error) {
	c, err := NewCache(ctx, e)
	if err != nil {
		return nil, err
	}
	h := &Hot{Engine: e, cache: c}
	h.entries = NewMemo(c, max, func(ctx context.Context, r Reader, key string) (Entry, error) {
		e, err := r.Get(ctx, key)
		if err == nil && len(e.Value) > maxHotBytes {
			return Entry{}, &tooLarge{e}
		}
		return e, err
	})
	return h, nil
}

// tooLarge carries an entry that is not to be remembered.
type tooLarge struct{ entry Entry }

func (*tooLarge) Error() string { return "store: an entry is too large to be remembered" }

// Moment is when a request began: it sees everything up to a revision, and of
// memos what they had loaded by then.
type Moment struct {
	Rev   Rev
	cache *Cache // whose memos it reads; nil: none
	fills uint64
}

// Moment is the present, as Fresh confirms it.
func (c *Cache) Moment(ctx context.Context) (Moment, error) {
	m := Moment{cache: c, fills: c.fills.Load()} // before the revision: what is loaded from here on may be newer
	var err error
	m.Rev, err = c.Fresh(ctx)
	return m, err
}

// past reports whether memos may have become newer than the moment.
func (m *Moment) past() bool { return m.cache != nil && m.cache.fills.Load() != m.fills }

// confirmation is what a request knows of the store.
type confirmation struct {
	Moment
	beyond atomic.Bool // it may have seen something newer than what is remembered
}

type confirmationKey struct{}

// Confirmed is the context of a request that began at a moment, and need see nothing
// newer.
func Confirmed(ctx context.Context, m Moment) context.Context {
	return &carrying[confirmationKey, confirmation]{ctx, confirmation{Moment: m}}
}

// direct is a context in which nothing is confirmed: reads go to the engine.
func direct(ctx context.Context) context.Context {
	if confirmed(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, confirmationKey{}, (*confirmation)(nil))
}

func confirmed(ctx context.Context) *confirmation {
	c, _ := ctx.Value(confirmationKey{}).(*confirmation)
	return c
}

// look notes that a request sees what may be newer than what is remembered.
func look(ctx context.Context) {
	if c := confirmed(ctx); c != nil {
		c.beyond.Store(true)
	}
}

// Applied is the revision that what is remembered has reached.
func (h *Hot) Applied() Rev { return h.cache.Applied() }

// Get implements Store.
func (h *Hot) Get(ctx context.Context, key string) (Entry, error) {
	c := confirmed(ctx)
	if c == nil || c.beyond.Load() || c.past() || h.cache.Applied() < c.Rev {
		return h.Engine.Get(ctx, key)
	}
	e, err := h.entries.Get(ctx, key)
	var large *tooLarge
	if errors.As(err, &large) {
		e, err = large.entry, nil
	}
	if e.Rev == 0 || e.Rev > h.cache.Applied() {
		c.beyond.Store(true)
	}
	e.Value = slices.Clone(e.Value) // it is the caller's
	return e, err
}

// List implements Store.
func (h *Hot) List(ctx context.Context, r Range) ([]Entry, error) {
	look(ctx)
	return h.Engine.List(ctx, r)
}

// View implements Engine.
func (h *Hot) View(ctx context.Context) (View, error) {
	look(ctx)
	return h.Engine.View(ctx)
}

// Commit implements Store.
func (h *Hot) Commit(ctx context.Context, checks []Check, writes []Write) (Rev, error) {
	rev, err := h.Engine.Commit(ctx, checks, writes)
	look(ctx)
	return rev, err
}

// Close implements Store.
func (h *Hot) Close() error { return errors.Join(h.cache.Close(), h.Engine.Close()) }
