package compat

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/vault/api/auth/userpass"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// TestMFA logs in with a second factor as the clients' helpers do: in one request, and
// in two.
func TestMFA(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.method(t, "userpass")
		must(c.logical.Write("auth/"+mount+"/users/ann", map[string]any{"password": "hunter2", "token_policies": "dev"}))(t)
		entity := must(nobody(t).Logical().Write("auth/"+mount+"/login/ann", map[string]any{"password": "hunter2"}))(t).Auth.EntityID
		accessor := must(c.logical.Read("sys/auth"))(t).Data[mount+"/"].(map[string]any)["accessor"]
		name := unique("people")
		method := fmt.Sprint(must(c.logical.Write("identity/mfa/method/totp", map[string]any{"issuer": "Acme", "period": 3600, "method_name": name}))(t).Data["method_id"])
		read := must(c.logical.Read("identity/mfa/method/totp/" + method))(t).Data
		for field, want := range map[string]any{"algorithm": "SHA1", "digits": 6, "id": method, "issuer": "Acme", "key_size": 20, "max_validation_attempts": 5, "name": name, "period": 3600, "qr_size": 200, "skew": 1, "type": "totp", "namespace_id": "root"} {
			equal(t, field, read[field], want)
		}
		_, err := c.logical.Write("identity/mfa/login-enforcement/"+name, map[string]any{"mfa_method_ids": []string{method}, "auth_method_accessors": []any{accessor}})
		ok(t, err)
		rule := must(c.logical.Read("identity/mfa/login-enforcement/" + name))(t).Data
		equal(t, "methods", rule["mfa_method_ids"], []any{method})
		equal(t, "accessors", rule["auth_method_accessors"], []any{accessor})
		equal(t, "groups", rule["identity_group_ids"], []any{})
		made := must(c.logical.Write("identity/mfa/method/totp/admin-generate", map[string]any{"method_id": method, "entity_id": entity}))(t).Data
		code := func(periods int) string {
			u := must(url.Parse(fmt.Sprint(made["url"])))(t)
			at := time.Now().Add(time.Duration(periods) * time.Hour)
			return must(totp.GenerateCodeCustom(u.Query().Get("secret"), at, totp.ValidateOpts{Period: 3600, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}))(t)
		}
		by := must(userpass.NewUserpassAuth("ann", &userpass.Password{FromString: "hunter2"}, userpass.WithMountPath(mount)))(t)

		v := nobody(t)
		waits := must(v.Auth().MFALogin(t.Context(), by))(t)
		need := waits.Auth.MFARequirement
		ways := need.MFAConstraints[name].Any
		if len(ways) != 1 || ways[0].ID != method || ways[0].Type != "totp" || !ways[0].UsesPasscode || waits.Auth.ClientToken != "" {
			t.Fatalf("the login waits for %+v", need)
		}
		_, err = v.Auth().MFAValidate(t.Context(), waits, map[string]any{method: []string{"12345"}})
		refused(t, err, 403, "permission denied")
		in := must(v.Auth().MFAValidate(t.Context(), waits, map[string]any{method: []string{code(-1)}}))(t)
		equal(t, "entity", in.Auth.EntityID, entity)
		equal(t, "policies", in.Auth.Policies, []string{"default", "dev"})
		equal(t, "display name", must(v.Auth().Token().LookupSelf())(t).Data["display_name"], mount+"-ann")

		v = nobody(t)
		waits = must(v.Auth().MFALogin(t.Context(), by))(t)
		again := must(v.Sys().MFAValidate(waits.Auth.MFARequirement.MFARequestID, map[string]any{method: []string{code(0)}}))(t)
		equal(t, "entity", again.Auth.EntityID, entity)
		_, err = v.Sys().MFAValidate(waits.Auth.MFARequirement.MFARequestID, map[string]any{method: []string{code(1)}})
		refused(t, err, 403, "permission denied")

		v = nobody(t)
		single := must(v.Auth().MFALogin(t.Context(), by, name+":"+code(1)))(t)
		equal(t, "entity", single.Auth.EntityID, entity)
		_, err = nobody(t).Auth().MFALogin(t.Context(), by, name+":"+code(1))
		refused(t, err, 403, "permission denied")
		must(c.logical.Delete("identity/mfa/login-enforcement/" + name))(t)
		must(nobody(t).Auth().Login(t.Context(), by))(t)
	})
}
