package gate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/store"
)

// ask sends a request with a body, in a namespace.
func (f *fixture) ask(ns string, op api.Op, path, tok, body string) *gate.Response {
	f.t.Helper()
	q := request(op, path, tok)
	q.Namespace = ns
	if body != "" {
		q = f.body(q, body)
	}
	return f.gate.Serve(f.t.Context(), q)
}

// makes is ask as root for something that is made, and its id.
func (f *fixture) makes(ns, path, body string) string {
	f.t.Helper()
	r := f.ask(ns, api.Write, path, f.root, body)
	want(f.t, r, "")
	var made struct{ ID string }
	if len(r.Data) > 0 {
		if err := json.Unmarshal(r.Data, &made); err != nil {
			f.t.Fatal(err)
		}
	}
	return made.ID
}

// policy writes a policy.
func (f *fixture) policy(ns, name, text string) {
	f.t.Helper()
	if err := f.house.Policies.Write(f.t.Context(), ns, name, text, policies.Terms{}); err != nil {
		f.t.Fatal(err)
	}
}

// accessor is the lobby's.
func (f *fixture) accessor() string {
	f.t.Helper()
	table, err := f.house.Mounts.Table(f.t.Context(), namespace.RootID)
	if err != nil {
		f.t.Fatal(err)
	}
	return table.Get("auth/lobby/").Accessor
}

func TestTemplatedPolicies(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"mine"}, TTL: time.Hour, Alias: &api.Alias{Name: "ann-alias", Metadata: map[string]string{"dept": "d1"}}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	f.ask("", api.Write, "identity/entity/id/"+a.EntityID, f.root, `{"name":"ann","metadata":{"team":"red","bad":"a/b","star":"*","plus":"+","none":""}}`)
	g := f.makes("", "identity/group", `{"name":"dev.ops","metadata":{"tier":"one"},"member_entity_ids":["`+a.EntityID+`"]}`)
	strange := f.makes("", "identity/group", `{"name":"strangers"}`)
	rule := func(path string) string {
		return fmt.Sprintf("path %q { capabilities = [\"read\"] }\n", "probe/thing/"+path)
	}
	acc := f.accessor()
	text := ""
	for _, in := range []string{"id/{{identity.entity.id}}", "name/{{ identity.entity.name }}/*", "team/{{identity.entity.metadata.team}}", "alias/{{identity.entity.aliases." + acc + ".name}}",
		"dept/{{identity.entity.aliases." + acc + ".metadata.dept}}", "gid/{{identity.groups.names.dev.ops.id}}", "gname/{{identity.groups.ids." + g + ".name}}",
		"tier/{{identity.groups.names.dev.ops.metadata.tier}}", "no/{{identity.groups.ids." + strange + ".name}}", "no/{{identity.groups.names.strangers.id}}", "no/{{identity.entity.aliases.other.name}}",
		"no/{{identity.entity.metadata}}", "no/{{identity.entity.metadata.absent}}", "wide/{{identity.entity.metadata.bad}}", "wide/{{identity.entity.metadata.star}}", "wide/{{identity.entity.metadata.plus}}",
		"wide/{{identity.entity.metadata.none}}*", "no/{{identity.nothing}}"} {
		text += rule(in)
	}
	f.policy(namespace.RootID, "mine", text)
	tok := a.ClientToken.Reveal()
	for _, path := range []string{"id/" + a.EntityID, "name/ann/x", "team/red", "alias/ann-alias", "dept/d1", "gid/" + g, "gname/dev.ops", "tier/one"} {
		want(t, f.do(api.Read, "probe/thing/"+path, tok), "")
	}
	for _, path := range []string{"id/x", "name/bob/x", "team/blue", "no/strangers", "no/" + strange, "no/", "wide/a/b", "wide/x", "wide/*", "wide/+", "wide/", "no/{{identity.nothing}}", "gid/" + strange} {
		want(t, f.do(api.Read, "probe/thing/"+path, tok), "denied")
	}
	f.ask("", api.Write, "identity/entity/id/"+a.EntityID, f.root, `{"name":"bob","metadata":{"team":"blue"}}`)
	want(t, f.do(api.Read, "probe/thing/name/ann/x", tok), "denied")
	want(t, f.do(api.Read, "probe/thing/name/bob/x", tok), "")
	want(t, f.do(api.Read, "probe/thing/team/blue", tok), "")
	want(t, f.do(api.Read, "probe/thing/id/x", f.holder(namespace.RootID, text)), "denied") // nobody is behind it
	f.policy(namespace.RootID, "mine", rule("name/{{identity.entity.name}}-x"))
	want(t, f.do(api.Read, "probe/thing/name/bob/x", tok), "denied")
	want(t, f.do(api.Read, "probe/thing/name/bob-x", tok), "")
	r := f.ask("", api.Write, "sys/capabilities-self", tok, `{"paths":["probe/thing/name/bob-x","probe/thing/name/ann-x"]}`)
	want(t, r, "denied") // it may not ask
}

