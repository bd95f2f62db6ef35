package barrier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/strongroom/strongroom/internal/store"
)

// session is what an unsealed barrier knows: from Unseal to Seal.
type session struct {
	phys    store.Store
	cluster string
	live    context.Context // ends when the barrier seals
	end     context.CancelFunc
	dead    atomic.Bool // as live, for the keys handed out
	written atomic.Uint64

	mu     sync.RWMutex
	keys   *memory
	root   []byte // in keys
	ring   *ring  // secrets in keys
	spaces map[string]*space
	below  map[string]map[string]bool // by a namespace whose key others take, those of them that are, or were, in spaces
	wraps  map[wrapID]*sealer
	// loads are the keys that are being read: one that is evicted meanwhile is not
	// remembered as it was before.
	loads map[*loading]bool
}

// space is one namespace's keys.
type space struct {
	seed     []byte // in session.keys
	entries  map[uint32]*sealer
	purposes map[Label]*Key
}

// wrapID names a sealer that belongs to an epoch and to no namespace.
type wrapID struct {
	label Label
	epoch uint32
}

func newSession(phys store.Store, cluster string, root []byte) (*session, error) {
	s := &session{
		phys: phys, cluster: cluster, keys: newMemory(), ring: &ring{},
		spaces: map[string]*space{}, below: map[string]map[string]bool{}, loads: map[*loading]bool{}, wraps: map[wrapID]*sealer{},
	}
	s.live, s.end = context.WithCancel(context.Background())
	var err error
	s.root, err = s.keys.keep(root)
	return s, err
}

// close wipes the keys. What is under way fails with ErrSealed, or finishes
// with a message key it has already derived.
func (s *session) close() error {
	s.dead.Store(true)
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.ring, s.spaces, s.below, s.wraps = nil, nil, nil, nil, nil
	return s.keys.destroy()
}

// useRoot lends the root key to fn, which must not keep it.
func (s *session) useRoot(fn func(root []byte) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dead.Load() {
		return ErrSealed
	}
	return fn(s.root)
}

func (s *session) activeEpoch() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dead.Load() {
		return 0
	}
	return s.ring.active
}

// loadRing reads and opens the stored ring; the caller wipes it.
func (s *session) loadRing(ctx context.Context) (r *ring, wipe func(), err error) {
	e, err := s.phys.Get(ctx, keyRingKey)
	if err != nil {
		return nil, nil, fmt.Errorf("barrier: reading the key ring: %w", err)
	}
	if !e.Exists() {
		return nil, nil, ErrNotInitialized
	}
	err = s.useRoot(func(root []byte) error {
		return Erasing(func() error {
			r, wipe, err = openRing(e, root, s.cluster)
			return err
		})
	})
	return r, wipe, err
}

// reloadRing takes over what other nodes have changed in the ring.
func (s *session) reloadRing(ctx context.Context) error {
	r, wipe, err := s.loadRing(ctx)
	if err != nil {
		return err
	}
	defer wipe()
	return s.adopt(r)
}

// adopt copies r's new epochs into the session's memory and makes its active
// epoch the one to write under. A ring read earlier than the one in use is
// ignored; one that lacks an epoch is refused.
func (s *session) adopt(r *ring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.Load() {
		return ErrSealed
	}
	if r.rev <= s.ring.rev {
		return nil
	}
	if !r.extends(s.ring) {
		return ErrRolledBack
	}
	return s.takeOver(r)
}

// takeOver makes the session's ring r, which extends it; the lock is held.
func (s *session) takeOver(r *ring) error {
	for _, e := range r.epochs[len(s.ring.epochs):] {
		secret, err := s.keys.keep(e.secret)
		if err != nil {
			return err
		}
		e.secret = secret
		s.ring.epochs = append(s.ring.epochs, e)
	}
	s.ring.active, s.ring.rev = r.active, r.rev
	return nil
}

// ensureEpoch reloads the ring when it lacks an epoch. That the epoch is still
// missing afterwards is for the caller to find.
func (s *session) ensureEpoch(ctx context.Context, number uint32) error {
	s.mu.RLock()
	known := s.dead.Load() || number == 0 || s.ring.find(number) != nil
	s.mu.RUnlock()
	if known {
		return nil
	}
	return s.reloadRing(ctx)
}

// wrapSealer is the sealer of a label under an epoch; epoch 0 is the active one.
func (s *session) wrapSealer(ctx context.Context, l Label, number uint32) (*sealer, error) {
	if err := s.ensureEpoch(ctx, number); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.epochLocked(number)
	if err != nil {
		return nil, err
	}
	id := wrapID{l, e.number}
	if w := s.wraps[id]; w != nil {
		return w, nil
	}
	w, err := deriveSealer(e.secret, s.cluster, l, e.number)
	if err == nil {
		s.wraps[id] = w
	}
	return w, err
}

// epochLocked finds an epoch, 0 being the active one.
func (s *session) epochLocked(number uint32) (*epoch, error) {
	if s.dead.Load() {
		return nil, ErrSealed
	}
	if number == 0 {
		number = s.ring.active
	}
	if e := s.ring.find(number); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: the key ring has no epoch %d", ErrOpen, number)
}

// openWrapped opens a core row that an epoch of the ring wraps.
func (s *session) openWrapped(ctx context.Context, l Label, e store.Entry) ([]byte, error) {
	number, err := messageID(e.Value)
	if err != nil {
		return nil, damaged(e.Key, err)
	}
	if number == 0 {
		return nil, &DamagedError{Key: e.Key, Reason: "it names no epoch"}
	}
	w, err := s.wrapSealer(ctx, l, number)
	if err != nil {
		return nil, damaged(e.Key, err)
	}
	plain, err := w.open(e.Key, e.Value)
	return plain, damaged(e.Key, err)
}

// sealWrapped wraps a core row under the active epoch.
func (s *session) sealWrapped(ctx context.Context, l Label, key string, plain []byte) ([]byte, error) {
	w, err := s.wrapSealer(ctx, l, 0)
	if err != nil {
		return nil, err
	}
	return w.seal(key, plain)
}

// damaged turns a message that does not open into the error that names its entry.
func damaged(key string, err error) error {
	if errors.Is(err, ErrOpen) {
		return &DamagedError{Key: key, Reason: err.Error()}
	}
	return err
}
