package identity_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// outside makes an external group with a policy of its name, of the mount door.
func (w *world) outside(name string) string {
	w.t.Helper()
	g := w.write("group", `{"name":"`+name+`","type":"external","policies":"`+name+`"}`)
	w.write("group-alias", `{"name":"`+name+`","mount_accessor":"auth_door_1","canonical_id":"`+g+`"}`)
	return g
}

// What an auth method has said of an alias is said of nobody once the alias is another's, of another mount, or gone: no login by it
// would ever take it back.
func TestExternalGroupsGoWithTheAlias(t *testing.T) {
	for what, take := range map[string]func(w *world, alias, other string){
		"given to another": func(w *world, alias, other string) {
			w.do(api.Write, "entity-alias/id/"+alias, `{"canonical_id":"`+other+`"}`)
		},
		"given to another by its name": func(w *world, _, other string) {
			w.do(api.Write, "entity-alias", `{"name":"ann","mount_accessor":"auth_door_1","canonical_id":"`+other+`"}`)
		},
		"of another mount": func(w *world, alias, _ string) {
			w.do(api.Write, "entity-alias/id/"+alias, `{"mount_accessor":"auth_desk_1"}`)
		},
		"deleted": func(w *world, alias, _ string) { w.do(api.Delete, "entity-alias/id/"+alias, "") },
	} {
		w := newWorld(t)
		g := w.outside("red")
		ann, other := w.login("auth_door_1", "ann", "red").ID, w.write("entity", `{"name":"other"}`)
		w.write("group", `{"policies":"inner","member_entity_ids":`+list(ann)+`}`)
		w.has("root", ann, "inner", "red")
		alias := w.aliasOf(ann)
		take(w, alias, other)
		w.has("root", ann, "inner")
		w.has("root", other)
		if g := w.do(api.Read, "group/id/"+g, ""); len(g["member_entity_ids"].([]any)) != 0 {
			t.Errorf("%s: the group has %v", what, g["member_entity_ids"])
		}
		w.fresh(w.ids)
		if err := w.ids.Renewed(w.call("root", "auth_door_1"), ann, 0, "ann", said("ann", "red")); err != nil {
			t.Errorf("%s: a renewal of a token from before: %v", what, err)
		}
		w.do(api.Write, "entity-alias", `{"name":"second","mount_accessor":"auth_door_1","canonical_id":"`+ann+`"}`)
		if what != "of another mount" { // that is the first one, back again under another name
			w.has("root", ann, "inner")
		}
		if p := w.login("auth_door_1", "second", "red"); p.ID != ann {
			t.Errorf("%s: second is %s", what, p.ID)
		}
		w.has("root", ann, "inner", "red")
	}
}

// What is said at a renewal is about the alias by which the token came: it counts while that is its entity's, and changes nothing else.
func TestRenewalIsAboutOneAlias(t *testing.T) {
	for what, c := range map[string]struct {
		by   string    // of the token; empty: it is older
		said *api.Auth // by the method
		red  bool      // the entity, known as ann, is in the group then; it is in blue before
	}{
		"as it came":              {"ann", said("ann", "red"), true},
		"an older token":          {"", said("ann", "red"), true},
		"an older one of another": {"", said("old", "red"), false},
		"by another alias":        {"old", said("old", "red"), false},
		"another is said":         {"ann", said("anna", "red"), false},
		"of another, ann is said": {"old", said("ann", "red"), false},
		"in another spelling":     {"Ann", said("Ann", "red"), false},
		"nobody is said":          {"ann", &api.Auth{GroupAliases: []string{"red"}}, false},
	} {
		w := newWorld(t)
		w.outside("red")
		w.outside("blue")
		ann := w.login("auth_door_1", "ann", "blue").ID
		w.fresh(w.ids)
		if err := w.ids.Renewed(w.call("root", "auth_door_1"), ann, 0, c.by, c.said); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		want := "blue"
		if c.red {
			want = "red"
		}
		if p := w.person("root", ann); !slices.Equal(p.Policies["root"], []string{want}) {
			t.Errorf("%s: has %v, want %s", what, p.Policies["root"], want)
		}
	}
}

// The tokens of an entity that was merged bring groups to the one that it has become while their alias is that one's.
func TestRenewalAfterAMerge(t *testing.T) {
	for _, keep := range []string{"ann", "bob"} {
		w := newWorld(t)
		w.outside("red")
		ann, bob := w.login("auth_door_1", "ann").ID, w.login("auth_door_1", "bob").ID
		ids := map[string]string{"ann": w.aliasOf(ann), "bob": w.aliasOf(bob)}
		w.do(api.Write, "entity/merge", strings.TrimSuffix(mergeOf(bob, ann), "}")+`,"conflicting_alias_ids_to_keep":`+list(ids[keep])+"}")
		w.fresh(w.ids)
		if err := w.ids.Renewed(w.call("root", "auth_door_1"), ann, 0, "ann", said("ann", "red")); err != nil {
			t.Error(err)
		}
		w.has("root", bob, map[string][]string{"ann": {"red"}}[keep]...)
	}
}

