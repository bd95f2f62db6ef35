package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

const (
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	back     = "https://app.example.com/callback"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// shop is a provider, a client of it that Ann may log in to, and what the client knows.
type shop struct {
	*world
	id, secret string
}

func newShop(t testing.TB) *shop {
	t.Helper()
	w := &shop{world: newWorld(t)}
	w.ann(`{"team": "red"}`)
	w.write("oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	w.write("oidc/scope/profile", `{"template": %q}`, `{"team": {{identity.entity.metadata.team}}, "name": {{identity.entity.name}}}`)
	w.write("oidc/assignment/staff", `{"entity_ids": %q}`, w.entity)
	w.write("oidc/client/app", `{"redirect_uris": [%q, "https://app.example.com/other"], "assignments": "staff", "key": "k", "access_token_ttl": "1h"}`, back)
	w.id, w.secret = w.credentials("app")
	w.write("oidc/provider/p", `{"allowed_client_ids": %q, "scopes_supported": "profile"}`, w.id)
	return w
}

func (w *shop) credentials(client string) (id, secret string) {
	w.t.Helper()
	read := w.do(api.Read, "oidc/client/"+client, "")
	id, _ = read["client_id"].(string)
	secret, _ = read["client_secret"].(string)
	return id, secret
}

// form are parameters: those that every test wants, with some changed. An empty one is left out.
func form(all map[string]any, changes ...string) string {
	for i := 0; i+1 < len(changes); i += 2 {
		all[changes[i]] = changes[i+1]
		if changes[i+1] == "" {
			delete(all, changes[i])
		}
	}
	b, _ := json.Marshal(all)
	return string(b)
}

// answer is the status and content of an answer without envelope.
func (w *shop) answer(c *api.Call, op api.Op, path, body string) (int, map[string]any) {
	w.t.Helper()
	v, err := w.send(c, op, path, body)
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	raw := v.(*api.Raw)
	var out map[string]any
	if err := json.Unmarshal(raw.Body, &out); err != nil {
		w.t.Fatal(err)
	}
	return max(raw.Status, 200), out
}

func (w *shop) authorize(provider string, changes ...string) (int, map[string]any) {
	w.t.Helper()
	body := form(map[string]any{"client_id": w.id, "redirect_uri": back, "response_type": "code", "scope": "openid profile offline", "state": "s1", "nonce": "n1",
		"code_challenge": challenge(), "code_challenge_method": "S256"}, changes...)
	return w.answer(w.call("root"), api.Write, "oidc/provider/"+provider+"/authorize", body)
}

// code is one for the client, by the provider.
func (w *shop) code(changes ...string) string {
	w.t.Helper()
	status, out := w.authorize("p", changes...)
	code, _ := out["code"].(string)
	if status != 200 || code == "" || out["state"] != "s1" {
		w.t.Fatalf("authorize: %d %v", status, out)
	}
	return code
}

func (w *shop) exchange(provider, code string, changes ...string) (int, map[string]any) {
	w.t.Helper()
	c := w.call("root")
	c.Caller = api.Caller{}
	return w.answer(c, api.Write, "oidc/provider/"+provider+"/token", form(map[string]any{"grant_type": "authorization_code", "code": code, "redirect_uri": back,
		"client_id": w.id, "client_secret": w.secret, "code_verifier": verifier}, changes...))
}

// granted exchanges a code for tokens, as the client would.
func (w *shop) granted(code string) (access, id string) {
	w.t.Helper()
	status, out := w.exchange("p", code)
	access, _ = out["access_token"].(string)
	id, _ = out["id_token"].(string)
	if status != 200 || access == "" || id == "" || out["token_type"] != "Bearer" || out["expires_in"] != 3600.0 {
		w.t.Fatalf("token: %d %v", status, out)
	}
	return access, id
}

// fails fails the test unless the exchange of a code is refused with an error.
func (w *shop) fails(want, provider, code string, changes ...string) {
	w.t.Helper()
	status, out := w.exchange(provider, code, changes...)
	wanted := 400
	if want == "invalid_client" {
		wanted = 401
	}
	if status != wanted || out["error"] != want || out["access_token"] != nil || out["id_token"] != nil {
		w.t.Errorf("token with %v: %d %v, want %s", changes, status, out, want)
	}
}

func (w *shop) userinfo(provider, access string) (int, map[string]any) {
	w.t.Helper()
	c := w.call("root")
	c.Caller = api.Caller{Token: api.NewSecret(access)}
	return w.answer(c, api.Read, "oidc/provider/"+provider+"/userinfo", "")
}

func TestLogin(t *testing.T) {
	w := newShop(t)
	w.login = w.now.Add(-time.Minute)
	access, id := w.granted(w.code())
	claims := w.verified("oidc/provider/p/.well-known/keys", id)
	now := float64(w.now.Unix())
	for claim, want := range map[string]any{"iss": address + "/v1/identity/oidc/provider/p", "sub": w.entity, "aud": w.id, "nonce": "n1", "iat": now, "exp": now + 86400, "auth_time": now - 60,
		"team": "red", "name": "ann"} {
		if claims[claim] != want {
			t.Errorf("%s is %v, want %v", claim, claims[claim], want)
		}
	}
	sum := sha256.Sum256([]byte(access))
	if claims["at_hash"] != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Errorf("at_hash is %v", claims["at_hash"])
	}
	if status, out := w.userinfo("p", access); status != 200 || out["sub"] != w.entity || out["team"] != "red" {
		t.Errorf("userinfo: %d %v", status, out)
	}
	for _, bad := range []string{"", access + "x", access[:len(access)-1] + "_", "sro_access_", id} {
		if status, out := w.userinfo("p", bad); status != 401 || out["error"] != "invalid_token" || out["sub"] != nil {
			t.Errorf("userinfo with %q: %d %v", bad, status, out)
		}
	}
	if status, _ := w.userinfo("default", access); status != 401 {
		t.Errorf("another provider takes the access token: %d", status)
	}
	w.now = w.now.Add(time.Hour)
	if status, _ := w.userinfo("p", access); status != 401 {
		t.Errorf("an access token that has expired counts: %d", status)
	}
	w.now = w.now.Add(time.Hour)
	w.work()
	for _, what := range []string{"root/oidc/code/", "root/oidc/access/"} {
		if n := must(store.Count(t.Context(), w.store, what, nil))(t); n != 0 {
			t.Errorf("%d rows are left of %s", n, what)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestAuthorizeRefused(t *testing.T) {
	w := newShop(t)
	w.write("oidc/client/pub", `{"client_type": "public", "redirect_uris": [%q], "assignments": "allow_all"}`, back)
	public, secret := w.credentials("pub")
	if secret != "" {
		t.Error("a public client has a secret")
	}
	for _, c := range []struct {
		want    string
		changes []string
	}{
		{"invalid_request", []string{"scope", "profile"}}, {"invalid_request", []string{"scope", ""}}, {"invalid_request", []string{"response_type", ""}}, {"unsupported_response_type", []string{"response_type", "token"}},
		{"invalid_request", []string{"client_id", ""}}, {"invalid_client_id", []string{"client_id", "nobody"}}, {"invalid_client_id", []string{"client_id", "../client/app"}}, {"invalid_request", []string{"redirect_uri", ""}},
		{"invalid_request", []string{"code_challenge_method", "plain"}}, {"invalid_request", []string{"code_challenge_method", ""}}, {"invalid_request", []string{"code_challenge", ""}}, {"invalid_request", []string{"code_challenge", "short"}},
		{"invalid_request", []string{"max_age", "-1"}}, {"invalid_request", []string{"nonce", strings.Repeat("x", 5000)}},
		{"invalid_request", []string{"client_id", public, "code_challenge", "", "code_challenge_method", ""}}, {"unauthorized_client", []string{"client_id", public}},
	} {
		if status, out := w.authorize("p", c.changes...); status != 400 || out["error"] != c.want || out["code"] != nil || out["state"] != "s1" {
			t.Errorf("%v: %d %v, want %s", c.changes, status, out, c.want)
		}
	}
	w.login = w.now.Add(-time.Hour)
	if status, out := w.authorize("p", "max_age", "3599"); status != 400 || out["error"] != "max_age_violation" {
		t.Errorf("a login of an hour ago, for max_age 3599: %d %v", status, out)
	}
	w.code("max_age", "3600")
	w.login = time.Time{}
	if status, out := w.authorize("p", "max_age", "315360000"); status != 400 || out["error"] != "max_age_violation" {
		t.Errorf("a token of no login, for max_age: %d %v", status, out)
	}
	if claims := w.verified("oidc/provider/p/.well-known/keys", second(w.granted(w.code()))); claims["sub"] != w.entity || claims["auth_time"] != nil {
		t.Errorf("the claims of a token of no login: %v", claims)
	}
	w.entity = ""
	if status, out := w.authorize("p"); status != 400 || out["error"] != "access_denied" {
		t.Errorf("a caller without an entity: %d %v", status, out)
	}
}

// The code of an approval is bound to all that was approved, and is worth nothing else.
func TestCVE_2022_39222_CodeReplay(t *testing.T) {
	w := newShop(t)
	code := w.code()
	access, _ := w.granted(code)
	if status, _ := w.userinfo("p", access); status != 200 {
		t.Fatal("the access token does not count")
	}
	w.fails("invalid_grant", "p", code)
	if status, _ := w.userinfo("p", access); status != 401 {
		t.Error("a code was replayed, and the access token that it was redeemed for counts still")
	}
	code = w.code()
	w.now = w.now.Add(5 * time.Minute)
	w.fails("invalid_grant", "p", code)
	if es := must(w.store.List(t.Context(), store.Prefix("root/")))(t); len(es) == 0 {
		t.Fatal("nothing is stored")
	} else {
		for _, e := range es {
			if strings.Contains(e.Key+string(e.Value), code) || strings.Contains(e.Key+string(e.Value), access) {
				t.Errorf("%s holds a code or an access token as it is", e.Key)
			}
		}
	}
}

func TestCVE_2022_39222_RedirectVariants(t *testing.T) {
	w := newShop(t)
	for _, uri := range []string{"https://app.example.com/callback/", "https://app.example.com/Callback", "https://APP.example.com/callback", "http://app.example.com/callback", "https://app.example.com:443/callback",
		"https://app.example.com/callback?x=1", "https://app.example.com/callback#x", "https://app.example.com/x/../callback", "https://app.example.com/%63allback", "https://app.example.com@evil.example/callback",
		"https://app.example.com.evil.example/callback", "//app.example.com/callback", " https://app.example.com/callback", "https://app.example.com/callback ", "https://evil.example/callback", "https://app.example.com/callback\x00"} {
		if status, out := w.authorize("p", "redirect_uri", uri); status != 400 || out["error"] != "invalid_redirect_uri" || out["code"] != nil {
			t.Errorf("%q: %d %v", uri, status, out)
		}
	}
	// Another address of the same client is not what was approved.
	w.fails("invalid_grant", "p", w.code(), "redirect_uri", "https://app.example.com/other")
	w.fails("invalid_grant", "p", w.code(), "redirect_uri", "")
}

func TestCVE_2022_39222_ApprovalTampering(t *testing.T) {
	w := newShop(t)
	w.write("oidc/client/evil", `{"redirect_uris": [%q], "assignments": "allow_all", "key": "k"}`, back)
	evil, secret := w.credentials("evil")
	w.write("oidc/provider/p", `{"allowed_client_ids": [%q, %q]}`, w.id, evil)
	stolen := w.code()
	w.fails("invalid_grant", "p", stolen, "client_id", evil, "client_secret", secret)
	w.fails("invalid_grant", "p", stolen) // it is used up
	w.fails("invalid_grant", "default", w.code())
	w.fails("invalid_grant", "p", w.code(), "code_verifier", "")
	w.fails("invalid_grant", "p", w.code(), "code_verifier", strings.Repeat("x", 43))
	w.fails("invalid_grant", "p", w.code(), "code_verifier", challenge())
	w.fails("invalid_grant", "p", w.code("code_challenge", "", "code_challenge_method", "")) // it was taken out
	w.fails("invalid_grant", "p", "nothing")
	w.fails("invalid_request", "p", "")
	w.fails("unsupported_grant_type", "p", w.code(), "grant_type", "refresh_token")
}

func TestClientsShowThatItIsThey(t *testing.T) {
	w := newShop(t)
	for _, secret := range []string{"", "x", w.secret[:len(w.secret)-1], w.secret + "x", strings.ToUpper(w.secret), "[redacted]"} {
		code := w.code()
		w.fails("invalid_client", "p", code, "client_secret", secret)
		w.granted(code) // a stranger uses nothing up
	}
	w.fails("invalid_client", "p", w.code(), "client_id", "nobody")
	w.fails("invalid_client", "p", w.code(), "client_id", "")
	basic := func(user, password string, changes ...string) (int, map[string]any) {
		c := w.call("root")
		c.Caller, c.Basic = api.Caller{}, &api.Basic{User: user, Password: api.NewSecret(password)}
		return w.answer(c, api.Write, "oidc/provider/p/token", form(map[string]any{"grant_type": "authorization_code", "code": w.code(), "redirect_uri": back, "code_verifier": verifier}, changes...))
	}
	if status, out := basic(url.QueryEscape(w.id), url.QueryEscape(w.secret)); status != 200 {
		t.Errorf("basic authentication: %d %v", status, out)
	}
	if status, out := basic(w.id, "x"); status != 401 || out["error"] != "invalid_client" {
		t.Errorf("basic authentication with another secret: %d %v", status, out)
	}
	if status, out := basic(w.id, w.secret, "client_secret", w.secret); status != 400 {
		t.Errorf("two ways at once: %d %v", status, out)
	}
	if status, out := basic("x", w.secret, "client_id", w.id); status != 400 {
		t.Errorf("two clients at once: %d %v", status, out)
	}
}

// Every way to what is known of a person asks the same whether the client may.
func TestGHSA_7qjx_gp9h_65qj_EveryGrantAsksTheSame(t *testing.T) {
	shut := map[string]func(*shop){
		"the provider no longer allows the client": func(w *shop) { w.write("oidc/provider/p", `{"allowed_client_ids": "other"}`) },
		"the key no longer allows the client":      func(w *shop) { w.write("oidc/key/k", `{"allowed_client_ids": "other"}`) },
		"the client logs nobody in":                func(w *shop) { w.write("oidc/client/app", `{"authorization_code": false}`) },
		"the client is gone":                       func(w *shop) { w.do(api.Delete, "oidc/client/app", "") },
		"the provider is gone":                     func(w *shop) { w.do(api.Delete, "oidc/provider/p", "") },
		"the assignment has nobody":                func(w *shop) { w.write("oidc/assignment/staff", `{"entity_ids": "other"}`) },
		"the client has no assignment":             func(w *shop) { w.write("oidc/client/app", `{"assignments": []}`) },
		"the entity is disabled":                   func(w *shop) { w.write("entity/id/"+w.entity, `{"disabled": true}`) },
		"the entity's tokens are revoked":          func(w *shop) { w.write("entity/id/"+w.entity+"/revoke-tokens", `{}`) },
		"the entity is gone":                       func(w *shop) { w.do(api.Delete, "entity/id/"+w.entity, "") },
	}
	for name, shut := range shut {
		t.Run(name, func(t *testing.T) {
			w := newShop(t)
			access, _ := w.granted(w.code())
			code := w.code()
			shut(w)
			if v, err := w.send(w.call("root"), api.Write, "oidc/provider/p/authorize", form(map[string]any{"client_id": w.id, "redirect_uri": back, "response_type": "code", "scope": "openid"})); err == nil && v.(*api.Raw).Status != 400 {
				t.Errorf("authorize: %s", v.(*api.Raw).Body)
			}
			if status, out := w.userinfo("p", access); status != 401 || out["sub"] != nil {
				t.Errorf("userinfo: %d %v", status, out)
			}
			if status, out := w.exchange("p", code); status < 400 || out["id_token"] != nil || out["access_token"] != nil {
				t.Errorf("token: %d %v", status, out)
			}
		})
	}
}

func TestAssignmentByGroup(t *testing.T) {
	w := newShop(t)
	ann := w.entity
	g, _ := w.write("group", `{"name": "crew", "member_entity_ids": [%q]}`, ann)["id"].(string)
	w.write("oidc/assignment/crew", `{"group_ids": %q}`, g)
	w.write("oidc/client/app", `{"assignments": "crew"}`)
	w.granted(w.code())
	w.write("group/id/"+g, `{"member_entity_ids": []}`)
	if status, out := w.authorize("p"); status != 400 || out["error"] != "access_denied" {
		t.Errorf("who has left the group: %d %v", status, out)
	}
	w.write("oidc/client/app", `{"assignments": "allow_all"}`)
	w.granted(w.code())
}

func TestSettingsOfProviders(t *testing.T) {
	w := newShop(t)
	for _, c := range []struct{ path, body, why string }{
		{"oidc/scope/openid", `{}`, "reserved"}, {"oidc/scope/s", `{"template": "{\"sub\": 1}"}`, "not allowed"}, {"oidc/assignment/allow_all", `{"entity_ids": "x"}`, "not allowed"},
		{"oidc/client/app", `{"key": "default"}`, "key modification"}, {"oidc/client/app", `{"client_type": "public"}`, "client_type modification"}, {"oidc/client/c", `{"client_type": "secret"}`, "client_type"},
		{"oidc/client/c", `{"assignments": "none"}`, "does not exist"}, {"oidc/client/c", `{"id_token_ttl": "25h"}`, "verification_ttl"}, {"oidc/client/c", `{"key": "none"}`, "no such key"}, {"oidc/client/c", `{"client_credentials": true}`, "client_credentials"},
		{"oidc/client/c", `{"redirect_uris": "javascript:alert(1)"}`, "redirect_uris"}, {"oidc/client/c", `{"redirect_uris": "/callback"}`, "redirect_uris"}, {"oidc/client/c", `{"redirect_uris": "https://x/#y"}`, "redirect_uris"}, {"oidc/client/c", `{"redirect_uris": "https:///x"}`, "redirect_uris"},
		{"oidc/provider/q", `{"scopes_supported": "none"}`, "does not exist"}, {"oidc/provider/q", `{"issuer": "https://x/y"}`, "issuer"}, {"oidc/key/k", `{"verification_ttl": "1h"}`, "currently referenced"},
	} {
		w.refused(c.path, c.body, c.why)
	}
	for _, path := range []string{"oidc/scope/profile", "oidc/assignment/staff", "oidc/assignment/allow_all", "oidc/key/k", "oidc/provider/default"} {
		if _, err := w.try("root", api.Delete, path, ""); api.KindOf(err) != api.Invalid {
			t.Errorf("%s is deleted: %v", path, err)
		}
	}
	for path, want := range map[string]string{"oidc/scope": "[profile]", "oidc/assignment": "[allow_all staff]", "oidc/client": "[app]", "oidc/provider": "[default p]", "oidc/key": "[default k]"} {
		listed := w.do(api.List, path, "")
		if got := fmt.Sprint(listed["keys"]); got != want {
			t.Errorf("%s lists %s, want %s", path, got, want)
		}
		if strings.Contains(fmt.Sprint(listed), w.secret) {
			t.Errorf("%s shows the secret of a client", path)
		}
	}
	if got := fmt.Sprint(w.do(api.List, "oidc/provider", `{"allowed_client_id": "other"}`)["keys"]); got != "[default]" {
		t.Errorf("the providers for another client are %s", got)
	}
	if got := w.do(api.Read, "oidc/provider/default", ""); fmt.Sprint(got["allowed_client_ids"]) != "[*]" || got["issuer"] != address+"/v1/identity/oidc/provider/default" {
		t.Errorf("the default provider is %v", got)
	}
	got := w.do(api.Read, "oidc/provider/p/.well-known/openid-configuration", "")
	if fmt.Sprint(got["scopes_supported"]) != "[openid profile]" || got["token_endpoint"] != address+"/v1/identity/oidc/provider/p/token" || fmt.Sprint(got["code_challenge_methods_supported"]) != "[S256]" {
		t.Errorf("the configuration is %v", got)
	}
	if n := len(w.keySet("oidc/provider/p/.well-known/keys")); n != 2 {
		t.Errorf("the provider publishes %d keys, want 2", n)
	}
	w.write("oidc/provider/q", `{"allowed_client_ids": "other"}`)
	if n := len(w.keySet("oidc/provider/q/.well-known/keys")); n != 0 {
		t.Errorf("a provider that no client may use publishes %d keys", n)
	}
	for _, path := range []string{"oidc/provider/none/.well-known/keys", "oidc/provider/none/.well-known/openid-configuration", "oidc/provider/none", "oidc/client/none", "oidc/scope/none", "oidc/assignment/none"} {
		if _, err := w.try("root", api.Read, path, ""); api.KindOf(err) != api.NotFound {
			t.Errorf("%s: %v, want not found", path, err)
		}
	}
}

// All that is known of a code is in the store, so that it does not matter where it is shown.
func TestCodeIsRedeemedOnceOfMany(t *testing.T) {
	w := newShop(t)
	for range 20 {
		code, won, all := w.code(), atomic.Int32{}, sync.WaitGroup{}
		for range 8 {
			all.Go(func() {
				if status, _ := w.exchange("p", code); status == 200 {
					won.Add(1)
				}
			})
		}
		if all.Wait(); won.Load() != 1 {
			t.Fatalf("a code was redeemed %d times", won.Load())
		}
	}
}

// A scope tells by which name somebody has logged in, and what the auth method says of them, by the accessor of
// the auth method.
func TestScopesTellOfAliases(t *testing.T) {
	w := newShop(t)
	c := w.call("root")
	c.Mount = api.Mount{Accessor: "auth_door_1", Path: "auth/door/", Type: "door"}
	who := must(w.ids.Admit(c, &api.Auth{Alias: &api.Alias{Name: "lou@example.com", Metadata: map[string]string{"name": "lou"}}}))(t)
	w.entity = who.ID
	w.write("oidc/assignment/staff", `{"entity_ids": %q}`, who.ID)
	w.write("oidc/scope/profile", `{"template": %q}`, `{"username": {{identity.entity.aliases.auth_door_1.metadata.name}}, "email": {{identity.entity.aliases.auth_door_1.name}}, "other": {{identity.entity.aliases.auth_none_1.name}}}`)
	access, id := w.granted(w.code())
	claims := w.verified("oidc/provider/p/.well-known/keys", id)
	_, info := w.userinfo("p", access)
	for _, got := range []map[string]any{claims, info} {
		if got["username"] != "lou" || got["email"] != "lou@example.com" || got["other"] != "" {
			t.Errorf("the claims are %v", got)
		}
	}
}

// Who becomes another entity while a code is made for them has one that goes by the count of that one: it is good until the
// order that ends all tokens of that one.
func TestCodeOfWhoBecomesAnotherMeanwhile(t *testing.T) {
	for name, orders := range map[string]struct{ ann, bob int }{"who had the higher count": {3, 0}, "who had the lower one": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			w := newShop(t)
			ann := w.entity
			bob, _ := w.write("entity", `{"name":"bob"}`)["id"].(string)
			w.write("oidc/assignment/staff", `{"entity_ids":[%q,%q]}`, ann, bob)
			revoke := func(id string, times int) {
				for range times {
					w.write("entity/id/"+id+"/revoke-tokens", `{}`)
				}
			}
			revoke(ann, orders.ann)
			revoke(bob, orders.bob)
			c := w.call("root") // let in as Ann
			p, err := w.ids.Person(c, "root", ann)
			if err != nil {
				t.Fatal(err)
			}
			c.Caller.EntityEpoch = p.Epoch()
			w.write("entity/merge", `{"from_entity_ids":[%q],"to_entity_id":%q}`, ann, bob)
			_, out := w.answer(c, api.Write, "oidc/provider/p/authorize", form(map[string]any{"client_id": w.id, "redirect_uri": back, "response_type": "code",
				"scope": "openid profile", "state": "s1", "nonce": "n1", "code_challenge": challenge(), "code_challenge_method": "S256"}))
			code, _ := out["code"].(string)
			access, _ := w.granted(code)
			revoke(bob, 1)
			if status, _ := w.userinfo("p", access); status != 401 {
				t.Errorf("after the order userinfo answers %d", status)
			}
		})
	}
}
