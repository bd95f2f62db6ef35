package identity_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// two are entities with an alias each of its own mount.
func (w *world) two() (ann, bob, a, b string) {
	w.t.Helper()
	ann, bob = w.write("entity", `{"name":"ann","policies":"ann"}`), w.write("entity", `{"name":"bob","policies":"bob"}`)
	a = w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
	b = w.write("entity-alias", `{"name":"bob","mount_accessor":"auth_hall_1","canonical_id":"`+bob+`"}`)
	return ann, bob, a, b
}

func mergeOf(to string, from ...string) string {
	return `{"to_entity_id":"` + to + `","from_entity_ids":` + list(from...) + `}`
}

func TestMerge(t *testing.T) {
	w := newWorld(t)
	ann, bob, a, _ := w.two()
	other := w.node()
	var groups []string
	for i := range 25 { // more than one commit takes
		groups = append(groups, w.write("group", fmt.Sprintf(`{"policies":"g%02d","member_entity_ids":%s}`, i, list(ann))))
	}
	w.do(api.Write, "entity/merge", mergeOf(bob, ann))
	for _, who := range []string{ann, bob} { // on another node too, at once
		w.fresh(other)
		p := must(other.Person(context.Background(), "root", who))(t)
		if p == nil || p.ID != bob || len(p.Policies["root"]) != 26 {
			t.Errorf("%s is now %+v", who, p)
		}
	}
	if p := w.login("auth_door_1", "ann"); p.ID != bob {
		t.Errorf("the login is %s, want %s", p.ID, bob)
	}
	e := w.do(api.Read, "entity/id/"+bob, "")
	if fmt.Sprint(e["merged_entity_ids"]) != "["+ann+"]" || len(e["aliases"].([]any)) != 2 || len(e["direct_group_ids"].([]any)) != 25 || fmt.Sprint(e["policies"]) != "[bob]" {
		t.Errorf("the entity is %v", e)
	}
	if al := w.do(api.Read, "entity-alias/id/"+a, ""); fmt.Sprint(al["merged_from_canonical_ids"]) != "["+ann+"]" || al["canonical_id"] != bob {
		t.Errorf("the alias is %v", al)
	}
	if g := w.do(api.Read, "group/id/"+groups[0], ""); fmt.Sprint(g["member_entity_ids"]) != "["+bob+"]" {
		t.Errorf("the group has %v", g["member_entity_ids"])
	}
	for _, path := range []string{"entity/id/" + ann, "entity/name/ann"} {
		if _, err := w.try("root", api.Read, path, ""); api.KindOf(err) != api.NotFound {
			t.Errorf("%s: %v, want not found", path, err)
		}
	}
	if keys := fmt.Sprint(w.do(api.List, "entity/id", "")["keys"]); keys != "["+bob+"]" {
		t.Errorf("entities are %s", keys)
	}
	w.do(api.Delete, "entity/id/"+bob, "")
	w.has0(ann)
	if n := w.rows("root/identity/entity") + w.rows("root/identity/alias") + w.rows("root/identity/in/") + w.rows("root/due/"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Who has become somebody who becomes somebody else is that one in the end.
func TestMergesInARow(t *testing.T) {
	w := newWorld(t)
	first := w.write("entity", `{}`)
	last := first
	for range 40 {
		next := w.write("entity", `{}`)
		w.do(api.Write, "entity/merge", mergeOf(next, last))
		last = next
	}
	if p := w.person("root", first); p == nil || p.ID != last {
		t.Errorf("the first is %v, want %s", p, last)
	}
	for range 30 {
		next := w.write("entity", `{}`)
		if _, err := w.try("root", api.Write, "entity/merge", mergeOf(next, last)); err != nil {
			if p := w.person("root", first); p == nil || p.ID != last || !strings.Contains(err.Error(), "more than") {
				t.Errorf("a refused merge (%v) leaves %v", err, p)
			}
			return
		}
		last = next
	}
	t.Error("merges go on for ever")
}

func TestMergeRefusals(t *testing.T) {
	w := newWorld(t)
	ann, bob, a, b := w.two()
	cy := w.write("entity", `{"name":"cy"}`)
	c := w.write("entity-alias", `{"name":"cy","mount_accessor":"auth_door_1","canonical_id":"`+cy+`"}`)
	off := w.write("entity", `{"disabled":true}`)
	gone := w.write("entity", `{"name":"gone"}`)
	w.do(api.Write, "entity/merge", mergeOf(w.write("entity", `{"name":"new"}`), gone))
	many := make([]string, 51)
	for i := range many {
		many[i] = api.NewUUID()
	}
	for body, text := range map[string]string{
		mergeOf("", ann):          "missing entity id to merge to",
		mergeOf(bob):              "missing entity ids",
		mergeOf(bob, bob):         "should not be present",
		mergeOf("x", ann):         "merge to is invalid",
		mergeOf(bob, "x"):         "merge from is invalid",
		mergeOf(bob, off):         "disabled",
		mergeOf(bob, gone):        "merge from is invalid", // it is somebody else by now
		mergeOf(gone, bob):        "merge to is invalid",
		mergeOf(bob, many...):     "more than 50",
		mergeOf(bob, ann, cy):     "one by one",
		mergeOf(cy, ann):          "conflicting_alias_ids_to_keep",
		mergeOf(off, ann, ann, a): "invalid",
		strings.TrimSuffix(mergeOf(cy, ann), "}") + `,"conflicting_alias_ids_to_keep":` + list(a, c) + "}": "name the one",
		strings.TrimSuffix(mergeOf(cy, ann), "}") + `,"conflicting_alias_ids_to_keep":` + list(b) + "}":    "name the one",
	} {
		w.refused("entity/merge", body, text)
	}
	w.refused("group", `{"member_entity_ids":`+list(gone)+`}`, "no entity")
	for who, id := range map[string]string{"ann": ann, "cy": cy} {
		if p := w.login("auth_door_1", who); p.ID != id {
			t.Errorf("after refusals %s is %s", who, p.ID)
		}
	}
}

func TestMergeWithAliasesOfOneMount(t *testing.T) {
	for _, keep := range []string{"from", "to"} {
		w := newWorld(t)
		ann, _, a, _ := w.two()
		cy := w.write("entity", `{"name":"cy"}`)
		c := w.write("entity-alias", `{"name":"cy","mount_accessor":"auth_door_1","canonical_id":"`+cy+`"}`)
		kept, gone := map[string]string{"from": "ann", "to": "cy"}[keep], map[string]string{"from": "cy", "to": "ann"}[keep]
		id := map[string]string{"from": a, "to": c}[keep]
		w.do(api.Write, "entity/merge", strings.TrimSuffix(mergeOf(cy, ann), "}")+`,"conflicting_alias_ids_to_keep":`+list(id)+"}")
		if p := w.login("auth_door_1", kept); p.ID != cy {
			t.Errorf("%s is kept, and the login is %s", keep, p.ID)
		}
		if p := w.login("auth_door_1", gone); p.ID == cy || p.ID == ann {
			t.Errorf("%s is kept, and the other login is still that entity", keep)
		}
		if e := w.do(api.Read, "entity/id/"+cy, ""); len(e["aliases"].([]any)) != 1 {
			t.Errorf("aliases are %v", e["aliases"])
		}
	}
}

// An external group that somebody was in by an alias comes along, and goes with the next login.
func TestMergeOfAnExternalMembership(t *testing.T) {
	w := newWorld(t)
	g := w.write("group", `{"type":"external","policies":"g"}`)
	w.write("group-alias", `{"name":"g","mount_accessor":"auth_door_1","canonical_id":"`+g+`"}`)
	ann := w.login("auth_door_1", "ann", "g").ID
	bob := w.login("auth_hall_1", "bob").ID
	w.do(api.Write, "entity/merge", mergeOf(bob, ann))
	w.has("root", bob, "g")
	w.login("auth_door_1", "ann")
	w.has("root", bob)
}
