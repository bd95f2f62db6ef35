package barrier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// dropped is what the key row of a dropped namespace holds: its id is not used again,
// since another node may still hold the old key and would write under it.
const dropped = "\x00dropped"

// spaceAttempts bounds how often a namespace's key is read again because
// something was evicted meanwhile.
const spaceAttempts = 50

// AddNamespace gives a namespace its key. It does nothing when the namespace
// has one, and refuses with ErrNoNamespace an id that was dropped.
func (b *Barrier) AddNamespace(ctx context.Context, id string) error {
	return b.AddNamespaceBelow(ctx, id, "")
}

// AddNamespaceBelow is AddNamespace for one below another that can be sealed: its
// key then takes that one's, too, and is sealed with it. above is that one's id;
// empty: there is none.
func (b *Barrier) AddNamespaceBelow(ctx context.Context, id, above string) error {
	s, err := b.currentFor(id)
	if err != nil {
		return err
	}
	if err := Erasing(func() error { return s.addSpace(ctx, id, above) }); err != nil {
		return err
	}
	return s.ensureSpace(ctx, id)
}

// currentFor is the session, for the key of a namespace.
func (b *Barrier) currentFor(id string) (*session, error) {
	if id == "" || strings.ContainsAny(id, "/\x00") {
		return nil, fmt.Errorf("%w: namespace id %q", ErrKey, id)
	}
	return b.current()
}

// addSpace commits a new seed, unless there is one. It looks first: a store without room refuses to judge.
func (s *session) addSpace(ctx context.Context, id, above string) error {
	if e, err := s.phys.Get(ctx, namespaceKey(id)); err != nil || e.Exists() {
		return err
	}
	seed := make([]byte, KeyBytes)
	defer clear(seed)
	if _, err := rand.Read(seed); err != nil {
		return fmt.Errorf("barrier: reading random bytes: %w", err)
	}
	value, err := s.sealSeed(ctx, id, above, seed)
	if err != nil {
		return err
	}
	_, err = s.phys.Commit(ctx, []store.Check{{Key: namespaceKey(id)}},
		[]store.Write{{Key: namespaceKey(id), Value: value}})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("barrier: writing a namespace key: %w", err)
	}
	return nil
}

// DropNamespace destroys a namespace's key: nobody can read its entries from then
// on, on this node at once and on others as soon as they see the commit. The
// entries' bytes stay until they are deleted, which needs no key. The id cannot
// be used again. Dropping twice is no error. Copies of the store made before hold
// the key still, wrapped.
func (b *Barrier) DropNamespace(ctx context.Context, id string) error {
	s, err := b.currentFor(id)
	if err != nil {
		return err
	}
	_, err = s.phys.Commit(ctx, nil, []store.Write{{Key: namespaceKey(id), Value: []byte(dropped)}, {Key: NamespaceSlotKey(id), Delete: true},
		{Key: namespaceChangePrefix + id, Delete: true}})
	if err != nil {
		return fmt.Errorf("barrier: dropping a namespace key: %w", err)
	}
	s.evict(id)
	return nil
}

// PurposeKey is a namespace's key for one of the stable purposes. It is derived
// once and then shared, so it is cheap to ask for with each use; asking each time
// is how a caller learns that the barrier was sealed or the namespace dropped.
func (b *Barrier) PurposeKey(ctx context.Context, ns string, l Label) (*Key, error) {
	s, err := b.current()
	if err != nil {
		return nil, err
	}
	if k := s.knownPurpose(ns, l); k != nil {
		return k, nil
	}
	if !l.stable() {
		return nil, fmt.Errorf("barrier: %q is no purpose of a namespace", l)
	}
	return s.purpose(ctx, ns, l)
}

func (s *session) purpose(ctx context.Context, ns string, l Label) (k *Key, err error) {
	err = s.withSpace(ctx, ns, func(sp *space) (err error) {
		if k = sp.purposes[l]; k != nil {
			return nil
		}
		if k, err = deriveKey(sp.seed, s.cluster, l, &s.dead); err == nil {
			sp.purposes[l] = k
		}
		return err
	})
	return k, err
}

func (s *session) knownPurpose(ns string, l Label) *Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sp := s.spaces[ns]; sp != nil {
		return sp.purposes[l]
	}
	return nil
}

// entrySealer is the sealer of a namespace's entries under an epoch; epoch 0
// is the active one.
func (s *session) entrySealer(ctx context.Context, ns string, number uint32) (*sealer, error) {
	if e := s.knownEntry(ns, number); e != nil {
		return e, nil
	}
	if err := s.ensureEpoch(ctx, number); err != nil {
		return nil, err
	}
	var made *sealer
	err := s.withSpace(ctx, ns, func(sp *space) error {
		e, err := s.epochLocked(number)
		if err != nil {
			return err
		}
		if made, err = s.deriveEntry(e, sp); err == nil {
			sp.entries[e.number] = made
		}
		return err
	})
	return made, err
}