// A membership counts by the alias, also where a kill has left its row.
func TestExternalGroupWithoutItsAlias(t *testing.T) {
	w := newWorld(t)
	g := w.outside("red")
	ann := w.login("auth_door_1", "ann", "red").ID
	before := must(w.store.List(t.Context(), store.Prefix("root/identity/in/"+ann)))(t)
	alias := w.aliasOf(ann)
	w.do(api.Delete, "entity-alias/id/"+alias, "")
	if len(before) != 1 || !strings.HasSuffix(before[0].Key, g) {
		t.Fatalf("the rows were %v", before)
	}
	must(w.store.Commit(t.Context(), nil, []store.Write{{Key: before[0].Key, Value: before[0].Value}}))(t)
	w.has("root", ann)
}

// Of two aliases of one mount the one that stays says in which groups its owner is.
func TestMergeKeepsTheGroupsOfTheAliasThatStays(t *testing.T) {
	for _, keep := range []string{"from", "to"} {
		w := newWorld(t)
		w.outside("red")
		w.outside("blue")
		w.outside("both")
		ann, bob := w.login("auth_door_1", "ann", "red", "both").ID, w.login("auth_door_1", "bob", "blue", "both").ID
		ids := map[string]string{}
		for who, id := range map[string]string{"from": ann, "to": bob} {
			ids[who] = w.aliasOf(id)
		}
		w.do(api.Write, "entity/merge", strings.TrimSuffix(mergeOf(bob, ann), "}")+`,"conflicting_alias_ids_to_keep":`+list(ids[keep])+"}")
		w.has("root", bob, map[string][]string{"from": {"both", "red"}, "to": {"blue", "both"}}[keep]...)
	}
}

// between is a store that runs something once: between a list of rows and what is done with it, or before a commit that
// writes such a row.
type between struct {
	store.Store
	prefix string
	run    func()
	writes bool
}

func (b *between) Commit(ctx context.Context, checks []store.Check, ws []store.Write) (store.Rev, error) {
	hit := func(w store.Write) bool { return strings.HasPrefix(w.Key, b.prefix) }
	if run := b.run; run != nil && b.writes && slices.ContainsFunc(ws, hit) {
		b.run = nil
		run()
	}
	return b.Store.Commit(ctx, checks, ws)
}

func (b *between) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := b.Store.List(ctx, r)
	if run := b.run; run != nil && !b.writes && strings.HasPrefix(r.Start, b.prefix) {
		b.run = nil
		run()
	}
	return es, err
}

// gated is a world whose store can be made to run something in between.
func gated(t *testing.T) (*world, *between) {
	w := newWorld(t)
	gate := &between{Store: w.store}
	w.store = gate
	w.ids = w.node()
	w.router = w.routes(w.ids)
	return w, gate
}

// A group that is changed while one of its members is merged has who it is said to have: whoever was taken out stays out, and
// whoever was put in is in.
func TestMergeWhileGroupsChange(t *testing.T) {
	for what, c := range map[string]struct {
		meanwhile string // members of the group, written after the memberships were listed
		want      []string
	}{"taken out": {`[]`, []string{"other"}}, "put in": {`["ann"]`, []string{"g", "other"}}} {
		w, gate := gated(t)
		ann, bob, _, _ := w.two()
		w.do(api.Write, "entity/id/"+bob, `{"policies":[]}`)
		w.write("group", `{"policies":"other","member_entity_ids":`+list(ann)+`}`)
		members := strings.ReplaceAll(c.meanwhile, "ann", ann)
		g := w.write("group", `{"policies":"g","member_entity_ids":`+map[string]string{"taken out": list(ann), "put in": "[]"}[what]+`}`)
		gate.prefix, gate.run = "root/identity/in/"+ann, func() { w.do(api.Write, "group/id/"+g, `{"member_entity_ids":`+members+`}`) }
		w.do(api.Write, "entity/merge", mergeOf(bob, ann))
		if gate.run != nil {
			t.Fatal("nothing was changed meanwhile")
		}
		w.has("root", bob, c.want...)
	}
}

// Nor does a change of a group that has looked at its members before the merge leave one in it that it would have taken out.
func TestGroupChangesWhileMerged(t *testing.T) {
	w, gate := gated(t)
	ann, bob, _, _ := w.two()
	g := w.write("group", `{"policies":"g","member_entity_ids":`+list(ann)+`}`)
	gate.prefix, gate.run = "root/identity/member/"+g, func() { w.do(api.Write, "entity/merge", mergeOf(bob, ann)) }
	w.do(api.Write, "group/id/"+g, `{"member_entity_ids":[]}`)
	w.has("root", bob, "bob")
}
