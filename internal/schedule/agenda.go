package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// agenda knows, for each namespace, a moment before which nothing is due. It
// holds one moment a namespace, however many rows there are.
type agenda struct {
	changed chan struct{} // receives when a moment became earlier

	mu    sync.Mutex
	first map[string]time.Time
}

// add notes that something may be due in a namespace at a moment.
func (a *agenda) add(ns string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first == nil {
		a.first = map[string]time.Time{}
	}
	if known, ok := a.first[ns]; ok && !at.Before(known) {
		return
	}
	a.first[ns] = at
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// take forgets a namespace's moment. It comes before the rows are read, so that
// what is added meanwhile is noted again.
func (a *agenda) take(ns string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.first, ns)
}

// next is the namespace where something may be due first.
func (a *agenda) next() (ns string, at time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, t := range a.first {
		if !ok || t.Before(at) {
			ns, at, ok = n, t, true
		}
	}
	return ns, at, ok
}

// follow keeps the agenda in step with the store until ctx ends.
func (r *Runner) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.followOnce(ctx); err != nil && ctx.Err() == nil {
			r.failed(Item{}, err)
			r.pause(ctx, time.Second)
		}
	}
}

func (r *Runner) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (r *Runner) followOnce(ctx context.Context) (err error) {
	rev, err := r.Store.Sync(ctx)
	if err != nil {
		return fmt.Errorf("schedule: sync: %w", err)
	}
	feed, err := r.Store.Watch(ctx, rev)
	if err != nil {
		return fmt.Errorf("schedule: watch: %w", err)
	}
	defer func() {
		if cerr := feed.Close(); err == nil {
			err = cerr
		}
	}()
	if err := r.scan(ctx); err != nil {
		return err
	}
	for {
		c, err := feed.Next(ctx)
		if err != nil {
			return fmt.Errorf("schedule: watch: %w", err)
		}
		for _, k := range c.Keys {
			if it, ok := parse(k); ok {
				r.agenda.add(it.Namespace, it.At)
			}
		}
	}
}

// scan notes the first due-time of every namespace, the first time after it has
// regained what was claimed there. It steps from one first segment of the key space to the
// next, two reads each.
func (r *Runner) scan(ctx context.Context) error {
	from := ""
	for {
		es, err := r.Store.List(ctx, store.Range{Start: from, Limit: 1, KeysOnly: true})
		if err != nil {
			return fmt.Errorf("schedule: find namespaces: %w", err)
		}
		if len(es) == 0 {
			r.regained = true
			return nil
		}
		ns, _, _ := strings.Cut(es[0].Key, "/")
		if r.Alone && !r.regained {
			if err := r.regain(ctx, ns); err != nil && !errors.Is(err, store.ErrSealed) {
				return err
			}
		}
		due := store.Prefix(ns + area)
		due.Limit, due.KeysOnly = 1, true
		if es, err = r.Store.List(ctx, due); err != nil {
			return fmt.Errorf("schedule: find what is due: %w", err)
		}
		if len(es) == 1 {
			it, _ := parse(es[0].Key) // a malformed one counts as due: rows behind it may be
			r.agenda.add(ns, it.At)
		}
		from = ns + "0" // '0' follows '/'
	}
}
