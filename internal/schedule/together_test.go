package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// pages is a runner that handles what is due together, and notes how each job was
// handled.
type pages struct {
	mu       sync.Mutex
	together map[string]int // by id
	alone    map[string]int
	sizes    []int
}

func (p *pages) note(jobs ...*Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.together == nil {
		p.together, p.alone = map[string]int{}, map[string]int{}
	}
	of := p.alone
	if len(jobs) > 1 {
		of, p.sizes = p.together, append(p.sizes, len(jobs))
	}
	for _, j := range jobs {
		of[j.ID]++
	}
}

func (p *pages) runner(s store.Store, h PageHandler) *Runner {
	r := runner(s, func(_ context.Context, j *Job) error { p.note(j); return nil })
	r.Pages = map[string]PageHandler{"k": func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
		p.note(jobs...)
		h(ctx, jobs, ended)
	}}
	return r
}

// things is how many have been handled.
func (p *pages) things() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.together) + len(p.alone)
}

func due(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = item(time.Now(), fmt.Sprint(i))
	}
	return items
}

func allWell(_ context.Context, jobs []*Job, ended func(error, ...*Job)) { ended(nil, jobs...) }

// What is due at once is handled by the page, each once, and full pages are
// followed by full pages.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &watched{Store: mem.Open()}, &pages{}
		add(t, s, due(1000)...)
		before := s.commits.Load()
		r := p.runner(s, func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
			time.Sleep(time.Millisecond)
			_, err := store.Update(ctx, s, func(tx *store.Tx) error {
				for _, j := range jobs {
					j.Done(tx)
				}
				return nil
			})
			ended(err, jobs...)
		})
		r.Limit = 3 * Together
		r.Failed = func(_ Item, err error) { t.Error(err) }
		stop := start(t, r)
		time.Sleep(10 * time.Second)
		stop()
		if len(p.together) != 1000 || len(p.alone) != 0 || left(t, s) != 0 {
			t.Errorf("%d together, %d alone, %d rows left", len(p.together), len(p.alone), left(t, s))
		}
		for id, n := range p.together {
			if n != 1 {
				t.Errorf("%s ran %d times", id, n)
			}
		}
		if n := s.commits.Load() - before; n > 3*1000/Together {
			t.Errorf("%d commits, pages of %v", n, p.sizes)
		}
	})
}

// A job whose end is told late keeps its own row and slot, and those of no other.
func TestSlowJobOfAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, freed := mem.Open(), &pages{}, make(chan struct{})
		add(t, s, due(Together)...)
		stop := start(t, p.runner(s, func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
			if jobs[0].ID >= "a" {
				ended(nil, jobs...)
				return
			}
			ended(nil, jobs[1:]...)
			select {
			case <-freed:
			case <-ctx.Done():
				t.Error("the claim was lost")
			}
			ended(nil, jobs[0])
			ended(errors.New("told twice"), jobs...)
		}))
		time.Sleep(time.Second)
		if n := left(t, s); n != 1 {
			t.Errorf("%d rows left with one job that is slow", n)
		}
		for i := range 10 * Together {
			add(t, s, item(time.Now(), fmt.Sprintf("a%d", i)))
		}
		time.Sleep(time.Hour)
		if n := left(t, s); n != 1 {
			t.Errorf("%d rows left an hour later", n)
		}
		close(freed)
		time.Sleep(time.Second)
		stop()
		if n := left(t, s); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// What fails in a page, in whatever way, is tried again alone and later each time;
