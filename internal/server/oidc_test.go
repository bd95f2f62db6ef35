package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// ann is an entity with metadata, and a token of it that the default policy and one more hold for.
func ann(t *testing.T, s *servertest.Server, policy string) (id, token string) {
	t.Helper()
	s.Want(t, 204, "POST", "sys/policies/acl/oidc", servertest.Root, mustJSON(t, map[string]string{"policy": policy}))
	id = s.Want(t, 200, "POST", "identity/entity", servertest.Root, `{"name": "ann", "metadata": {"team": "red"}, "policies": ["oidc"]}`).String("data", "id")
	auths := s.Want(t, 200, "GET", "sys/auth", servertest.Root, "")
	accessor := auths.String("data", "token/", "accessor")
	s.Want(t, 200, "POST", "identity/entity-alias", servertest.Root, fmt.Sprintf(`{"name": "ann", "mount_accessor": %q, "canonical_id": %q}`, accessor, id))
	s.Want(t, 204, "POST", "auth/token/roles/ann", servertest.Root, `{"allowed_entity_aliases": "ann", "orphan": true, "allowed_policies": "default"}`)
	return id, s.Want(t, 200, "POST", "auth/token/create/ann", servertest.Root, `{"entity_alias": "ann"}`).String("auth", "client_token")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A relying party as others have written it discovers the provider, logs somebody in by code and PKCE, and
// checks what it gets, before and after the keys have been rotated.
func TestRelyingPartyLogsIn(t *testing.T) {
	s := servertest.Start(t)
	entity, token := ann(t, s, `path "nothing" { capabilities = ["read"] }`) // the default policy is enough
	s.Want(t, 204, "POST", "identity/oidc/key/k", servertest.Root, `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	s.Want(t, 204, "POST", "identity/oidc/scope/profile", servertest.Root, mustJSON(t, map[string]string{"template": `{"team": {{identity.entity.metadata.team}}}`}))
	s.Want(t, 204, "POST", "identity/oidc/client/app", servertest.Root, `{"redirect_uris": "http://127.0.0.1/back", "assignments": "allow_all", "key": "k"}`)
	client := s.Want(t, 200, "GET", "identity/oidc/client/app", servertest.Root, "")
	s.Do(t, "POST", "identity/oidc/provider/p", servertest.Root, mustJSON(t, map[string]string{"issuer": s.URL, "allowed_client_ids": "*", "scopes_supported": "profile"}))

	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, s.URL+"/v1/identity/oidc/provider/p")
	if err != nil {
		t.Fatal(err)
	}
	app := oauth2.Config{ClientID: client.String("data", "client_id"), ClientSecret: client.String("data", "client_secret"), Endpoint: provider.Endpoint(), RedirectURL: "http://127.0.0.1/back", Scopes: []string{oidc.ScopeOpenID, "profile"}}
	checks := provider.Verifier(&oidc.Config{ClientID: app.ClientID, SupportedSigningAlgs: []string{oidc.ES256}})
	for range 3 {
		verifier := oauth2.GenerateVerifier()
		login := app.AuthCodeURL("the state", oidc.Nonce("the nonce"), oauth2.S256ChallengeOption(verifier))
		asks := strings.Replace(strings.TrimPrefix(login, s.URL+"/v1/"), "/sign-in?", "/authorize?", 1) // as the page at the address does
		answer := s.Want(t, 200, "GET", asks, token, "")
		if answer.String("state") != "the state" {
			t.Errorf("the state is %q", answer.String("state"))
		}
		code := answer.String("code")
		if _, err := app.Exchange(ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
			t.Error("another verifier is taken")
		}
		code = s.Want(t, 200, "GET", asks, token, "").String("code")
		got, err := app.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := got.Extra("id_token").(string)
		id, err := checks.Verify(ctx, raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := id.VerifyAccessToken(got.AccessToken); err != nil || id.Nonce != "the nonce" || id.Subject != entity {
			t.Errorf("the ID token is of %s with nonce %q: %v", id.Subject, id.Nonce, err)
		}
		info, err := provider.UserInfo(ctx, app.TokenSource(ctx, got))
		if err != nil || info.Subject != entity {
			t.Fatal(info, err)
		}
		var claims struct{ Team string }
		if err := info.Claims(&claims); err != nil || claims.Team != "red" {
			t.Errorf("the claims are %+v, %v", claims, err)
		}
		if _, err := app.Exchange(ctx, code, oauth2.VerifierOption(verifier)); err == nil {
			t.Error("a code is taken twice")
		}
		if a := s.Do(t, "GET", "identity/oidc/provider/p/userinfo", "", "", "Authorization", "Bearer "+got.AccessToken); a.Status != 401 || !strings.Contains(a.Header.Get("Www-Authenticate"), "invalid_token") {
			t.Errorf("the access token of a code that was replayed: %d %v", a.Status, a.Header)
		}
		if a := s.Do(t, "GET", "sys/mounts", got.AccessToken, ""); a.Status != 403 {
			t.Errorf("an access token opens something else: %d", a.Status)
		}
		s.Want(t, 204, "POST", "identity/oidc/key/k/rotate", servertest.Root, "")
		if _, err := checks.Verify(ctx, raw); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	}
	if a := s.Do(t, "GET", "identity/oidc/provider/p/authorize?client_id="+url.QueryEscape(app.ClientID), "", ""); a.Status != 403 {
		t.Errorf("authorize without a token: %d", a.Status)
	}
	if a := s.Do(t, "GET", "identity/oidc/provider/p/authorize", s.Policy(t, "", "none", `path "secret/*" { capabilities = ["read"] }`), ""); a.Status != 403 {
		t.Errorf("authorize with a token that has no policy for it: %d", a.Status)
	}
}

// The page at which people sign in is the same for all, says nothing of what it was asked, and may do no more than its
// script does. It needs no token, and authorize does.
func TestSignInPage(t *testing.T) {
	s := servertest.Start(t)
	const path = "identity/oidc/provider/default/sign-in"
	plain := s.Want(t, 200, "GET", path, "", "")
	asked := s.Want(t, 200, "GET", path+"?client_id=needle&redirect_uri=https://needle.example.com/&state=needle%3Cscript%3E&nonce=needle&response_type=code&x=needle", "", "")
	if asked.Text() != plain.Text() || strings.Contains(asked.Text(), "needle") || strings.Contains(fmt.Sprint(asked.Header), "needle") {
		t.Errorf("the page is another when it is asked something: %v %s", asked.Header, asked.Body)
	}
	if elsewhere := s.Want(t, 200, "GET", "identity/oidc/provider/nobodys/sign-in", "", ""); elsewhere.Text() != plain.Text() {
		t.Error("the page is another for another provider")
	}
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff"} {
		if got := asked.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	want := "default-src 'none'; script-src " + hashed(t, plain.Text(), "script") + "; style-src " + hashed(t, plain.Text(), "style") +
		"; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
	if got := asked.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("the policy is %q, want %q", got, want)
	}
	found := s.Want(t, 200, "GET", "identity/oidc/provider/default/.well-known/openid-configuration", "", "")
	if at := found.String("authorization_endpoint"); !strings.HasSuffix(at, "/v1/"+path) {
		t.Errorf("discovery sends people to %q", at)
	}
	s.Want(t, 400, "GET", path+"?redirect_uri=https://a.example.com/&redirect_uri=https://b.example.com/", "", "")
	s.Want(t, 403, "GET", "identity/oidc/provider/default/authorize", "", "", "Accept", "text/html")
}

// The page is told what it may offer and of whom nobody is known, without a token; and who writes what nobody can use is warned by what is there.
func TestSignInIsJudgedWithoutAToken(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/auth/old/people", servertest.Root, `{"type": "userpass"}`)
	s.Want(t, 204, "POST", "sys/auth/ci", servertest.Root, `{"type": "approle"}`)
	s.Want(t, 204, "POST", "identity/oidc/client/app", servertest.Root, `{"redirect_uris": "https://app.example.com/back", "assignments": "allow_all"}`)
	s.Want(t, 204, "POST", "identity/oidc/provider/people", servertest.Root, `{"allowed_client_ids": "*", "sign_in_paths": "old/people"}`)
	for _, c := range []struct{ second, why string }{{"nowhere", "no auth method"}, {"ci", "cannot log in by"}} {
		if a := s.Want(t, 200, "POST", "identity/oidc/provider/people", servertest.Root, `{"sign_in_paths": "old/people,`+c.second+`"}`); !strings.Contains(a.Text(), c.why) {
			t.Errorf("%s is answered %s", c.second, a.Body)
		}
	}
	s.Want(t, 204, "POST", "identity/oidc/assignment/crew", servertest.Root, mustJSON(t, map[string]string{"group_ids": s.Want(t, 200, "POST", "identity/group", servertest.Root, `{"name": "crew"}`).String("data", "id")}))
	asks := map[string]string{"client_id": s.Want(t, 200, "GET", "identity/oidc/client/app", servertest.Root, "").String("data", "client_id"), "redirect_uri": "https://app.example.com/back", "response_type": "code", "scope": "openid"}
	const page = "identity/oidc/provider/people/sign-in"
	if a := s.Want(t, 200, "POST", page, "", mustJSON(t, asks)); !strings.Contains(a.Text(), `["old/people","ci"]`) || a.String("redirect_uri") != asks["redirect_uri"] {
		t.Errorf("the page is told %s", a.Body)
	}
	asks["redirect_uri"] = "https://evil.example.com/"
	if a := s.Want(t, 400, "POST", page, "", mustJSON(t, asks)); a.String("error") != "invalid_redirect_uri" || a.String("redirect_uri") != "" {
		t.Errorf("for an address of somebody else the page is told %s", a.Body)
	}
}

// A token that somebody makes of an old login of theirs proves no new one to an application that asks for one.
func TestLoginIsAsOldAsItIs(t *testing.T) {
	var later atomic.Int64
	s := servertest.StartAt(t, func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	s.Want(t, 204, "POST", "sys/policies/acl/makes", servertest.Root, mustJSON(t, map[string]string{"policy": `path "auth/token/create*" { capabilities = ["update", "sudo"] }
		path "sys/mounts" { capabilities = ["read"]
		condition = "auth.age < duration('10m')" }`}))
	s.Want(t, 204, "POST", "auth/token/roles/apart", servertest.Root, `{"orphan": true}`)
	s.Want(t, 204, "POST", "sys/auth/userpass", servertest.Root, `{"type": "userpass"}`)
	s.Want(t, 204, "POST", "auth/userpass/users/ann", servertest.Root, `{"password": "a good password", "token_policies": "makes"}`)
	s.Want(t, 204, "POST", "identity/oidc/client/app", servertest.Root, `{"redirect_uris": "https://app.example.com/back", "assignments": "allow_all"}`)
	asks := mustJSON(t, map[string]string{"client_id": s.Want(t, 200, "GET", "identity/oidc/client/app", servertest.Root, "").String("data", "client_id"),
		"redirect_uri": "https://app.example.com/back", "response_type": "code", "scope": "openid", "max_age": "600"})
	const authorize = "identity/oidc/provider/default/authorize"

	token := s.Want(t, 200, "POST", "auth/userpass/login/ann", "", `{"password": "a good password"}`).String("auth", "client_token")
	child := func(of, body string) string {
		return s.Want(t, 200, "POST", "auth/token/create", of, body).String("auth", "client_token")
	}
	s.Want(t, 200, "POST", authorize, child(token, "{}"), asks)
	s.Want(t, 200, "GET", "sys/mounts", child(token, "{}"), "")
	operators := child(servertest.Root, `{"policies": "makes"}`)
	later.Store(int64(time.Hour))
	s.Want(t, 200, "POST", "auth/token/renew-self", token, "")
	again := child(token, "{}")
	for what, old := range map[string]string{"the login's token": token, "a child": again, "a batch token": child(token, `{"type": "batch"}`), "a child of a child": child(again, "{}")} {
		if a := s.Do(t, "POST", authorize, old, asks); a.Status != 400 || a.String("error") != "max_age_violation" {
			t.Errorf("%s, an hour after the login, for max_age 600: %d %s", what, a.Status, a.Body)
		}
		s.Want(t, 403, "GET", "sys/mounts", old, "") // a condition sees its age, too
	}
	for _, old := range []string{child(token, `{"no_parent": true}`), child(operators, "{}"), operators,
		s.Want(t, 200, "POST", "auth/token/create/apart", token, "{}").String("auth", "client_token")} {
		s.Want(t, 403, "GET", "sys/mounts", old, "")
	}
	s.Want(t, 200, "GET", "sys/mounts", child(servertest.Root, `{"policies": "makes"}`), "")
	_, nobodys := ann(t, s, `path "nothing" { capabilities = ["read"] }`)
	if a := s.Do(t, "POST", authorize, nobodys, asks); a.Status != 400 || a.String("error") != "max_age_violation" {
		t.Errorf("a token that an operator has made for ann, who has not logged in: %d %s", a.Status, a.Body)
	}
}

// hashed is the name of what stands in a page's one element of a kind, as the page's policy has it.
func hashed(t *testing.T, page, element string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, "<"+element+">")
	text, _, ends := strings.Cut(rest, "</"+element+">")
	if !found || !ends || strings.Count(page, "<"+element) != 1 {
		t.Fatalf("the page has not one %s", element)
	}
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Identity tokens are checked by others with what is published, which they may keep for a while.
func TestIdentityTokens(t *testing.T) {
	s := servertest.Start(t)
	entity, token := ann(t, s, `path "identity/oidc/token/r" { capabilities = ["read"] }`)
	s.Do(t, "POST", "identity/oidc/config", servertest.Root, mustJSON(t, map[string]string{"issuer": s.URL}))
	s.Want(t, 204, "POST", "identity/oidc/role/r", servertest.Root, `{"key": "default", "client_id": "app", "template": "{\"name\": {{identity.entity.name}}}"}`)
	provider, err := oidc.NewProvider(t.Context(), s.URL+"/v1/identity/oidc")
	if err != nil {
		t.Fatal(err)
	}
	made := s.Want(t, 200, "GET", "identity/oidc/token/r", token, "")
	id, err := provider.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), made.String("data", "token"))
	if err != nil || id.Subject != entity || made.Field("data", "ttl") != 86400.0 || made.String("data", "client_id") != "app" {
		t.Fatalf("%+v, %v; answer %s", id, err, made.Body)
	}
	for path, keep := range map[string]string{"identity/oidc/.well-known/keys": "max-age=300", "identity/oidc/.well-known/openid-configuration": "max-age=3600"} {
		if a := s.Want(t, 200, "GET", path, "", ""); a.Header.Get("Cache-Control") != keep || a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.Text(), `"d"`) {
			t.Errorf("%s: %v %s", path, a.Header, a.Body)
		}
	}
	body := mustJSON(t, map[string]string{"token": made.String("data", "token")})
	if a := s.Want(t, 200, "POST", "identity/oidc/introspect", servertest.Root, body); a.Field("active") != true {
		t.Errorf("introspect: %s", a.Body)
	}
	for _, c := range []struct{ method, path, token string }{{"GET", "identity/oidc/token/r", ""}, {"GET", "identity/oidc/token/r", servertest.Root}, {"GET", "identity/oidc/key/default", token}, {"POST", "identity/oidc/introspect", token}} {
		if a := s.Do(t, c.method, c.path, c.token, ""); a.Status != 403 && a.Status != 400 {
			t.Errorf("%s %s: %d", c.method, c.path, a.Status)
		}
	}
	if a, err := http.Get(s.URL + "/v1/identity/oidc/provider/default/.well-known/openid-configuration"); err != nil || a.StatusCode != 200 {
		t.Errorf("the default provider: %v, %v", a, err)
	} else if err := a.Body.Close(); err != nil {
		t.Error(err)
	}
}