// Who has become another is the other to conditions too, by the tokens that they had before.
func TestConditionsKnowWhoSomebodyHasBecome(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"mine"}, TTL: time.Hour, Alias: &api.Alias{Name: "ann"}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	bob := f.makes("", "identity/entity", `{"name":"bob"}`)
	f.policy(namespace.RootID, "mine", fmt.Sprintf("path \"probe/thing/*\" {\n capabilities = [\"read\"]\n condition = \"token.entity_id != '%s'\"\n}\npath \"sys/capabilities-self\" { capabilities = [\"update\"] }", bob))
	tok := a.ClientToken.Reveal()
	want(t, f.do(api.Read, "probe/thing/a", tok), "")
	want(t, f.ask("", api.Write, "identity/entity/merge", f.root, `{"from_entity_ids":["`+a.EntityID+`"],"to_entity_id":"`+bob+`"}`), "")
	want(t, f.do(api.Read, "probe/thing/a", tok), "denied")
	for path, body := range map[string]string{"sys/capabilities-self": `{"path":"probe/thing/a"}`, "sys/capabilities": `{"path":"probe/thing/a","token":"` + tok + `"}`} {
		asks := map[string]string{"sys/capabilities-self": tok, "sys/capabilities": f.root}[path]
		if r := f.ask("", api.Write, path, asks, body); r.Err != nil || !strings.Contains(string(r.Data), `"probe/thing/a":["deny"]`) {
			t.Errorf("%s: %v %s", path, r.Err, r.Data)
		}
	}
}

// Who asks why a token may do nothing is told that its entity may have had all its tokens revoked.
func TestTokenOfARevokedEntityIsExplained(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"mine"}, TTL: time.Hour, Alias: &api.Alias{Name: "ann"}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	want(t, f.ask("", api.Write, "identity/entity/id/"+a.EntityID+"/revoke-tokens", f.root, ""), "")
	_, resp := f.explain(f.root, "", fmt.Sprintf(`{"path":"probe/thing/a","operation":"read","token":%q}`, a.ClientToken.Reveal()))
	want(t, resp, "invalid")
	if resp.Err == nil || !strings.Contains(resp.Err.Error(), "has had all its tokens revoked") {
		t.Errorf("the cause is told as %v", resp.Err)
	}
}

