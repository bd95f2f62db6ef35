package oidc_test

import (
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

const jwks = "oidc/.well-known/keys"

func TestTokenOfEachAlgorithm(t *testing.T) {
	for _, alg := range []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			w := newWorld(t)
			id := w.ann("")
			w.write("oidc/key/k", `{"algorithm": %q, "allowed_client_ids": "app"}`, alg)
			w.write("oidc/role/r", `{"key": "k", "client_id": "app", "ttl": "1h"}`)
			text := w.token("r")
			claims := w.verified(jwks, text)
			now := float64(w.now.Unix())
			for claim, want := range map[string]any{"iss": address + "/v1/identity/oidc", "sub": id, "aud": "app", "namespace": "root", "iat": now, "exp": now + 3600} {
				if claims[claim] != want {
					t.Errorf("%s is %v, want %v", claim, claims[claim], want)
				}
			}
			if !w.active(text, "app") || !w.active(text, "") || w.active(text, "other") {
				t.Error("the server does not tell its own token from one for another")
			}
			w.now = w.now.Add(time.Hour)
			if w.active(text, "app") {
				t.Error("an expired token is active")
			}
		})
	}
}

func TestTokenNeedsAnEntityAndAnAllowedClient(t *testing.T) {
	w := newWorld(t)
	w.write("oidc/key/k", `{"algorithm": "ES256"}`)
	w.write("oidc/role/r", `{"key": "k"}`)
	ask := func(why string) {
		t.Helper()
		if v, err := w.try("root", api.Read, "oidc/token/r", ""); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, %v; want a refusal with %q", v, err, why)
		}
	}
	ask("no entity")
	id := w.ann("")
	ask("does not allow")
	client, _ := w.do(api.Read, "oidc/role/r", "")["client_id"].(string)
	if len(client) != 32 {
		t.Errorf("the client id that was made up is %q", client)
	}
	w.write("oidc/key/k", `{"allowed_client_ids": ["x", %q]}`, client)
	text := w.token("r")
	w.write("entity/id/"+id, `{"disabled": true}`)
	if _, err := w.try("root", api.Read, "oidc/token/r", ""); api.KindOf(err) != api.Denied {
		t.Errorf("an entity that is disabled gets a token: %v", err)
	}
	if w.active(text, "") {
		t.Error("the token of an entity that is disabled is active")
	}
	w.write("entity/id/"+id, `{"disabled": false}`)
	if !w.active(text, "") {
		t.Error("the token of an entity that is enabled again is not active")
	}
	w.do(api.Delete, "entity/id/"+id, "")
	if w.active(text, "") {
		t.Error("the token of an entity that is gone is active")
	}
}

func TestRotation(t *testing.T) {
	w := newWorld(t)
	w.ann("")
	w.write("oidc/key/k", `{"algorithm": "ES256", "rotation_period": "10m", "verification_ttl": "1h", "allowed_client_ids": "*"}`)
	w.write("oidc/role/r", `{"key": "k", "ttl": "1h"}`)
	published := w.keySet(jwks)
	first := w.token("r")
	var tokens []string
	for range 6 {
		before := w.keySet(jwks)
		w.now = w.now.Add(10 * time.Minute)
		if n := w.work(); n != 1 {
			t.Fatalf("%d rotations were due, want 1", n)
		}
		text := w.token("r")
		tokens = append(tokens, text)
		if _, known := w.verify(jwks, text); !known {
			t.Fatal("a token is signed with a key that is not published")
		}
		after := w.keySet(jwks)
		kid := kidOf(t, text)
		if _, early := before[kid]; !early {
			t.Error("a key signs that was not published before the rotation")
		}
		if len(after) > 8 {
			t.Errorf("%d keys are published", len(after))
		}
	}
	if len(published) != 2 || kidOf(t, first) == kidOf(t, tokens[0]) {
		t.Error("the key that signs has not changed")
	}
	if !w.active(tokens[0], "") || w.active(first, "") {
		t.Error("a token is active until it expires, over rotations")
	}
	w.now = w.now.Add(10 * time.Minute)
	if _, known := w.verify(jwks, first); known {
		t.Error("a key is published for longer than the verification_ttl")
	}
	text := w.token("r")
	w.write("oidc/key/k/rotate", `{"verification_ttl": 60}`)
	if w.now = w.now.Add(59 * time.Second); !w.active(text, "") {
		t.Error("a token is not active whose key counts yet")
	}
	if w.now = w.now.Add(time.Second); w.active(text, "") {
		t.Error("a token is active whose key counts no more")
	}
	text = w.token("r")
	w.write("oidc/key/k/rotate", `{"verification_ttl": 0}`)
	if w.active(text, "") {
		t.Error("a token is active whose key was withdrawn")
	}
}

