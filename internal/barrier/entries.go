package barrier

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

var _ store.Store = (*Barrier)(nil)

// namespaceOf is the namespace that a key begins with.
func namespaceOf(key string) (string, error) {
	ns, _, found := strings.Cut(key, "/")
	if !found || ns == "" {
		return "", fmt.Errorf("%w: %q", ErrKey, key)
	}
	return ns, nil
}

// Get reads and decrypts one entry. A damaged one is a *DamagedError, which
// wraps store.ErrCorrupt; the entry returned with it has its revision, so that
// it can be replaced, and no value.
func (b *Barrier) Get(ctx context.Context, key string) (store.Entry, error) {
	s, err := b.current()
	if err != nil {
		return store.Entry{}, err
	}
	ns, err := namespaceOf(key)
	if err != nil {
		return store.Entry{}, err
	}
	e, err := b.phys.Get(ctx, entryPrefix+key)
	if err != nil || !e.Exists() {
		return store.Entry{Key: key}, err
	}
	return s.openEntry(ctx, ns, e)
}

// openEntry decrypts an entry of the store below into one of the store above.
func (s *session) openEntry(ctx context.Context, ns string, e store.Entry) (store.Entry, error) {
	above := store.Entry{Key: e.Key[len(entryPrefix):], Rev: e.Rev}
	value, err := s.openValue(ctx, ns, e)
	if err != nil {
		return above, damaged(above.Key, err)
	}
	above.Value = value
	return above, nil
}

func (s *session) openValue(ctx context.Context, ns string, e store.Entry) ([]byte, error) {
	number, err := messageID(e.Value)
	if err != nil {
		return nil, err
	}
	if number == 0 {
		return nil, fmt.Errorf("%w: it names no epoch", ErrOpen)
	}
	box, err := s.entrySealer(ctx, ns, number)
	if err != nil {
		return nil, err
	}
	if s.dead.Load() {
		return nil, ErrSealed
	}
	return box.open(e.Key, e.Value)
}

// List reads and decrypts a range. Damaged entries do not hide the others:
// then it returns every entry of the range, the damaged ones without a value (nil;
// an empty value is not nil), and an error that joins one *DamagedError for each
// of them and is store.ErrCorrupt. With KeysOnly nothing is decrypted and nothing
// found damaged.
func (b *Barrier) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	s, err := b.current()
	if err != nil {
		return nil, err
	}
	end := store.PrefixEnd(entryPrefix)
	if r.End != "" {
		end = entryPrefix + r.End
	}
	keysOnly := r.KeysOnly
	r.Start, r.End = entryPrefix+r.Start, end
	es, err := b.phys.List(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.openAll(ctx, es, keysOnly)
}

func (s *session) openAll(ctx context.Context, es []store.Entry, keysOnly bool) ([]store.Entry, error) {
	if keysOnly {
		for i := range es {
			es[i].Key = es[i].Key[len(entryPrefix):]
		}
		return es, nil
	}
	out := make([]store.Entry, len(es))
	var bad []error
	for i, e := range es {
		ns, err := namespaceOf(e.Key[len(entryPrefix):])
		if err != nil {
			return nil, err
		}
		out[i], err = s.openEntry(ctx, ns, e)
		if errors.Is(err, store.ErrCorrupt) {
			bad = append(bad, err)
		} else if err != nil {
			return nil, err
		}
	}
	return out, errors.Join(bad...)
}

// Commit encrypts and commits. Values become Overhead bytes longer, and keys
// longer by two.
func (b *Barrier) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	s, err := b.current()
	if err != nil {
		return 0, err
	}
	cs := make([]store.Check, len(checks))
	for i, c := range checks {
		cs[i] = store.Check{Key: entryPrefix + c.Key, Rev: c.Rev}
	}
	ws := make([]store.Write, len(writes))
	for i, w := range writes {
		if ws[i], err = s.sealWrite(ctx, w); err != nil {
			return 0, err
		}
	}
	return b.phys.Commit(ctx, cs, ws)
}

func (s *session) sealWrite(ctx context.Context, w store.Write) (store.Write, error) {
	ns, err := namespaceOf(w.Key)
	if err != nil {
		return store.Write{}, err
	}
	below := store.Write{Key: entryPrefix + w.Key, Delete: w.Delete}
	if w.Delete {
		return below, nil
	}
	box, err := s.entrySealer(ctx, ns, 0)
	if err != nil {
		return store.Write{}, err
	}
	if s.dead.Load() {
		return store.Write{}, ErrSealed
	}
	below.Value, err = box.seal(below.Key, w.Value)
	s.written.Add(1)
	return below, err
}

// Written is how many entries were encrypted since unsealing, less what was
// counted with Counted.
func (b *Barrier) Written() uint64 {
	if s := b.session.Load(); s != nil {
		return s.written.Load()
	}
	return 0
}

// Counted takes off Written what its caller has added up elsewhere.
func (b *Barrier) Counted(n uint64) {
	if s := b.session.Load(); s != nil {
		s.written.Add(-n)
	}
}

// Sync asks the store below.
func (b *Barrier) Sync(ctx context.Context) (store.Rev, error) {
	if _, err := b.current(); err != nil {
		return 0, err
	}
	return b.phys.Sync(ctx)
}

// Close seals the barrier and closes the store below.
func (b *Barrier) Close() error { return errors.Join(b.Seal(), b.phys.Close()) }
