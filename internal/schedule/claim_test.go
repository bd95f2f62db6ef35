package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// tally counts how often each thing ran.
type tally struct {
	mu   sync.Mutex
	runs map[string]int
}

func (c *tally) run(_ context.Context, j *Job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = map[string]int{}
	}
	c.runs[j.ID+"="+string(j.Data)]++
	return nil
}

// things is how many have run.
func (c *tally) things() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.runs)
}

// watched counts a runner's reads and commits and refuses commits that touch a
// row whose key holds a text.
type watched struct {
	store.Store
	bad            string
	err            error
	healed         atomic.Bool
	lists, commits atomic.Int64
}

func (w *watched) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	w.lists.Add(1)
	return w.Store.List(ctx, r)
}

func (w *watched) Commit(ctx context.Context, c []store.Check, ws []store.Write) (store.Rev, error) {
	w.commits.Add(1)
	for _, write := range ws {
		if w.bad != "" && !w.healed.Load() && strings.Contains(write.Key, w.bad) {
			return 0, w.err
		}
	}
	return w.Store.Commit(ctx, c, ws)
}

// wantIdle fails when a runner does more than a little in a minute.
func wantIdle(t *testing.T, s *watched) {
	t.Helper()
	lists, commits := s.lists.Load(), s.commits.Load()
	time.Sleep(time.Minute)
	lists, commits = s.lists.Load()-lists, s.commits.Load()-commits
	if lists > 70 || commits > 70*(pageSize+1) {
		t.Errorf("%d reads and %d commits in a minute", lists, commits)
	}
}

func twins(at time.Time, n int) []Item {
	var items []Item
	for i := range n {
		items = append(items, item(at.Add(time.Duration(i)*time.Millisecond), "twin"))
	}
	return items
}

// Rows for one thing that are due together are claimed as one, and do not stop
// others; a runner that finds 64 of them as it starts drains them.
func TestTwinsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open()}, &tally{}
		begin := time.Now()
		add(t, s, twins(begin.Add(-time.Minute), 64)...)
		other := item(begin.Add(-time.Minute).Add(5*time.Millisecond), "other")
		differs := item(begin.Add(-time.Minute).Add(7*time.Millisecond), "twin")
		differs.Data = []byte("other data")
		add(t, s, other, differs)
		r := runner(s, c.run)
		r.Failed = func(_ Item, err error) { t.Error(err) }
		stop := start(t, r)
		time.Sleep(5 * time.Second)
		if n := left(t, s); n != 0 {
			t.Errorf("%d rows left", n)
		}
		wantIdle(t, s)
		stop()
		if n := c.runs["twin=data of twin"]; n < 1 || n > 3 {
			t.Errorf("64 rows for one thing ran %d times", n)
		}
		if c.runs["other=data of other"] != 1 || c.runs["twin=other data"] != 1 {
			t.Errorf("ran %v", c.runs)
		}
	})
}

// A row for a thing whose handler is running is run too, since the handler may
// have been past what it asks for; the two claims do not get in each other's way
// although they are moved on at the same moments.
func TestTwinOfARunningJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watched{Store: mem.Open()}
		begin := time.Now()
		late := item(begin.Add(defaultClaim/3), "twin")
		last := item(begin.Add(defaultClaim), "twin")
		add(t, s, item(begin, "twin"), late, last)
		var runs atomic.Int32
		r := runner(s, func(ctx context.Context, _ *Job) error {
			runs.Add(1)
			select {
			case <-ctx.Done():
				t.Error("a claim was lost")
			case <-time.After(time.Hour):
			}
			return nil
		})
		r.Failed = func(_ Item, err error) { t.Error(err) }
		stop := start(t, r)
		time.Sleep(3 * time.Hour)
		stop()
		if runs.Load() != 3 || left(t, s) != 0 {
			t.Errorf("ran %d times, %d rows left", runs.Load(), left(t, s))
		}
	})
}

// A move never overwrites another row for the same thing.
func TestMoveSparesATwin(t *testing.T) {
	s, now := mem.Open(), time.Now()
	add(t, s, item(now, "twin"), item(now.Add(time.Hour), "twin"))
	es, err := s.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	r := runner(s, nil)
	j := r.claimPage(t.Context(), &page{claims: [][]group{gather(es[:1])}}, now)[0]
	err = j.move(t.Context(), s, now.Add(time.Hour), row{})
	if !errors.Is(err, store.ErrConflict) || left(t, s) != 2 {
		t.Errorf("the move returned %v, %d rows left", err, left(t, s))
	}
}

