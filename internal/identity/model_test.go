package identity_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
)

// model is what identities are to be, in plain maps.
type model struct {
	entities map[string]*mEntity // of the root namespace, by identifier; also those that are no more
	groups   map[string]*mGroup
	aliases  map[string]*mAlias // by identifier
}

type mEntity struct {
	name     string
	policies []string
	disabled bool
	into     string
	gone     bool
}

type mAlias struct{ accessor, name, entity string }

type mGroup struct {
	ns, name, kind string
	policies       []string
	entities       map[string]bool // by hand, or as the auth method says
	groups         map[string]bool
	accessor       string // of its alias; empty: it has none
	alias, aliasID string
}

// live is the entity that an identifier leads to; empty: none.
func (m *model) live(id string) string {
	for e := m.entities[id]; e != nil && !e.gone; e = m.entities[id] {
		if e.into == "" {
			return id
		}
		id = e.into
	}
	return ""
}

// is reports whether an identifier is an entity's that is there and has not become another.
func (m *model) is(id string) bool { return m.live(id) == id && id != "" }

// at is the alias that takes a place, by its identifier.
func (m *model) at(accessor, name string) (string, *mAlias) {
	for id, a := range m.aliases {
		if a.accessor == accessor && strings.EqualFold(a.name, name) {
			return id, a
		}
	}
	return "", nil
}

// of is the alias that an entity has of a mount.
func (m *model) of(entity, accessor string) string {
	for id, a := range m.aliases {
		if a.entity == entity && a.accessor == accessor {
			return id
		}
	}
	return ""
}

func (m *model) groupAt(accessor, alias string) *mGroup {
	for _, g := range m.groups {
		if g.accessor == accessor && accessor != "" && strings.EqualFold(g.alias, alias) {
			return g
		}
	}
	return nil
}

// within are the groups that an entity is in: those that name it, and all above them.
func (m *model) within(entity string) (direct, all map[string]bool) {
	direct, all = map[string]bool{}, map[string]bool{}
	for id, g := range m.groups {
		if g.entities[entity] {
			direct[id], all[id] = true, true
		}
	}
	for more := true; more; {
		more = false
		for id, g := range m.groups {
			for below := range g.groups {
				if all[below] && !all[id] {
					all[id], more = true, true
				}
			}
		}
	}
	return direct, all
}

// below reports whether a group is within another, or is it.
func (m *model) below(id, top string) bool {
	if id == top {
		return true
	}
	for k := range m.groups[top].groups {
		if m.below(id, k) {
			return true
		}
	}
	return false
}

func (m *model) drop(entity string) {
	maps.DeleteFunc(m.aliases, func(_ string, a *mAlias) bool { return a.entity == entity })
	for _, g := range m.groups {
		delete(g.entities, entity)
	}
}

// quit takes an entity out of the groups of a mount by which it is known no more.
func (m *model) quit(entity, accessor string) {
	for _, g := range m.groups {
		if g.accessor == accessor {
			delete(g.entities, entity)
		}
	}
}

// policies are an entity's, by namespace.
func (m *model) policies(entity string) map[string][]string {
	out := map[string][]string{"root": slices.Clone(m.entities[entity].policies)}
	_, all := m.within(entity)
	for id := range all {
		out[m.groups[id].ns] = append(out[m.groups[id].ns], m.groups[id].policies...)
	}
	for ns := range out {
		slices.Sort(out[ns])
		out[ns] = slices.Compact(out[ns])
	}
	return out
}

// compared is the identities beside the model of them.
type compared struct {
	*world
	*model
	rt    *rapid.T
	other *identity.Store // another node
}

var (
	doors      = []string{"auth_door_1", "auth_hall_1", "auth_desk_1"}
	spellings  = []string{"ann", "Ann", "bob", "carol"}
	called     = []string{"devs", "Devs", "ops"}
	given      = [][]string{{"a"}, {"b", "a"}, {}, {"c"}}
	groupsTop  = 8
	whoeverTop = 8
)

// draw is one of some things.
func draw[T any](c *compared, from []T, what string) T {
	return rapid.SampledFrom(from).Draw(c.rt, what)
}

