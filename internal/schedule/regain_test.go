package schedule

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// killedWith is a store on which a run was killed while it worked on items.
func killedWith(t *testing.T, items ...Item) *mem.Data {
	t.Helper()
	data := mem.New(mem.Options{})
	add(t, data.Open(), items...)
	s := data.Open()
	r := runner(s, func(ctx context.Context, _ *Job) error { <-ctx.Done(); return ctx.Err() })
	r.Owner = ""
	stop := start(t, r)
	synctest.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	return data
}

// A run that is alone takes up soon what a killed one had claimed, as after a failed
// try, and nothing else before its time. The control is one among many: it waits for
// the claim's end.
func TestRegain(t *testing.T) {
	for name, c := range map[string]struct {
		alone       bool
		from, until time.Duration
		tries       int
	}{"alone": {true, time.Second, 2 * time.Second, 1}, "control": {false, defaultClaim, defaultClaim + time.Second, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				soon := item(begin.Add(defaultClaim/2), "soon")
				data := killedWith(t, append(due(5), soon)...)
				var mu sync.Mutex
				ran := map[string]time.Duration{}
				r := runner(data.Open(), func(_ context.Context, j *Job) error {
					mu.Lock()
					defer mu.Unlock()
					if want := c.tries; j.ID != soon.ID && j.Tries != want {
						t.Errorf("%s has failed %d times, want %d", j.ID, j.Tries, want)
					}
					ran[j.ID] = time.Since(begin)
					return nil
				})
				r.Owner, r.Alone = "", c.alone
				stop := start(t, r)
				time.Sleep(time.Hour)
				stop()
				for i := range 5 {
					if d := ran[fmt.Sprint(i)]; d < c.from || d > c.until {
						t.Errorf("%d ran after %v", i, d)
					}
				}
				if ran["soon"] != defaultClaim/2 || left(t, data.Open()) != 0 {
					t.Errorf("what nobody had claimed ran after %v; %d rows left", ran["soon"], left(t, data.Open()))
				}
			})
		})
	}
}

// Work that brings the node down each time is begun later each time.
func TestRegainSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, begun := mem.New(mem.Options{}), atomic.Int64{}
		add(t, data.Open(), item(time.Now(), "poison"))
		for range 120 { // a start each second, for two minutes
			s := data.Open()
			r := runner(s, func(ctx context.Context, _ *Job) error { begun.Add(1); <-ctx.Done(); return ctx.Err() })
			r.Owner, r.Alone = "", true
			stop := start(t, r)
			time.Sleep(time.Second)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			stop()
		}
		if begun := begun.Load(); begun < 3 || begun > 9 {
			t.Errorf("begun %d times", begun)
		}
	})
}

// A runner leaves its own claims alone when it has to follow the store anew, and
// reads no more than what is due within a claim.
func TestRegainSparesItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Store: mem.Open()}
		add(t, s, due(3)...)
		var far []Item
		for i := range 1000 {
			far = append(far, item(time.Now().Add(time.Hour), fmt.Sprint("far", i)))
		}
		add(t, s, far...)
		r := runner(s, nil)
		r.Claim = defaultClaim
		es, err := s.Store.List(t.Context(), store.Range{Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		jobs := r.claimPage(t.Context(), &page{claims: [][]group{gather(es)}}, time.Now())
		if err := r.regain(t.Context(), "root"); err != nil || len(jobs) != 3 {
			t.Fatal(len(jobs), err)
		}
		for _, j := range jobs {
			if err := j.move(t.Context(), s, time.Now(), row{}); err != nil {
				t.Errorf("its own claim on %s: %v", j.ID, err)
			}
		}
		if n := s.total.Load(); n > 3 {
			t.Errorf("%d rows were read", n)
		}
	})
}
