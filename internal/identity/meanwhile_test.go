package identity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/store"
)

// Whoever is deleted, or disabled, or whose alias is somebody else's, while their login finds out in which groups they are is not let in, and
// is not put into the groups.
func TestGoneDuringTheirLogin(t *testing.T) {
	for what, end := range map[string]func(w *world, ann string){
		"deleted":  func(w *world, ann string) { w.do(api.Delete, "entity/id/"+ann, "") },
		"disabled": func(w *world, ann string) { w.do(api.Write, "entity/id/"+ann, `{"disabled":true}`) },
		"alias moved": func(w *world, _ string) {
			w.do(api.Write, "entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+w.write("entity", `{}`)+`"}`)
		},
		"alias replaced": func(w *world, ann string) {
			w.do(api.Delete, "entity-alias/id/"+w.aliasOf(ann), "")
			w.do(api.Write, "entity-alias", `{"name":"second","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
		},
	} {
		w, gate := gated(t)
		w.outside("red")
		ann := w.login("auth_door_1", "ann").ID
		gate.prefix, gate.writes, gate.run = "root/identity/in/"+ann, true, func() { end(w, ann) }
		c := w.call("root", "auth_door_1")
		var cancel context.CancelFunc
		c.Context, cancel = context.WithTimeout(c.Context, 10*time.Second)
		defer cancel()
		w.fresh(w.ids)
		_, err := w.ids.Admit(c, &api.Auth{Alias: &api.Alias{Name: "ann"}, GroupAliases: []string{"red"}, TTL: time.Hour})
		if gate.run != nil || api.KindOf(err) != api.Denied {
			t.Errorf("%s: let in, %v", what, err)
		}
		if n := w.rows("root/identity/in/" + ann); strings.HasPrefix(what, "alias") && n != 0 {
			t.Errorf("%s: is in a group", what)
		}
	}
}

// A group does not get a member that is deleted while it is put in, be it among the first or among those for which a commit more is made.
func TestMemberIsDeletedMeanwhile(t *testing.T) {
	for _, many := range []int{1, 30} {
		w, gate := gated(t)
		var all []string
		for range many {
			all = append(all, w.write("entity", `{}`))
		}
		g, last := w.write("group", `{"policies":"g"}`), slices.Max(all)
		gate.prefix, gate.writes, gate.run = "root/identity/in/"+last, true, func() { w.do(api.Delete, "entity/id/"+last, "") }
		w.refused("group/id/"+g, `{"member_entity_ids":`+list(all...)+`}`, "member_entity_ids: one of them is no entity")
		if n := w.rows("root/identity/in/" + last); gate.run != nil || n != 0 {
			t.Errorf("of %d: %d rows are left", many, n)
		}
	}
}

// Groups that are put into one another at the same moment, each by a change that sees nothing of the other, make no circle.
func TestNestedIntoOneAnotherMeanwhile(t *testing.T) {
	w, gate := gated(t)
	a, c := w.write("group", `{"name":"a"}`), w.write("group", `{"name":"c"}`)
	b := w.write("group", `{"name":"b","member_group_ids":`+list(c)+`}`)
	gate.prefix, gate.writes, gate.run = "root/identity/in/"+b, true, func() { w.do(api.Write, "group/id/"+c, `{"member_group_ids":`+list(a)+`}`) }
	w.refused("group/id/"+a, `{"member_group_ids":`+list(b)+`}`, "cyclic")
}

// An entity that somebody changes at the moment at which it would be reaped stays.
func TestChangedAsItIsReaped(t *testing.T) {
	w, gate := gated(t)
	ann := w.login("auth_door_1", "ann").ID
	w.now = w.now.Add(identity.DefaultUnused + 48*time.Hour)
	gate.prefix, gate.writes, gate.run = "root/identity/entity/"+ann, true, func() {
		gate.prefix = "none"
		w.do(api.Write, "entity/id/"+ann, `{"policies":"a"}`)
	}
	w.work(w.ids)
	if gate.run != nil {
		t.Fatal("it was not to be reaped")
	}
	w.has("root", ann, "a")
}

// The root policy is given by nothing, however it came into a row.
func TestRootInARow(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann","policies":"a"}`)
	g := w.write("group", `{"policies":"g","member_entity_ids":`+list(ann)+`}`)
	for _, key := range []string{"root/identity/entity/" + ann, "root/identity/group/" + g} {
		e := must(w.store.Get(t.Context(), key))(t)
		for _, root := range []string{"root", "ROOT", " Root"} {
			text := strings.NewReplacer(`"policies":["a"]`, `"policies":["a",`+fmt.Sprintf("%q", root)+`]`, `"policies":["g"]`, `"policies":["g",`+fmt.Sprintf("%q", root)+`]`).Replace(string(e.Value))
			if text == string(e.Value) {
				t.Fatalf("no policies are in %s", text)
			}
			must(w.store.Commit(t.Context(), nil, []store.Write{{Key: key, Value: []byte(text)}}))(t)
			w.has("root", ann, "a", "g")
		}
	}
}

// What there is not of somebody is told from what is empty: a rule that names it is in force for nobody, whatever it says.
func TestMissingIsNotEmpty(t *testing.T) {
	w := newWorld(t)
	ann := w.login("auth_door_1", "ann").ID
	w.do(api.Write, "entity/id/"+ann, `{"metadata":{"empty":""}}`)
	w.do(api.Write, "entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","custom_metadata":{"empty":""}}`)
	w.write("group", `{"name":"g","metadata":{"empty":""},"member_entity_ids":`+list(ann)+`}`)
	p := w.person("root", ann)
	for _, at := range []string{"identity.entity.metadata.", "identity.entity.aliases.auth_door_1.custom_metadata.", "identity.groups.names.g.metadata."} {
		if v, ok := p.Value("root", at+"empty"); v != "" || !ok {
			t.Errorf("%sempty is %q, %v", at, v, ok)
		}
		if v, ok := p.Value("root", at+"none"); v != "" || ok {
			t.Errorf("%snone is %q, %v", at, v, ok)
		}
	}
	for _, none := range []string{"identity.entity.aliases.auth_door_1.metadata.none", "identity.entity.aliases.auth_hall_1.name", "identity.entity.aliases.auth_door_1.else", "identity.groups.names.g.else", "identity.entity.else"} {
		if v, ok := p.Value("root", none); v != "" || ok {
			t.Errorf("%s is %q, %v", none, v, ok)
		}
	}
}

// An entity has 40 aliases at most.
func TestAliasesAreFew(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	for n, taken := range map[int]bool{39: true, 40: false} {
		key := "root/identity/entity/" + ann
		e := must(store.LoadJSON[identity.Entity](t.Context(), w.store, key))(t)
		for e.Aliases = nil; len(e.Aliases) < n; {
			e.Aliases = append(e.Aliases, identity.AliasRef{ID: api.NewUUID(), Accessor: fmt.Sprint("auth_other_", len(e.Aliases)), Name: "ann"})
		}
		must(w.store.Commit(t.Context(), nil, []store.Write{{Key: key, Value: must(json.Marshal(e))(t)}}))(t)
		_, err := w.try("root", api.Write, "entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
		if (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "which is the most") {
			t.Errorf("one more than %d: %v", n, err)
		}
		if _, err := w.try("root", api.Write, "entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+w.write("entity", `{}`)+`"}`); err != nil {
			t.Error(err)
		}
	}
}
