package barrier

import (
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// Errors of the barrier. Test with errors.Is.
var (
	// ErrSealed says that the barrier holds no keys.
	ErrSealed = errors.New("barrier: sealed")
	// ErrRestoring says that a snapshot is being put into the store, or that it was
	// begun and not finished.
	ErrRestoring = errors.New("barrier: a restore into this store has not finished")
	// ErrNotInitialized says that the store holds no key ring yet.
	ErrNotInitialized = errors.New("barrier: not initialized")
	// ErrInitialized says that the store already holds a key ring.
	ErrInitialized = errors.New("barrier: already initialized")
	// ErrRootKey says that the root key does not open the key ring: it is another
	// key, or the stored ring or cluster id is damaged.
	ErrRootKey = errors.New("barrier: the root key does not open the key ring")
	// ErrNoNamespace says that a namespace has no key: it was never added, or it
	// was dropped and its entries cannot be read any more.
	ErrNoNamespace = errors.New("barrier: the namespace has no key")
	// ErrNamespaceSealed says that a namespace has been sealed, or one above it whose
	// keys it needs. It wraps store.ErrSealed.
	ErrNamespaceSealed = fmt.Errorf("barrier: the namespace is sealed: %w", store.ErrSealed)
	// ErrRolledBack says that the stored key ring lacks an epoch that this node
	// has used: an older copy of the row was put back.
	ErrRolledBack = errors.New("barrier: the stored key ring is older than the one in use")
	// ErrOpen says that a sealed message does not open: it was changed, moved,
	// or sealed under another key.
	ErrOpen = errors.New("barrier: the message does not open")
	// ErrKey says that a store key does not have the form <namespace>/<rest>.
	ErrKey = errors.New("barrier: a key must begin with a namespace and a slash")
)

// DamagedError names one stored entry that does not open: its bytes were
// changed, or it was moved from another place. It wraps store.ErrCorrupt.
type DamagedError struct {
	Key    string // the entry's key; core rows begin with core/
	Reason string // what failed; never part of a value
}

// Error names the key and the reason.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("barrier: entry %q is damaged: %s", e.Key, e.Reason)
}

// Unwrap is store.ErrCorrupt.
func (e *DamagedError) Unwrap() error { return store.ErrCorrupt }
