package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// list is ids as a request has them.
func list(ids ...string) string {
	if len(ids) == 0 {
		return "[]"
	}
	return `["` + strings.Join(ids, `","`) + `"]`
}

func TestGroup(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.write("entity", `{"name":"ann"}`), w.write("entity", `{"name":"bob"}`)
	made := w.do(api.Write, "group", `{"name":"Dev","policies":"dev,Dev","metadata":{"k":"v"},"member_entity_ids":`+list(ann, bob)+`}`)
	id, _ := made["id"].(string)
	if made["name"] != "Dev" || len(made) != 2 {
		t.Errorf("creating answers %v", made)
	}
	want := []string{ann, bob}
	slices.Sort(want)
	for _, path := range []string{"group/id/" + id, "group/name/dev"} {
		g := w.do(api.Read, path, "")
		if g["name"] != "Dev" || g["type"] != "internal" || fmt.Sprint(g["policies"]) != "[dev]" || fmt.Sprint(g["member_entity_ids"]) != fmt.Sprint(want) ||
			g["member_group_ids"] != nil || g["parent_group_ids"] != nil || fmt.Sprint(g["alias"]) != "map[]" || g["namespace_id"] != "root" {
			t.Errorf("%s is %v", path, g)
		}
	}
	w.has("root", ann, "dev")
	if again := w.do(api.Write, "group", `{"name":"Dev","member_entity_ids":`+list(bob)+`}`); again["id"] != id {
		t.Errorf("changing it answers %v", again)
	}
	w.has("root", ann)
	w.has("root", bob, "dev")
	if e := w.do(api.Read, "entity/id/"+bob, ""); fmt.Sprint(e["direct_group_ids"]) != "["+id+"]" || fmt.Sprint(e["group_ids"]) != "["+id+"]" || fmt.Sprint(e["inherited_group_ids"]) != "[]" {
		t.Errorf("the member is shown as %v", e)
	}
	if info := fmt.Sprint(w.do(api.List, "group/id", "")["key_info"].(map[string]any)[id]); info != "map[name:Dev num_member_entities:1 num_parent_groups:0]" {
		t.Errorf("the list shows %s", info)
	}
	w.do(api.Write, "group/id/"+id, `{"name":"Ops","policies":""}`)
	if names := fmt.Sprint(w.do(api.List, "group/name", "")["keys"]); names != "[Ops]" {
		t.Errorf("names are %s", names)
	}
	for _, by := range []string{`{"id":"` + id + `"}`, `{"name":"ops"}`} {
		if g := w.do(api.Write, "lookup/group", by); g["id"] != id {
			t.Errorf("%s finds %v", by, g)
		}
	}
	w.do(api.Delete, "group/name/ops", "")
	w.do(api.Delete, "group/id/"+id, "")
	if n := w.rows("root/identity/member/") + w.rows("root/identity/in/") + w.rows("root/identity/group"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestGroupRefusals(t *testing.T) {
	w := newWorld(t)
	w.refused("group", `{"member_entity_ids":["x"`+strings.Repeat(`,"x"`, 20_000)+`]}`, "more than 20000")
	ann := w.write("entity", `{"name":"ann"}`)
	a := w.write("group", `{"name":"a"}`)
	out := w.write("group", `{"name":"out","type":"external"}`)
	w.write("group-alias", `{"name":"o","mount_accessor":"auth_door_1","canonical_id":"`+out+`"}`)
	other := w.write("group", `{"name":"other","type":"external"}`)
	w.write("group-alias", `{"name":"p","mount_accessor":"auth_door_1","canonical_id":"`+other+`"}`)
	none := "00000000-0000-4000-8000-000000000000"
	for _, c := range []struct{ path, body, text string }{
		{"group", `{"name":"A"}`, "differs by case"},
		{"group", `{"name":"a "}`, "space"},
		{"group", `{"type":"odd"}`, "internal or external"},
		{"group/id/" + a, `{"type":"external"}`, "cannot be changed"},
		{"group/id/" + a, `{"name":"OUT"}`, "already in use"},
		{"group/id/" + none, `{}`, "invalid group id"},
		{"group/id/" + out, `{"member_entity_ids":` + list(ann) + `}`, "external group"},
		{"group", `{"name":"b","member_entity_ids":` + list(none) + `}`, "no entity"},
		{"group", `{"name":"b","member_entity_ids":` + list(a) + `}`, "no entity"},
		{"group", `{"name":"b","member_group_ids":` + list(ann) + `}`, "no group"},
		{"group", `{"name":"b","member_group_ids":` + list("../../x") + `}`, "no group"},
		{"group/id/" + a, `{"member_group_ids":` + list(a) + `}`, "cyclic"},
		{"group-alias", `{"name":"x","mount_accessor":"auth_door_1","canonical_id":"` + a + `"}`, "internal group"},
		{"group-alias", `{"name":"x","mount_accessor":"auth_door_1","canonical_id":"` + none + `"}`, "no group"},
		{"group-alias", `{"name":"x","mount_accessor":"none"}`, "invalid mount accessor"},
		{"group-alias", `{"name":"O","mount_accessor":"auth_door_1"}`, "differs by case"},
		{"group-alias", `{"name":"o","mount_accessor":"auth_door_1","canonical_id":"` + other + `"}`, "different group"},
		{"group-alias", `{"name":"o2"}`, "missing mount_accessor"},
		{"group-alias/id/" + a, `{}`, "invalid group alias ID"},
	} {
		w.refused(c.path, c.body, c.text)
	}
	if w.rows("root/identity/group-name/") != 3 {
		t.Error("what was refused has left a name behind")
	}
}

// CVE-2025-5999 of groups.
func TestCVE_2025_5999_Groups(t *testing.T) {
	w := newWorld(t)
	id := w.write("group", `{"name":"g"}`)
	for _, root := range []string{"root", "ROOT", " root", "ro\u200bot", "ｒｏｏｔ"} {
		for _, path := range []string{"group", "group/id/" + id, "group/name/g", "group/name/new"} {
			w.refused(path, fmt.Sprintf(`{"policies":[%q]}`, root), "")
		}
	}
}

// CVE-2020-10660: who has been taken out of a group has no more of it, on any node, from
// the answer on.
func TestCVE_2020_10660(t *testing.T) {
	w := newWorld(t)
	other := w.node()
	ann := w.write("entity", `{"name":"ann"}`)
	id := w.write("group", `{"name":"g","policies":"g"}`)
	for i := range 200 {
		members := list()
		if i%2 == 0 {
			members = list(ann)
		}
		w.do(api.Write, "group/id/"+id, `{"member_entity_ids":`+members+`}`)
		w.fresh(other)
		p := must(other.Person(context.Background(), "root", ann))(t)
		if has := slices.Contains(p.Policies["root"], "g"); has != (i%2 == 0) {
			t.Fatalf("round %d: the other node says %v", i, has)
		}
	}
}

func TestNestedGroups(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	low := w.write("group", `{"name":"low","policies":"low","member_entity_ids":`+list(ann)+`}`)
	mid := w.write("group", `{"name":"mid","policies":"mid","member_group_ids":`+list(low)+`}`)
	top := w.write("group", `{"name":"top","policies":"top","member_group_ids":`+list(mid, low)+`}`)
	w.has("root", ann, "low", "mid", "top")
	for id, members := range map[string]string{low: list(top), mid: list(top), top: list(top)} {
		w.refused("group/id/"+id, `{"member_group_ids":`+members+`}`, "cyclic")
	}
	e := w.do(api.Read, "entity/id/"+ann, "")
	if fmt.Sprint(e["direct_group_ids"]) != "["+low+"]" || len(e["inherited_group_ids"].([]any)) != 2 {
		t.Errorf("the member is shown as %v", e)
	}
	if g := w.do(api.Read, "group/id/"+mid, ""); fmt.Sprint(g["parent_group_ids"]) != "["+top+"]" || fmt.Sprint(g["member_group_ids"]) != "["+low+"]" {
		t.Errorf("the group is shown as %v", g)
	}
	w.do(api.Write, "group/id/"+top, `{"member_group_ids":`+list(mid)+`}`)
	w.do(api.Delete, "group/id/"+mid, "")
	w.has("root", ann, "low")
	w.do(api.Write, "group/id/"+low, `{"member_group_ids":`+list(top)+`}`) // no cycle any more
}

func TestGroupsAreNotTowers(t *testing.T) {
	w := newWorld(t)
	below := w.write("group", `{}`)
	for range 15 {
		below = w.write("group", `{"member_group_ids":`+list(below)+`}`)
	}
	w.refused("group", `{"member_group_ids":`+list(below)+`}`, "at most 16 deep")
}

// Two nestings that make a cycle together do not both come about.
func TestNestingsThatRace(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		a, b := w.write("group", `{}`), w.write("group", `{}`)
		var work sync.WaitGroup
		errs := make([]error, 2)
		for i, pair := range [][2]string{{a, b}, {b, a}} {
			work.Go(func() {
				_, errs[i] = w.try("root", api.Write, "group/id/"+pair[0], `{"member_group_ids":`+list(pair[1])+`}`)
			})
		}
		work.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("of two nestings the ends are %v and %v", errs[0], errs[1])
		}
	}
}

