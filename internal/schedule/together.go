package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Together is how many jobs are handled together at most: so few that five writes and
// two checks for each of them fit into one commit.
const Together = 20

// PageHandler does what is due together: what a Handler does, for some jobs at
// once. It calls ended for each of them, alone or with others that have come to the
// same end, as soon as it knows its end, so that a slow one holds up no other. Its
// context ends when the node's claim on one of them does.
//
// It is handed what is tried for the first time. Whatever has failed is
// left to the Handler of its kind from then on, alone.
type PageHandler func(ctx context.Context, jobs []*Job, ended func(err error, jobs ...*Job))

// errUnsaid is the end of a job of which its handler did not tell.
var errUnsaid = errors.New("schedule: the handler told of no end")

// calls parts jobs into those that one call of a handler is about.
func (r *Runner) calls(jobs []*Job) (calls [][]*Job) {
	many := map[string][]*Job{}
	for _, j := range jobs {
		if r.Pages[j.Kind] == nil || j.Tries > 0 {
			calls = append(calls, []*Job{j})
			continue
		}
		many[j.Kind] = append(many[j.Kind], j)
	}
	for _, js := range many {
		calls = slices.AppendSeq(calls, slices.Chunk(js, Together))
	}
	return calls
}

// runAll runs the jobs of one call.
func (r *Runner) runAll(ctx context.Context, jobs []*Job) {
	if len(jobs) > 1 {
		r.runPage(ctx, jobs)
		return
	}
	r.settle(ctx, jobs[0], r.handle(ctx, jobs[0]))
	r.slots.give(1)
}

// runPage runs jobs of one kind together, while it keeps the claim on each of them
// alive, and gives the slots back of those that have ended.
func (r *Runner) runPage(ctx context.Context, jobs []*Job) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	kept := map[*Job]func(){} // those that have not ended, and what lets go of their claims
	for _, j := range jobs {
		kept[j] = r.hold(within, cancel, j)
	}
	ended := func(err error, some ...*Job) {
		var work sync.WaitGroup
		n := 0
		for _, j := range some {
			mu.Lock()
			letGo := kept[j]
			delete(kept, j)
			mu.Unlock()
			if letGo == nil {
				continue // it has been told of before
			}
			n++
			letGo()
			work.Go(func() { r.settle(ctx, j, err) })
		}
		work.Wait()
		r.slots.give(n)
	}
	ended(r.handlePage(within, jobs, ended), jobs...)
}

// handlePage calls the handler and is the error of the jobs whose end it did not
// tell.
func (r *Runner) handlePage(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schedule: handler for kind %s panicked", jobs[0].Kind)
		}
	}()
	r.Pages[jobs[0].Kind](ctx, jobs, ended)
	return errUnsaid
}

// hold keeps a job's claim alive until letGo is called, and calls lost when the claim
// is lost.
func (r *Runner) hold(ctx context.Context, lost context.CancelFunc, j *Job) (letGo func()) {
	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { r.keep(ctx, lost, j) })
	return func() {
		cancel()
		keeper.Wait()
	}
}

// slots are places for jobs that run at once. One taker at a time may wait.
type slots struct {
	freed chan struct{} // receives when there are more

	mu   sync.Mutex
	free int
}

func newSlots(n int) *slots { return &slots{freed: make(chan struct{}, 1), free: n} }

// take waits until there is a slot and takes as many as there are, up to most;
// none when ctx ends first. What was given back together is taken together, so that
// full pages are followed by full pages.
func (s *slots) take(ctx context.Context, most int) int {
	for ctx.Err() == nil {
		s.mu.Lock()
		n := min(s.free, most)
		s.free -= n
		s.mu.Unlock()
		if n > 0 {
			return n
		}
		select {
		case <-ctx.Done():
		case <-s.freed:
		}
	}
	return 0
}

func (s *slots) give(n int) {
	s.mu.Lock()
	s.free += n
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
