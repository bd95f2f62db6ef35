package gate

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
)

// Observer is told of every request that the gate takes. It is safe for concurrent
// use.
type Observer interface {
	// Begin is called before a request's first step. What it returns is the context
	// of the request.
	Begin(ctx context.Context, r *Request) context.Context
	// End is called with that context after the last step.
	End(ctx context.Context, r *Request, resp *Response, took time.Duration)
	// Tracing reports whether Step is to be called.
	Tracing() bool
	// Step is called before a step, and what it returns after it, with its failure.
	// The context is that of what the step does.
	Step(ctx context.Context, name string) (context.Context, func(error))
	// AuditFailed is called for a request, or an answer, that could not be written
	// down.
	AuditFailed(answer bool)
}

// Observe has an observer told of every request. It is called before the first.
func (g *Gate) Observe(o Observer) { g.observer = o }

// Serve takes one request through all steps.
func (g *Gate) Serve(ctx context.Context, r *Request) *Response {
	if g.observer == nil {
		return g.serve(ctx, r)
	}
	began := g.now()
	ctx = g.observer.Begin(ctx, r)
	resp := g.serve(ctx, r)
	g.observer.End(ctx, r, resp, g.now().Sub(began))
	return resp
}

// step takes one step, and tells of it where somebody follows.
func (p *passage) step(name string, take func(*passage) error) error {
	if p.gate.observer == nil || !p.gate.observer.Tracing() {
		return take(p)
	}
	before := p.call.Context
	ctx, end := p.gate.observer.Step(before, name)
	p.call.Context = ctx
	err := take(p)
	p.call.Context = before
	end(err)
	return err
}

// logRequest writes the request down.
func (p *passage) logRequest(e *audit.Entry, refused error) error {
	err := p.step("audit request", func(p *passage) error {
		return p.house.Audit.LogRequest(&p.call, p.call.Now, e, refused)
	})
	p.noteAudit(err, false)
	return err
}

// logResponse writes the answer down.
func (p *passage) logResponse(e *audit.Entry, failure error) error {
	err := p.step("audit answer", func(p *passage) error {
		return p.house.Audit.LogResponse(context.WithoutCancel(&p.call), p.gate.now(), e, p.logged(failure))
	})
	p.noteAudit(err, true)
	return err
}

// Audited is why requests are refused for want of an audit device, or nil when they
// are not. It tries the devices again where they were.
func (g *Gate) Audited(c *api.Call) error {
	h := g.house.Load()
	if h == nil {
		return nil
	}
	return h.Audit.Check(c, c.Now, c.RequestID)
}

func (p *passage) noteAudit(err error, answer bool) {
	if err != nil && p.gate.observer != nil {
		p.gate.observer.AuditFailed(answer)
	}
}
