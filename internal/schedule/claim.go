package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// group is rows that say the same: one is claimed, the others go with it.
type group []store.Entry

// page is what is due in a namespace now, and when to look again.
type page struct {
	claims [][]group // what one commit each can claim
	next   time.Time // zero: nothing behind
}

// groups is how many groups are due.
func (p *page) groups() int {
	n := 0
	for _, c := range p.claims {
		n += len(c)
	}
	return n
}

// note has the namespace looked at again at a moment, if not before.
func (p *page) note(at time.Time) {
	if p.next.IsZero() || at.Before(p.next) {
		p.next = at
	}
}

// again is when the namespace is to be looked at again, given how many groups
// were claimed. Without any progress it is never at once.
func (p *page) again(claimed int, now time.Time) (time.Time, bool) {
	if claimed < p.groups() {
		p.note(now.Add(breather)) // whatever became of the others
	}
	if claimed == 0 && len(p.claims) > 0 && p.next.Before(now.Add(breather)) {
		p.next = now.Add(breather)
	}
	return p.next, !p.next.IsZero()
}

// read reads what is due in a namespace, at most free rows besides those that
// are set aside.
func (r *Runner) read(ctx context.Context, ns string, free int, now time.Time) (*page, error) {
	r.forget(now)
	due := store.Prefix(ns + area)
	due.Limit = free + 1 + len(r.aside)
	es, err := r.Store.List(ctx, due)
	damaged := errors.Is(err, store.ErrCorrupt) // then the others are there all the same
	if err != nil && (!damaged || len(es) == 0) {
		return nil, fmt.Errorf("schedule: read what is due: %w", err)
	}
	p := &page{}
	var rows []store.Entry
	for _, e := range es {
		it, ok := parse(e.Key)
		it.Namespace = ns
		if ok && (len(rows) == free || it.At.After(now)) {
			p.note(it.At)
			break
		}
		switch a := r.aside[e.Key]; {
		case a.until.After(now):
			p.note(a.until)
		case !ok:
			p.note(r.setAside(it, e.Key, errMalformed, now))
		case damaged && e.Value == nil: // what its handler is to do is not known
			p.note(r.setAside(it, e.Key, fmt.Errorf("schedule: row: %w", store.ErrCorrupt), now))
		default:
			rows = append(rows, e)
		}
	}
	for some := range slices.Chunk(rows, pageSize) {
		p.claims = append(p.claims, gather(some))
	}
	return p, nil
}

