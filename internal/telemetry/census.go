package telemetry

import (
	"context"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// When the rows of tokens and leases are counted. A counter in the store would be
// one row that every commit of theirs writes, and so a queue for all of them;
// reading a million keys whenever somebody asks for metrics would be a load that
// whoever asks decides. So each node counts now and then, a page of keys at a time
// with a rest behind each, and tells how old the numbers are. Where that takes long,
// it is done less often.
const (
	censusFirst  = time.Minute // after the start, which has better things to do
	censusPeriod = 10 * time.Minute
	censusRest   = 20 * time.Millisecond
	censusShare  = 100 // of the time at most one part in so many is spent on it
)

// Census counts what the whole cluster holds.
type Census struct {
	Store          store.Store              // the whole encrypted store
	Tokens, Leases func(nsID string) string // prefixes of their rows in a namespace
	Failed         func(error)              // is told of a count that failed; the next is tried
}

// population is what a census has found.
type population struct {
	at             time.Time // when it began
	tokens, leases int
}

// Count takes a census every ten minutes, or less often, until ctx ends, from when
// on there are no numbers.
func (m *Meter) Count(ctx context.Context, c *Census) {
	defer m.population.Store(nil)
	for next := censusFirst; wait(ctx, next) == nil; {
		began := m.now()
		found, err := c.take(ctx, began)
		next = max(censusPeriod, censusShare*m.now().Sub(began))
		switch {
		case err == nil:
			m.population.Store(found)
		case ctx.Err() == nil:
			c.Failed(err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// take counts once.
func (c *Census) take(ctx context.Context, now time.Time) (*population, error) {
	out := &population{at: now}
	rest := func() error { return wait(ctx, censusRest) }
	namespaces, err := store.Children(ctx, c.Store, "", "", 0)
	if err != nil {
		return nil, err
	}
	for _, ns := range namespaces {
		ns = strings.TrimSuffix(ns, "/")
		for _, of := range []struct {
			rows  func(string) string
			total *int
		}{{c.Tokens, &out.tokens}, {c.Leases, &out.leases}} {
			n, err := store.Count(ctx, c.Store, of.rows(ns), rest)
			if err != nil {
				return nil, err
			}
			*of.total += n
		}
	}
	return out, nil
}