// deriveEntry is the sealer of a namespace's entries under an epoch.
func (s *session) deriveEntry(e *epoch, sp *space) (made *sealer, err error) {
	err = Erasing(func() error {
		secret := append(append(make([]byte, 0, 2*KeyBytes), e.secret...), sp.seed...)
		defer clear(secret)
		made, err = deriveSealer(secret, s.cluster, labelEntry, e.number)
		return err
	})
	return made, err
}

func (s *session) knownEntry(ns string, number uint32) *sealer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sp := s.spaces[ns]
	if sp == nil {
		return nil
	}
	if number == 0 {
		number = s.ring.active
	}
	return sp.entries[number]
}

// withSpace runs fn, under the session's lock, on a namespace's keys.
func (s *session) withSpace(ctx context.Context, ns string, fn func(*space) error) error {
	for range spaceAttempts {
		if err := s.ensureSpace(ctx, ns); err != nil {
			return err
		}
		if found, err := s.tryWithSpace(ns, fn); found || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %q changes too often", ErrNoNamespace, ns)
}

func (s *session) tryWithSpace(ns string, fn func(*space) error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.Load() {
		return false, ErrSealed
	}
	sp := s.spaces[ns]
	if sp == nil {
		return false, nil
	}
	return true, fn(sp)
}

// ensureSpace reads a namespace's key unless it is known.
func (s *session) ensureSpace(ctx context.Context, ns string) error {
	for range spaceAttempts {
		l := &loading{ns: ns}
		if s.begin(l) {
			return nil
		}
		var kept bool
		err := Erasing(func() error {
			seed, err := s.loadSeed(ctx, l)
			defer clear(seed)
			kept, err = s.keepSpace(l, seed, err)
			return err
		})
		if kept || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %q changes too often", ErrNoNamespace, ns)
}

// loading is a namespace's key on its way into the session.
type loading struct {
	ns    string
	above string // the namespace whose key it takes, once that is known; empty: none
	stale bool   // one of them was evicted meanwhile
}

// begin reports whether a namespace's key is known; else it is being loaded from now on.
func (s *session) begin(l *loading) (known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known = s.spaces[l.ns] != nil; !known && !s.dead.Load() {
		s.loads[l] = true
	}
	return known
}

// takes notes whose key one takes that is being loaded, before that one's is asked for.
func (s *session) takes(l *loading, above string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.above = above
}

// loadSeed reads a namespace's seed.
func (s *session) loadSeed(ctx context.Context, l *loading) ([]byte, error) {
	e, err := s.phys.Get(ctx, namespaceKey(l.ns))
	if err != nil {
		return nil, fmt.Errorf("barrier: reading a namespace key: %w", err)
	}
	switch {
	case !e.Exists() || string(e.Value) == dropped:
		return nil, fmt.Errorf("%w: %q", ErrNoNamespace, l.ns)
	case string(e.Value) == sealedMark:
		return nil, fmt.Errorf("%w: %q", ErrNamespaceSealed, l.ns)
	}
	return s.openSeed(ctx, l, e)
}

// keepSpace remembers a seed, unless its namespace was evicted since it was asked for,
// or loading it failed.
func (s *session) keepSpace(l *loading, seed []byte, failed error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loads, l)
	switch {
	case failed != nil:
		return false, failed
	case s.dead.Load():
		return false, ErrSealed
	case l.stale:
		return false, nil
	case s.spaces[l.ns] != nil:
		return true, nil
	}
	kept, err := s.keys.keep(seed)
	if err != nil {
		return false, err
	}
	s.spaces[l.ns] = &space{seed: kept, entries: map[uint32]*sealer{}, purposes: map[Label]*Key{}}
	if l.above != "" {
		if s.below[l.above] == nil {
			s.below[l.above] = map[string]bool{}
		}
		s.below[l.above][l.ns] = true
	}
	return true, nil
}

// evict forgets a namespace's keys, and those that take its own; they are read again
// when next needed.
func (s *session) evict(ns string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.loads {
		l.stale = l.stale || l.ns == ns || l.above == ns
	}
	s.forget(ns)
	for id := range s.below[ns] {
		s.forget(id)
	}
	delete(s.below, ns)
}

// forget wipes a namespace's keys; the lock is held.
func (s *session) forget(ns string) {
	if sp := s.spaces[ns]; sp != nil {
		s.keys.drop(sp.seed)
		delete(s.spaces, ns)
	}
}

// evictAll forgets every namespace's keys.
func (s *session) evictAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.loads {
		l.stale = true
	}
	for _, sp := range s.spaces {
		s.keys.drop(sp.seed)
	}
	clear(s.spaces)
	clear(s.below)
}