// GHSA-59w7-v8rr-pr4p at the gate: no name that somebody is given reaches beyond itself.
func TestGHSA_59w7_v8rr_pr4p_Names(t *testing.T) {
	f := newFixture(t)
	f.policy(namespace.RootID, "mine", `path "probe/thing/{{identity.entity.name}}/*" { capabilities = ["read"] }`)
	for i, name := range []string{"*", "+", "a/b", "a*", "+/x", "x/+", "..", "{{identity.entity.id}}", "}}", "a//b"} {
		f.lobbyAt(fmt.Sprintf("auth/lobby%d/", i), &api.Auth{TokenPolicies: []string{"mine"}, TTL: time.Hour, Alias: &api.Alias{Name: "x"}})
		a := f.do(api.Write, fmt.Sprintf("auth/lobby%d/login", i), "").Auth
		body := must[[]byte](t)(json.Marshal(map[string]string{"name": name}))
		want(t, f.ask("", api.Write, "identity/entity/id/"+a.EntityID, f.root, string(body)), "")
		for _, path := range []string{"other/x", "a/b/x", "a/x", "ab/x", "x/y/x", "*/x", "+/x", name + "/x", "{{identity.entity.name}}/x"} {
			if r := f.do(api.Read, "probe/thing/"+path, a.ClientToken.Reveal()); r.Err == nil {
				t.Errorf("who is called %q reads %s", name, path)
			}
		}
	}
}

// An entity's groups in a namespace below give their policies there and nowhere else.
func TestGroupsOfNamespacesBelow(t *testing.T) {
	f := newFixture(t)
	team := f.child(f.house.Namespaces.Root().API(), "team")
	other := f.child(f.house.Namespaces.Root().API(), "other")
	squad := f.child(team, "squad")
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "ann"}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	tok := a.ClientToken.Reveal()
	all := `path "probe/thing/*" { capabilities = ["read"] }
path "probe/thing/{{identity.groups.names.g.id}}-secret" { capabilities = ["deny"] }`
	for _, ns := range []string{namespace.RootID, team.ID, squad.ID, other.ID} {
		f.policy(ns, "reader", all)
	}
	g := f.makes("team", "identity/group", `{"name":"g","policies":"reader","member_entity_ids":["`+a.EntityID+`"]}`)
	want(t, f.ask("team", api.Read, "probe/thing/x", tok, ""), "")
	want(t, f.do(api.Read, "team/probe/thing/x", tok), "")
	want(t, f.ask("team", api.Read, "probe/thing/"+g+"-secret", tok, ""), "denied")
	for _, ns := range []string{"", "other", "team/squad"} {
		want(t, f.ask(ns, api.Read, "probe/thing/x", tok, ""), "denied")
	}
	f.makes("team", "identity/group", `{"name":"g","policies":"root-like"}`)
	want(t, f.ask("team", api.Read, "probe/thing/x", tok, ""), "denied")
	f.makes("team", "identity/group", `{"name":"g","policies":"reader"}`)
	want(t, f.ask("team", api.Read, "probe/thing/x", tok, ""), "")
	want(t, f.ask("team", api.Delete, "identity/group/name/g", f.root, ""), "")
	want(t, f.ask("team", api.Read, "probe/thing/x", tok, ""), "denied")
}

// A token of a namespace has what its entity has there, and nothing of it elsewhere.
func TestEntityPoliciesAreOfTheirNamespace(t *testing.T) {
	f := newFixture(t)
	team := f.child(f.house.Namespaces.Root().API(), "team")
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "ann"}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	f.policy(namespace.RootID, "reader", `path "probe/thing/*" { capabilities = ["read"] }`)
	f.policy(team.ID, "reader", `path "*" { capabilities = ["read", "sudo", "update"] }`)
	want(t, f.ask("", api.Write, "identity/entity/id/"+a.EntityID, f.root, `{"policies":"reader"}`), "")
	want(t, f.do(api.Read, "probe/thing/x", a.ClientToken.Reveal()), "")
	want(t, f.ask("team", api.Read, "probe/thing/x", a.ClientToken.Reveal(), ""), "denied")
}

