package identity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

const day = 24 * time.Hour

// uses is a login whose token lives for a while.
func (w *world) uses(accessor, name string, lives time.Duration) string {
	w.t.Helper()
	p := w.login(accessor, name)
	if err := w.ids.Lives(w.t.Context(), "root", p.ID, w.now.Add(lives)); err != nil {
		w.t.Fatal(err)
	}
	return p.ID
}

// reap looks for unused entities, as the schedule does.
func (w *world) reap() {
	w.t.Helper()
	job := &schedule.Job{Item: schedule.Item{Namespace: "root", Kind: "identity-reap", ID: "identity-reap"}}
	if err := w.ids.Jobs()["identity-reap"](w.t.Context(), job); err != nil {
		w.t.Fatal(err)
	}
}

// Who a login has made, whom nobody has touched, and who has not been here for 90 days, goes;
// others stay.
func TestUnusedEntitiesAreReaped(t *testing.T) {
	w := newWorld(t)
	gone := w.uses("auth_door_1", "gone", time.Hour)
	back := w.uses("auth_door_1", "back", time.Hour)
	long := w.uses("auth_door_1", "long", 100*day)
	touched := w.uses("auth_door_1", "touched", time.Hour)
	w.do(api.Write, "entity/id/"+touched, `{"metadata":{"a":"b"}}`)
	inGroup := w.uses("auth_door_1", "in group", time.Hour)
	w.write("group", `{"name":"g","member_entity_ids":`+list(inGroup)+`}`)
	aliased := w.uses("auth_door_1", "aliased", time.Hour)
	w.write("entity-alias", `{"name":"other","mount_accessor":"auth_hall_1","canonical_id":"`+aliased+`"}`)
	made := w.write("entity", `{"name":"made"}`)
	w.write("group", `{"name":"out","type":"external","policies":"out"}`)
	w.write("group-alias", `{"name":"out","mount_accessor":"auth_door_1","canonical_id":"`+w.do(api.Read, "group/name/out", "")["id"].(string)+`"}`)
	outside := w.login("auth_door_1", "outside", "out").ID
	w.now = w.now.Add(60 * day)
	w.uses("auth_door_1", "back", time.Hour)
	w.reap()
	for _, id := range []string{gone, outside} {
		if w.person("root", id) == nil {
			t.Fatal("reaped too early")
		}
	}
	w.now = w.now.Add(32 * day)
	w.reap()
	for _, id := range []string{back, long, touched, inGroup, aliased, made} {
		if w.person("root", id) == nil {
			t.Errorf("%v has been reaped", id)
		}
	}
	w.has0(gone)
	w.has0(outside)
	if p := w.login("auth_door_1", "gone"); p.ID == gone {
		t.Error("who was reaped is the same again")
	}
	w.now = w.now.Add(99 * day)
	w.reap()
	w.has0(long)
}

// However often somebody logs in, that they do is written once a day.
func TestUseIsRecordedOnceADay(t *testing.T) {
	w := newWorld(t)
	w.now = time.Date(2026, 1, 2, 0, 0, 1, 0, time.UTC)
	w.uses("auth_door_1", "ann", time.Hour)
	before := must(w.store.Sync(t.Context()))(t)
	for range 40 {
		w.now = w.now.Add(30 * time.Minute)
		w.uses("auth_door_1", "ann", time.Hour)
	}
	if after := must(w.store.Sync(t.Context()))(t); after != before {
		t.Errorf("the store went from revision %d to %d in a day", before, after)
	}
	w.now = w.now.Add(day)
	w.uses("auth_door_1", "ann", time.Hour)
	if after := must(w.store.Sync(t.Context()))(t); after != before+1 {
		t.Errorf("the store went from revision %d to %d in the next", before, after)
	}
}

// One job looks for unused entities of a namespace, from its first on, day by day.
func TestReapingGoesOn(t *testing.T) {
	w := newWorld(t)
	due := func() []store.Entry { return must(w.store.List(t.Context(), store.Prefix("root/due/")))(t) }
	for _, name := range []string{"ann", "bob"} {
		w.login("auth_door_1", name)
	}
	if n := len(due()); n != 1 {
		t.Fatalf("%d jobs", n)
	}
	first := due()[0].Key
	w.now = w.now.Add(day)
	w.work(w.ids)
	if es := due(); len(es) != 1 || es[0].Key <= first {
		t.Errorf("after a day, jobs are %v", es)
	}
}

func TestNobodyIsReapedWhereNobodyShallBe(t *testing.T) {
	w := newWorld(t)
	w.ids.Unused = identity.Never
	ann := w.uses("auth_door_1", "ann", time.Hour)
	w.now = w.now.Add(10_000 * day)
	w.reap()
	if w.person("root", ann) == nil {
		t.Error("reaped")
	}
}

// An auth method that is disabled takes its aliases along, and who was in groups by it.
func TestMountRemoved(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
	w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_hall_1","canonical_id":"`+ann+`"}`)
	g := w.write("group", `{"type":"external","policies":"g"}`)
	w.write("group-alias", `{"name":"g","mount_accessor":"auth_door_1","canonical_id":"`+g+`"}`)
	w.login("auth_door_1", "ann", "g")
	w.has("root", ann, "g")
	_, err := store.Update(context.Background(), w.store, func(tx *store.Tx) error {
		return errors.Join(w.ids.MountRemoved(tx, "root", "auth_door_1", 0, time.Minute))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.work(w.ids)
	w.has("root", ann)
	if p := w.login("auth_hall_1", "ann"); p.ID != ann || len(p.Aliases) != 1 {
		t.Errorf("the other mount's login is %+v", p.Entity)
	}
	if n := w.rows("root/identity/alias/auth_door_1/") + w.rows("root/identity/group-alias/"); n != 0 {
		t.Errorf("%d aliases are left", n)
	}
}
