package identity_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/store"
)

// Of two who log in at once for the first time by names that differ by case, one is let in
// and the other is not, on whichever nodes they are.
func TestFirstLoginsThatDifferByCase(t *testing.T) {
	w := newWorld(t)
	nodes := []*identity.Store{w.ids, w.node()}
	for i := range 50 {
		in := make([]*identity.Person, 4)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for k := range in {
			name := fmt.Sprintf("%s%d", []string{"ann", "Ann"}[k%2], i)
			w.fresh(nodes[k/2])
			wg.Go(func() {
				<-start
				p, err := nodes[k/2].Admit(w.call("root", "auth_door_1"), &api.Auth{Alias: &api.Alias{Name: name}, TTL: time.Hour})
				if err != nil && api.KindOf(err) != api.Denied {
					t.Error(err)
				}
				in[k] = p
			})
		}
		close(start)
		wg.Wait()
		if lower, upper := in[0] != nil || in[2] != nil, in[1] != nil || in[3] != nil; lower == upper {
			t.Fatalf("ann%d is let in: %v, Ann%d: %v", i, lower, i, upper)
		}
	}
}

// A method that lets somebody in without saying who is told so: nobody is let in.
func TestLoginWithoutAName(t *testing.T) {
	w := newWorld(t)
	if p, err := w.enter(w.ids, "root", "auth_door_1", ""); err == nil || api.KindOf(err) == api.Denied {
		t.Errorf("%v, %v", p, err)
	}
	if n := w.rows("root/identity/"); n != 0 {
		t.Errorf("%d rows are made", n)
	}
}

// A token of somebody who is disabled or gone, or whose tokens were all revoked since, is not renewed.
func TestRenewalOfNobody(t *testing.T) {
	w := newWorld(t)
	ann := w.login("auth_door_1", "ann").ID
	epoch := 0
	renew := func() error {
		w.fresh(w.ids)
		return w.ids.Renewed(w.call("root", "auth_door_1"), ann, epoch, "ann", said("ann"))
	}
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	w.do(api.Write, "entity/id/"+ann+"/revoke-tokens", "")
	if err := renew(); api.KindOf(err) != api.Denied {
		t.Errorf("revoked: %v", err)
	}
	epoch = w.person("root", ann).Epoch()
	if err := renew(); err != nil {
		t.Errorf("one made since: %v", err)
	}
	w.do(api.Write, "entity/id/"+ann, `{"disabled":true}`)
	if err := renew(); api.KindOf(err) != api.Denied {
		t.Errorf("disabled: %v", err)
	}
	w.do(api.Delete, "entity/id/"+ann, "")
	if err := renew(); api.KindOf(err) != api.Denied {
		t.Errorf("deleted: %v", err)
	}
}

// Who was in a group by an alias that has been another group's since is in it no more; an
// alias that is written as it was changes nobody's membership.
func TestGroupAliasComesBack(t *testing.T) {
	w := newWorld(t)
	a, b := w.write("group", `{"type":"external","policies":"a"}`), w.write("group", `{"type":"external","policies":"b"}`)
	alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+a+`"}`)
	ann := w.login("auth_door_1", "ann", "dev").ID
	w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+a+`"}`)
	w.write("group-alias/id/"+alias, `{"name":"dev"}`)
	w.has("root", ann, "a")
	w.write("group-alias/id/"+alias, `{"canonical_id":"`+b+`"}`)
	w.write("group-alias/id/"+alias, `{"canonical_id":"`+a+`"}`)
	w.has("root", ann)
}

// A group has one alias: another group's is not moved onto it.
func TestGroupAliasOntoAnother(t *testing.T) {
	w := newWorld(t)
	var groups, aliases []string
	for _, name := range []string{"dev", "ops"} {
		groups = append(groups, w.write("group", `{"type":"external","policies":"`+name+`"}`))
		aliases = append(aliases, w.write("group-alias", `{"name":"`+name+`","mount_accessor":"auth_door_1","canonical_id":"`+groups[len(groups)-1]+`"}`))
	}
	w.refused("group-alias/id/"+aliases[0], `{"canonical_id":"`+groups[1]+`"}`, "already has an alias")
	w.has("root", w.login("auth_door_1", "ann", "dev", "ops").ID, "dev", "ops")
}

