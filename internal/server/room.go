package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// fullWarning is what an operator is told of a store that takes no writes.
const fullWarning = "the store has no room: nothing is written until there is; reads go on"

// tight is for how long after a refused commit a store counts as full, whatever it takes meanwhile: on a full disk a small
// row still finds a place now and then.
const tight = 10 * time.Second

// roomy is an engine that remembers whether it refuses commits for want of room.
type roomy struct {
	store.Engine
	now     func() time.Time
	changed func() // is told when that has changed
	full    atomic.Bool
	refused atomic.Int64 // when it last was, in nanoseconds since 1970
}

// Commit implements store.Store.
func (r *roomy) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	rev, err := r.Engine.Commit(ctx, checks, writes)
	switch {
	case errors.Is(err, store.ErrFull):
		r.refused.Store(r.now().UnixNano())
		r.is(true)
	case err == nil && len(writes) > 0 && r.full.Load() && r.now().UnixNano()-r.refused.Load() >= int64(tight):
		r.is(false)
	}
	return rev, err
}

func (r *roomy) is(full bool) {
	if r.full.Swap(full) != full {
		r.changed()
	}
}

// noteRoom has the node know whether its store takes writes.
func (s *Server) noteRoom() {
	s.room = &roomy{Engine: s.phys, now: s.now, changed: s.roomChanged}
	s.phys = s.room
}

// roomChanged tells of a store that has filled up or has room again, and has the node tell the others: what cannot be
// written is tried again until it can be.
func (s *Server) roomChanged() {
	if s.room.full.Load() {
		s.log.Error(fullWarning)
	} else {
		s.log.Info("the store has room again and writes")
	}
	if s.fleet != nil {
		s.fleet.Changed()
	}
}

// unlessFull is the error of a write that can be made at a later start: a store without room is read all the same.
func unlessFull(err error) error {
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}

// warning is what an operator must know of the store; empty: nothing.
func (s *Server) warning() string {
	text, _ := s.trouble.Load().(string)
	switch {
	case !s.room.full.Load():
		return text
	case text == "":
		return fullWarning
	}
	return fullWarning + "; " + text
}

// newcomer is the engine of a node that others may not know yet. It makes the node known before the first commit, so
// that a node which has started on a store without room writes nothing in a format that the others have left. And it notes
// for requests whether they have changed anything.
type newcomer struct {
	store.Engine
	server *Server
}

// Commit implements store.Store.
func (n *newcomer) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if len(writes) > 0 {
		if err := n.server.fleet.Known(ctx); err != nil {
			return 0, err
		}
	}
	rev, err := n.Engine.Commit(ctx, checks, writes)
	store.Note(ctx, writes, err)
	return rev, err
}