// the others of its page are not.
func TestFailureInAPage(t *testing.T) {
	for name, fail := range map[string]PageHandler{
		"error": func(_ context.Context, jobs []*Job, ended func(error, ...*Job)) {
			ended(errors.New("not now"), jobs...)
		},
		"silent": func(context.Context, []*Job, func(error, ...*Job)) {},
		"panic":  func(context.Context, []*Job, func(error, ...*Job)) { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, begin := mem.Open(), &pages{}, time.Now()
				add(t, s, due(Together)...)
				var failed atomic.Int64
				r := p.runner(s, func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
					ended(nil, jobs[3:]...)
					fail(ctx, jobs[:3], ended)
				})
				r.Failed = func(Item, error) { failed.Add(1) }
				r.Handlers["k"] = func(_ context.Context, j *Job) error {
					p.note(j)
					if j.Tries != 1 || time.Since(begin) < time.Second {
						t.Errorf("try %d after %v", j.Tries, time.Since(begin))
					}
					return nil
				}
				stop := start(t, r)
				time.Sleep(time.Minute)
				stop()
				if len(p.sizes) != 1 || len(p.alone) != 3 || failed.Load() != 3 || left(t, s) != 0 {
					t.Errorf("pages of %v, %d alone, %d failures, %d rows left", p.sizes, len(p.alone), failed.Load(), left(t, s))
				}
			})
		})
	}
}

// A page of a node that is cut off is taken over by another, and what it
// commits with Done has its effect once.
func TestPageTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, begin := mem.New(mem.Options{}), time.Now()
		add(t, data.Open(), due(Together)...)
		storeA, a, b := data.Open(), &pages{}, &pages{}
		stopA := start(t, a.runner(storeA, func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
			<-ctx.Done()
			if took := time.Since(begin); took < defaultClaim-time.Second || took > defaultClaim {
				t.Errorf("the first node's handler was told after %v", took)
			}
			time.Sleep(time.Minute) // it does not heed that; by now another node has them
			_, err := store.Update(context.Background(), data.Open(), func(tx *store.Tx) error { jobs[0].Done(tx); return nil })
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("it committed without a claim: %v", err)
			}
			ended(ctx.Err(), jobs...)
		}))
		synctest.Wait()
		if err := storeA.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stopB := start(t, b.runner(data.Open(), allWell))
		time.Sleep(defaultClaim - 2*time.Second)
		if n := b.things(); n != 0 {
			t.Errorf("the second node began with %d before the claim's end", n)
		}
		time.Sleep(time.Hour)
		stopA()
		stopB()
		if n := b.things(); n != Together || left(t, data.Open()) != 0 {
			t.Errorf("%d were taken over, %d rows left", n, left(t, data.Open()))
		}
	})
}

// Nodes share what is due by the page; nothing runs twice, though a page takes
// longer than a claim.
func TestNodesSharePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, p := mem.New(mem.Options{}), &pages{}
		add(t, data.Open(), due(700)...)
		var stops []func()
		for range 3 {
			r := p.runner(data.Open(), func(ctx context.Context, jobs []*Job, ended func(error, ...*Job)) {
				select {
				case <-time.After(90 * time.Second):
				case <-ctx.Done():
					t.Error("a claim was lost")
				}
				ended(nil, jobs...)
			})
			stops = append(stops, start(t, r))
		}
		time.Sleep(24 * time.Hour)
		for _, stop := range stops {
			stop()
		}
		for i := range 700 {
			if n := p.together[fmt.Sprint(i)] + p.alone[fmt.Sprint(i)]; n != 1 {
				t.Errorf("%d ran %d times", i, n)
			}
		}
		if n := left(t, data.Open()); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// What has failed before, or is of a kind that is not done together, is a call of
// its own.
func TestCalls(t *testing.T) {
	r := (&pages{}).runner(mem.Open(), allWell)
	var jobs []*Job
	for i := range 2*Together + 6 {
		j := &Job{Item: item(time.Now(), fmt.Sprint(i))}
		switch i {
		case 1, 3:
			j.Tries = 1
		case 2, 4:
			j.Kind = "other"
		}
		jobs = append(jobs, j)
	}
	sizes := map[int]int{}
	for _, c := range r.calls(jobs) {
		sizes[len(c)]++
	}
	if fmt.Sprint(sizes) != fmt.Sprint(map[int]int{1: 4, 2: 1, Together: 2}) {
		t.Errorf("the calls are of %v jobs", sizes)
	}
}
