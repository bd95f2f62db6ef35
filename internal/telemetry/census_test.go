package telemetry

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

// moody is a store whose lists fail or take long while it is told to.
type moody struct {
	store.Store
	down atomic.Bool
	slow atomic.Int64 // nanoseconds
}

var errDown = errors.New("down")

func (m *moody) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if m.down.Load() {
		return nil, errDown
	}
	time.Sleep(time.Duration(m.slow.Load()))
	return m.Store.List(ctx, r)
}

func put(t *testing.T, s store.Store, n int, prefix string) {
	t.Helper()
	for n > 0 {
		var ws []store.Write
		for ; n > 0 && len(ws) < 100; n-- {
			ws = append(ws, store.Write{Key: fmt.Sprintf("%s%d", prefix, n), Value: []byte("x")})
		}
		if _, err := s.Commit(t.Context(), nil, ws); err != nil {
			t.Fatal(err)
		}
	}
}

// shows fails unless the metrics are those; -1 is one that there is not.
func (m *Meter) shows(t *testing.T, tokens, leases, age int) {
	t.Helper()
	all := text(t, m)
	for name, want := range map[string]int{"vault_token_count": tokens, "vault_expire_num_leases": leases, "strongroom_count_age_seconds": age} {
		line := fmt.Sprintf("\n%s %d\n", name, want)
		if want < 0 && strings.Contains(all, "\n"+name+" ") || want >= 0 && !strings.Contains(all, line) {
			_, after, _ := strings.Cut(all, "\n"+name+" ")
			t.Errorf("want %s %d, have %.20q", name, want, after)
		}
	}
}

// TestCensus counts some pages of tokens and a few leases in two namespaces, now
// and then, and shows how old the numbers are.
func TestCensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &moody{Store: mem.Open()}
		put(t, s, 9001, "root/token/id/")
		put(t, s, 4096, "team/token/id/")
		put(t, s, 3, "team/lease/id/lend/creds/")
		for _, other := range []string{"root/token/child/a/", "root/token/idle/", "root/lease/of/a/", "root/token/ic", "other/x/"} {
			put(t, s, 2, other)
		}
		m := New(Source{}, time.Now)
		var failures atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() {
			m.Count(ctx, &Census{Store: s, Tokens: func(ns string) string { return ns + "/token/id/" }, Leases: func(ns string) string { return ns + "/lease/id/" },
				Failed: func(error) { failures.Add(1) }})
		})
		time.Sleep(censusFirst - time.Second)
		m.shows(t, -1, -1, -1)
		time.Sleep(3 * time.Second)
		m.shows(t, 13097, 3, 2)
		put(t, s, 1, "root/lease/id/")
		time.Sleep(censusPeriod)
		m.shows(t, 13097, 4, 1)
		s.down.Store(true)
		time.Sleep(censusPeriod)
		m.shows(t, 13097, 4, 601)
		if failures.Load() != 1 {
			t.Errorf("%d failures", failures.Load())
		}
		s.down.Store(false)
		time.Sleep(censusPeriod)
		m.shows(t, 13097, 4, 1)
		s.slow.Store(int64(2 * time.Second)) // 14 lists, so 28 seconds, and the next in 47 minutes
		time.Sleep(2 * censusPeriod)
		m.shows(t, 13097, 4, 1201-600)
		time.Sleep(2 * censusPeriod)
		m.shows(t, 13097, 4, 1801)
		stop()
		run.Wait()
		m.shows(t, -1, -1, -1)
	})
}
