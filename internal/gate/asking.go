package gate

import (
	"net/netip"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// A login that asks others, a directory or a cloud, costs whoever sends it nothing, and the server a
// connection and theirs an answer. So that strangers cannot have it ask without end, so many are under way
// at the same time on a node, and who comes then is told to come again.
const (
	maxAsking      = 256 // of all mounts together
	maxAskingMount = 64  // of one mount
	maxAskingFrom  = 32  // of one client, at one mount: no client keeps the others out
)

// asker is a client at a mount.
type asker struct {
	mount string
	from  netip.Prefix
}

// asking counts the requests for which others are asked.
type asking struct {
	mu     sync.Mutex
	all    int
	mounts map[string]int
	from   map[asker]int
}

// begin counts a request, and reports whether there was room for it.
func (a *asking) begin(who asker) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= maxAsking || a.mounts[who.mount] >= maxAskingMount || a.from[who] >= maxAskingFrom {
		return false
	}
	if a.mounts == nil {
		a.mounts, a.from = map[string]int{}, map[asker]int{}
	}
	a.all++
	a.mounts[who.mount]++
	a.from[who]++
	return true
}

// end is that a request that was counted is answered.
func (a *asking) end(who asker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.mounts[who.mount]--; a.mounts[who.mount] == 0 {
		delete(a.mounts, who.mount)
	}
	if a.from[who]--; a.from[who] == 0 {
		delete(a.from, who)
	}
}

func errAsking() error {
	return &api.Error{Kind: api.TooMany, Message: "too many logins are under way for which others are asked", Hint: "try again in a moment", RetryAfter: time.Second}
}