// hookStore does something before its next commit.
type hookStore struct {
	store.Store
	before func()
}

func (h *hookStore) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if f := h.before; f != nil {
		h.before = nil
		f()
	}
	return h.Store.Commit(ctx, checks, writes)
}

// Who logs in while a group's alias comes to be another's is not in the group by the old one.
func TestGroupAliasChangesDuringALogin(t *testing.T) {
	w := newWorld(t)
	hooked := &hookStore{Store: w.store}
	w.store = hooked
	node := w.node()
	g := w.write("group", `{"type":"external","policies":"g"}`)
	alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+g+`"}`)
	ann := w.login("auth_door_1", "ann").ID
	hooked.before = func() { w.write("group-alias/id/"+alias, `{"name":"ops"}`) }
	must(w.enter(node, "root", "auth_door_1", "ann", "dev"))(t)
	if hooked.before != nil {
		t.Fatal("the login has written nothing")
	}
	w.has("root", ann)
}

// A merge brings no membership along that does not count any more.
func TestMergeOfAnOldExternalMembership(t *testing.T) {
	w := newWorld(t)
	g := w.write("group", `{"type":"external","policies":"g"}`)
	alias := w.write("group-alias", `{"name":"dev","mount_accessor":"auth_door_1","canonical_id":"`+g+`"}`)
	ann, bob := w.login("auth_door_1", "ann", "dev").ID, w.write("entity", `{"name":"bob"}`)
	w.has("root", ann, "g")
	w.write("group-alias/id/"+alias, `{"name":"ops"}`)
	w.write("entity/merge", mergeOf(bob, ann))
	w.has("root", bob)
	w.has("root", ann)
}

// Templates in policies of a namespace are about the groups of that namespace: whoever makes a
// group of the same name elsewhere fills in nothing.
func TestTemplatesAreAboutGroupsOfTheirNamespace(t *testing.T) {
	w := newWorld(t)
	ann := w.write("entity", `{"name":"ann"}`)
	made := must(w.try("team", api.Write, "group", `{"name":"g","metadata":{"tier":"one"},"member_entity_ids":["`+ann+`"]}`))(t)
	id := made["id"].(string)
	p := w.person("root", ann)
	for _, template := range []string{"identity.groups.names.g.id", "identity.groups.names.g.metadata.tier", "identity.groups.ids." + id + ".name"} {
		if v, ok := p.Value("team", template); !ok || v == "" {
			t.Errorf("control: %s is %q, %v in its namespace", template, v, ok)
		}
		if v, ok := p.Value("root", template); ok {
			t.Errorf("%s is %q in another namespace", template, v)
		}
	}
}

// What an auth method says of a login has its bounds, at the first login and at each that brings something new.
func TestBoundsOfALogin(t *testing.T) {
	w := newWorld(t)
	large := map[string]string{"a": strings.Repeat("x", 513)}
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = "x"
	}
	for _, name := range []string{"ann", "bob"} {
		for what, alias := range map[string]*api.Alias{"a long name": {Name: strings.Repeat("a", 1025)}, "long metadata": {Name: name, Metadata: large},
			"much metadata": {Name: name, Metadata: many}, "a key of nothing": {Name: name, Metadata: map[string]string{"": "x"}}} {
			w.fresh(w.ids)
			if p, err := w.ids.Admit(w.call("root", "auth_door_1"), &api.Auth{Alias: alias}); p != nil || api.KindOf(err) != api.Invalid {
				t.Errorf("%s: %v, %v", what, p, err)
			}
		}
		w.login("auth_door_1", name)
	}
	if p, err := w.ids.Admit(w.call("root", "auth_door_1"), &api.Auth{Alias: &api.Alias{}}); p != nil || err == nil {
		t.Errorf("without a name: %v, %v", p, err)
	}
	if p, err := w.enter(w.ids, "root", "auth_door_1", "ann", make([]string, 5001)...); p != nil || api.KindOf(err) != api.Invalid {
		t.Errorf("with too many groups: %v, %v", p, err)
	}
}
