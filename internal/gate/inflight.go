package gate

import (
	"net/netip"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/token"
)

// flight is the requests that were let in and are not answered yet: a list
// through the passages themselves, so that none costs an allocation.
type flight struct {
	mu    sync.Mutex
	first *passage
}

func (f *flight) begin(p *passage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.after = f.first; f.first != nil {
		f.first.before = p
	}
	f.first = p
}

func (f *flight) end(p *passage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.after != nil {
		p.after.before = p.before
	}
	if p.before != nil {
		p.before.after = p.after
	} else {
		f.first = p.after
	}
	p.before, p.after = nil, nil
}

// Underway is a request that was let in and is not answered yet.
type Underway struct {
	ID        string
	Start     time.Time
	Remote    netip.AddrPort
	Namespace string // as the request names it
	Path      string // as the request names it, without any token in it
	Op        api.Op
}

// InFlight are the requests that are not answered yet, the newest first.
// Streams are not among them: their answer has begun.
func (g *Gate) InFlight() []Underway {
	g.flight.mu.Lock()
	defer g.flight.mu.Unlock()
	var out []Underway
	for p := g.flight.first; p != nil; p = p.after {
		out = append(out, Underway{p.r.ID, p.call.Now, p.r.Remote, p.r.Namespace, token.Conceal(p.r.Path), p.r.Op})
	}
	return out
}
