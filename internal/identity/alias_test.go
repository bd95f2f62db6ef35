package identity_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
)

func TestAlias(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann","policies":"dev"}`)
	id := w.write("entity-alias", `{"name":"Ann","mount_accessor":"auth_desk_1","canonical_id":"`+ann+`","custom_metadata":{"k":"v"}}`)
	a := w.do(api.Read, "entity-alias/id/"+id, "")
	if a["name"] != "ann" || a["canonical_id"] != ann || a["mount_path"] != "auth/desk/" || a["mount_type"] != "desk" || fmt.Sprint(a["custom_metadata"]) != "map[k:v]" || a["local"] != false {
		t.Errorf("the alias is %v", a)
	}
	if p := w.login("auth_desk_1", "ann"); p.ID != ann {
		t.Errorf("the login is %s, want %s", p.ID, ann)
	}
	if keys := fmt.Sprint(w.do(api.List, "entity-alias/id", "")["keys"]); keys != "["+id+"]" {
		t.Errorf("aliases are %s", keys)
	}
	if again := w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_desk_1","custom_metadata":{"k":"w"}}`); again != id {
		t.Errorf("changing it by its name answers %s", again)
	}
	w.do(api.Write, "alias/id/"+id, `{"name":"ANNE"}`)
	if p := w.login("auth_desk_1", "anne"); p.ID != ann {
		t.Errorf("after a change the login is %s, want %s", p.ID, ann)
	}
	w.do(api.Delete, "entity-alias/id/"+id, "")
	w.do(api.Delete, "entity-alias/id/"+id, "")
	if e := w.do(api.Read, "entity/id/"+ann, ""); len(e["aliases"].([]any)) != 0 {
		t.Errorf("the entity still has %v", e["aliases"])
	}
	if p := w.login("auth_desk_1", "anne"); p.ID == ann || len(p.Policies["root"]) != 0 {
		t.Errorf("after its deletion the alias is still the entity's")
	}
}

