package compat

import (
	"testing"

	vault "github.com/hashicorp/vault/api"
	login "github.com/hashicorp/vault/api/auth/ldap"

	"github.com/strongroom/strongroom/test/slapd"
)

// directory starts a directory that the test has for itself.
func directory(t *testing.T) *slapd.Server {
	t.Helper()
	s := must(slapd.Start())(t)
	t.Cleanup(func() { ok(t, s.Remove()) })
	return s
}

// vaultOf is Vault's client of the shared server.
func vaultOf(t *testing.T) *vault.Client {
	t.Helper()
	c := must(vault.NewClient(&vault.Config{Address: world.shared.URL}))(t)
	c.SetToken(rootToken)
	return c
}

func TestLDAPHelper(t *testing.T) {
	t.Parallel()
	d, c := directory(t), vaultOf(t)
	const mount = "ldap-helper"
	ok(t, c.Sys().EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "ldap"}))
	must(c.Logical().Write("auth/"+mount+"/config", map[string]any{"url": d.SecureURL, "certificate": d.CA, "binddn": slapd.Reader, "bindpass": slapd.Password,
		"userdn": slapd.People, "userattr": "uid", "groupdn": slapd.Groups, "token_ttl": "30m", "token_policies": "dev"}))(t)
	must(c.Logical().Write("auth/"+mount+"/groups/Engineers", map[string]any{"policies": "build,dev"}))(t)
	must(c.Logical().Write("auth/"+mount+"/users/alice", map[string]any{"policies": "alice"}))(t)
	conf := must(c.Logical().Read("auth/" + mount + "/config"))(t)
	equal(t, "bindpass", conf.Data["bindpass"], nil)
	equal(t, "request_timeout", conf.Data["request_timeout"], 90)
	keys := must(c.Logical().List("auth/" + mount + "/groups"))(t)
	equal(t, "groups", keys.Data["keys"], any([]any{"engineers"}))

	// An alias that an operator writes with capitals is the one that logins come by.
	accessor := must(c.Sys().ListAuth())(t)[mount+"/"].Accessor
	made := must(c.Logical().Write("identity/entity", map[string]any{"name": mount}))(t)
	must(c.Logical().Write("identity/entity-alias", map[string]any{"name": "ALICE", "mount_accessor": accessor, "canonical_id": made.Data["id"]}))(t)

	who := must(login.NewLDAPAuth("Alice", &login.Password{FromString: slapd.Password}, login.WithMountPath(mount)))(t)
	stranger := must(vault.NewClient(&vault.Config{Address: world.shared.URL}))(t)
	s := must(stranger.Auth().Login(t.Context(), who))(t)
	equal(t, "policies", s.Auth.TokenPolicies, []string{"alice", "build", "default", "dev"})
	equal(t, "metadata", s.Auth.Metadata, map[string]string{"username": "alice"})
	equal(t, "the entity", any(s.Auth.EntityID), made.Data["id"])
	equal(t, "lease", s.Auth.LeaseDuration, 1800)
	equal(t, "renewable", s.Auth.Renewable, true)
	self := must(stranger.Auth().Token().LookupSelf())(t)
	equal(t, "display name", self.Data["display_name"], mount+"-alice")
	renewed := must(stranger.Auth().Token().RenewSelf(0))(t)
	equal(t, "renewed", renewed.Auth.LeaseDuration, 1800)
	again := must(stranger.Auth().Login(t.Context(), who))(t)
	equal(t, "entity", again.Auth.EntityID, s.Auth.EntityID)

	must(c.Logical().Write("auth/"+mount+"/groups/engineers", map[string]any{"policies": "other"}))(t)
	_, err := stranger.Auth().Token().RenewSelf(0)
	refused(t, err, 400, "policies have changed")
	for name, password := range map[string]string{"alice": "wrong", "nobody": slapd.Password} {
		who := must(login.NewLDAPAuth(name, &login.Password{FromString: password}, login.WithMountPath(mount)))(t)
		_, err := stranger.Auth().Login(t.Context(), who)
		refused(t, err, 400, "ldap operation failed")
	}
	who = must(login.NewLDAPAuth("alice ", &login.Password{FromString: slapd.Password}, login.WithMountPath(mount)))(t)
	_, err = stranger.Auth().Login(t.Context(), who)
	refused(t, err, 400, "canonical form")
	must(c.Logical().Write("auth/"+mount+"/groups/engineers", map[string]any{"policies": "ok"}))(t)
	_, err = c.Logical().Write("auth/"+mount+"/groups/engineers", map[string]any{"policies": "Root"})
	refused(t, err, 400, "root")
	must(c.Logical().Delete("auth/" + mount + "/groups/engineers"))(t)
	gone := must(c.Logical().Read("auth/" + mount + "/groups/engineers"))(t)
	equal(t, "deleted group", gone == nil, true)
}
