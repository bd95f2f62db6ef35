package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// freshen makes sure that what this node remembers is as new as the store, and that
// it still serves: it may have been paused while all nodes were ordered to seal, or while
// an audit device was enabled.
func (p *passage) freshen() error {
	var err error
	if p.began, err = p.house.Cache.Moment(&p.call); err != nil {
		return err
	}
	recalled, err := p.house.Recalled(&p.call)
	if err == nil && recalled {
		err = p.gate.errSealed()
	}
	if err != nil {
		return err
	}
	return p.house.CatchUp(&p.call)
}

// unreachable is what a request meets on a node that cannot learn how far its store is.
// Nothing was done for it.
func (p *passage) unreachable(err error) error {
	var known *api.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	p.gate.logAway(p.r.ID, err)
	hint := "ask another node, or try again; the server's log has the cause"
	if p.r.Op == api.Write && p.r.Path == "sys/seal" { // whether the token may is in the store
		hint = "without its store a node cannot tell whether you may seal it: to seal this one, end its process"
	}
	return &api.Error{Kind: api.Unavailable, Message: "this node cannot reach its store; nothing was done", Hint: hint, Err: err}
}

// unsure is what a request meets whose handler has changed something, or may have, when the store is lost sight of.
func unsure(err error) *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "this node lost sight of its store; it is not known whether this was done",
		Hint: "read what it was to change before you repeat it; the server's log has the cause", Err: err}
}

// doubtful reports whether it is not known what came of a request that failed with err: a commit of its handler has no known
// outcome, or was made before the store, or the time for it, was gone.
func (p *passage) doubtful(err error) bool {
	if !p.acted || err == nil {
		return false
	}
	lost := errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrStopped) || errors.Is(err, store.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	return errors.Is(err, store.ErrUnknown) || lost && p.trace.Changed()
}

// away reports whether an error says that the store cannot be reached.
func away(err error) bool {
	return errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrUnknown)
}

// awayEvery is how often a node logs that its store cannot be reached, while requests go on to meet it.
const awayEvery = 10 * time.Second

// logAway logs, now and then, why the store cannot be reached.
func (g *Gate) logAway(id string, err error) {
	now, last := g.now().UnixNano(), g.away.Load()
	if errors.Is(err, context.Canceled) || last != 0 && now-last < int64(awayEvery) && now >= last || !g.away.CompareAndSwap(last, now) {
		return
	}
	g.log.Warn("the store cannot be reached", slog.String("request_id", id), slog.Any("error", err))
}

// unwritten is what a commit that the store has refused says of a request.
const unwritten = "nothing was written"

// written is what a request has written whose last commit the store has refused. It may have made others.
func (p *passage) written() string {
	if p.acted && p.trace.Changed() {
		return "a part of this may have been written before; read what it was to change before you repeat it"
	}
	return unwritten
}

func errFull(written string, err error) *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "the store has no room: " + written, Hint: "free some space on its disk, or raise the quota of its etcd; reads go on meanwhile", Err: err}
}

// storeTrouble is what a caller is told when the store cannot do its part, or
// nil for any other error. The store's errors name entries, never values.
func storeTrouble(err error) *api.Error {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return &api.Error{Kind: api.Damaged, Message: fmt.Sprintf("a stored entry is damaged: %v", err), Hint: "restore it from a backup; everything else is served", Err: err}
	case errors.Is(err, store.ErrFull):
		return errFull(unwritten, err)
	case errors.Is(err, store.ErrStopped):
		return &api.Error{Kind: api.Unavailable, Message: "the store has stopped writing after a disk error", Hint: "restart the server once its cause, which its log names, is removed; reads go on meanwhile", Err: err}
	}
	return nil
}
