package azure

import (
	"crypto"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

const (
	tenant       = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	other        = "00000000-0000-4000-8000-000000000001"
	principal    = "9a2fd9b5-53f3-4d4b-9cd5-0b3c0b1d5a11"
	group        = "1f3a6c20-6a47-4ad4-8bd0-3d4f8f1c2b22"
	subscription = "d2b8d1d4-6b4c-4a4b-9a27-5f7f1f6f0a33"
	machine      = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.Compute/virtualMachines/web-1"
	scaleSet     = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.Compute/virtualMachineScaleSets/web"
	identity     = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
)

type fields = authtest.Fields

// entra shows keys and gives tokens as Entra ID does, and knows machines as the Resource Manager does.
type entra struct {
	*httptest.Server
	asked    []string
	named    string // what it calls itself
	location string
	known    string // the machine that it answers about; empty: the one that is asked for
	status   int    // of the Resource Manager
}

func startEntra(t *testing.T) *entra {
	t.Helper()
	e := &entra{location: "westeurope", status: http.StatusOK}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked = append(e.asked, r.URL.Path)
		status, out := http.StatusOK, any(nil)
		switch path := r.URL.Path; {
		case path == "/"+tenant+"/.well-known/openid-configuration":
			out = fields{"issuer": e.named, "jwks_uri": e.URL + "/common/discovery/keys"}
		case path == "/common/discovery/keys":
			out = authtest.KeySet(map[string]crypto.PublicKey{"k1": authtest.Key(t, 0).Public()})
		case path == "/"+tenant+"/oauth2/v2.0/token" && r.PostFormValue("client_secret") == "hush-hush" && r.PostFormValue("grant_type") == "client_credentials":
			out = fields{"access_token": "bearer", "token_type": "Bearer"}
		case strings.HasPrefix(path, "/subscriptions/") && r.Header.Get("Authorization") == "Bearer bearer" && r.URL.Query().Get("api-version") != "":
			id := e.known
			if id == "" {
				id = path
			}
			status, out = e.status, fields{"id": id, "location": e.location}
		default:
			http.NotFound(w, r)
			return
		}
		authtest.JSON(w, status, out)
	}))
	e.named = e.URL + "/" + tenant + "/"
	t.Cleanup(e.Close)
	return e
}

func open(t testing.TB) *authtest.Mount { return authtest.Open(t, Engine) }

// sign makes a token by one of two keys, of which Entra ID shows the first.
func sign(t testing.TB, key int, claims fields) string {
	t.Helper()
	return authtest.Sign(t, "RS256", authtest.Key(t, key), "k1", claims)
}

// furnished is a mount that takes the tokens of a tenant, with a role.
func furnished(t *testing.T, role fields) (*authtest.Mount, *entra) {
	t.Helper()
	m, e := open(t), startEntra(t)
	m.Must(api.Write, "config", fields{"tenant_id": tenant, "resource": "https://vault.example", "client_id": "reader", "client_secret": "hush-hush",
		"custom_endpoint": fields{"login": e.URL, "issuer": e.URL, "management": e.URL}})
	m.Must(api.Write, "role/web", role)
	return m, e
}

// claims are what Entra ID signs for the identity of a machine.
func (e *entra) claims(changes fields) fields {
	return authtest.Changed(fields{"aud": "https://vault.example", "iss": e.URL + "/" + tenant + "/", "iat": authtest.Epoch.Unix(), "nbf": authtest.Epoch.Unix(), "exp": authtest.Epoch.Add(24 * time.Hour).Unix(),
		"appid": "5e2a1b44-0d0b-4c54-8f0e-2c8d6d2f0c44", "appidacr": "2", "idtyp": "app", "oid": principal, "sub": principal, "tid": tenant, "ver": "1.0", "xms_mirid": machine}, changes)
}
