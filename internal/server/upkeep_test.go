package server

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/engine/kv"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

// large is a value of many rows.
var large = `{"data":{"v":"` + strings.Repeat("x", 1<<20) + `"}}`

// keptIn is a mount of kv version 2 and a store that can die under it.
type keptIn struct {
	testing.TB
	store  store.Store
	mortal *storetest.Mortal
	mounts *mount.Mounts
	entry  *mount.Entry
}

func keep(t testing.TB) *keptIn {
	s := mem.Open()
	cache, err := store.NewCache(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	k := &keptIn{TB: t, store: s, mortal: &storetest.Mortal{Store: s}}
	k.mounts = mount.New(s, cache, mount.Hooks{Taken: func(*store.Tx, string, string) (bool, error) { return false, nil }}, mount.Limits{}, time.Now)
	engine, err := kv.Engine()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.mounts.Install([]api.Engine{engine}); err != nil {
		t.Fatal(err)
	}
	if err := k.mounts.Enable(t.Context(), "root", &mount.Entry{Path: "kv/", Type: "kv-v2"}); err != nil {
		t.Fatal(err)
	}
	table, err := k.mounts.Table(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	k.entry = table.Get("kv/")
	return k
}

// write puts a large value, with the process killed at a commit.
func (k *keptIn) write(commits int, after bool) error {
	k.mortal.Doom(commits, after)
	defer k.mortal.Revive()
	m, err := k.entry.Router().Match(api.Write, "data/a")
	if err != nil {
		k.Fatal(err)
	}
	body, err := api.ParseBody([]byte(large))
	if err != nil {
		k.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, body)
	if err != nil {
		k.Fatal(err)
	}
	c := &api.Call{Context: context.Background(), Namespace: api.Namespace{ID: "root"}, Mount: k.entry.API(), Path: m.Path,
		Store: store.Sub(k.mortal, k.entry.Prefix("root")), Now: time.Now(), Upkeep: upkeep{k.mortal}}
	_, err = m.Endpoint.Invoke(c, req)
	return err
}

func (k *keptIn) rows(prefix string) int {
	es, err := k.store.List(context.Background(), store.Prefix(prefix))
	if err != nil {
		k.Fatal(err)
	}
	return len(es)
}

// run has a node do what is scheduled for a while.
func (k *keptIn) run(d time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	r := &schedule.Runner{Store: k.store, Now: time.Now, Handlers: map[string]schedule.Handler{jobUpkeep: upkeepJob(k.mounts)},
		Failed: func(_ schedule.Item, err error) { k.Error(err) }}
	go func() { done <- r.Run(ctx) }()
	time.Sleep(d)
	synctest.Wait()
	stop()
	<-done
}

// A large write that is killed in the middle leaves nothing behind for longer than
// an hour, though nobody writes to the mount again.
func TestTornWriteIsErasedWithinAnHour(t *testing.T) {
	torn := 0
	for commits := range 8 {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				k := keep(t)
				if k.write(commits, after) == nil {
					return
				}
				before := k.rows(k.entry.Prefix("root"))
				k.run(25 * time.Minute)
				if n := k.rows(k.entry.Prefix("root")); n != before {
					t.Errorf("killed at commit %d: %d of %d rows after 25 minutes, when the write could still have been under way", commits, n, before)
				}
				torn += before
				k.run(35 * time.Minute)
				if n := k.rows(k.entry.Prefix("root")); n > 0 {
					t.Errorf("killed at commit %d: %d rows are left after an hour", commits, n)
				}
				if n := k.rows("root/due/"); n > 0 {
					t.Errorf("killed at commit %d: %d jobs are left", commits, n)
				}
			})
		}
	}
	if torn == 0 {
		t.Error("nothing was torn")
	}
}

// Without a schedule the same rows stay, so that the test above can fail.
func TestTornWriteStaysWithoutASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t)
		if k.write(3, true) == nil {
			t.Fatal("the write was made")
		}
		before := k.rows(k.entry.Prefix("root"))
		time.Sleep(time.Hour)
		if n := k.rows(k.entry.Prefix("root")); before < 2 || n != before {
			t.Errorf("%d rows, then %d", before, n)
		}
	})
}

func TestUpkeepIsOneRowForManyWrites(t *testing.T) {
	s := mem.Open()
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	for i := range 100 {
		if err := (upkeep{s}).Schedule(t.Context(), "root", "a", at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	es, err := s.List(t.Context(), store.Prefix("root/due/"))
	if err != nil || len(es) != 2 || !roundUp(at).Equal(time.Date(2030, 1, 2, 3, 5, 0, 0, time.UTC)) {
		t.Errorf("%d rows, %v", len(es), err)
	}
}

// The real server asks for it, and has somebody to do it.
func TestLargeWriteAsksForUpkeep(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	w.wants(204, "", root, "POST", "sys/mounts/kv", `{"type":"kv-v2"}`)
	due := func(nsID string) int {
		t.Helper()
		es, err := w.barrier.List(t.Context(), store.Prefix(nsID+"/due/"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range es {
			if strings.Contains(e.Key, jobUpkeep) {
				n++
			}
		}
		return n
	}
	w.wants(200, "", root, "POST", "kv/data/a", `{"data":{"v":"small"}}`)
	small := due("root")
	w.wants(200, "", root, "POST", "kv/data/a", large)
	if small != 0 || due("root") != 1 {
		t.Errorf("%d rows after a small write, %d after a large one", small, due("root"))
	}
	ns := w.wants(200, "", root, "POST", "sys/namespaces/team", "")["data"].(map[string]any)["id"].(string)
	w.wants(204, "", root, "POST", "team/sys/mounts/kv", `{"type":"kv-v2"}`)
	w.wants(200, "", root, "POST", "team/kv/data/a", large)
	if ns == namespace.RootID || due(ns) != 1 || due("root") != 1 {
		t.Errorf("%d rows in the namespace, %d in the root", due(ns), due("root"))
	}
	if w.jobs(w.current())[jobUpkeep] == nil {
		t.Error("nobody does it")
	}
}
