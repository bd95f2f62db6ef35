package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Defaults of a Runner.
const (
	defaultClaim = time.Minute
	defaultLimit = 32
)

// pageSize bounds the rows that are read and claimed in one go; a claim takes
// two writes of a commit's store.MaxWrites.
const pageSize = 32

var errMalformed = errors.New("schedule: a row's key is malformed")

// maxBackoff bounds how long a failed job waits for its next try.
const maxBackoff = 10 * time.Minute

// Runner runs what is due. All fields but Store, Now and Handlers may be zero.
type Runner struct {
	Store    store.Store        // the whole encrypted store
	Now      func() time.Time   // the clock
	Handlers map[string]Handler // by Item.Kind
	Owner    string             // this node's name, for operators
	Claim    time.Duration      // how long a dead node keeps what it claimed; 0: one minute
	Limit    int                // handlers at once; 0: 32
	Failed   func(Item, error)  // told of every failed try, such as for a log; nil: nobody

	agenda agenda
	slots  chan struct{}
	work   sync.WaitGroup
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
	r.slots = make(chan struct{}, r.Limit)
	r.agenda.changed = make(chan struct{}, 1)
	r.work.Go(func() { r.follow(ctx) })
	for ctx.Err() == nil {
		wait := r.pass(ctx)
		r.sleep(ctx, wait)
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
		if err := r.start(ctx, ns); err != nil && ctx.Err() == nil {
			r.agenda.add(ns, at)
			r.failed(Item{Namespace: ns}, err)
			r.pause(ctx, time.Second)
		}
		if ctx.Err() != nil {
			return 0
		}
	}
}

// start claims and runs one page of what is due in a namespace.
func (r *Runner) start(ctx context.Context, ns string) error {
	free := r.acquire(ctx) // may take long, so the clock is read after it
	defer func() { r.release(free) }()
	if free == 0 {
		return ctx.Err()
	}
	now := r.Now()
	r.agenda.take(ns)
	page, err := r.Store.List(ctx, store.Range{
		Start: ns + area, End: store.PrefixEnd(ns + area), Limit: free + 1})
	if err != nil {
		return fmt.Errorf("schedule: read what is due: %w", err)
	}
	due := r.due(page, free, now)
	jobs := r.claim(ctx, due, now)
	if len(jobs) < len(due) {
		r.agenda.add(ns, now.Add(time.Second)) // whatever became of the others
	}
	for _, j := range jobs {
		free--
		r.work.Go(func() {
			defer r.release(1)
			r.run(ctx, j)
		})
	}
	return nil
}

// due is the part of a page that is due, at most free rows. It notes when the
// first row behind it is.
func (r *Runner) due(page []store.Entry, free int, now time.Time) []store.Entry {
	for i, e := range page {
		it, ok := parse(e.Key)
		if !ok {
			r.failed(Item{}, errMalformed)
			it.At = now.Add(maxBackoff)
		}
		if i == free || it.At.After(now) {
			ns, _, _ := strings.Cut(e.Key, "/")
			r.agenda.add(ns, it.At)
			return page[:i]
		}
	}
	return page
}

// acquire waits for a free slot and takes as many as there are, up to a page.
func (r *Runner) acquire(ctx context.Context) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; n < pageSize; n++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
	return pageSize
}

func (r *Runner) release(n int) {
	for range n {
		<-r.slots
	}
}

// claim claims rows: all in one commit, or one by one when another node is
// claiming too, in random order so that the nodes do not run in step.
func (r *Runner) claim(ctx context.Context, rows []store.Entry, now time.Time) []*Job {
	jobs, err := r.claimAll(ctx, rows, now)
	if !errors.Is(err, store.ErrConflict) || len(rows) == 1 {
		return r.claimed(jobs, err)
	}
	jobs = nil
	for _, i := range rand.Perm(len(rows)) {
		one, err := r.claimAll(ctx, rows[i:i+1], now)
		jobs = append(jobs, r.claimed(one, err)...)
	}
	return jobs
}

// claimed drops what could not be claimed: another node has it, or, when the
// outcome is not known, it is due again when the claim ends.
func (r *Runner) claimed(jobs []*Job, err error) []*Job {
	if err == nil {
		return jobs
	}
	if !errors.Is(err, store.ErrConflict) {
		r.failed(Item{}, fmt.Errorf("schedule: claim: %w", err))
	}
	return nil
}

func (r *Runner) claimAll(ctx context.Context, rows []store.Entry, now time.Time) ([]*Job, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var checks []store.Check
	var writes []store.Write
	jobs := make([]*Job, 0, len(rows))
	for _, e := range rows {
		j, v, err := newJob(e)
		if err != nil {
			return nil, err
		}
		j.at.At, v.Owner = now.Add(r.Claim), r.Owner
		c, w, err := moving(j.Item, e.Rev, j.at, v)
		if err != nil {
			return nil, err
		}
		checks, writes, jobs = append(checks, c...), append(writes, w...), append(jobs, j)
	}
	rev, err := r.Store.Commit(ctx, checks, writes)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		j.rev = rev
	}
	return jobs, nil
}

// newJob reads a row. A value that cannot be read is taken as empty: its
// handler still knows the id, and one bad row must not stop the others.
func newJob(e store.Entry) (*Job, row, error) {
	it, ok := parse(e.Key)
	if !ok {
		return nil, row{}, errMalformed
	}
	var v row
	if err := json.Unmarshal(e.Value, &v); err != nil {
		v = row{}
	}
	it.Data = v.Data
	return &Job{Item: it, at: it, Tries: v.Tries}, v, nil
}

// run runs a job's handler and settles what becomes of its row.
func (r *Runner) run(ctx context.Context, j *Job) {
	err := r.handle(ctx, j)
	// The row is settled also when the node is shutting down, so that no other
	// has to wait for the claim's end.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Claim)
	defer cancel()
	if err == nil {
		if err = j.remove(settle, r.Store); err != nil {
			r.failed(j.Item, fmt.Errorf("schedule: remove: %w", err))
		}
		return
	}
	again, tries := r.Now(), j.Tries
	if ctx.Err() == nil {
		r.failed(j.Item, err)
		again, tries = again.Add(backoff(tries)), tries+1
	}
	err = j.move(settle, r.Store, again, row{Data: j.Data, Tries: tries})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		r.failed(j.Item, fmt.Errorf("schedule: put back: %w", err))
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
	var keeper sync.WaitGroup
	keeper.Go(func() { r.keep(ctx, cancel, j) })
	defer keeper.Wait()
	defer cancel()
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
		if !now.Before(j.claimEnd()) {
			lost()
			return
		}
		err := j.move(ctx, r.Store, now.Add(r.Claim), row{Data: j.Data, Tries: j.Tries, Owner: r.Owner})
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
	return d + rand.N(d/2)
}
