package lease

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// linger is how long leases whose engines have answered wait for the others of
// their page, to be removed in one commit with them.
const linger = 100 * time.Millisecond

// duePage is leases that are due together and the jobs that are about them.
type duePage struct {
	*Store
	jobs  map[string]*schedule.Job // by the key of the lease
	ended func(error, ...*schedule.Job)
}

// endDue takes back leases whose time has come, or which were ended: as end does
// for one, in one commit that ends them and one that removes them. What cannot be
// done together is done alone, so that none fails for another's sake.
func (s *Store) endDue(ctx context.Context, jobs []*schedule.Job, ended func(error, ...*schedule.Job)) {
	began := s.Now()
	p := &duePage{s, map[string]*schedule.Job{}, ended}
	ls := p.load(ctx, jobs)
	there, err := s.endAll(ctx, ls, func(l *Lease) bool { return l.Alive(s.Now()) })
	if err != nil {
		p.alone(ctx)
		return
	}
	p.spared(ls, there)
	answers := p.revoke(ctx, there)
	for left := len(there); left > 0; {
		some := collect(answers, left)
		left -= len(some)
		p.finish(ctx, some, began)
	}
}

// load reads the leases of jobs. A job whose lease is gone or cannot be read has
// come to its end, as has one about the same lease as another.
func (p *duePage) load(ctx context.Context, jobs []*schedule.Job) []*Lease {
	ls := make([]*Lease, 0, len(jobs))
	for _, job := range jobs {
		l, err := p.Store.load(ctx, job.Namespace, string(job.Data))
		if err != nil || l == nil || p.jobs[l.key()] != nil {
			p.ended(err, job)
			continue
		}
		p.jobs[l.key()] = job
		ls = append(ls, l)
	}
	return ls
}

// alone ends leases one by one.
func (p *duePage) alone(ctx context.Context) {
	for _, job := range p.jobs {
		p.ended(p.end(ctx, job), job)
	}
}

// spared ends the jobs of leases that were renewed or removed at the last moment.
func (p *duePage) spared(ls, there []*Lease) {
	for _, l := range ls {
		if !slices.ContainsFunc(there, func(t *Lease) bool { return t.key() == l.key() }) {
			p.ended(nil, p.jobs[l.key()])
		}
	}
}

// answer is what came of asking an engine to take a lease back.
type answer struct {
	l   *Lease
	err error
}

// revoke asks the engines of leases to take them back, all at once.
func (p *duePage) revoke(ctx context.Context, ls []*Lease) <-chan answer {
	answers := make(chan answer, len(ls))
	for _, l := range ls {
		go func() { answers <- answer{l, p.takeBack(ctx, l)} }()
	}
	return answers
}

// takeBack has a lease's engine take back what was lent. In quarantine it returns
// ErrQuarantined for what came with the snapshot, and no engine is asked.
func (s *Store) takeBack(ctx context.Context, l *Lease) error {
	if err := s.spare(ctx, l); err != nil {
		return err
	}
	m, err := s.lessor(ctx, l.NamespaceID, l.MountID)
	if err != nil {
		return err
	}
	return m.revoke(ctx, s.Now(), l)
}

// collect waits for an answer, and then a little for others, up to most.
func collect(answers <-chan answer, most int) []answer {
	some := []answer{<-answers}
	t := time.NewTimer(linger)
	defer t.Stop()
	for len(some) < most {
		select {
		case a := <-answers:
			some = append(some, a)
		case <-t.C:
			return some
		}
	}
	return some
}

// finish removes the leases that were taken back together with their jobs, and
// ends the jobs of the others in failure. It rests before it lets others have the
// places of its jobs.
func (p *duePage) finish(ctx context.Context, some []answer, began time.Time) {
	var done, held []*Lease
	for _, a := range some {
		switch {
		case errors.Is(a.err, ErrQuarantined):
			held = append(held, a.l)
		case a.err != nil:
			p.ended(a.err, p.jobs[a.l.key()])
		default:
			done = append(done, a.l)
		}
	}
	p.conclude(ctx, held, began, p.park)
	p.conclude(ctx, done, began, func(ctx context.Context, ls []*Lease, end func(*store.Tx)) error { return p.settle(ctx, ls, nil, end) })
}

// conclude ends leases together with their jobs in one commit, or else each in one of
// its own.
func (p *duePage) conclude(ctx context.Context, ls []*Lease, began time.Time, commit func(context.Context, []*Lease, func(*store.Tx)) error) {
	if len(ls) == 0 {
		return
	}
	jobs := make([]*schedule.Job, len(ls))
	for i, l := range ls {
		jobs[i] = p.jobs[l.key()]
	}
	err := commit(ctx, ls, func(tx *store.Tx) {
		for _, job := range jobs {
			job.Done(tx)
		}
	})
	if err == nil {
		rest(ctx, p.Now().Sub(began)/2)
		p.ended(nil, jobs...)
		return
	}
	for i, l := range ls {
		p.ended(commit(ctx, []*Lease{l}, jobs[i].Done), jobs[i])
	}
}
