package mfa_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mfa"
)

// Who has which second factor is told, of methods of namespaces above too; and nothing of what proves it.
func TestWhoHasEnrolled(t *testing.T) {
	k := newKeyring(t, 1, `,"method_name":"keys"`)
	app, unnamed := k.world.method(`,"method_name":"app"`), k.world.method("")
	k.registered(k.entity)
	held := k.secret(app, k.entity)
	bob := k.personAt("hall_1", "bob")
	k.secret(app, bob)
	k.hold(k.nodes[0], k.entity, &api.Auth{}) // what waits is none
	secrets := func(ns, entity string) map[string]any {
		return k.answered(k.try(k.nodes[0], k.call(ns), api.Read, "entity/id/"+entity, ""))["mfa_secrets"].(map[string]any)
	}
	for entity, want := range map[string]map[string]any{
		k.entity: {app: map[string]any{"type": "totp", "method_name": "app"}, k.method: map[string]any{"type": "webauthn", "method_name": "keys"}},
		bob:      {app: map[string]any{"type": "totp", "method_name": "app"}},
	} {
		if got := secrets("root", entity); fmt.Sprint(got) != fmt.Sprint(want) || strings.Contains(fmt.Sprint(got), held.key) {
			t.Errorf("mfa_secrets are %v, want %v", got, want)
		}
	}
	tina := k.answered(k.try(k.nodes[0], k.call("team"), api.Write, "entity", `{"name":"tina"}`))["id"].(string)
	must(k.try(k.nodes[0], k.call("team"), api.Write, "mfa/method/totp/admin-generate", `{"method_id":"`+app+`","entity_id":"`+tina+`"}`))(t)
	if got := fmt.Sprint(secrets("team", tina)[app]); got != "map[method_name:app type:totp]" {
		t.Errorf("for a method of the namespace above: %s", got)
	}
	k.refused(api.Write, "mfa/method/totp/admin-generate", `{"method_id":"`+app+`","entity_id":"`+tina+`"}`, "in that namespace")
	for path, there := range map[string]bool{"": true, "totp/": true, "webauthn/": false} {
		_, err := k.try(k.nodes[0], k.call("team"), api.Read, "mfa/method/"+path+app, "")
		if api.KindOf(err) != api.NotFound || strings.Contains(err.Error(), "of a namespace above") != there {
			t.Errorf("reading mfa/method/%s in the namespace below: %v", path, err)
		}
	}
	for _, c := range []struct {
		ns, path string
		want     []string
	}{
		{"root", "totp/" + app, []string{bob, k.entity}},
		{"root", "totp/" + unnamed, nil},
		{"root", "webauthn/" + k.method, []string{k.entity}},
		{"team", "totp/" + app, []string{tina}},
		{"team", "webauthn/" + k.method, nil},
	} {
		listed := k.answered(k.try(k.nodes[0], k.call(c.ns), api.List, "mfa/method/"+c.path+"/entity", ""))
		if got, _ := listed["keys"].([]any); len(got) != len(c.want) {
			t.Errorf("%s in %s: %v, want %v", c.path, c.ns, got, c.want)
		}
		for _, id := range c.want {
			if !strings.Contains(fmt.Sprint(listed["keys"]), id) || !strings.Contains(fmt.Sprint(listed["key_info"]), id+":map[name:") {
				t.Errorf("%s in %s lacks %s: %v", c.path, c.ns, id, listed)
			}
		}
	}
	first := k.answered(k.try(k.nodes[0], k.call("root"), api.List, "mfa/method/totp/"+app+"/entity", `{"limit":1}`))["keys"].([]any)
	second := k.answered(k.try(k.nodes[0], k.call("root"), api.List, "mfa/method/totp/"+app+"/entity", `{"limit":1,"after":"`+first[0].(string)+`"}`))["keys"].([]any)
	if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
		t.Errorf("pages of one: %v, %v", first, second)
	}
	k.refused(api.List, "mfa/method/totp/"+k.method+"/entity", "", "method_id")
	must(k.try(k.nodes[0], k.call("root"), api.Write, "mfa/method/totp/admin-destroy", `{"method_id":"`+app+`","entity_id":"`+bob+`"}`))(t)
	if got := secrets("root", bob); len(got) != 0 {
		t.Errorf("a secret that was destroyed is told: %v", got)
	}
}

// Why a login is refused tells, to the log alone, who has nothing to show from who has mistyped.
func TestWhoHasNothingToShow(t *testing.T) {
	w := newWorld(t, 1)
	app, other := w.method(`,"method_name":"app"`), w.method("")
	keys := w.passkeyMethod(`,"method_name":"keys"`)
	ann, bob := w.person("ann"), w.personAt("hall_1", "bob")
	w.secret(app, ann)
	w.do(api.Write, "mfa/login-enforcement/all", `{"mfa_method_ids":["`+app+`","`+other+`","`+keys+`"],"auth_method_accessors":["door_1"]}`)
	for _, c := range []struct {
		who, method string
		lacks       []string
	}{
		{ann, app, nil},
		{ann, "nothing", nil},
		{ann, other, []string{"no secret for " + other}},
		{bob, app, []string{"no secret for app", "no secret for " + other, "no passkey for keys"}},
	} {
		err := w.nodes[0].mfa.Satisfy(w.call("root"), w.need(w.nodes[0], "root", c.who), mfa.Shown{c.method: api.NewSecret("000")})
		var e *api.Error
		if !errors.As(err, &e) || e.Kind != api.Denied || e.Message != "permission denied" || e.Hint != "" {
			t.Fatalf("%s is told %v", c.who, err)
		}
		cause := e.Err.Error()
		if !strings.Contains(cause, "missing or wrong") || strings.Contains(cause, "has no") != (c.lacks != nil) {
			t.Errorf("the cause is %q, want %v", cause, c.lacks)
		}
		for _, text := range c.lacks {
			if !strings.Contains(cause, text) {
				t.Errorf("the cause is %q, want %q", cause, text)
			}
		}
	}
}