// some is an identifier of one that is, was, or has never been.
func some[V any](c *compared, of map[string]V, what string) string {
	return draw(c, append(slices.Sorted(maps.Keys(of)), "00000000-0000-0000-0000-000000000000"), what)
}

func (c *compared) subset(of []string, what string) []string {
	var out []string
	for _, id := range of {
		if rapid.Bool().Draw(c.rt, what) {
			out = append(out, id)
		}
	}
	return out
}

// ask sends a request that must be taken just when the model takes it.
func (c *compared) ask(taken bool, ns, path string, body map[string]any) map[string]any {
	c.t.Helper()
	v, err := c.try(ns, api.Write, path, string(must(json.Marshal(body))(c.t)))
	if k := api.KindOf(err); (err == nil) != taken || err != nil && k != api.Invalid {
		c.rt.Fatalf("%s %s %v: %v, %v; the model takes it: %v", ns, path, body, v, err, taken)
	}
	return v
}

func (c *compared) remove(ns, path string) {
	if _, err := c.try(ns, api.Delete, path, ""); err != nil {
		c.rt.Fatal(err)
	}
}

func (c *compared) login() {
	accessor, name := draw(c, doors, "mount"), draw(c, spellings, "name")
	groups := c.subset(called, "group")
	if accessor == "auth_desk_1" {
		name = strings.ToLower(name)
	}
	_, a := c.at(accessor, name)
	if a == nil && len(c.entities) >= whoeverTop {
		return
	}
	p, err := c.enter(draw(c, []*identity.Store{c.ids, c.other}, "node"), "root", accessor, name, groups...)
	if denied := a != nil && (a.name != name || c.entities[a.entity].disabled); denied || err != nil {
		if !denied || api.KindOf(err) != api.Denied {
			c.rt.Fatalf("login %s %s: %v, the model denies it: %v", accessor, name, err, denied)
		}
		return
	}
	if a == nil {
		a = &mAlias{accessor, name, p.ID}
		c.entities[p.ID], c.aliases[p.Aliases[0].ID] = &mEntity{name: p.Name}, a
	}
	if p.ID != a.entity {
		c.rt.Fatalf("login %s %s: is %s, want %s", accessor, name, p.ID, a.entity)
	}
	for _, g := range c.groups {
		if g.accessor != accessor {
			continue
		}
		if delete(g.entities, p.ID); slices.Contains(groups, g.alias) {
			g.entities[p.ID] = true
		}
	}
}

func (c *compared) writeEntity() {
	name, policies := draw(c, spellings, "name"), draw(c, given, "policies")
	id := ""
	for k, e := range c.entities {
		if c.is(k) && strings.EqualFold(e.name, name) {
			id = k
		}
	}
	if id == "" && len(c.entities) >= whoeverTop {
		return
	}
	made := c.ask(id == "" || c.entities[id].name == name, "root", "entity", map[string]any{"name": name, "policies": policies})
	switch {
	case id == "":
		c.entities[made["id"].(string)] = &mEntity{name: name, policies: policies}
	case c.entities[id].name == name:
		c.entities[id].policies = policies
	}
}

func (c *compared) changeEntity() {
	id, off, policies := some(c, c.entities, "entity"), rapid.Bool().Draw(c.rt, "disabled"), draw(c, given, "policies")
	c.ask(c.is(id), "root", "entity/id/"+id, map[string]any{"disabled": off, "policies": policies})
	if c.is(id) {
		c.entities[id].disabled, c.entities[id].policies = off, policies
	}
}

func (c *compared) removeEntity() {
	id := some(c, c.entities, "entity")
	c.remove("root", "entity/id/"+id)
	if c.is(id) {
		c.drop(id)
		c.entities[id].gone = true
	}
}

func (c *compared) merge() {
	from, to := some(c, c.entities, "from"), some(c, c.entities, "to")
	taken := c.is(from) && c.is(to) && from != to && !c.entities[from].disabled
	for _, a := range c.aliases {
		taken = taken && (a.entity != from || c.of(to, a.accessor) == "")
	}
	c.ask(taken, "root", "entity/merge", map[string]any{"from_entity_ids": []string{from}, "to_entity_id": to})
	if !taken {
		return
	}
	for _, a := range c.aliases {
		if a.entity == from {
			a.entity = to
		}
	}
	for _, g := range c.groups {
		if g.entities[from] {
			g.entities[to] = true
		}
		delete(g.entities, from)
	}
	c.entities[from].into = to
}