// Whoever takes an alias from an entity is told from which, and what stays there.
func TestAliasIsTakenAway(t *testing.T) {
	w := newWorld(t)
	ann, other := w.login("auth_door_1", "ann").ID, w.write("entity", `{"name":"other"}`)
	w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_hall_1","canonical_id":"`+ann+`"}`)
	for _, c := range []struct {
		path, body string
		last       bool
	}{
		{"entity-alias", `{"name":"ann","mount_accessor":"auth_hall_1","canonical_id":"` + other + `"}`, false},
		{"entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"` + other + `"}`, true},
	} {
		_, warning := w.warned(c.path, c.body)
		if !strings.Contains(warning, "taken from the entity "+ann) || strings.Contains(warning, "nobody logs in as it any more") != c.last {
			t.Errorf("%s warns of %q", c.body, warning)
		}
		if _, again := w.warned(c.path, c.body); again != "" {
			t.Errorf("once it is the entity's, %s warns of %q", c.body, again)
		}
	}
	if _, warning := w.warned("entity-alias", `{"name":"new","mount_accessor":"auth_desk_1","canonical_id":"`+other+`"}`); warning != "" {
		t.Errorf("a new alias warns of %q", warning)
	}
}

func TestAliasRefusals(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.write("entity", `{"name":"ann"}`), w.write("entity", `{"name":"bob"}`)
	a := w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
	w.write("entity-alias", `{"name":"bob","mount_accessor":"auth_door_1","canonical_id":"`+bob+`"}`)
	for _, c := range []struct{ path, body, text string }{
		{"entity-alias", `{"mount_accessor":"auth_door_1"}`, "missing alias name"},
		{"entity-alias", `{"name":"x"}`, "missing mount_accessor"},
		{"entity-alias", `{"name":"x","mount_accessor":"auth_none_1"}`, "invalid mount accessor"},
		{"entity-alias", `{"name":" x","mount_accessor":"auth_door_1"}`, "space"},
		{"entity-alias", `{"name":"ANN","mount_accessor":"auth_door_1"}`, "differs by case"},
		{"entity-alias", `{"name":"x","mount_accessor":"auth_hall_1","canonical_id":"00000000-0000-4000-8000-000000000000"}`, "invalid canonical ID"},
		{"entity-alias", `{"name":"x","mount_accessor":"auth_door_1","canonical_id":"` + ann + `"}`, "already has an alias"},
		{"entity-alias/id/" + a, `{"name":"bob"}`, "another alias"},
		{"entity-alias/id/" + a, `{"mount_accessor":"auth_none_1"}`, "invalid mount accessor"},
		{"entity-alias/id/" + bob, `{}`, "invalid alias ID"},
		{"entity-alias", `{"id":"` + bob + `"}`, "invalid alias ID"},
	} {
		w.refused(c.path, c.body, c.text)
	}
}

// CVE-2021-41802: an alias does not take the place of another user's.
func TestCVE_2021_41802(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann","policies":"dev"}`)
	boss := w.write("entity", `{"name":"boss","policies":"all"}`)
	a := w.write("entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
	b := w.write("entity-alias", `{"name":"boss","mount_accessor":"auth_door_1","canonical_id":"`+boss+`"}`)
	for _, body := range []string{`{"canonical_id":"` + boss + `"}`, `{"name":"boss"}`, `{"name":"BOSS"}`, `{"name":"boss","mount_accessor":"auth_door_1","canonical_id":"` + boss + `"}`} {
		w.refused("entity-alias/id/"+a, body, "")
	}
	w.refused("entity-alias", `{"id":"`+b+`","canonical_id":"`+ann+`"}`, "already has an alias")
	if p := w.login("auth_door_1", "ann"); p.ID != ann || fmt.Sprint(p.Policies["root"]) != "[dev]" {
		t.Errorf("ann is %s with %v", p.ID, p.Policies)
	}
	if p := w.login("auth_door_1", "boss"); p.ID != boss || fmt.Sprint(p.Policies["root"]) != "[all]" {
		t.Errorf("the boss is %s with %v", p.ID, p.Policies)
	}
}

// CVE-2021-43998: an entity has one alias of each mount, and templates take it by the mount.
func TestCVE_2021_43998(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	w.write("entity-alias", `{"name":"first","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
	w.write("entity-alias", `{"name":"second","mount_accessor":"auth_hall_1","canonical_id":"`+ann+`"}`)
	w.refused("entity-alias", `{"name":"third","mount_accessor":"auth_hall_1","canonical_id":"`+ann+`"}`, "already has an alias")
	p := w.person("root", ann)
	for accessor, want := range map[string]string{"auth_door_1": "first", "auth_hall_1": "second", "auth_desk_1": ""} {
		if got, ok := p.Value("root", "identity.entity.aliases."+accessor+".name"); got != want || ok != (want != "") {
			t.Errorf("of %s the name is %q", accessor, got)
		}
	}
	var work sync.WaitGroup
	for i := range 6 { // and not two of one mount by way of a race
		work.Go(func() {
			body := fmt.Sprintf(`{"name":"n%d","mount_accessor":"auth_desk_1","canonical_id":%q}`, i, ann)
			if _, err := w.try("root", api.Write, "entity-alias", body); err != nil && !strings.Contains(err.Error(), "already has") {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if e := w.do(api.Read, "entity/id/"+ann, ""); len(e["aliases"].([]any)) != 3 {
		t.Errorf("the entity has %v", e["aliases"])
	}
}

// CVE-2022-40186: the metadata of a login goes to the alias of its mount, on every node.
func TestCVE_2022_40186(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	for _, accessor := range []string{"auth_door_1", "auth_hall_1"} {
		w.write("entity-alias", `{"name":"ann","mount_accessor":"`+accessor+`","canonical_id":"`+ann+`"}`)
	}
	nodes := []*identity.Store{w.ids, w.node(), w.node()}
	var work sync.WaitGroup
	for i := range 60 {
		work.Go(func() {
			accessor := []string{"auth_door_1", "auth_hall_1"}[i%2]
			s := nodes[i%3]
			w.fresh(s)
			who := &api.Alias{Name: "ann", Metadata: map[string]string{"from": accessor}}
			p, err := s.Admit(w.call("root", accessor), &api.Auth{Alias: who})
			if err != nil {
				t.Error(err)
				return
			}
			if p.ID != ann {
				t.Errorf("the login is %s", p.ID)
			}
		})
	}
	work.Wait()
	p := w.person("root", ann)
	for _, accessor := range []string{"auth_door_1", "auth_hall_1"} {
		if got, _ := p.Value("root", "identity.entity.aliases."+accessor+".metadata.from"); got != accessor {
			t.Errorf("the alias of %s has the metadata of %q", accessor, got)
		}
	}
}

// Two names that could be taken for one another are not two persons: the second is not
// let in, and does not become the first.
func TestLoginsThatDifferByCase(t *testing.T) {
	w := newWorld(t)
	w.login("auth_door_1", "ann")
	for _, name := range []string{"Ann", "ANN", " ann", "ann ", "ann\u00a0"} {
		if p, err := w.enter(w.ids, "root", "auth_door_1", name); api.KindOf(err) != api.Denied {
			t.Errorf("%q is let in as %v (%v)", name, p, err)
		}
	}
	if n := w.rows("root/identity/alias/"); n != 1 {
		t.Errorf("%d aliases", n)
	}
}

// A login that is known, and brings nothing new, writes nothing.
func TestKnownLoginWritesNothing(t *testing.T) {
	w := newWorld(t)
	first := w.login("auth_door_1", "ann")
	before := must(w.store.Sync(t.Context()))(t)
	for range 3 {
		if p := w.login("auth_door_1", "ann"); p.ID != first.ID {
			t.Errorf("the login is %s, want %s", p.ID, first.ID)
		}
	}
	if after := must(w.store.Sync(t.Context()))(t); after != before {
		t.Errorf("the store went from revision %d to %d", before, after)
	}
}

// Many logins of one new name make one entity, on all nodes.
func TestOneEntityForOneAlias(t *testing.T) {
	w := newWorld(t)
	nodes := []*identity.Store{w.ids, w.node(), w.node()}
	var work sync.WaitGroup
	ids := make([]string, 30)
	for i := range ids {
		work.Go(func() {
			p, err := w.enter(nodes[i%3], "root", "auth_door_1", "ann")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = p.ID
		})
	}
	work.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one name is %v", ids)
		}
	}
}

// A persona is the oldest form of an alias.
func TestPersona(t *testing.T) {
	w := newWorld(t)
	id := w.write("persona", `{"name":"ann","mount_accessor":"auth_door_1","metadata":{"k":"v"}}`)
	w.do(api.Write, "persona/id/"+id, `{"name":"anne"}`)
	if a := w.do(api.Read, "persona/id/"+id, ""); a["name"] != "anne" || fmt.Sprint(a["custom_metadata"]) != "map[k:v]" {
		t.Errorf("the alias is %v", a)
	}
	w.do(api.Delete, "persona/id/"+id, "")
}
