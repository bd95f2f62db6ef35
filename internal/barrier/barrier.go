// Package barrier owns the encryption of everything that is stored. It is a
// store.Store over a store.Store: values go in and come out in the clear, and below
// it lies only ciphertext, each bound to its place, so that none can be moved.
//
// Keys of the store below:
//
//	core/cluster     the cluster's id, in the clear, bound into every ciphertext
//	core/keyring     the epochs of the key ring, wrapped by the root key
//	core/ns/<id>     a namespace's seed, wrapped by an epoch
//	core/ns-seal/<id>  the seed of one that can be sealed, under a key of its holders
//	core/ns-seal-change/<id>  a change of its holders that is under way
//	core/rewrap      how far Rewrap has come, sealed by an epoch
//	core/restore     there while, and after, a snapshot is put into the store, until
//	                 the barrier was unsealed with its keys; see package snapshot
//	core/...         other rows belong to packages seal and fleet
//	d/<id>/...       the entries of a namespace
//
// An entry's key comes from an epoch and its namespace's seed together, the
// purpose keys of a namespace from its seed alone. Decision 0002 says why.
package barrier

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Rows of the store below.
const (
	clusterKey      = "core/cluster"
	keyRingKey      = "core/keyring"
	namespacePrefix = "core/ns/"
	progressKey     = "core/rewrap"
	entryPrefix     = "d/"
)

// Rows whose keys package snapshot has to know. Whether a store is initialised is
// whether KeyRing is there: a restore writes it last.
const (
	RestoreKey = "core/restore"
	KeyRing    = keyRingKey
)

// clusterBytes is the size of a cluster id before hexadecimal, in bytes.
const clusterBytes = 16

func namespaceKey(id string) string { return namespacePrefix + id }

// Barrier encrypts a store. It is sealed until Unseal hands it the root key, and
// safe for concurrent use.
type Barrier struct {
	phys    store.Store
	now     func() time.Time
	session atomic.Pointer[session] // nil while sealed
	mu      sync.Mutex              // held while sealing and unsealing
}

// New is a sealed barrier over phys. now is the clock that dates epochs.
func New(phys store.Store, now func() time.Time) *Barrier {
	return &Barrier{phys: phys, now: now}
}

// Initialize creates the cluster's id and its key ring under rootKey (KeyBytes
// long), together with the given rows: all in one commit, or nothing. prepare is
// called with the new cluster's id to make the rows, whose keys begin with core/
// and must be absent. The barrier stays sealed. It returns ErrInitialized when
// another was first; any other error leaves it open whether it has been done.
func (b *Barrier) Initialize(ctx context.Context, rootKey []byte, prepare func(cluster string) ([]store.Write, error)) error {
	if len(rootKey) != KeyBytes {
		return fmt.Errorf("barrier: a root key of %d bytes, not %d", len(rootKey), KeyBytes)
	}
	writes, err := b.firstRows(rootKey)
	if err != nil {
		return err
	}
	if prepare != nil {
		more, err := prepare(string(writes[0].Value))
		if err != nil {
			return err
		}
		writes = append(writes, more...)
	}
	checks := []store.Check{{Key: RestoreKey}}
	for _, w := range writes {
		checks = append(checks, store.Check{Key: w.Key})
	}
	_, err = b.phys.Commit(ctx, checks, writes)
	if errors.Is(err, store.ErrConflict) {
		return b.whyTaken(ctx)
	}
	return err
}

// whyTaken is why a store cannot be initialised.
func (b *Barrier) whyTaken(ctx context.Context) error {
	done, err := b.Initialized(ctx)
	if err != nil {
		return err
	}
	if done {
		return ErrInitialized
	}
	return ErrRestoring
}

// firstRows makes a cluster id and a ring of one epoch.
func (b *Barrier) firstRows(rootKey []byte) ([]store.Write, error) {
	id := make([]byte, clusterBytes)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("barrier: reading random bytes: %w", err)
	}
	cluster := hex.EncodeToString(id)
	first, err := newEpoch(1, b.now())
	if err != nil {
		return nil, err
	}
	defer clear(first.secret)
	r := &ring{active: 1, epochs: []epoch{first}}
	sealed, err := r.seal(rootKey, cluster)
	if err != nil {
		return nil, err
	}
	return []store.Write{{Key: clusterKey, Value: []byte(cluster)}, {Key: keyRingKey, Value: sealed}}, nil
}