// writeAlias writes an alias by its name, or by its identifier.
func (c *compared) writeAlias() {
	accessor, name, to := draw(c, doors, "mount"), draw(c, spellings, "name"), some(c, c.entities, "entity")
	body := map[string]any{"name": name, "mount_accessor": accessor, "canonical_id": to}
	if accessor == "auth_desk_1" {
		name = strings.ToLower(name)
	}
	id, a := c.at(accessor, name)
	taken := c.is(to) && (a == nil || a.name == name)
	if rapid.Bool().Draw(c.rt, "by id") {
		holder := id
		id = some(c, c.aliases, "alias")
		body["id"] = id
		taken = c.is(to) && c.aliases[id] != nil && (holder == "" || holder == id)
	}
	has := c.of(to, accessor)
	taken = taken && (has == "" || has == id)
	made := c.ask(taken, "root", "entity-alias", body)
	if !taken {
		return
	}
	if old := c.aliases[id]; old != nil && (old.entity != to || old.accessor != accessor) {
		c.quit(old.entity, old.accessor)
	}
	c.aliases[made["id"].(string)] = &mAlias{accessor, name, to}
}

func (c *compared) removeAlias() {
	id := some(c, c.aliases, "alias")
	c.remove("root", "entity-alias/id/"+id)
	if a := c.aliases[id]; a != nil {
		c.quit(a.entity, a.accessor)
	}
	delete(c.aliases, id)
}

func (c *compared) newGroup() {
	if len(c.groups) >= groupsTop {
		return
	}
	g := &mGroup{ns: draw(c, []string{"root", "root", "team"}, "namespace"), kind: draw(c, []string{"internal", "external"}, "type"), policies: draw(c, given, "policies"),
		entities: map[string]bool{}, groups: map[string]bool{}}
	made := c.ask(true, g.ns, "group", map[string]any{"type": g.kind, "policies": g.policies})
	g.name = made["name"].(string)
	c.groups[made["id"].(string)] = g
}

// changeGroup gives a group other policies and members.
func (c *compared) changeGroup() {
	id := some(c, c.groups, "group")
	g := c.groups[id]
	if g == nil {
		c.ask(false, "root", "group/id/"+id, map[string]any{"policies": "x"})
		return
	}
	policies, body, taken := draw(c, given, "policies"), map[string]any{}, true
	members := c.subset(slices.Sorted(maps.Keys(c.entities)), "member")
	if g.kind == "external" {
		taken = len(members) == 0
	}
	for _, m := range members {
		taken = taken && c.is(m)
	}
	nested := c.subset(slices.Sorted(maps.Keys(c.groups)), "nested")
	for _, n := range nested {
		taken = taken && !c.below(id, n) && (c.groups[n].ns == g.ns || c.groups[n].ns == "root")
	}
	body["policies"], body["member_entity_ids"], body["member_group_ids"] = policies, full(members), full(nested)
	c.ask(taken, g.ns, "group/id/"+id, body)
	if !taken {
		return
	}
	g.policies, g.groups = policies, set(nested)
	if g.kind == "internal" {
		g.entities = set(members)
	}
}

func full(list []string) []string { return append([]string{}, list...) }

func set(list []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		out[s] = true
	}
	return out
}

func (c *compared) removeGroup() {
	id := some(c, c.groups, "group")
	if g := c.groups[id]; g != nil {
		c.remove(g.ns, "group/id/"+id)
	}
	delete(c.groups, id)
	for _, g := range c.groups {
		delete(g.groups, id)
	}
}

// nameGroup gives a group the name by which an auth method knows it, or takes it away.
func (c *compared) nameGroup() {
	id, accessor, name := some(c, c.groups, "group"), draw(c, doors[:2], "mount"), draw(c, called, "name")
	g := c.groups[id]
	if g != nil && g.ns != "root" {
		return
	}
	if g != nil && g.accessor != "" && rapid.Bool().Draw(c.rt, "take away") {
		c.remove("root", "group-alias/id/"+g.aliasID)
		g.accessor, g.alias, g.entities = "", "", map[string]bool{}
		return
	}
	holder := c.groupAt(accessor, name)
	taken := g != nil && g.kind == "external" && (holder == nil || holder == g && g.alias == name)
	made := c.ask(taken, "root", "group-alias", map[string]any{"name": name, "mount_accessor": accessor, "canonical_id": id})
	if taken && (g.accessor != accessor || g.alias != name) {
		g.accessor, g.alias, g.aliasID, g.entities = accessor, name, made["id"].(string), map[string]bool{}
	}
}