// More members than one commit takes.
func TestLargeGroup(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 150 {
		ids = append(ids, w.write("entity", `{}`))
	}
	id := w.write("group", `{"name":"g","policies":"g","member_entity_ids":`+list(ids...)+`}`)
	w.has("root", ids[149], "g")
	w.write("group", `{"name":"g","member_entity_ids":`+list(ids[140:]...)+`}`)
	w.has("root", ids[0])
	w.has("root", ids[140], "g")
	if g := w.do(api.Read, "group/id/"+id, ""); len(g["member_entity_ids"].([]any)) != 10 {
		t.Errorf("members are %v", g["member_entity_ids"])
	}
	w.do(api.Delete, "entity/id/"+ids[141], "")
	w.do(api.Delete, "group/id/"+id, "")
	if n := w.rows("root/identity/member/") + w.rows("root/identity/in/"); n != 0 {
		t.Errorf("%d memberships are left", n)
	}
}

func TestExternalGroup(t *testing.T) {
	w := newWorld(t)
	id := w.write("group", `{"name":"devs","type":"external","policies":"dev"}`)
	alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+id+`"}`)
	ann := w.login("auth_door_1", "ann", "dev", "unknown").ID
	w.has("root", ann, "dev")
	if g := w.do(api.Read, "group/id/"+id, ""); fmt.Sprint(g["member_entity_ids"]) != "["+ann+"]" || g["alias"].(map[string]any)["name"] != "dev" {
		t.Errorf("the group is %v", g)
	}
	if a := w.do(api.Read, "group-alias/id/"+alias, ""); a["name"] != "dev" || a["canonical_id"] != id || a["mount_type"] != "door" {
		t.Errorf("the alias is %v", a)
	}
	before := must(w.store.Sync(t.Context()))(t)
	w.login("auth_door_1", "ann", "unknown", "dev", "dev")
	if after := must(w.store.Sync(t.Context()))(t); after != before {
		t.Error("a login that brings nothing new has written")
	}
	w.login("auth_hall_1", "ann", "dev") // another mount's group, and another person
	w.has("root", w.login("auth_hall_1", "ann", "dev").ID)
	w.login("auth_door_1", "ann", "Dev")
	w.has("root", ann)
	w.login("auth_door_1", "ann", "dev")
	w.has("root", ann, "dev")
	if err := w.ids.Renewed(w.call("root", "auth_door_1"), ann, 0, "ann", said("ann")); err != nil {
		t.Error(err)
	}
	w.has("root", ann)
}

