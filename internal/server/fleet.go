package server

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/build"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/store"
)

// probeTime is how long a node may take to catch up with the store before it
// counts as behind.
const probeTime = 2 * time.Second

// joinFleet makes the node known to the others on its store. It writes nothing to
// one that is in a format out of this version's reach. It tells of itself through told.
func (s *Server) joinFleet(ctx context.Context, told store.Store) error {
	if err := fleet.Check(ctx, s.phys); err != nil {
		return err
	}
	began := s.now().UTC()
	s.fleet = &fleet.Fleet{Store: told, ID: api.NewUUID(), Alone: s.config.alone(), Newest: fleet.Format, Oldest: 1, Now: s.now, Log: s.logs.Logger("fleet"),
		Outdated: s.end, Notice: s.notice, Self: func(ctx context.Context) fleet.Member { return s.member(ctx, began) }}
	if err := s.fleet.Join(ctx); err != nil {
		return err
	}
	ctx, s.leave = context.WithCancel(context.WithoutCancel(ctx))
	s.beats.Go(func() { s.fleet.Run(ctx) })
	if s.store.space != nil {
		s.beats.Go(func() { s.watchSpace(ctx, s.store.space) })
	}
	if s.store.member != nil {
		s.beats.Go(func() { s.watchMember(ctx, s.store.member) })
	}
	return nil
}

// program is the version of this program and the commit that it was built from.
func program() string {
	version, revision := build.Version()
	return version + " (" + revision + ")"
}

// programVersion is the version of this program.
func programVersion() string {
	version, _ := build.Version()
	return version
}

// member tells how this node is.
func (s *Server) member(ctx context.Context, began time.Time) fleet.Member {
	m := fleet.Member{Name: hostname(), Address: s.config.address(), Version: Version, Program: program(), Sealed: s.barrier.Sealed(), Started: began}
	m.Warning = s.warning()
	if s.store.member != nil {
		m.StoreMember = strconv.FormatUint(s.store.member.ID(), 16)
	}
	m.Ready = s.desk.Ready(ctx)
	if h := s.current(); h != nil {
		from := s.now()
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		if _, err := h.Cache.Fresh(ctx); err != nil {
			s.log.Debug("this node is behind the store", slog.Any("error", err))
		}
		m.Lag, m.Revision = fleet.Millis(s.now().Sub(from)), h.Cache.Applied()
	}
	return m
}

// end has Serve return with an error: the node cannot go on.
func (s *Server) end(cause error) {
	s.log.Error("this node ends", slog.Any("error", cause))
	select {
	case s.fatal <- cause:
	default: // it ends already
	}
}

// orderToSeal orders all nodes to seal, waits for those that live, and returns
// those that have not said that they are sealed.
func (s *Server) orderToSeal(ctx context.Context) ([]fleet.Member, error) {
	h := s.current()
	if h == nil {
		return nil, errors.New("the server is sealed")
	}
	if err := h.orders.GiveSeal(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	return s.fleet.AwaitSealed(ctx)
}

// sealWait is how long who seals all nodes waits for the others.
const sealWait = 5 * time.Second

// obeyOrders does what is ordered to all nodes. Requests look by themselves: an
// order that has been acknowledged holds for every later one.
func (s *Server) obeyOrders(ctx context.Context, h *house) error {
	if _, err := h.Cache.Fresh(ctx); err != nil {
		return err
	}
	told, err := h.orders.Seal(ctx)
	if err != nil || !told {
		return err
	}
	s.log.Warn("this node seals, as all nodes were ordered to")
	go s.obey() // beside what it waits for
	<-ctx.Done()
	return nil
}

func (s *Server) obey() {
	if err := s.shut(context.Background()); err != nil {
		s.log.Error("sealing", slog.Any("error", err))
	}
}

// errEnding says that a node is to be sent nothing more.
var errEnding = &api.Error{Kind: api.Unavailable, Message: "the server is shutting down"}

// probe is a real read: whether what is stored can be reached, read and decrypted
// by a node that has caught up.
func (s *Server) probe(ctx context.Context) error {
	h := s.current()
	switch {
	case s.draining.Load():
		return errEnding
	case h == nil:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if _, err := h.Cache.Fresh(ctx); err != nil {
		return err
	}
	_, err := s.desk.RootIssued(ctx)
	return err
}
