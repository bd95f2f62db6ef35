package compat

import (
	"fmt"
	"strings"
	"testing"
)

// Identity tokens and the settings of the provider, through the unmodified clients.
func TestIdentityOIDC(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		key, role, scope, app, provider := unique("key"), unique("role"), unique("scope"), unique("app"), unique("provider")
		must(c.logical.Write("identity/oidc/key/"+key, map[string]any{"algorithm": "ES256", "rotation_period": "12h", "verification_ttl": "24h", "allowed_client_ids": []string{"*"}}))(t)
		read := must(c.logical.Read("identity/oidc/key/" + key))(t).Data
		equal(t, "algorithm", read["algorithm"], "ES256")
		equal(t, "rotation_period", fmt.Sprint(read["rotation_period"]), "43200")
		equal(t, "allowed_client_ids", read["allowed_client_ids"], []any{"*"})
		must(c.logical.Write("identity/oidc/role/"+role, map[string]any{"key": key, "ttl": "1h", "template": `{"team": {{identity.entity.metadata.team}}}`}))(t)
		own := unique("own")
		ok(t, c.sys.PutPolicy(own, fmt.Sprintf("path %q { capabilities = [\"read\"] }\npath %q { capabilities = [\"create\", \"update\"] }", "identity/oidc/token/"+role, "identity/oidc/provider/"+provider+"/authorize")))
		_, alias := c.entity(t, map[string]any{"policies": own, "metadata": map[string]string{"team": "red"}})
		ann := c.holder(t, alias)
		made := must(ann.logical.Read("identity/oidc/token/" + role))(t).Data
		equal(t, "ttl", fmt.Sprint(made["ttl"]), "3600")
		if text := fmt.Sprint(made["token"]); strings.Count(text, ".") != 2 {
			t.Error("the token is no JWT")
		}
		must(c.logical.Write("identity/oidc/key/"+key+"/rotate", map[string]any{"verification_ttl": "1h"}))(t)
		_, err := c.logical.Delete("identity/oidc/key/" + key)
		refused(t, err, 400, "currently referenced")

		must(c.logical.Write("identity/oidc/scope/"+scope, map[string]any{"template": `{"name": {{identity.entity.name}}}`, "description": "who it is"}))(t)
		must(c.logical.Write("identity/oidc/client/"+app, map[string]any{"redirect_uris": "https://app.example.com/back", "assignments": []string{"allow_all"}, "key": key}))(t)
		shown := must(c.logical.Read("identity/oidc/client/" + app))(t).Data
		must(c.logical.Write("identity/oidc/provider/"+provider, map[string]any{"allowed_client_ids": []string{fmt.Sprint(shown["client_id"])}, "scopes_supported": []string{scope}}))(t)
		equal(t, "client_type", shown["client_type"], "confidential")
		equal(t, "scopes_supported", must(c.logical.Read("identity/oidc/provider/" + provider))(t).Data["scopes_supported"], []any{scope})
		listed := must(c.logical.List("identity/oidc/client"))(t).Data
		if strings.Contains(fmt.Sprint(listed), fmt.Sprint(shown["client_secret"])) {
			t.Error("a list shows the secret of a client")
		}
		must(c.logical.Delete("identity/oidc/provider/" + provider))(t)
		must(c.logical.Delete("identity/oidc/client/" + app))(t)
		must(c.logical.Delete("identity/oidc/role/" + role))(t)
		must(c.logical.Delete("identity/oidc/key/" + key))(t)
		gone, err := c.logical.Read("identity/oidc/key/" + key)
		absent(t, "a deleted key", gone, err)
	})
}
