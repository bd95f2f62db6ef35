package policies

import (
	"sync"
	"sync/atomic"

	"github.com/strongroom/strongroom/internal/policy"
)

// fills remembers sets that were filled in for somebody. What they are made of, the
// compiled set and the person, is immutable and part of the key: nothing here goes out of
// date, and what nobody asks for any more makes room for others.
type fills struct {
	max int

	mu   sync.RWMutex
	acls map[fillKey]*fill
}

type fillKey struct {
	set *compiled
	who Who
}

type fill struct {
	acl  *policy.ACL
	used atomic.Bool // it has been asked for since eviction last looked
}

func newFills(max int) *fills { return &fills{max: max, acls: map[fillKey]*fill{}} }

// get is a set for somebody, as it is remembered or as compile makes it.
func (f *fills) get(set *compiled, who Who, compile func() *policy.ACL) *policy.ACL {
	k := fillKey{set, who}
	f.mu.RLock()
	known := f.acls[k]
	f.mu.RUnlock()
	if known == nil {
		known = f.put(k, compile())
	}
	if !known.used.Load() {
		known.used.Store(true)
	}
	return known.acl
}

// evictionSample is how many entries are looked at to find one to evict.
const evictionSample = 8

func (f *fills) put(k fillKey, acl *policy.ACL) *fill {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.acls[k]; known != nil {
		return known
	}
	if len(f.acls) >= f.max {
		f.evict()
	}
	made := &fill{acl: acl}
	f.acls[k] = made
	return made
}

// evict drops, of a few at random, one that has not been asked for lately.
func (f *fills) evict() {
	seen := 0
	for k, known := range f.acls {
		if seen++; seen == evictionSample || !known.used.Swap(false) {
			delete(f.acls, k)
			return
		}
	}
}
