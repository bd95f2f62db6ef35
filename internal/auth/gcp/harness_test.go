package gcp

import (
	"crypto"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

const (
	email = "web@shop-1.iam.gserviceaccount.com"
	id    = "104567890123456789012"
)

type fields = authtest.Fields

// google shows keys as Google does: its own, and those of accounts.
type google struct {
	*httptest.Server
	asked  []string
	status int
}

func startGoogle(t *testing.T) *google {
	t.Helper()
	g := &google{status: http.StatusOK}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked = append(g.asked, r.URL.Path)
		key := byAccount
		switch r.URL.Path {
		case "/oauth2/v3/certs":
			key = byGoogle
		case "/service_accounts/v1/jwk/" + email:
		default:
			http.NotFound(w, r)
			return
		}
		authtest.JSON(w, g.status, authtest.KeySet(map[string]crypto.PublicKey{"k1": authtest.Key(t, key).Public()}))
	}))
	t.Cleanup(g.Close)
	return g
}

func open(t testing.TB) *authtest.Mount { return authtest.Open(t, Engine) }

// furnished is a mount that asks a Google, with a role of each type.
func furnished(t *testing.T) (*authtest.Mount, *google) {
	t.Helper()
	m, g := open(t), startGoogle(t)
	m.Must(api.Write, "config", fields{"custom_endpoint": fields{"api": g.URL}})
	m.Must(api.Write, "role/own", fields{"type": "iam", "bound_service_accounts": email, "token_policies": "dev", "token_ttl": "1h"})
	m.Must(api.Write, "role/vm", fields{"type": "gce", "bound_projects": "shop-1", "bound_zones": "europe-west3-a", "bound_regions": "europe-west3", "bound_service_accounts": []string{email}})
	return m, g
}

// Of the two keys the first is the account's and the second Google's.
const (
	byAccount = 0
	byGoogle  = 1
)

func sign(t testing.TB, key int, claims fields) string {
	t.Helper()
	return authtest.Sign(t, "RS256", authtest.Key(t, key), "k1", claims)
}

// ownClaims are what an account signs through signJwt.
func ownClaims(changes fields) fields {
	return authtest.Changed(fields{"aud": "vault/own", "sub": email, "exp": authtest.Epoch.Add(10 * time.Minute).Unix()}, changes)
}

// vmClaims are what Google signs for an instance, with format=full.
func vmClaims(changes, engine fields) fields {
	e := authtest.Changed(fields{"instance_creation_timestamp": authtest.Epoch.Add(-time.Hour).Unix(), "instance_id": "152986662232938449", "instance_name": "web-1",
		"project_id": "shop-1", "project_number": 739419398126, "zone": "europe-west3-a"}, engine)
	return authtest.Changed(fields{"iss": "https://accounts.google.com", "aud": "https://vault.example:8200/vault/vm", "azp": id, "sub": id, "email": email, "email_verified": true,
		"iat": authtest.Epoch.Unix(), "exp": authtest.Epoch.Add(time.Hour).Unix(), "google": fields{"compute_engine": e}}, changes)
}
