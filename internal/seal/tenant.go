package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// Tenants owns the shares of namespaces that can be sealed: each is a slot like those of
// the server's root key, with the namespace's seed in it instead. Shares that were handed
// in lie in this node's memory alone, for ten minutes at most.
type Tenants struct {
	barrier *barrier.Barrier
	now     func() time.Time

	mu       sync.Mutex
	attempts map[string]*attempt // by namespace, to unseal it
	changes  map[string]*attempt // by namespace, to change its holders; the nonce is the change's
}

// NewTenants keeps slots of namespaces in the store below the barrier.
func NewTenants(b *barrier.Barrier, now func() time.Time) *Tenants {
	return &Tenants{barrier: b, now: now, attempts: map[string]*attempt{}, changes: map[string]*attempt{}}
}

const (
	// attemptLife is how long shares of a namespace that were handed in are kept
	// after the last of them.
	attemptLife = 10 * time.Minute
	// maxAttempts bounds the namespaces for which shares are kept. Each has taken a right share of its own, so that it is
	// there; of one tenant's there may be more than a few, and they must not keep another's shares out.
	maxAttempts = 1 << 16
)

// ErrManyAttempts says that shares are being handed in for too many namespaces.
var ErrManyAttempts = errors.New("seal: unseal keys are being handed in for too many namespaces")

// TenantStatus is whether a namespace is sealed, and how far its holders have come.
type TenantStatus struct {
	Sealed    bool
	Shares    int
	Threshold int
	Progress  int    // different shares handed in on this node
	Nonce     string // names this attempt; empty before the first share
}

// Share makes shares of a namespace's key, once: then it is barrier.ErrShared.
func (t *Tenants) Share(ctx context.Context, id string, spec SlotSpec) ([]Share, error) {
	made, err := (Shamir{}).Create(ctx, id, spec)
	if err != nil {
		return nil, err
	}
	defer clear(made.Key)
	h := header{ID: id, Kind: KindShamir, Created: t.now().UTC(), Params: made.Params}
	err = t.barrier.ShareNamespace(ctx, id, func(seed []byte) ([]byte, error) {
		w, err := wrapWith(barrier.NamespaceSlot, barrier.NamespaceSlotKey(id), h, made.Key, t.barrier.ClusterID(), seed)
		return w.Value, err
	})
	if err != nil {
		return nil, err
	}
	return made.Shares, nil
}

// Status is barrier.ErrNotSealable for a namespace that nobody holds shares of.
func (t *Tenants) Status(ctx context.Context, id string) (TenantStatus, error) {
	row, sealed, err := t.slot(ctx, id)
	if err != nil {
		return TenantStatus{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status(id, row, sealed)
}

// slot is a namespace's slot, and whether it is sealed.
func (t *Tenants) slot(ctx context.Context, id string) (*slotRow, bool, error) {
	e, sealed, err := t.barrier.NamespaceSlot(ctx, id)
	if err != nil {
		return nil, false, err
	}
	row, err := decodeSlotAt(e, id)
	return row, sealed, err
}

func (t *Tenants) status(id string, row *slotRow, sealed bool) (TenantStatus, error) {
	shares, threshold, err := (Shamir{}).Size(row.Params)
	st := TenantStatus{Sealed: sealed, Shares: shares, Threshold: threshold}
	if a := t.attempts[id]; a != nil && sealed && t.now().Sub(a.last) < attemptLife {
		st.Progress, st.Nonce = len(a.shares), a.nonce
	}
	return st, err
}

// Seal seals a namespace on all nodes, unless ordered says that it is not to be any more: see barrier.SealNamespace. Shares
// for one that is sealed already stay.
func (t *Tenants) Seal(ctx context.Context, id string, ordered func() (bool, error)) error {
	if _, sealed, err := t.barrier.NamespaceSlot(ctx, id); err != nil || sealed {
		return err
	}
	t.forget(id)
	return t.barrier.SealNamespace(ctx, id, ordered)
}

// Reset forgets the shares handed in for a namespace.
func (t *Tenants) Reset(id string) { t.forget(id) }

func (t *Tenants) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(id)
}

func (t *Tenants) drop(id string) { dropFrom(t.attempts, id) }

func dropFrom(all map[string]*attempt, id string) {
	if a := all[id]; a != nil {
		clear(a.shares)
		delete(all, id)
	}
}

// Submit hands in one share of a namespace's key, and unseals it on all nodes when that
// completes the set. What is wrong with a share is as in Manager.SubmitShare. On an
// open namespace it does nothing.
func (t *Tenants) Submit(ctx context.Context, id string, text api.Secret) (TenantStatus, error) {
	s, err := ParseShare(text)
	if err != nil {
		return TenantStatus{}, err
	}
	row, sealed, err := t.slot(ctx, id)
	if err != nil {
		return TenantStatus{}, err
	}
	if ok, err := (Shamir{}).Accept(row.Params, s); err != nil || !ok {
		return TenantStatus{}, errors.Join(err, unknownUnless(ok, s))
	}
	shares, st, err := t.gather(id, row, sealed, s)
	if err != nil || shares == nil {
		return st, err
	}
	defer clear(shares)
	if err := t.open(ctx, id, row, shares); err != nil {
		return TenantStatus{}, err
	}
	return t.Status(ctx, id)
}

func unknownUnless(ok bool, s Share) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: number %d", ErrUnknownSet, s.index)
}

// gather keeps a share; it answers all of them, for the caller to wipe, once they are as
// many as are needed.
func (t *Tenants) gather(id string, row *slotRow, sealed bool, s Share) ([]Share, TenantStatus, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sealed {
		if err := t.keep(id, s); err != nil {
			return nil, TenantStatus{}, err
		}
	}
	st, err := t.status(id, row, sealed)
	if err != nil || !sealed || st.Progress < st.Threshold {
		return nil, st, err
	}
	shares := append([]Share(nil), t.attempts[id].shares...)
	t.drop(id)
	return shares, st, nil
}

func (t *Tenants) keep(id string, s Share) error { return t.keepIn(t.attempts, id, s) }

func (t *Tenants) keepIn(all map[string]*attempt, id string, s Share) error {
	for other, a := range all {
		if t.now().Sub(a.last) >= attemptLife {
			dropFrom(all, other)
		}
	}
	a := all[id]
	if a == nil {
		if len(all) >= maxAttempts {
			return ErrManyAttempts
		}
		var err error
		if a, err = newAttempt(); err != nil {
			return err
		}
		all[id] = a
	}
	a.add(s, t.now())
	return nil
}

// open unseals a namespace with a whole set.
func (t *Tenants) open(ctx context.Context, id string, row *slotRow, shares []Share) error {
	key, err := (Shamir{}).Combine(row.Params, shares)
	if err != nil {
		return err
	}
	defer clear(key)
	return t.barrier.UnsealNamespace(ctx, id, func(e store.Entry) ([]byte, error) {
		now, err := decodeSlotAt(e, id)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(now.encoded, row.encoded) { // its holders have changed meanwhile
			return nil, ErrUnknownSet
		}
		return now.unwrapWith(barrier.NamespaceSlot, e.Key, key, t.barrier.ClusterID())
	})
}

// decodeSlotAt is a namespace's slot; damage is a *barrier.DamagedError.
func decodeSlotAt(e store.Entry, id string) (*slotRow, error) {
	row, err := decodeSlotRow(e)
	if err != nil {
		return nil, err
	}
	if row.ID != id || row.Kind != KindShamir || !json.Valid(row.Params) {
		return nil, &barrier.DamagedError{Key: e.Key, Reason: "the slot is another's"}
	}
	return row, nil
}
