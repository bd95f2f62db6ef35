package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

// nobody is a client of that kind without a token.
func nobody(t *testing.T) *vault.Client {
	t.Helper()
	config := vault.DefaultConfig()
	config.Address = world.shared.URL
	c := must(vault.NewClient(config))(t)
	c.ClearToken()
	return c
}

// method enables an auth method at a path of the test's own.
func (c *client) method(t *testing.T, kind string) string {
	t.Helper()
	path := fmt.Sprintf("%s-%d", kind, time.Now().UnixNano())
	must(c.logical.Write("sys/auth/"+path, map[string]any{"type": kind}))(t)
	t.Cleanup(func() { must(c.logical.Delete("sys/auth/" + path))(t) })
	return path
}

func TestUserpass(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.method(t, "userpass")
		users := "auth/" + mount + "/users"
		s, err := c.logical.List(users)
		absent(t, "an empty list", s, err)
		must(c.logical.Write(users+"/Ann", map[string]any{"password": "hunter2", "token_policies": "Dev, ops", "token_ttl": "10m", "token_period": 0}))(t)
		read := must(c.logical.Read(users + "/ann"))(t).Data
		equal(t, "policies", read["token_policies"], []any{"dev", "ops"})
		equal(t, "ttl", read["token_ttl"], 600)
		equal(t, "policies by their old name", read["policies"], nil)
		if strings.Contains(fmt.Sprint(read), "argon2") {
			t.Errorf("the hash is read: %v", read)
		}
		must(c.logical.Write(users+"/ann/policies", map[string]any{"policies": "default"}))(t)
		equal(t, "policies", must(c.logical.Read(users + "/ann"))(t).Data["policies"], []any{"default"})
		_, err = c.logical.Write(users+"/bob", map[string]any{"token_policies": "default"})
		refused(t, err, 400, "missing password")
		_, err = c.logical.Write(users+"/bob", map[string]any{"password": "x", "token_policies": " Root"})
		refused(t, err, 400, "root policy")
		_, err = c.logical.Write(users+"/bob/password", map[string]any{"password": "x"})
		refused(t, err, 400, "username does not exist")

		v := nobody(t)
		in := must(v.Auth().Login(t.Context(), must(userpass.NewUserpassAuth("ANN", &userpass.Password{FromString: "hunter2"}, userpass.WithMountPath(mount)))(t)))(t)
		equal(t, "policies of the token", in.Auth.Policies, []string{"default"})
		equal(t, "metadata", in.Auth.Metadata, map[string]string{"username": "ann"})
		equal(t, "seconds", in.Auth.LeaseDuration, 600)
		self := must(v.Auth().Token().LookupSelf())(t).Data
		equal(t, "display name", self["display_name"], mount+"-ann")
		equal(t, "path", self["path"], "auth/"+mount+"/login/ann")
		must(v.Auth().Token().RenewSelf(60))(t)

		must(c.logical.Write(users+"/ann/password", map[string]any{"password": "other"}))(t)
		for name, password := range map[string]string{"ann": "hunter2", "nobody": "hunter2"} {
			_, err := v.Auth().Login(t.Context(), must(userpass.NewUserpassAuth(name, &userpass.Password{FromString: password}, userpass.WithMountPath(mount)))(t))
			refused(t, err, 400, "invalid username or password")
		}
		equal(t, "names", keys(t, must(c.logical.List(users))(t)), []string{"ann"})
		must(c.logical.Delete(users + "/ann"))(t)
		_, err = v.Auth().Token().RenewSelf(60)
		refused(t, err, 400, "user of this token is gone")
		s, err = c.logical.Read(users + "/ann")
		absent(t, "a user that is gone", s, err)
	})
}

