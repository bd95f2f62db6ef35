package gate

import (
	"context"
	"errors"
	"fmt"

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
func unreachable(err error) error {
	var known *api.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return &api.Error{Kind: api.Unavailable, Message: "this node cannot reach its store; nothing was done",
		Hint: "ask another node, or try again; the server's log has the cause", Err: err}
}

// storeTrouble is what a caller is told when the store cannot do its part, or
// nil for any other error. The store's errors name entries, never values.
func storeTrouble(err error) *api.Error {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return &api.Error{Kind: api.Damaged, Message: fmt.Sprintf("a stored entry is damaged: %v", err), Hint: "restore it from a backup; everything else is served", Err: err}
	case errors.Is(err, store.ErrFull):
		return &api.Error{Kind: api.Unavailable, Message: "the store has no room: nothing was written", Hint: "free some space on its disk, or raise the quota of its etcd; reads go on meanwhile", Err: err}
	case errors.Is(err, store.ErrStopped):
		return &api.Error{Kind: api.Unavailable, Message: "the store has stopped writing after a disk error", Hint: "restart the server once its cause, which its log names, is removed; reads go on meanwhile", Err: err}
	}
	return nil
}