// What is in force is written down, and told to conditions.
func TestIdentityPoliciesAreToldOf(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "ann"}, TokenPolicies: []string{"base"}})
	a := f.do(api.Write, "auth/lobby/login", "").Auth
	f.policy(namespace.RootID, "base", "path \"probe/thing/x\" {\n capabilities = [\"read\"]\n condition = \"'dev' in token.policies\"\n}")
	want(t, f.do(api.Read, "probe/thing/x", a.ClientToken.Reveal()), "denied")
	g := f.makes("", "identity/group", `{"name":"devs","policies":"dev","member_entity_ids":["`+a.EntityID+`"]}`)
	var lines []string
	f.sink.hear(func(line string) { lines = append(lines, line) })
	want(t, f.do(api.Read, "probe/thing/x", a.ClientToken.Reveal()), "")
	if len(lines) == 0 || !strings.Contains(lines[0], `"policies":["base","default","dev"],"token_policies":["base","default"],"identity_policies":["dev"]`) || !strings.Contains(lines[0], `"entity_id":"`+a.EntityID) {
		t.Errorf("written down is %v", lines)
	}
	again := f.do(api.Write, "auth/lobby/login", "").Auth
	if !slices.Equal(again.IdentityPolicies, []string{"dev"}) || !slices.Equal(again.Policies, []string{"base", "default", "dev"}) || !slices.Equal(again.TokenPolicies, []string{"base", "default"}) {
		t.Errorf("the login answers %v, %v, %v", again.Policies, again.TokenPolicies, again.IdentityPolicies)
	}
	want(t, f.ask("", api.Delete, "identity/group/id/"+g, f.root, ""), "")
	want(t, f.do(api.Read, "probe/thing/x", a.ClientToken.Reveal()), "denied")
}

// A namespace that was made before identity/ came has it.
func TestIdentityOfOlderNamespaces(t *testing.T) {
	f := newFixture(t)
	team := f.child(f.house.Namespaces.Root().API(), "team")
	if _, err := f.house.Data.Commit(t.Context(), nil, []store.Write{{Key: team.ID + "/mount/at/identity/", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	id := f.makes("team", "identity/entity", `{"name":"ann"}`)
	if r := f.ask("team", api.Read, "identity/entity/id/"+id, f.root, ""); !strings.Contains(string(r.Data), id) {
		t.Errorf("%s, %v", r.Data, r.Err)
	}
	want(t, f.ask("", api.Read, "identity/entity/id/"+id, f.root, ""), "not found")
}

// A login that has waited for its second factor makes no token once its alias is another's, though that was so only after the factors were judged.
func TestAliasMovesAsALoginIsCompleted(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, Renewable: true, Alias: &api.Alias{Name: "ann"}})
	ann := f.do(api.Write, "auth/lobby/login", "").Auth.EntityID
	other := f.makes("", "identity/entity", `{"name":"other"}`)
	var method struct {
		ID string `json:"method_id"`
	}
	if err := json.Unmarshal(f.ask("", api.Write, "identity/mfa/method/totp", f.root, `{"issuer":"Acme"}`).Data, &method); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{ann, other} {
		f.makes("", "identity/mfa/login-enforcement/all", `{"mfa_method_ids":["`+method.ID+`"],"auth_method_accessors":["`+f.accessor()+`"]}`)
		waits := f.do(api.Write, "auth/lobby/login", "").Auth.MFA
		if waits == nil {
			t.Fatal("the login does not wait")
		}
		want(t, f.ask("", api.Delete, "identity/mfa/login-enforcement/all", f.root, ""), "") // nothing is needed any more
		f.engine.again = func() {
			f.makes("", "identity/entity-alias", `{"name":"ann","mount_accessor":"`+f.accessor()+`","canonical_id":"`+to+`"}`)
		}
		r := f.ask("", api.Write, "sys/mfa/validate", "", `{"mfa_request_id":"`+waits.RequestID+`","mfa_payload":{}}`)
		if to == ann {
			want(t, r, "")
			continue
		}
		if want(t, r, "denied"); r.Err != nil && !strings.Contains(r.Err.Error(), "log in again") {
			t.Errorf("refused with %v", r.Err)
		}
	}
}