// What another mount says of somebody's groups is not touched by a login through this one.
func TestExternalGroupsOfTwoMounts(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	for _, m := range []string{"door", "hall"} {
		w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_`+m+`_1","canonical_id":"`+ann+`"}`)
		g := w.write("group", `{"name":"`+m+`","type":"external","policies":"`+m+`"}`)
		w.write("group-alias", `{"name":"g","mount_accessor":"auth_`+m+`_1","canonical_id":"`+g+`"}`)
	}
	w.login("auth_door_1", "ann", "g")
	w.login("auth_hall_1", "ann", "g")
	w.has("root", ann, "door", "hall")
	w.login("auth_door_1", "ann")
	w.has("root", ann, "hall")
}

// Who was in a group by a name that it no longer has is in it no more.
func TestExternalGroupsByOldNames(t *testing.T) {
	for name, change := range map[string]struct {
		op   api.Op
		body string
	}{
		"another name":  {api.Write, `{"name":"ops"}`},
		"another mount": {api.Write, `{"mount_accessor":"auth_hall_1"}`},
		"no alias":      {api.Delete, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.write("group", `{"name":"g","type":"external","policies":"g"}`)
			alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+id+`"}`)
			ann := w.login("auth_door_1", "ann", "dev").ID
			w.has("root", ann, "g")
			w.do(change.op, "group-alias/id/"+alias, change.body)
			w.has("root", ann)
			if g := w.do(api.Read, "group/id/"+id, ""); fmt.Sprint(g["member_entity_ids"]) != "[]" {
				t.Errorf("members are %v", g["member_entity_ids"])
			}
			w.login("auth_door_1", "ann", "dev")
			w.has("root", ann)
		})
	}
}