// compare holds everything that can be asked against the model.
func (c *compared) compare() {
	for id := range c.entities {
		for _, node := range []*identity.Store{c.ids, c.other} {
			c.fresh(node)
			c.comparePerson(node, id)
		}
	}
	for _, accessor := range doors {
		for _, name := range spellings {
			if accessor == "auth_desk_1" && name != strings.ToLower(name) {
				continue // it is the same
			}
			want := ""
			if _, a := c.at(accessor, name); a != nil && a.name == name {
				want = a.entity
			}
			if got, _ := c.do(api.Write, "lookup/entity", `{"alias_name":"`+name+`","alias_mount_accessor":"`+accessor+`"}`)["id"].(string); got != want {
				c.rt.Fatalf("the alias %s %s is of %q, want %q", accessor, name, got, want)
			}
		}
	}
	for id, g := range c.groups {
		c.compareGroup(id, g)
	}
}

func (c *compared) comparePerson(node *identity.Store, id string) {
	p, err := node.Person(context.Background(), "root", id)
	want := c.live(id)
	switch {
	case err != nil:
		c.rt.Fatal(err)
	case want == "" && p == nil:
		return
	case p == nil || p.ID != want:
		c.rt.Fatalf("the tokens of %s are those of %v, want %q", id, p, want)
	}
	got, policies := maps.Clone(p.Policies), c.policies(want)
	for _, m := range []map[string][]string{got, policies} {
		maps.DeleteFunc(m, func(_ string, names []string) bool { return len(names) == 0 })
	}
	if p.Disabled != c.entities[want].disabled || !maps.EqualFunc(got, policies, slices.Equal) {
		c.rt.Fatalf("%s: disabled %v, policies %v; want %v, %v", id, p.Disabled, got, c.entities[want].disabled, policies)
	}
	if id != want {
		return
	}
	shown := c.do(api.Read, "entity/id/"+id, "")
	direct, all := c.within(id)
	c.same(id+": direct groups", shown["direct_group_ids"], direct)
	c.same(id+": groups", shown["group_ids"], all)
	aliases := 0
	for _, a := range c.aliases {
		if a.entity == id {
			aliases++
		}
	}
	if n := len(shown["aliases"].([]any)); n != aliases {
		c.rt.Fatalf("%s has %d aliases, want %d", id, n, aliases)
	}
}

func (c *compared) compareGroup(id string, g *mGroup) {
	shown, err := c.try(g.ns, api.Read, "group/id/"+id, "")
	if err != nil {
		c.rt.Fatal(err)
	}
	c.same(id+": entities", shown["member_entity_ids"], g.entities)
	c.same(id+": groups", shown["member_group_ids"], g.groups)
}

// same fails unless a list that was answered is a set.
func (c *compared) same(what string, list any, want map[string]bool) {
	got := map[string]bool{}
	items, _ := list.([]any)
	for _, v := range items {
		got[v.(string)] = true
	}
	if !maps.Equal(got, want) || len(items) != len(want) {
		c.rt.Fatalf("%s: %v, want %v", what, list, slices.Sorted(maps.Keys(want)))
	}
}

// What a person is, has and is called is what a plain model says, after each of any steps,
// on each node; and what one refuses, the other does.
func TestRandomIdentitiesMatchModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		c := &compared{world: w, rt: rt, other: w.node(),
			model: &model{entities: map[string]*mEntity{}, groups: map[string]*mGroup{}, aliases: map[string]*mAlias{}}}
		steps := []func(){c.login, c.login, c.writeEntity, c.changeEntity, c.removeEntity, c.merge, c.writeAlias, c.writeAlias, c.removeAlias,
			c.newGroup, c.newGroup, c.changeGroup, c.changeGroup, c.removeGroup, c.nameGroup}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(rt, "step")]()
			c.compare()
		}
	})
}
