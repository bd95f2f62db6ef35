package telemetry

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/internal/store"
)

// stored counts what the store was asked.
type stored struct {
	gets, lists, syncs atomic.Uint64
	commits            *prometheus.HistogramVec
}

// counted is a Store that is counted.
type counted struct {
	store.Store
	meter     *Meter
	done, not prometheus.Observer
}

// Store is s, counted.
func (m *Meter) Store(s store.Store) store.Store {
	return &counted{s, m, m.store.commits.WithLabelValues("ok"), m.store.commits.WithLabelValues("failed")}
}

// Get implements store.Store.
func (c *counted) Get(ctx context.Context, key string) (store.Entry, error) {
	c.meter.store.gets.Add(1)
	return c.Store.Get(ctx, key)
}

// List implements store.Store.
func (c *counted) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	c.meter.store.lists.Add(1)
	return c.Store.List(ctx, r)
}

// Sync implements store.Store.
func (c *counted) Sync(ctx context.Context) (store.Rev, error) {
	c.meter.store.syncs.Add(1)
	return c.Store.Sync(ctx)
}

// Commit implements store.Store.
func (c *counted) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (rev store.Rev, err error) {
	began := c.meter.now()
	if c.meter.tracer == nil {
		rev, err = c.Store.Commit(ctx, checks, writes)
	} else {
		inner, end := c.meter.Step(ctx, "store commit")
		rev, err = c.Store.Commit(inner, checks, writes)
		end(err)
	}
	c.observer(err).Observe(c.meter.now().Sub(began).Seconds())
	return rev, err
}

// observer is that of commits which end so.
func (c *counted) observer(err error) prometheus.Observer {
	if err != nil {
		return c.not
	}
	return c.done
}
