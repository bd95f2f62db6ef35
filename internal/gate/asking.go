package gate

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// A login that asks others, a directory or a cloud, costs whoever sends it nothing, and the server a
// connection and theirs an answer. So that strangers cannot have it ask without end, so many are under way
// at the same time on a node, and who comes then is told to come again.
const (
	maxAsking       = 256 // of all mounts together
	maxAskingBelow  = 192 // of those of all tenants together: whoever makes mounts leaves room to the operators' own
	maxAskingTenant = 96  // of one tenant's mounts
	maxAskingMount  = 64  // of one mount
	maxAskingClient = 128 // of one client, at all mounts together
	maxAskingFrom   = 32  // of one client, at one mount: no client keeps the others out
)

// asker is a client at a mount.
type asker struct {
	tenant string // the first segment of the mount's namespace; empty: it is the root namespace's
	mount  string
	from   netip.Prefix
}

// tenantOf is the first segment of a namespace's path.
func tenantOf(path string) string {
	tenant, _, _ := strings.Cut(path, "/")
	return tenant
}

// asking counts the requests for which others are asked.
type asking struct {
	mu      sync.Mutex
	all     int
	below   int // at mounts of tenants
	tenants map[string]int
	mounts  map[string]int
	clients map[netip.Prefix]int
	from    map[asker]int
}

// room reports whether there is any for one more.
func (a *asking) room(who asker) bool {
	below := who.tenant != "" && (a.below >= maxAskingBelow || a.tenants[who.tenant] >= maxAskingTenant)
	return !below && a.all < maxAsking && a.mounts[who.mount] < maxAskingMount && a.clients[who.from] < maxAskingClient && a.from[who] < maxAskingFrom
}

// begin counts a request, and reports whether there was room for it.
func (a *asking) begin(who asker) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.room(who) {
		return false
	}
	if a.mounts == nil {
		a.tenants, a.mounts, a.clients, a.from = map[string]int{}, map[string]int{}, map[netip.Prefix]int{}, map[asker]int{}
	}
	a.all++
	if who.tenant != "" {
		a.below++
		a.tenants[who.tenant]++
	}
	a.mounts[who.mount]++
	a.clients[who.from]++
	a.from[who]++
	return true
}

// end is that a request that was counted is answered.
func (a *asking) end(who asker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if who.tenant != "" {
		a.below--
		less(a.tenants, who.tenant)
	}
	less(a.mounts, who.mount)
	less(a.clients, who.from)
	less(a.from, who)
}

// less counts one less, and forgets whom nothing is counted of.
func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

func errAsking() error {
	return &api.Error{Kind: api.TooMany, Message: "too many logins are under way for which others are asked", Hint: "try again in a moment", RetryAfter: time.Second}
}
