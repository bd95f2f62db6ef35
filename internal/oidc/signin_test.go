package oidc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// asked is what the page is told of what an application asks, of nobody in particular.
func (w *shop) asked(provider string, changes ...string) (int, map[string]any) {
	w.t.Helper()
	c := w.call("root")
	c.Caller = api.Caller{}
	return w.answer(c, api.Write, "oidc/provider/"+provider+"/sign-in", form(map[string]any{"client_id": w.id, "redirect_uri": back, "response_type": "code", "scope": "openid profile", "state": "s1",
		"code_challenge": challenge(), "code_challenge_method": "S256"}, changes...))
}

// warned are the warnings of a write.
func (w *shop) warned(path, body string) string {
	w.t.Helper()
	c := w.call("root")
	if _, err := w.send(c, api.Write, path, body); err != nil {
		w.t.Fatalf("%s %s: %v", path, body, err)
	}
	return strings.Join(c.Warnings(), "; ")
}

// What can never be answered is found before anybody is asked who they are. Nobody is sent to an address that is not the client's.
func TestIsJudgedBeforeAnybodySignsIn(t *testing.T) {
	w := newShop(t)
	w.write("oidc/client/pub", `{"client_type": "public", "redirect_uris": [%q], "assignments": "allow_all"}`, back)
	public, _ := w.credentials("pub")
	w.write("oidc/provider/all", `{"allowed_client_ids": "*"}`)
	for _, changes := range [][]string{{}, {"prompt", "login"}, {"response_mode", "query"}, {"max_age", "0"}, {"code_challenge", "", "code_challenge_method", ""}} {
		if status, out := w.asked("p", changes...); status != 200 || out["redirect_uri"] != back || out["error"] != nil {
			t.Errorf("%v: %d %v", changes, status, out)
		}
	}
	for _, c := range []struct {
		want    string
		back    any
		changes []string
	}{
		{"invalid_request", nil, []string{"client_id", ""}}, {"invalid_client_id", nil, []string{"client_id", "app"}}, {"invalid_request", nil, []string{"redirect_uri", ""}},
		{"invalid_redirect_uri", nil, []string{"redirect_uri", "https://evil.example.com/"}}, {"invalid_redirect_uri", nil, []string{"redirect_uri", back + "?", "scope", ""}},
		{"invalid_request", nil, []string{"state", strings.Repeat("x", 5000)}},
		{"invalid_request", back, []string{"scope", "profile"}}, {"invalid_request", back, []string{"response_type", ""}}, {"unsupported_response_type", back, []string{"response_type", "token"}},
		{"invalid_request", back, []string{"code_challenge_method", "plain"}}, {"invalid_request", back, []string{"max_age", "-1"}}, {"invalid_request", back, []string{"response_mode", "form_post"}},
		{"request_not_supported", back, []string{"request", "x"}}, {"request_uri_not_supported", back, []string{"request_uri", "x"}}, {"login_required", back, []string{"prompt", "none"}},
		{"unauthorized_client", back, []string{"client_id", public}},
	} {
		status, out := w.asked("p", c.changes...)
		state := out["state"] == "s1" || c.changes[0] == "state"
		if status != 400 || out["error"] != c.want || out["redirect_uri"] != c.back || !state {
			t.Errorf("%v: %d %v, want %s and %v", c.changes, status, out, c.want, c.back)
		}
	}
	if status, out := w.asked("all", "client_id", public, "code_challenge", "", "code_challenge_method", ""); status != 400 || out["redirect_uri"] != back || !strings.Contains(out["error_description"].(string), "PKCE") {
		t.Errorf("a public client without PKCE: %d %v", status, out)
	}
	if status, out := w.asked("none"); status != 400 || out["error"] != "unauthorized_client" {
		t.Errorf("at no provider: %d %v", status, out)
	}
	if _, out := w.authorize("p", "scope", ""); out["redirect_uri"] != nil {
		t.Errorf("authorize answers %v", out)
	}
}

