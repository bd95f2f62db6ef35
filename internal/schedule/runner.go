package schedule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Defaults of a Runner.
const (
	defaultClaim = time.Minute
	defaultLimit = 32
)

// pageSize bounds the rows that are claimed in one commit; a claim takes two
// writes and two checks of what one commit takes. maxRows bounds those that are
// read and claimed in one go.
const (
	pageSize = 32
	maxRows  = 4 * pageSize
)

var errMalformed = errors.New("schedule: a row's key is malformed")

// breather is how long a namespace is left alone after something in it could not
// be claimed.
const breather = time.Second

// slumber is how long a namespace is left alone whose keys are not at hand: it is
// sealed, and what is due in it waits until it is not.
const slumber = time.Minute

// glance is how often a runner looks at the clock while it waits for it. A timer runs by what has passed, and goes on
// doing so when the clock is set: what is due by it would wait for an hour that the clock has already struck.
const glance = 2 * time.Second

// maxBackoff bounds how long a failed job waits for its next try.
const maxBackoff = 10 * time.Minute

// Runner runs what is due. All fields but Store, Now and Handlers may be zero.
type Runner struct {
	Store    store.Store            // the whole encrypted store
	Now      func() time.Time       // the clock
	Handlers map[string]Handler     // by Item.Kind
	Pages    map[string]PageHandler // of kinds that are also done many at a time; each has a Handler too
	Owner    string                 // who claims: a name that this run has alone; empty: a random one
	Alone    bool                   // no other node can be at work on the store: what a run before this one had claimed is taken up soon
	Claim    time.Duration          // how long a dead node keeps what it claimed; 0: one minute
	Limit    int                    // jobs at once; 0: 32
	Failed   func(Item, error)      // told of every failed try, such as for a log; nil: nobody

	agenda agenda
	slots  *slots
	work   sync.WaitGroup
	claims atomic.Int64     // claims begun, to tell their ends apart
	aside  map[string]aside // by key; only Run's own goroutine uses it

	regained bool // what earlier runs had claimed; only follow's own goroutine uses it
}

// Run runs what is due until ctx ends and every handler has returned. It
// survives a store that is out of reach. A Runner runs once.
func (r *Runner) Run(ctx context.Context) error {
	if r.Claim == 0 {
		r.Claim = defaultClaim
	}
	if r.Limit == 0 {
		r.Limit = defaultLimit
	}
	if r.Owner == "" {
		r.Owner = rand.Text()
	}
	r.slots = newSlots(r.Limit)
	r.agenda.changed = make(chan struct{}, 1)
	r.work.Go(func() { r.follow(ctx) })
	for ctx.Err() == nil {
		wait := r.pass(ctx)
		r.sleep(ctx, min(wait, glance))
	}
	r.work.Wait()
	return ctx.Err()
}

func (r *Runner) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-r.agenda.changed:
	}
}

// pass starts what is due and tells how long there is nothing to do.
func (r *Runner) pass(ctx context.Context) time.Duration {
	for {
		now := r.Now()
		ns, at, ok := r.agenda.next()
		switch {
		case !ok:
			return time.Hour
		case at.After(now):
			return at.Sub(now)
		}
		err := r.start(ctx, ns)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, store.ErrSealed):
			r.agenda.add(ns, now.Add(slumber))
		default:
			r.agenda.add(ns, now.Add(breather))
			r.failed(Item{Namespace: ns}, err)
		}
		if ctx.Err() != nil {
			return 0
		}
	}
}

// start claims and runs one page of what is due in a namespace.
func (r *Runner) start(ctx context.Context, ns string) error {
	free := r.slots.take(ctx, maxRows) // may take long, so the clock is read after it
	defer func() { r.slots.give(free) }()
	if free == 0 {
		return ctx.Err()
	}
	now := r.Now()
	r.agenda.take(ns)
	p, err := r.read(ctx, ns, free, now)
	if err != nil {
		return err
	}
	jobs := r.claimPage(ctx, p, now)
	if at, ok := p.again(len(jobs), now); ok {
		r.agenda.add(ns, at)
	}
	for _, some := range r.calls(jobs) {
		free -= len(some)
		r.work.Go(func() { r.runAll(ctx, some) })
	}
	return nil
}

// settle settles what becomes of a job's row after its handler has returned. That its namespace was sealed meanwhile is no
// failure: the row stays as it is claimed, and is due again once the namespace is open.
func (r *Runner) settle(ctx context.Context, j *Job, err error) {
	// The row is settled also when the node is shutting down, so that no other
	// has to wait for the claim's end.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Claim)
	defer cancel()
	if err == nil {
		if err = j.remove(within, r.Store); err != nil && !errors.Is(err, store.ErrSealed) {
			r.failed(j.Item, fmt.Errorf("schedule: remove: %w", err))
		}
		return
	}
	again, tries := r.Now(), j.Tries
	if ctx.Err() == nil {
		again, tries = again.Add(backoff(tries)), tries+1
	}
	back := j.move(within, r.Store, again, row{Data: j.Data, Tries: tries})
	if errors.Is(err, store.ErrSealed) && errors.Is(back, store.ErrSealed) {
		return
	}
	if ctx.Err() == nil {
		r.failed(j.Item, err)
	}
	if back != nil && !errors.Is(back, store.ErrConflict) {
		r.failed(j.Item, fmt.Errorf("schedule: put back: %w", back))
	}
}

// handle runs the handler while it keeps the claim alive. A panic is an error
// like others: one bad item must not take every node down in turn.
func (r *Runner) handle(ctx context.Context, j *Job) (err error) {
	h := r.Handlers[j.Kind]
	if h == nil {
		return fmt.Errorf("schedule: no handler for kind %s", j.Kind)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer r.hold(ctx, cancel, j)()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schedule: handler for kind %s panicked", j.Kind)
		}
	}()
	return h(ctx, j)
}

// keep extends a claim until ctx ends, and ends it when the claim is lost.
func (r *Runner) keep(ctx context.Context, lost context.CancelFunc, j *Job) {
	tick := time.NewTicker(r.Claim / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.Now()
		if !now.Add(spread).Before(j.claimEnd()) {
			lost()
			return
		}
		err := j.move(ctx, r.Store, r.until(now), row{Data: j.Data, Tries: j.Tries, Owner: r.Owner})
		if errors.Is(err, store.ErrConflict) {
			lost()
			return
		}
	}
}

func (r *Runner) failed(it Item, err error) {
	if r.Failed != nil {
		r.Failed(it, err)
	}
}

// backoff is how long to wait after a number of failed tries: from one second,
// doubling, with a random part so that failures do not come back in step.
func backoff(tries int) time.Duration {
	d := min(time.Second<<min(tries, 20), maxBackoff)
	return d + mathrand.N(d/2)
}
