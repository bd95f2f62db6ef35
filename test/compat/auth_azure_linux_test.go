package compat

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

const (
	azureTenant    = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	azurePrincipal = "9a2fd9b5-53f3-4d4b-9cd5-0b3c0b1d5a11"
	azureGroup     = "/subscriptions/d2b8d1d4-6b4c-4a4b-9a27-5f7f1f6f0a33/resourcegroups/Shop/providers/Microsoft.Compute/"
	azureResource  = "https://management.azure.com/" // that the helper asks for, where it is not told another
)

// entra signs for the identity of a machine in Azure, and is the machine's metadata service.
type entra struct {
	*signer
	t       *testing.T
	url     string         // where its keys are shown
	machine string         // in tokens
	compute map[string]any // what the service says of the machine
}

func newEntra(t *testing.T) *entra {
	e := &entra{signer: newSigner(t), t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/" + azureTenant + "/.well-known/openid-configuration":
			writeJSON(t, w, map[string]any{"issuer": e.issuer(), "jwks_uri": e.url + "/common/discovery/keys"})
		case "/common/discovery/keys":
			writeJSON(t, w, e.keys())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	e.url = s.URL
	return e
}

func (e *entra) issuer() string { return e.url + "/" + azureTenant + "/" }

// ServeHTTP is the metadata service.
func (e *entra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Metadata") != "true" || r.FormValue("api-version") == "":
		w.WriteHeader(http.StatusBadRequest)
		writeJSON(e.t, w, map[string]any{"error": "invalid_request", "error_description": "the header Metadata or api-version is missing"})
	case r.URL.Path == "/metadata/identity/oauth2/token":
		now := time.Now()
		token, err := e.sign(map[string]any{"aud": r.FormValue("resource"), "iss": e.issuer(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
			"appid": "5e2a1b44-0d0b-4c54-8f0e-2c8d6d2f0c44", "idtyp": "app", "oid": azurePrincipal, "sub": azurePrincipal, "tid": azureTenant, "ver": "1.0", "xms_mirid": e.machine})
		if err != nil {
			e.t.Error(err)
		}
		writeJSON(e.t, w, map[string]any{"access_token": token, "client_id": "5e2a1b44-0d0b-4c54-8f0e-2c8d6d2f0c44", "expires_in": "86400", "expires_on": "1",
			"ext_expires_in": "86400", "not_before": "1", "resource": r.FormValue("resource"), "token_type": "Bearer"})
	case r.URL.Path == "/metadata/instance":
		writeJSON(e.t, w, map[string]any{"compute": e.compute, "network": map[string]any{}})
	default:
		http.NotFound(w, r)
	}
}

// TestAzureLogin logs in by the helper of Vault's client on a machine of its own and on one of a scale set. The helper asks the
// metadata service for a token and for what it sends beside that.
func TestAzureLogin(t *testing.T) {
	t.Parallel()
	e, c := newEntra(t), vaultClient(t, world.shared)
	m := newMachine(t, "127.0.0.1 localhost\n")
	m.reaches(t)
	m.serve(t, metadataAddr+":80", e)
	mount := unique("azure")
	path := "auth/" + mount
	ok(t, c.sys.EnableAuthWithOptions(mount, &vault.EnableAuthOptions{Type: "azure"}))
	must(c.logical.Write(path+"/config", map[string]any{"tenant_id": azureTenant, "resource": azureResource, "custom_endpoint": map[string]any{"login": e.url, "issuer": e.url}}))(t)
	for name, role := range map[string]map[string]any{
		"shop":  {"bound_service_principal_ids": azurePrincipal, "bound_resource_groups": "shop"},
		"set":   {"bound_scale_sets": "web"},
		"other": {"bound_resource_groups": "other"},
	} {
		role["token_policies"], role["token_ttl"] = "dev", "1h"
		must(c.logical.Write(path+"/role/"+name, role))(t)
	}
	equal(t, "groups", must(c.logical.Read(path + "/role/shop"))(t).Data["bound_resource_groups"], []any{"shop"})

	refuses := func(role string) {
		t.Helper()
		if _, err := m.logsIn(t, "azure", mount, role); err == nil {
			t.Errorf("%s lets in %s", role, e.machine)
		} else {
			holds(t, "the error", err.Error(), "permission denied")
		}
	}
	compute := func(name, scaleSet string) map[string]any {
		return map[string]any{"name": name, "vmScaleSetName": scaleSet, "subscriptionId": "d2b8d1d4-6b4c-4a4b-9a27-5f7f1f6f0a33", "resourceGroupName": "Shop", "location": "westeurope"}
	}
	e.machine, e.compute = azureGroup+"virtualMachines/web-1", compute("web-1", "")
	s := must(m.logsIn(t, "azure", mount, "shop"))(t)
	equal(t, "policies", s.Auth.TokenPolicies, []string{"default", "dev"})
	equal(t, "seconds", s.Auth.LeaseDuration, 3600)
	equal(t, "metadata", s.Auth.Metadata, map[string]string{"role": "shop", "service_principal_id": azurePrincipal, "subscription_id": "d2b8d1d4-6b4c-4a4b-9a27-5f7f1f6f0a33", "resource_group_name": "shop", "vm_name": "web-1"})
	equal(t, "renewed seconds", must(c.tokens.Renew(s.Auth.ClientToken, 60))(t).Auth.LeaseDuration, 60)
	for _, role := range []string{"set", "other", "none"} {
		refuses(role)
	}
	e.compute = compute("web-2", "")
	refuses("shop") // a machine that is not the token's

	e.machine, e.compute = azureGroup+"virtualMachineScaleSets/web", compute("web_3", "web")
	set := must(m.logsIn(t, "azure", mount, "set"))(t)
	equal(t, "scale set", set.Auth.Metadata["vmss_name"], "web")
	equal(t, "the entity", set.Auth.EntityID, s.Auth.EntityID)
}