func TestGroupAliasMoves(t *testing.T) {
	w := newWorld(t)
	a, b := w.write("group", `{"name":"a","type":"external","policies":"a"}`), w.write("group", `{"name":"b","type":"external","policies":"b"}`)
	alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+a+`"}`)
	ann := w.login("auth_door_1", "ann", "dev").ID
	w.do(api.Write, "group-alias/id/"+alias, `{"canonical_id":"`+b+`"}`)
	w.has("root", ann)
	w.login("auth_door_1", "ann", "dev")
	w.has("root", ann, "b")
	if again := w.write("group-alias", `{"name":"ops","mount_accessor":"auth_door_1","canonical_id":"`+b+`"}`); again != alias {
		t.Errorf("the group has got a second alias %s", again)
	}
	if keys := fmt.Sprint(w.do(api.List, "group-alias/id", "")["keys"]); keys != "["+alias+"]" {
		t.Errorf("aliases are %s", keys)
	}
	made := w.do(api.Write, "group-alias", `{"name":"new","mount_accessor":"auth_door_1"}`)
	if g := w.do(api.Read, "group/id/"+made["canonical_id"].(string), ""); g["type"] != "external" {
		t.Errorf("an alias of nothing makes %v", g)
	}
	if g := w.do(api.Write, "lookup/group", `{"alias_name":"new","alias_mount_accessor":"auth_door_1"}`); g["id"] != made["canonical_id"] {
		t.Errorf("the alias finds %v", g)
	}
}

// An entity of a namespace above can be in a group, and has its policies there.
func TestGroupsAcrossNamespaces(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann","policies":"base"}`)
	above := w.write("group", `{"name":"above","policies":"above","member_entity_ids":`+list(ann)+`}`)
	g := must(w.try("squad", api.Write, "group", `{"name":"g","policies":"squad","member_entity_ids":`+list(ann)+`}`))(t)
	h := must(w.try("team", api.Write, "group", `{"name":"g","policies":"team","member_group_ids":`+list(above)+`}`))(t)
	w.has("root", ann, "above", "base")
	w.has("squad", ann, "squad")
	w.has("team", ann, "team")
	if v, err := w.try("root", api.Write, "group", `{"member_group_ids":`+list(h["id"].(string))+`}`); err == nil {
		t.Errorf("a group has a member of a namespace below: %v", v)
	}
	must(w.try("squad", api.Delete, "group/id/"+g["id"].(string), ""))(t)
	w.has("squad", ann)
	w.do(api.Delete, "entity/id/"+ann, "")
	if n := w.rows("root/identity/in/"+ann) + w.rows("team/identity/member/"+g["id"].(string)); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// fencedStore refuses to read a namespace, as the barrier does one that is gone.
type fencedStore struct {
	store.Store
	gone string
	why  error
}

func (f *fencedStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if f.gone != "" && strings.HasPrefix(key, f.gone) {
		return store.Entry{}, f.why
	}
	return f.Store.Get(ctx, key)
}

func (f *fencedStore) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if f.gone != "" && strings.HasPrefix(r.Start, f.gone) {
		return nil, f.why
	}
	return f.Store.List(ctx, r)
}

