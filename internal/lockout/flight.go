package lockout

import (
	"context"
	"sync"
)

// flight bounds how many credentials of one account are checked at once on this node.
// It holds what is under way and nothing else.
type flight struct {
	mu       sync.Mutex
	accounts map[string]*turns
}

// turns are an account's.
type turns struct {
	slots chan struct{} // one for each credential that is checked
	whole chan struct{} // held by who has, or gathers, all slots
	users int
}

// pass is leave to check credentials of an account.
type pass struct {
	flight  *flight
	account string
	turns   *turns
	held    int // slots
	whole   bool
}

// enter waits for a turn beside at most abreast-1 others.
func (f *flight) enter(ctx context.Context, account string, abreast int) (*pass, error) {
	f.mu.Lock()
	if f.accounts == nil {
		f.accounts = map[string]*turns{}
	}
	t := f.accounts[account]
	if t == nil {
		t = &turns{slots: make(chan struct{}, max(1, abreast)), whole: make(chan struct{}, 1)}
		f.accounts[account] = t
	}
	t.users++
	f.mu.Unlock()
	p := &pass{flight: f, account: account, turns: t}
	if err := p.take(ctx); err != nil {
		p.leave()
		return nil, err
	}
	return p, nil
}

func (p *pass) take(ctx context.Context) error {
	select {
	case p.turns.slots <- struct{}{}:
		p.held++
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pass) drop() {
	for ; p.held > 0; p.held-- {
		<-p.turns.slots
	}
}

// alone waits until nobody else has a turn, and keeps it so.
func (p *pass) alone(ctx context.Context) error {
	if cap(p.turns.slots) == 1 {
		return nil
	}
	p.drop()
	select {
	case p.turns.whole <- struct{}{}:
		p.whole = true
	case <-ctx.Done():
		return ctx.Err()
	}
	for range cap(p.turns.slots) {
		if err := p.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leave ends it.
func (p *pass) leave() {
	p.drop()
	if p.whole {
		<-p.turns.whole
	}
	p.flight.mu.Lock()
	defer p.flight.mu.Unlock()
	if p.turns.users--; p.turns.users == 0 {
		delete(p.flight.accounts, p.account)
	}
}
