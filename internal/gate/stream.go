package gate

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// recheck is how often a stream's caller is judged anew.
const recheck = time.Second

// raw takes an answer without envelope. One that is made while it is sent
// keeps the gate's rules: nothing of it exists before the door has it, and the
// door gets it after the answer has been written down, which says that a stream
// begins. It cannot be wrapped, for it has no end to wait for. And since it may
// outlive what allowed it, its caller is judged again while it lasts.
func (p *passage) raw(v *api.Raw) error {
	if v.Stream == nil {
		p.resp.Raw = v
		return nil
	}
	if p.r.WrapTTL != 0 {
		return errWrap()
	}
	p.resp.Raw = &api.Raw{ContentType: v.ContentType, Status: v.Status, Stream: p.guarded(v.Stream)}
	return nil
}

// guarded is a stream that ends when its caller may no longer ask for it: the
// server is sealed or ends, the token is gone, or its policies have changed. A
// token whose last use the request was is gone, and its stream short.
func (p *passage) guarded(stream func(context.Context, io.Writer) error) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		ctx, end := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			defer end()
			p.watch(ctx)
		})
		defer watch.Wait()
		defer end()
		return stream(ctx, w)
	}
}

// watch returns when the stream must end.
func (p *passage) watch(ctx context.Context) {
	t := time.NewTicker(recheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.gate.ending:
			return
		case <-t.C:
			if !p.still(ctx) {
				return
			}
		}
	}
}

// still reports whether the caller would be let in again.
func (p *passage) still(ctx context.Context) bool {
	if p.gate.house.Load() != p.house {
		return false
	}
	if p.token == nil {
		return true
	}
	if _, err := p.house.Cache.Fresh(ctx); err != nil {
		return false
	}
	now := p.gate.now()
	t, err := p.house.Tokens.Lookup(ctx, p.r.Token.Reveal(), now)
	if err != nil || !t.AllowedFrom(p.call.Remote) {
		return false
	}
	stands, err := p.house.standing(ctx, t)
	if err != nil {
		return false
	}
	ask := p.ask(p.judged(p.path), verbs[p.r.Op])
	ask.Now, ask.Facts = now, p.facts.Anew()
	d := stands.acl.Decide(ask)
	return d.Allowed && (d.Sudo || !p.match.Endpoint.Has(api.Sudo))
}

// EndStreams ends every stream that is being sent, now and from now on: a
// server that ends waits for requests, and a stream has no end of its own.
func (g *Gate) EndStreams() { g.endOnce() }