func TestRotationRunsOnce(t *testing.T) {
	w := newWorld(t)
	w.ann("")
	w.write("oidc/key/k", `{"algorithm": "EdDSA", "allowed_client_ids": "*"}`)
	w.write("oidc/role/r", `{"key": "k"}`)
	w.now = w.now.Add(24 * time.Hour)
	job := w.oidc.Jobs()["oidc-rotate"]
	for range 3 {
		w.run(job, "k")
	}
	if n := len(w.keySet(jwks)); n != 3 {
		t.Errorf("%d keys are published after one rotation, want 3", n)
	}
	for range 61 {
		w.write("oidc/key/k/rotate", `{}`)
	}
	w.write("oidc/key/k/rotate", `{}`)
	w.write("oidc/key/k/rotate", `{}`)
	w.refused("oidc/key/k/rotate", `{}`, "rotated 65 times")
}

func TestKeysThatAreUsedStay(t *testing.T) {
	w := newWorld(t)
	w.write("oidc/key/K", `{"algorithm": "EdDSA", "verification_ttl": "2h"}`)
	w.refused("oidc/role/r", `{"key": "none"}`, "no such key")
	w.refused("oidc/role/r", `{}`, "key parameter is required")
	w.refused("oidc/role/r", `{"key": "k"}`, "verification_ttl")
	w.write("oidc/role/r", `{"key": "K", "ttl": "2h"}`)
	w.refused("oidc/key/k", `{"verification_ttl": "1h"}`, "currently referenced")
	if _, err := w.try("root", api.Delete, "oidc/key/k", ""); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "role r") {
		t.Errorf("a key that a role uses is deleted: %v", err)
	}
	w.do(api.Delete, "oidc/role/r", "")
	w.do(api.Delete, "oidc/key/k", "")
	for _, path := range []string{"oidc/key/k", "oidc/role/r"} {
		if _, err := w.try("root", api.Read, path, ""); api.KindOf(err) != api.NotFound {
			t.Errorf("%s: %v, want not found", path, err)
		}
	}
	if _, err := w.try("root", api.Delete, "oidc/key/default", ""); api.KindOf(err) != api.Invalid {
		t.Errorf("the default key is deleted: %v", err)
	}
	if got := w.do(api.Read, "oidc/key/default", ""); got["algorithm"] != "RS256" || got["rotation_period"] != 86400.0 {
		t.Errorf("the default key is %v", got)
	}
	for body, why := range map[string]string{
		`{"algorithm": "none"}`:                                        "algorithm",
		`{"algorithm": "HS256"}`:                                       "algorithm",
		`{"algorithm": "EdDSA", "rotation_period": "59s"}`:             "at least one minute",
		`{"rotation_period": "59m", "verification_ttl": "1h"}`:         "at least one hour for RS256",
		`{"rotation_period": "1h", "verification_ttl": "11h"}`:         "10x",
		`{"verification_ttl": -1}`:                                     "negative",
		`{"allowed_client_ids": ["` + strings.Repeat("x", 513) + `"]}`: "allowed_client_ids",
	} {
		w.refused("oidc/key/other", body, why)
	}
}

func TestNamespacesHaveTheirOwnKeys(t *testing.T) {
	w := newWorld(t)
	w.ann("")
	must(w.try("team", api.Write, "oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`))(t)
	must(w.try("team", api.Write, "oidc/role/r", `{"key": "k"}`))(t)
	text, _ := must(w.try("team", api.Read, "oidc/token/r", ""))(t)["token"].(string)
	if w.active(text, "") {
		t.Error("a namespace takes the token of another")
	}
	if got := must(w.try("team", api.Write, "oidc/introspect", `{"token": "`+text+`"}`))(t); got["active"] != true {
		t.Errorf("the namespace does not take its own token: %v", got)
	}
	config := must(w.try("team", api.Read, "oidc/.well-known/openid-configuration", ""))(t)
	if want := address + "/v1/team/identity/oidc"; config["issuer"] != want || config["jwks_uri"] != want+"/.well-known/keys" {
		t.Errorf("the configuration is %v", config)
	}
	w.write("oidc/config", `{"issuer": "https://id.example.com/"}`)
	w.write("oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	w.write("oidc/role/r", `{"key": "k"}`)
	text = w.token("r")
	if got := w.verified(jwks, text); got["iss"] != "https://id.example.com/v1/identity/oidc" || !w.active(text, "") {
		t.Errorf("the issuer is %v", got["iss"])
	}
	w.write("oidc/config", `{"issuer": ""}`)
	if w.active(text, "") {
		t.Error("the token of another issuer is active")
	}
	for _, bad := range []string{"id.example.com", "https://", "ftp://x", "https://x/y", "https://x?y", "https://u@x", "javascript:x"} {
		w.refused("oidc/config", `{"issuer": "`+bad+`"}`, "issuer")
	}
}