func TestAppRoleLogin(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.method(t, "approle")
		role := "auth/" + mount + "/role/ci"
		must(c.logical.Write("auth/"+mount+"/role/CI", map[string]any{"token_policies": "default", "secret_id_num_uses": 3, "secret_id_ttl": "1h", "token_ttl": "20m", "period": "0"}))(t)
		read := must(c.logical.Read(role))(t).Data
		for name, want := range map[string]any{"bind_secret_id": true, "secret_id_num_uses": 3, "secret_id_ttl": 3600, "token_ttl": 1200, "token_type": "default", "secret_id_bound_cidrs": nil, "local_secret_ids": false, "token_bound_cidrs": []any{}} {
			equal(t, name, read[name], want)
		}
		id := must(c.logical.Read(role + "/role-id"))(t).Data["role_id"].(string)
		made := must(c.logical.Write(role+"/secret-id", map[string]any{"metadata": `{"team":"x"}`}))(t).Data
		equal(t, "uses", made["secret_id_num_uses"], 3)
		equal(t, "ttl", made["secret_id_ttl"], 3600)

		v := nobody(t)
		in := must(v.Auth().Login(t.Context(), must(approle.NewAppRoleAuth(id, &approle.SecretID{FromString: made["secret_id"].(string)}, approle.WithMountPath(mount)))(t)))(t)
		equal(t, "metadata", in.Auth.Metadata, map[string]string{"team": "x", "role_name": "ci"})
		equal(t, "display name", must(v.Auth().Token().LookupSelf())(t).Data["display_name"], mount)
		must(v.Auth().Token().RenewSelf(60))(t)
		looked := must(c.logical.Write(role+"/secret-id/lookup", map[string]any{"secret_id": made["secret_id"]}))(t).Data
		equal(t, "uses left", looked["secret_id_num_uses"], 2)
		equal(t, "accessors", keys(t, must(c.logical.List(role+"/secret-id"))(t)), []string{made["secret_id_accessor"].(string)})
		must(c.logical.Write(role+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": made["secret_id_accessor"]}))(t)
		_, err := v.Logical().Write("auth/"+mount+"/login", map[string]any{"role_id": id, "secret_id": made["secret_id"]})
		refused(t, err, 400, "invalid role or secret ID")

		// A secret id comes wrapped, and the helper unwraps it.
		wrapped := nobody(t)
		wrapped.SetToken(rootToken)
		wrapped.SetWrappingLookupFunc(func(string, string) string { return "1m" })
		token := must(wrapped.Logical().Write(role+"/secret-id", nil))(t).WrapInfo.Token
		must(v.Auth().Login(t.Context(), must(approle.NewAppRoleAuth(id, &approle.SecretID{FromString: token}, approle.WithMountPath(mount), approle.WithWrappingToken()))(t)))(t)

		must(c.logical.Delete(role))(t)
		_, err = v.Auth().Token().RenewSelf(60)
		refused(t, err, 400, "role of this token is gone")
	})
}

// TestLockout locks an account and unlocks it again.
func TestLockout(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.method(t, "userpass")
		must(c.logical.Write("auth/"+mount+"/users/ann", map[string]any{"password": "hunter2"}))(t)
		must(c.logical.Write("sys/auth/"+mount+"/tune", map[string]any{"user_lockout_config": map[string]any{"lockout_threshold": "3", "lockout_duration": "10m"}}))(t)
		v := nobody(t)
		v.SetToken(rootToken)
		must(v.Sys().MountConfig("auth/" + mount))(t)
		tuned := must(c.logical.Read("sys/auth/" + mount + "/tune"))(t).Data["user_lockout_config"]
		equal(t, "settings", tuned, map[string]any{"lockout_threshold": 3, "lockout_duration": 600})
		accessor := must(v.Sys().ListAuth())(t)[mount+"/"].Accessor
		login := func(password string) error {
			_, err := v.Logical().Write("auth/"+mount+"/login/ann", map[string]any{"password": password})
			return err
		}
		for range 3 {
			refused(t, login("wrong"), 400, "invalid username or password")
		}
		refused(t, login("hunter2"), 400, "invalid username or password")
		locked := must(c.logical.ReadWithData("sys/locked-users", map[string][]string{"mount_accessor": {accessor}}))(t).Data
		equal(t, "locked", locked["total"], 1)
		must(c.logical.Write("sys/locked-users/"+accessor+"/unlock/ann", nil))(t)
		ok(t, login("hunter2"))
	})
}
