package identity_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func TestEntity(t *testing.T) {
	w := newWorld(t)
	made := w.do(api.Write, "entity", `{"name":"Ann","policies":"dev, Ops","metadata":{"team":"red"}}`)
	id, _ := made["id"].(string)
	if made["name"] != "Ann" || len(id) != 36 || made["aliases"] != nil {
		t.Errorf("creating answers %v", made)
	}
	if again := w.do(api.Write, "entity", `{"name":"Ann","disabled":true}`); again != nil {
		t.Errorf("changing answers %v, want nothing", again)
	}
	for _, path := range []string{"entity/id/" + id, "entity/name/ann", "entity/name/ANN"} {
		e := w.do(api.Read, path, "")
		if e["name"] != "Ann" || e["disabled"] != true || fmt.Sprint(e["policies"]) != "[dev ops]" || fmt.Sprint(e["metadata"]) != "map[team:red]" ||
			fmt.Sprint(e["aliases"]) != "[]" || e["id"] != id || e["namespace_id"] != "root" {
			t.Errorf("%s is %v", path, e)
		}
	}
	w.do(api.Write, "entity/id/"+id, `{"name":"ANN","policies":""}`)
	if e := w.do(api.Read, "entity/name/ann", ""); e["name"] != "ANN" || fmt.Sprint(e["policies"]) != "[]" {
		t.Errorf("after a change it is %v", e)
	}
	w.do(api.Write, "entity/id/"+id, `{"name":"bob"}`)
	if _, err := w.try("root", api.Read, "entity/name/ann", ""); api.KindOf(err) != api.NotFound {
		t.Errorf("the old name: %v, want not found", err)
	}
	w.do(api.Delete, "entity/name/bob", "")
	w.do(api.Delete, "entity/id/"+id, "")
	if n := w.rows("root/identity/"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestEntityRefusals(t *testing.T) {
	w := newWorld(t)
	id := w.write("entity", `{"name":"ann"}`)
	w.write("entity", `{"name":"bob"}`)
	for _, c := range []struct{ path, body, text string }{
		{"entity", `{"name":"Ann"}`, "differs by case"},
		{"entity", `{"name":" ann"}`, "space"},
		{"entity", `{"name":"a\u0000"}`, "does not print"},
		{"entity", `{"name":"` + strings.Repeat("x", 513) + `"}`, "longer"},
		{"entity", `{"id":"` + id + `","name":"BOB"}`, "already in use"},
		{"entity/id/" + id, `{"name":"bob"}`, "already in use"},
		{"entity/id/00000000-0000-4000-8000-000000000000", `{}`, "invalid entity id"},
		{"entity", `{"id":"../x"}`, "invalid entity id"},
		{"entity", `{"metadata":{"":"x"}}`, "metadata"},
		{"entity", `{"policies":["a/../b"]}`, "malformed"},
		{"entity", `{"policies":["response-wrapping"]}`, "not to be attached"},
		{"entity/batch-delete", `{}`, "missing entity ids"},
		{"lookup/entity", `{}`, "not supplied"},
		{"lookup/entity", `{"id":"x","name":"y"}`, "conflict"},
		{"lookup/entity", `{"alias_name":"x"}`, "both"},
	} {
		w.refused(c.path, c.body, c.text)
	}
}

// Whoever disables a name that nobody has is told that nobody is disabled, and nobody else is.
func TestDisablingANewName(t *testing.T) {
	w := newWorld(t)
	lou := w.login("auth_door_1", "lou")
	for _, path := range []string{"entity/name/lou", "entity"} {
		made, warning := w.warned(path, `{"name":"lou","disabled":true}`)
		if id, _ := made["id"].(string); id == "" || !strings.Contains(warning, id) || !strings.Contains(warning, "alias_name") {
			t.Errorf("%s: answered %v, warned of %q", path, made, warning)
		}
		if p := w.person("root", lou.ID); p.Disabled {
			t.Error("somebody else is disabled")
		}
		if _, again := w.warned(path, `{"name":"lou","disabled":true}`); again != "" {
			t.Errorf("%s: disabling one that there is warns of %q", path, again)
		}
		w.do(api.Delete, "entity/name/lou", "")
	}
	for _, c := range []struct{ path, body string }{{"entity/name/a", `{}`}, {"entity/name/b", `{"disabled":false}`}, {"entity", `{"disabled":true}`}, {"entity/id/" + lou.ID, `{"name":"lou","disabled":true}`}} {
		if _, warning := w.warned(c.path, c.body); warning != "" {
			t.Errorf("%s %s warns of %q", c.path, c.body, warning)
		}
	}
}

// Of any number of writers of one name one makes the entity, and the others change it.
func TestOneEntityForOneName(t *testing.T) {
	w := newWorld(t)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if _, err := w.try("root", api.Write, "entity", `{"name":"ann"}`); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if keys := w.do(api.List, "entity/id", "")["keys"].([]any); len(keys) != 1 {
		t.Errorf("there are %d entities of one name", len(keys))
	}
}

func TestEntityLists(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for _, name := range []string{"Cy", "ann", "Bob"} {
		ids = append(ids, w.write("entity", `{"name":"`+name+`"}`))
	}
	slices.Sort(ids)
	w.write("entity-alias", `{"name":"a","mount_accessor":"auth_door_1","canonical_id":"`+ids[0]+`"}`)
	if keys := fmt.Sprint(w.do(api.List, "entity/name", "")["keys"]); keys != "[ann Bob Cy]" {
		t.Errorf("names are %s", keys)
	}
	if keys := fmt.Sprint(w.do(api.List, "entity/name", `{"after":"Ann","limit":1}`)["keys"]); keys != "[Bob]" {
		t.Errorf("the second name is %s", keys)
	}
	all := w.do(api.List, "entity/id", "")
	if keys := fmt.Sprint(all["keys"]); keys != fmt.Sprint(ids) {
		t.Errorf("ids are %s, want %v", keys, ids)
	}
	if info := fmt.Sprint(all["key_info"].(map[string]any)[ids[0]]); !strings.Contains(info, "mount_path:auth/door/") || !strings.Contains(info, "name:a") {
		t.Errorf("the first is shown as %s", info)
	}
	if keys := fmt.Sprint(w.do(api.List, "entity/id", `{"after":"`+ids[0]+`","limit":1}`)["keys"]); keys != "["+ids[1]+"]" {
		t.Errorf("the second is %s", keys)
	}
	w.do(api.Write, "entity/batch-delete", `{"entity_ids":["`+ids[0]+`","`+ids[2]+`","none"]}`)
	if keys := fmt.Sprint(w.do(api.List, "entity/id", "")["keys"]); keys != "["+ids[1]+"]" {
		t.Errorf("%s are left", keys)
	}
}

func TestLookupEntity(t *testing.T) {
	w := newWorld(t)
	id := w.write("entity", `{"name":"ann"}`)
	alias := w.write("entity-alias", `{"name":"Ann","mount_accessor":"auth_desk_1","canonical_id":"`+id+`"}`)
	for _, by := range []string{`{"id":"` + id + `"}`, `{"name":"Ann"}`, `{"alias_id":"` + alias + `"}`, `{"alias_name":"ANN","alias_mount_accessor":"auth_desk_1"}`} {
		if e := w.do(api.Write, "lookup/entity", by); e["id"] != id {
			t.Errorf("%s finds %v", by, e)
		}
	}
	for _, by := range []string{`{"id":"x"}`, `{"name":"bob"}`, `{"alias_id":"` + id + `"}`, `{"alias_name":"ann","alias_mount_accessor":"auth_door_1"}`} {
		if e := w.do(api.Write, "lookup/entity", by); e != nil {
			t.Errorf("%s finds %v, want nothing", by, e)
		}
	}
}

// An entity is of one namespace: others do not see it.
func TestEntityIsOfItsNamespace(t *testing.T) {
	w := newWorld(t)
	id := w.write("entity", `{"name":"ann"}`)
	if _, err := w.try("team", api.Read, "entity/id/"+id, ""); api.KindOf(err) != api.NotFound {
		t.Errorf("reading it elsewhere: %v", err)
	}
	if _, err := w.try("team", api.Write, "entity/id/"+id, `{"policies":"x"}`); api.KindOf(err) != api.Invalid {
		t.Errorf("writing it elsewhere: %v", err)
	}
	if v := must(w.try("team", api.Write, "entity", `{"name":"ann"}`))(t); v["id"] == id {
		t.Error("one entity in two namespaces")
	}
}

// CVE-2025-5999, CVE-2025-64761 and CVE-2024-9180: no way of writing gives an entity the
// root policy, in any spelling.
func TestCVE_2025_5999_2025_64761_2024_9180(t *testing.T) {
	w := newWorld(t)
	id := w.write("entity", `{"name":"ann"}`)
	for _, root := range []string{"root", "ROOT", "Root", " root", "root ", "ro\u200bot", "ｒｏｏｔ", "r o o t", "root\t", "rOoT\u00a0"} {
		for _, path := range []string{"entity", "entity/id/" + id, "entity/name/ann", "entity/name/new"} {
			body := fmt.Sprintf(`{"policies":["dev",%q]}`, root)
			if _, err := w.try("root", api.Write, path, body); api.KindOf(err) != api.Invalid {
				t.Errorf("%s with %q: %v, want a refusal", path, root, err)
			}
		}
	}
	w.has("root", id)
}