// A row that no commit can claim is left alone, longer each time, and those
// around it run.
func TestBadRowIsSetAside(t *testing.T) {
	for _, hopeless := range []error{store.ErrInvalid, store.ErrTooLarge} {
		synctest.Test(t, func(t *testing.T) {
			s, c := &watched{Store: mem.Open()}, &tally{}
			begin := time.Now()
			var items []Item
			for i := range 2 * pageSize {
				items = append(items, item(begin.Add(time.Duration(i)-time.Hour), fmt.Sprintf("bad%d", i)))
			}
			for i := range 100 {
				items = append(items, item(begin.Add(time.Duration(i-50)), fmt.Sprint(i)))
			}
			add(t, s, items...)
			s.bad, s.err = "/bad", fmt.Errorf("engine: %w", hopeless)
			var told atomic.Int64
			r := runner(s, c.run)
			r.Failed = func(it Item, _ error) {
				if it.ID == "bad7" {
					told.Add(1)
				}
			}
			stop := start(t, r)
			time.Sleep(10 * time.Second)
			if n := c.things(); n != 100 {
				t.Errorf("%d of 100 ran", n)
			}
			time.Sleep(time.Hour)
			wantIdle(t, s)
			if n := told.Load(); n < 5 || n > 25 {
				t.Errorf("a bad row was told of %d times in an hour", n)
			}
			s.healed.Store(true)
			time.Sleep(time.Hour)
			stop()
			if len(c.runs) != 100+2*pageSize || left(t, s) != 0 {
				t.Errorf("%d ran, %d rows left", len(c.runs), left(t, s))
			}
		})
	}
}

// A store that refuses every commit is not asked without a pause, and what is
// due runs soon after it takes them again.
func TestNoSpinOnAStoreThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open()}, &tally{}
		for i := range 3 * pageSize {
			add(t, s, item(time.Now(), fmt.Sprint(i)))
		}
		s.bad, s.err = "/due/", store.ErrFull
		var told atomic.Int64
		r := runner(s, c.run)
		r.Failed = func(Item, error) { told.Add(1) }
		stop := start(t, r)
		time.Sleep(time.Second)
		wantIdle(t, s)
		if told.Load() > 70 {
			t.Errorf("told %d times in a minute", told.Load())
		}
		s.healed.Store(true)
		time.Sleep(5 * time.Second)
		stop()
		if len(c.runs) != 3*pageSize {
			t.Errorf("%d ran", len(c.runs))
		}
	})
}

// A malformed key in front of all others stops nothing, also after a restart.
func TestMalformedKeyStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open()}, &tally{}
		_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "root/due/0000", Value: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		add(t, s, item(time.Now().Add(time.Minute), "x"))
		var told atomic.Int64
		r := runner(s, c.run)
		r.Failed = func(Item, error) { told.Add(1) }
		stop := start(t, r)
		time.Sleep(time.Hour)
		wantIdle(t, s)
		stop()
		if c.runs["x=data of x"] != 1 || left(t, s) != 1 || told.Load() < 5 || told.Load() > 25 {
			t.Errorf("ran %v, %d rows left, told %d times", c.runs, left(t, s), told.Load())
		}
	})
}

// Rows of one thing that ask for different work begin together, although each
// moves to the end of its claim, and neither loses it.
func TestClaimsEndApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.Open()
		one, two := item(time.Now(), "twin"), item(time.Now().Add(1), "twin")
		two.Data = []byte("other data")
		add(t, s, one, two)
		var running atomic.Int32
		time.Sleep(time.Second)
		stop := start(t, runner(s, func(ctx context.Context, _ *Job) error {
			running.Add(1)
			select {
			case <-ctx.Done():
				t.Error("a claim was lost")
			case <-time.After(time.Hour):
			}
			return nil
		}))
		synctest.Wait()
		if running.Load() != 2 {
			t.Errorf("%d began at once", running.Load())
		}
		time.Sleep(2 * time.Hour)
		stop()
		if running.Load() != 2 || left(t, s) != 0 {
			t.Errorf("ran %d times, %d rows left", running.Load(), left(t, s))
		}
	})
}