func (f *fencedStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	for _, wr := range writes {
		if f.gone != "" && strings.HasPrefix(wr.Key, f.gone) {
			return 0, f.why
		}
	}
	return f.Store.Commit(ctx, checks, writes)
}

// A namespace that is gone takes what its groups gave, and nobody is locked out by it.
func TestNamespaceOfAGroupIsGone(t *testing.T) {
	w := newWorld(t)
	fence := &fencedStore{Store: w.store, why: errGone}
	w.store = fence
	w.ids = w.node()
	w.router = w.routes(w.ids)
	ann := w.write("entity", `{"name":"ann","policies":"base"}`)
	must(w.try("team", api.Write, "group", `{"policies":"team","member_entity_ids":`+list(ann)+`}`))(t)
	fence.gone = "team/"
	w.ids = w.node()
	w.router = w.routes(w.ids)
	w.has("root", ann, "base")
	w.has("team", ann)
	w.do(api.Delete, "entity/id/"+ann, "")
	if n := w.rows("root/identity/"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// What groups of a sealed namespace give is not there while it is sealed, and is there at
// once when it is open again, though no row has changed.
func TestNamespaceOfAGroupIsSealed(t *testing.T) {
	w := newWorld(t)
	fence := &fencedStore{Store: w.store, why: store.ErrSealed}
	w.store = fence
	w.ids = w.node()
	w.router = w.routes(w.ids)
	ann := w.write("entity", `{"name":"ann","policies":"base"}`)
	must(w.try("team", api.Write, "group", `{"name":"g","policies":"team","member_entity_ids":`+list(ann)+`}`))(t)
	fence.gone = "team/"
	w.has("root", ann, "base")
	w.has("team", ann)
	if !w.person("root", ann).Partial() {
		t.Error("all groups of an entity are said to be known, and one lies in a sealed namespace")
	}
	if e := w.do(api.Read, "entity/id/"+ann, ""); e["name"] != "ann" {
		t.Errorf("the entity is %v", e)
	}
	fence.gone = ""
	w.has("team", ann, "team")
	if w.person("root", ann).Partial() {
		t.Error("all groups are there, and said to be not")
	}
	fence.gone = "team/"
	w.write("entity", `{"name":"ann","policies":"other"}`)
	w.do(api.Delete, "entity/id/"+ann, "")
	w.has0(ann)
	fence.gone = ""
	if g := must(w.try("team", api.Read, "group/name/g", ""))(t); len(g["member_entity_ids"].([]any)) != 1 {
		t.Fatalf("the row of the sealed namespace is %v", g["member_entity_ids"])
	}
	w.work(w.ids)
	if n := w.rows("root/identity/") + w.rows("team/identity/member/"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// A deletion that is cut short is finished by the schedule.
func TestDeletionIsFinished(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	must(w.try("team", api.Write, "group", `{"policies":"team","member_entity_ids":`+list(ann)+`}`))(t)
	cut := &cutStore{Store: w.store}
	w.store = cut
	broken := w.node()
	w.router = w.routes(broken)
	cut.left = 1
	if _, err := w.try("root", api.Delete, "entity/id/"+ann, ""); err == nil {
		t.Fatal("the deletion was not cut short")
	}
	cut.left = 1000
	w.has0(ann)
	w.work(broken)
	if n := w.rows("root/identity/") + w.rows("team/identity/member"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// cutStore takes so many commits.
type cutStore struct {
	store.Store
	left int
}

func (c *cutStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if c.left--; c.left < 0 {
		return 0, errors.New("cut short")
	}
	return c.Store.Commit(ctx, checks, writes)
}

// has0 fails the test unless there is no such entity.
func (w *world) has0(id string) {
	w.t.Helper()
	if p := w.person("root", id); p != nil {
		w.t.Errorf("there is still %v", p.Entity)
	}
}