// Who runs the server says by which auth methods people sign in at the page.
func TestSignInPaths(t *testing.T) {
	w := newShop(t)
	if _, out := w.asked("p"); out["sign_in_paths"] != nil {
		t.Errorf("without any: %v", out)
	}
	for given, want := range map[string]string{`"ldap"`: "[ldap]", `"auth/ldap/,old/people,/ldap"`: "[ldap old/people]", `["old/people", "ldap"]`: "[old/people ldap]"} {
		if warned := w.warned("oidc/provider/p", `{"sign_in_paths": `+given+`}`); warned != "" {
			t.Errorf("%s: warned of %s", given, warned)
		}
		if _, out := w.asked("p"); fmt.Sprint(out["sign_in_paths"]) != want || fmt.Sprint(w.do(api.Read, "oidc/provider/p", "")["sign_in_paths"]) != want {
			t.Errorf("%s: the page is told %v, want %s", given, out, want)
		}
	}
	w.write("oidc/provider/p", `{"sign_in_paths": ["old/people", "ldap"]}`)
	w.write("oidc/provider/p", `{"issuer": ""}`)
	if got := fmt.Sprint(w.do(api.Read, "oidc/provider/p", "")["sign_in_paths"]); got != "[old/people ldap]" {
		t.Errorf("after a change of something else they are %s", got)
	}
	for _, given := range []string{`"ldap,.."`, `"a/../b"`, `"a//b"`, `"/"`, `"."`} {
		w.refused("oidc/provider/p", `{"sign_in_paths": `+given+`}`, "sign_in_paths: one of them is no path")
	}
	for given, why := range map[string]string{`"ldap,none"`: "no auth method", `"ci"`: "userpass, ldap, radius"} {
		if warned := w.warned("oidc/provider/p", `{"sign_in_paths": `+given+`}`); !strings.Contains(warned, why) {
			t.Errorf("%s: warned of %q", given, warned)
		}
	}
	w.write("oidc/provider/p", `{"sign_in_paths": []}`)
	if _, out := w.asked("p"); out["sign_in_paths"] != nil {
		t.Errorf("taken away: %v", out)
	}
}

// What is taken as it is, though nobody can ever log in by it, is warned of.
func TestWarnsOfWhatCanNeverWork(t *testing.T) {
	w := newShop(t)
	g, _ := w.write("group", `{"name": "crew"}`)["id"].(string)
	for _, c := range []struct{ path, body, why string }{
		{"oidc/provider/p", `{"allowed_client_ids": "app"}`, "is it a client's name?"}, {"oidc/provider/p", fmt.Sprintf(`{"allowed_client_ids": ["*", %q]}`, w.id), ""},
		{"oidc/client/a", `{"assignments": "allow_all"}`, "redirect_uris: there are none"}, {"oidc/client/b", `{"redirect_uris": "https://*.example.com/cb", "assignments": "allow_all"}`, "* stands for nothing"},
		{"oidc/client/c", `{"redirect_uris": "https://app.example.com/cb"}`, "assignments: there are none"}, {"oidc/client/c", `{"assignments": "staff"}`, ""},
		{"oidc/assignment/x", `{"entity_ids": "ann"}`, "entity_ids: one of them"}, {"oidc/assignment/x", fmt.Sprintf(`{"entity_ids": ["*", %q]}`, w.entity), ""},
		{"oidc/assignment/x", `{"group_ids": "crew"}`, "group_ids: one of them"}, {"oidc/assignment/x", fmt.Sprintf(`{"group_ids": %q}`, g), ""},
	} {
		if warned := w.warned(c.path, c.body); !strings.Contains(warned, c.why) || c.why == "" && warned != "" {
			t.Errorf("%s %s: warned of %q, want %q", c.path, c.body, warned, c.why)
		}
	}
	w.write("entity/id/"+w.entity, `{"disabled": true}`)
	if warned := w.warned("oidc/assignment/x", `{}`); !strings.Contains(warned, "entity_ids") {
		t.Errorf("of somebody who is disabled: warned of %q", warned)
	}
}