// A row that came to ask for something else after it was read is not taken along
// with those that it was like.
func TestClaimSparesARowThatChanged(t *testing.T) {
	s, now := mem.Open(), time.Now()
	changed := item(now.Add(time.Second), "twin")
	add(t, s, item(now, "twin"), changed)
	es, err := s.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	changed.Data = []byte("other data")
	add(t, s, changed)
	if jobs := runner(s, nil).claimPage(t.Context(), &page{claims: [][]group{gather(es)}}, now); len(jobs) != 0 {
		t.Errorf("%d were claimed", len(jobs))
	}
	if e, err := s.Get(t.Context(), changed.key()); err != nil || !strings.Contains(string(e.Value), "b3RoZXIgZGF0YQ") {
		t.Errorf("the row is %q, %v", e.Value, err)
	}
}

// One row that the store refuses for a while, among others, runs soon after it
// does not.
func TestOneRefusedRowRunsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open(), bad: "/refused", err: store.ErrFull}, &tally{}
		var items []Item
		for i := range 5 {
			items = append(items, item(time.Now(), fmt.Sprint(i)))
		}
		s.healed.Store(true)
		add(t, s, append(items, item(time.Now(), "refused"))...)
		s.healed.Store(false)
		stop := start(t, runner(s, c.run))
		time.Sleep(5 * time.Second)
		if n := c.things(); n != 5 {
			t.Errorf("%d ran while one was refused", n)
		}
		s.healed.Store(true)
		time.Sleep(2 * time.Second)
		if n := c.things(); n != 6 {
			t.Errorf("%d ran afterwards", n)
		}
		stop()
	})
}

// What was set aside and has gone is forgotten in time.
func TestSetAsideIsForgotten(t *testing.T) {
	now := time.Now()
	r := runner(mem.Open(), nil)
	r.aside = map[string]aside{"gone": {until: now.Add(-2*maxBackoff - 1)}, "recent": {until: now.Add(-2 * maxBackoff)}, "later": {until: now.Add(time.Hour)}}
	if _, err := r.read(t.Context(), "root", 1, now); err != nil {
		t.Fatal(err)
	}
	if _, gone := r.aside["gone"]; gone || len(r.aside) != 2 {
		t.Errorf("kept in mind: %v", r.aside)
	}
}

// A job that never ends, and does not heed that it should, stops no other.
func TestStuckJobStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open()}, &tally{}
		add(t, s, item(time.Now(), "stuck"))
		for i := range 100 {
			add(t, s, item(time.Now().Add(time.Duration(i)*time.Second), fmt.Sprint(i)))
		}
		freed := make(chan struct{})
		stop := start(t, runner(s, func(ctx context.Context, j *Job) error {
			if j.ID == "stuck" {
				<-freed
			}
			return c.run(ctx, j)
		}))
		time.Sleep(3 * time.Minute)
		if n := c.things(); n != 100 {
			t.Errorf("%d of the other 100 ran", n)
		}
		wantIdle(t, s)
		close(freed)
		stop()
		if n := left(t, s); n != 0 {
			t.Errorf("%d rows left", n)
		}
	})
}

// damaging finds one row damaged, as the barrier does.
type damaging struct {
	*watched
	key string
}

func (d damaging) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := d.watched.List(ctx, r)
	for i := range es {
		if es[i].Key == d.key && !r.KeysOnly {
			es[i].Value, err = nil, store.ErrCorrupt
		}
	}
	return es, err
}

// A damaged row does not run, since what it asks for is not known, and stops
// nothing.
func TestDamagedRowStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &watched{Store: mem.Open()}, &tally{}
		damaged := item(time.Now(), "damaged")
		add(t, s, damaged, item(time.Now(), "x"), item(time.Now().Add(time.Minute), "y"))
		var told atomic.Int64
		r := runner(damaging{s, damaged.key()}, c.run)
		r.Failed = func(Item, error) { told.Add(1) }
		stop := start(t, r)
		time.Sleep(time.Hour)
		wantIdle(t, s)
		stop()
		if len(c.runs) != 2 || c.runs["x=data of x"] != 1 || c.runs["y=data of y"] != 1 || left(t, s) != 1 {
			t.Errorf("ran %v, %d rows left", c.runs, left(t, s))
		}
		if told.Load() < 5 || told.Load() > 25 {
			t.Errorf("told %d times in an hour", told.Load())
		}
	})
}

func TestAddRefusesAnItemWithoutKind(t *testing.T) {
	_, err := store.Update(t.Context(), mem.Open(), func(tx *store.Tx) error {
		return Add(tx, Item{Namespace: "root", At: time.Now(), ID: "x"})
	})
	if !errors.Is(err, errMalformed) {
		t.Errorf("returned %v", err)
	}
}
