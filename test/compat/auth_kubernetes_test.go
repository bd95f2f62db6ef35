package compat

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"
)

// reviewing is a cluster's API that knows one token: of the service account web in the namespace default.
func reviewing(t *testing.T, token string) (url, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Spec struct {
				Token     string   `json:"token"`
				Audiences []string `json:"audiences"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Authorization") != "Bearer the.reviewers.token" {
			t.Errorf("asked %s %s: %v", r.Method, r.URL, err)
		}
		user := map[string]any{"username": "system:serviceaccount:default:web", "uid": "4f7a", "groups": []string{"system:serviceaccounts", "system:authenticated"}}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
			"status": map[string]any{"authenticated": q.Spec.Token == token, "audiences": q.Spec.Audiences, "user": user}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// stranger is a client without a token.
func stranger(t *testing.T, url string) *vault.Client {
	t.Helper()
	conf := vault.DefaultConfig()
	conf.Address, conf.MaxRetries = url, 0
	c := must(vault.NewClient(conf))(t)
	c.ClearToken()
	return c
}

func TestKubernetesLogin(t *testing.T) {
	const token = "a.service-accounts.token"
	url, ca := reviewing(t, token)
	eachClient(t, func(t *testing.T, c *client) {
		path := "auth/" + unique("k8s")
		ok(t, c.sys.EnableAuthWithOptions(path[len("auth/"):], &vault.EnableAuthOptions{Type: "kubernetes"}))
		must(c.logical.Write(path+"/config", map[string]any{"kubernetes_host": url, "kubernetes_ca_cert": ca, "token_reviewer_jwt": "the.reviewers.token"}))(t)
		must(c.logical.Write(path+"/role/app", map[string]any{"bound_service_account_names": "web", "bound_service_account_namespaces": "default", "audience": "vault", "token_policies": "dev", "token_ttl": "1h"}))(t)
		read := must(c.logical.Read(path + "/role/app"))(t)
		equal(t, "names", read.Data["bound_service_account_names"], []any{"web"})
		equal(t, "alias source", read.Data["alias_name_source"], "serviceaccount_uid")
		equal(t, "the reviewer's token", must(c.logical.Read(path + "/config"))(t).Data["token_reviewer_jwt"], nil)
		equal(t, "roles", must(c.logical.List(path + "/role"))(t).Data["keys"], []any{"app"})

		login := func(role, token string) (*vault.Secret, error) {
			method := must(kubernetes.NewKubernetesAuth(role, kubernetes.WithServiceAccountToken(token), kubernetes.WithMountPath(path[len("auth/"):])))(t)
			return stranger(t, c.server.URL).Auth().Login(t.Context(), method)
		}
		s := must(login("app", token))(t)
		equal(t, "policies", s.Auth.TokenPolicies, []string{"default", "dev"})
		equal(t, "seconds", s.Auth.LeaseDuration, 3600)
		equal(t, "account", s.Auth.Metadata["service_account_name"], "web")
		equal(t, "role", s.Auth.Metadata["role"], "app")
		if s.Auth.EntityID == "" || s.Auth.Orphan != true {
			t.Errorf("entity %q, orphan %v", s.Auth.EntityID, s.Auth.Orphan)
		}
		equal(t, "renewed seconds", must(c.tokens.Renew(s.Auth.ClientToken, 60))(t).Auth.LeaseDuration, 60)
		for role, token := range map[string]string{"app": "another.services.token", "none": token} {
			if _, err := login(role, token); err == nil {
				t.Errorf("%s was let in with %s", role, token)
			}
		}
	})
}