// Initialized reports whether the store holds a key ring.
func (b *Barrier) Initialized(ctx context.Context) (bool, error) {
	e, err := b.phys.Get(ctx, keyRingKey)
	if err != nil {
		return false, fmt.Errorf("barrier: reading the key ring: %w", err)
	}
	return e.Exists(), nil
}

// Unseal opens the key ring with the root key and keeps a copy of it. It does
// nothing when the barrier is unsealed already, and returns ErrRootKey when the
// key is not the one.
func (b *Barrier) Unseal(ctx context.Context, rootKey []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session.Load() != nil {
		return nil
	}
	cluster, err := b.ReadClusterID(ctx)
	if err != nil {
		return err
	}
	s, err := newSession(b.phys, cluster, rootKey)
	if err == nil {
		err = s.reloadRing(ctx)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	b.session.Store(s)
	return nil
}

// ReadClusterID reads the cluster's id from the store, sealed or not. Nothing
// vouches for it before the barrier is unsealed.
func (b *Barrier) ReadClusterID(ctx context.Context) (string, error) {
	e, err := b.phys.Get(ctx, clusterKey)
	if err != nil {
		return "", fmt.Errorf("barrier: reading the cluster id: %w", err)
	}
	if !e.Exists() {
		return "", ErrNotInitialized
	}
	return string(e.Value), nil
}

// Seal wipes every key. From then on each operation returns ErrSealed. Sealing
// twice is no error.
func (b *Barrier) Seal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.session.Swap(nil); s != nil {
		return s.close()
	}
	return nil
}

// Sealed reports whether the barrier holds no keys.
func (b *Barrier) Sealed() bool { return b.session.Load() == nil }

// ClusterID is the cluster's id, 32 hexadecimal digits; empty while sealed.
func (b *Barrier) ClusterID() string {
	if s := b.session.Load(); s != nil {
		return s.cluster
	}
	return ""
}

// UseRootKey lends the root key to fn, which must not keep it nor call the
// barrier. It is for the key slots that wrap it.
func (b *Barrier) UseRootKey(fn func(root []byte) error) error {
	s, err := b.current()
	if err != nil {
		return err
	}
	return s.useRoot(fn)
}

// RewrapRoot puts the key ring under a new root key, together with the given
// checks and writes, which replace the key slots: all in one commit, or nothing.
// Other nodes keep running on the ring they know, and need the new root key to
// learn of later epochs: they have to be unsealed again.
func (b *Barrier) RewrapRoot(ctx context.Context, newRoot []byte, checks []store.Check, writes []store.Write) error {
	s, err := b.current()
	if err != nil {
		return err
	}
	r, wipe, err := s.loadRing(ctx)
	if err != nil {
		return err
	}
	defer wipe()
	sealed, err := r.seal(newRoot, s.cluster)
	if err != nil {
		return err
	}
	checks = append([]store.Check{{Key: keyRingKey, Rev: r.rev}}, checks...)
	writes = append([]store.Write{{Key: keyRingKey, Value: sealed}}, writes...)
	if _, err := s.phys.Commit(ctx, checks, writes); err != nil {
		return fmt.Errorf("barrier: changing the root key: %w", err)
	}
	return s.replaceRoot(newRoot)
}

func (s *session) replaceRoot(root []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.Load() {
		return ErrSealed
	}
	if len(root) != KeyBytes {
		return fmt.Errorf("barrier: a root key of %d bytes, not %d", len(root), KeyBytes)
	}
	copy(s.root, root)
	return nil
}

// Status says what an unsealed barrier works with.
type Status struct {
	Sealed    bool      // no keys are held; the other fields are zero
	ClusterID string    // 32 hexadecimal digits
	Epoch     uint32    // the active epoch, from 1: what Vault calls the key term
	Installed time.Time // when the active epoch was made
	Locked    bool      // the memory of the keys is locked against swapping
}

// Status is the state of the barrier now.
func (b *Barrier) Status() Status {
	s := b.session.Load()
	if s == nil {
		return Status{Sealed: true}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dead.Load() {
		return Status{Sealed: true}
	}
	active := s.ring.find(s.ring.active)
	return Status{ClusterID: s.cluster, Epoch: active.number, Installed: active.installed, Locked: s.keys.locked}
}

// current is the session, or ErrSealed.
func (b *Barrier) current() (*session, error) {
	if s := b.session.Load(); s != nil {
		return s, nil
	}
	return nil, ErrSealed
}
