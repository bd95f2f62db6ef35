package compat

import (
	"testing"

	vault "github.com/hashicorp/vault/api"
	"github.com/openbao/openbao/api/auth/approle/v2"
	"github.com/openbao/openbao/api/auth/kubernetes/v2"
	"github.com/openbao/openbao/api/auth/userpass/v2"
	bao "github.com/openbao/openbao/api/v2"
)

// logsIn logs in by a helper of OpenBao's client, as somebody without a token.
func (c *client) logsIn(t *testing.T, method bao.AuthMethod, err error) (*bao.Secret, error) {
	t.Helper()
	ok(t, err)
	config := bao.DefaultConfig()
	config.Address, config.MaxRetries = c.server.URL, 0
	b := must(bao.NewClient(config))(t)
	b.ClearToken()
	return b.Auth().Login(t.Context(), method)
}

// TestOpenBaoUserpass logs in by the helper of OpenBao's client, as TestUserpass does by that of Vault's; so do those below.
func TestOpenBaoUserpass(t *testing.T) {
	t.Parallel()
	c := baoClient(t, world.shared)
	mount := c.method(t, "userpass")
	must(c.logical.Write("auth/"+mount+"/users/ann", map[string]any{"password": "hunter2", "token_policies": "dev", "token_ttl": "10m"}))(t)
	login := func(password string) (*bao.Secret, error) {
		method, err := userpass.NewUserpassAuth("Ann", &userpass.Password{FromString: password}, userpass.WithMountPath(mount))
		return c.logsIn(t, method, err)
	}
	in := must(login("hunter2"))(t)
	equal(t, "policies", in.Auth.Policies, []string{"default", "dev"})
	equal(t, "metadata", in.Auth.Metadata, map[string]string{"username": "ann"})
	equal(t, "seconds", in.Auth.LeaseDuration, 600)
	_, err := login("other")
	refused(t, err, 400, "invalid username or password")
}

func TestOpenBaoAppRole(t *testing.T) {
	t.Parallel()
	c := baoClient(t, world.shared)
	mount := c.method(t, "approle")
	role := "auth/" + mount + "/role/ci"
	must(c.logical.Write(role, map[string]any{"token_policies": "dev", "token_ttl": "20m"}))(t)
	id := must(c.logical.Read(role + "/role-id"))(t).Data["role_id"].(string)
	login := func(secret string, options ...approle.LoginOption) (*bao.Secret, error) {
		method, err := approle.NewAppRoleAuth(id, &approle.SecretID{FromString: secret}, append(options, approle.WithMountPath(mount))...)
		return c.logsIn(t, method, err)
	}
	in := must(login(must(c.logical.Write(role+"/secret-id", nil))(t).Data["secret_id"].(string)))(t)
	equal(t, "policies", in.Auth.Policies, []string{"default", "dev"})
	equal(t, "metadata", in.Auth.Metadata, map[string]string{"role_name": "ci"})
	equal(t, "seconds", in.Auth.LeaseDuration, 1200)

	// A secret id comes wrapped, and the helper unwraps it, once.
	config := bao.DefaultConfig()
	config.Address = c.server.URL
	wrapper := must(bao.NewClient(config))(t)
	wrapper.SetToken(c.token)
	wrapper.SetWrappingLookupFunc(func(string, string) string { return "1m" })
	wrapped := must(wrapper.Logical().Write(role+"/secret-id", nil))(t).WrapInfo.Token
	must(login(wrapped, approle.WithWrappingToken()))(t)
	if _, err := login(wrapped, approle.WithWrappingToken()); err == nil {
		t.Error("what was unwrapped is unwrapped again")
	}
	_, err := login("another")
	refused(t, err, 400, "invalid role or secret ID")
}

func TestOpenBaoKubernetes(t *testing.T) {
	t.Parallel()
	const token = "a.service-accounts.token"
	url, ca := reviewing(t, token)
	c, mount := baoClient(t, world.shared), unique("k8s")
	path := "auth/" + mount
	ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "kubernetes"}))
	must(c.logical.Write(path+"/config", map[string]any{"kubernetes_host": url, "kubernetes_ca_cert": ca, "token_reviewer_jwt": "the.reviewers.token"}))(t)
	must(c.logical.Write(path+"/role/app", map[string]any{"bound_service_account_names": "web", "bound_service_account_namespaces": "default", "audience": "vault", "token_policies": "dev", "token_ttl": "1h"}))(t)
	login := func(token string) (*bao.Secret, error) {
		method, err := kubernetes.NewKubernetesAuth("app", kubernetes.WithServiceAccountToken(token), kubernetes.WithMountPath(mount))
		return c.logsIn(t, method, err)
	}
	in := must(login(token))(t)
	equal(t, "policies", in.Auth.TokenPolicies, []string{"default", "dev"})
	equal(t, "account", in.Auth.Metadata["service_account_name"], "web")
	_, err := login("another.services.token")
	refused(t, err, 403, "permission denied")
}