// gather puts rows that say the same together: it is enough to do once, after
// all of them are due, what they ask for. Their keys are well-formed.
func gather(rows []store.Entry) []group {
	type meaning struct{ kind, id, data string }
	var groups []group
	known := map[meaning]int{}
	for _, e := range rows {
		it, v := decode(e)
		m := meaning{it.Kind, it.ID, string(v.Data)}
		i, ok := known[m]
		if !ok {
			known[m] = len(groups)
			groups = append(groups, group{e})
			continue
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

// aside is a row that this node leaves alone for a while, since no commit can
// claim it. It must not stop the rows behind it.
type aside struct {
	until time.Time
	tries int
}

// setAside leaves a row alone, longer each time, and tells so.
func (r *Runner) setAside(it Item, key string, err error, now time.Time) time.Time {
	if r.aside == nil {
		r.aside = map[string]aside{}
	}
	a := r.aside[key]
	a.until = now.Add(backoff(a.tries))
	a.tries++
	r.aside[key] = a
	r.failed(it, err)
	return a.until
}

// forget drops rows that were not met again when they could have been, since
// they are gone.
func (r *Runner) forget(now time.Time) {
	for key, a := range r.aside {
		if now.Sub(a.until) > 2*maxBackoff {
			delete(r.aside, key)
		}
	}
}

// claimPage claims what is due: all at once, so that the commits wait for the
// disk together, and then one by one what that did not get.
func (r *Runner) claimPage(ctx context.Context, p *page, now time.Time) []*Job {
	got, errs := make([][]*Job, len(p.claims)), make([]error, len(p.claims))
	var work sync.WaitGroup
	for i, groups := range p.claims {
		work.Go(func() { got[i], errs[i] = r.claimAll(ctx, groups, now) })
	}
	work.Wait()
	var jobs []*Job
	for i, groups := range p.claims {
		if errs[i] != nil {
			got[i] = r.claimEach(ctx, groups, errs[i], now)
		}
		jobs = append(jobs, got[i]...)
	}
	return jobs
}

// claimEach claims groups that could not be claimed together, for whatever
// reason, in random order so that nodes do not run in step.
func (r *Runner) claimEach(ctx context.Context, groups []group, err error, now time.Time) (jobs []*Job) {
	if len(groups) == 1 {
		r.told(r.unclaimed(groups[0], err, now))
		return nil
	}
	var failure error
	if !errors.Is(err, store.ErrConflict) && !hopeless(err) {
		failure = err
	}
	for _, i := range rand.Perm(len(groups)) {
		if ctx.Err() != nil {
			break
		}
		now := r.Now() // the commits before may have taken long
		one, err := r.claimAll(ctx, groups[i:i+1], now)
		if err != nil {
			failure = cmp.Or(r.unclaimed(groups[i], err, now), failure)
			continue
		}
		jobs = append(jobs, one...)
	}
	r.told(failure)
	return jobs
}

// told reports why a page could not be claimed, once for the page.
func (r *Runner) told(err error) {
	if err != nil {
		r.failed(Item{}, fmt.Errorf("schedule: claim: %w", err))
	}
}

// unclaimed settles what becomes of rows that could not be claimed. In conflict,
// another node has them; when the outcome is not known, they are due again when
// the claim ends; and those that no commit can claim are set aside. It returns
// an error that is the store's rather than the rows'.
func (r *Runner) unclaimed(g group, err error, now time.Time) error {
	switch {
	case errors.Is(err, store.ErrConflict):
		return nil
	case !hopeless(err):
		return err
	}
	for _, e := range g {
		it, _ := decode(e)
		r.setAside(it, e.Key, fmt.Errorf("schedule: claim: %w", err), now)
	}
	return nil
}

// hopeless tells whether a commit would fail however often it is tried.
func hopeless(err error) bool {
	return errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrTooLarge)
}

func (r *Runner) claimAll(ctx context.Context, groups []group, now time.Time) ([]*Job, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	var checks []store.Check
	var writes []store.Write
	jobs := make([]*Job, 0, len(groups))
	for _, g := range groups {
		it, v := decode(g[0])
		j := &Job{Item: it, at: it, Tries: v.Tries}
		j.at.At, v.Owner = r.until(now), r.Owner
		c, w, err := moving(it, g[0].Rev, j.at, v)
		if err != nil {
			return nil, err
		}
		checks, writes, jobs = append(checks, c...), append(writes, w...), append(jobs, j)
		for _, e := range g[1:] {
			checks = append(checks, store.Check{Key: e.Key, Rev: e.Rev})
			writes = append(writes, store.Write{Key: e.Key, Delete: true})
		}
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

// spread is how far apart the ends of claims are that begin at one moment.
const spread = time.Microsecond

// until is when a claim ends. Rows for one thing that differ only in their time
// may be claimed at the same moment, so each claim has an end of its own.
func (r *Runner) until(now time.Time) time.Time {
	return now.Add(r.Claim + time.Duration(r.claims.Add(1))%spread)
}

// decode reads a row with a well-formed key. A value that cannot be read is
// taken as empty: its handler still knows the id, and one bad row must not stop
// the others.
func decode(e store.Entry) (Item, row) {
	it, _ := parse(e.Key)
	var v row
	if err := json.Unmarshal(e.Value, &v); err != nil {
		v = row{}
	}
	it.Data = v.Data
	return it, v
}
