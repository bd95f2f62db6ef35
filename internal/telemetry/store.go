package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/internal/store"
)

// stored counts what the store was asked.
type stored struct {
	gets, lists, syncs atomic.Uint64
	commits            *prometheus.HistogramVec
	trips              func() uint64 // of Sync; nil: it makes none
}

// counted is an Engine that is counted.
type counted struct {
	store.Engine
	meter *Meter

	done, lost, not prometheus.Observer // commits that were made, met a conflict, and failed
}

// travels is an engine whose Sync goes to another process.
type travels interface{ SyncTrips() uint64 }

// Store is s, counted.
func (m *Meter) Store(s store.Engine) store.Engine {
	if t, ok := s.(travels); ok {
		m.store.trips = t.SyncTrips
	}
	as := m.store.commits.WithLabelValues
	return &counted{Engine: s, meter: m, done: as("ok"), lost: as("conflict"), not: as("failed")}
}

// Get implements store.Store.
func (c *counted) Get(ctx context.Context, key string) (store.Entry, error) {
	c.meter.store.gets.Add(1)
	return c.Engine.Get(ctx, key)
}

// List implements store.Store.
func (c *counted) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	c.meter.store.lists.Add(1)
	return c.Engine.List(ctx, r)
}

// Sync implements store.Store.
func (c *counted) Sync(ctx context.Context) (store.Rev, error) {
	c.meter.store.syncs.Add(1)
	return c.Engine.Sync(ctx)
}

// Commit implements store.Store.
func (c *counted) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (rev store.Rev, err error) {
	began := c.meter.now()
	if c.meter.tracer == nil {
		rev, err = c.Engine.Commit(ctx, checks, writes)
	} else {
		inner, end := c.meter.Step(ctx, "store commit")
		rev, err = c.Engine.Commit(inner, checks, writes)
		end(err)
	}
	c.observer(err).Observe(c.meter.now().Sub(began).Seconds())
	return rev, err
}

// observer is that of commits which end so.
func (c *counted) observer(err error) prometheus.Observer {
	switch {
	case err == nil:
		return c.done
	case errors.Is(err, store.ErrConflict):
		return c.lost // the caller tries again, as it is meant to
	}
	return c.not
}

// syncTrips is how many round trips Sync has made.
func (s *stored) syncTrips() uint64 {
	if s.trips == nil {
		return 0
	}
	return s.trips()
}
