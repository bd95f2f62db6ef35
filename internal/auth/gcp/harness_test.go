package gcp

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	email = "web@shop-1.iam.gserviceaccount.com"
	id    = "104567890123456789012"
)

type fields = map[string]any

// pair are an account's key and one of somebody else, made once.
var pair = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var out [2]*rsa.PrivateKey
	for i := range out {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		out[i] = k
	}
	return out
})

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
		key := pair()[0]
		switch r.URL.Path {
		case "/oauth2/v3/certs":
			key = pair()[1]
		case "/service_accounts/v1/jwk/" + email:
		default:
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(g.status)
		if err := json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "k1", Algorithm: "RS256", Use: "sig", Key: key.Public()}}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

// mounted is a mount of the method, with the time.
type mounted struct {
	testing.TB
	router *api.Router
	store  store.Store
	renew  api.Renewer
	now    time.Time
}

func open(t testing.TB) *mounted {
	t.Helper()
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &mounted{t, r, s, e.Renew, epoch}
}

func (m *mounted) call() *api.Call {
	return &api.Call{Context: m.Context(), Store: m.store, Now: m.now, Mount: api.Mount{Path: "auth/gcp/"}}
}

// do sends a request; its fields are JSON.
func (m *mounted) do(op api.Op, path string, f fields) (any, error) {
	m.Helper()
	match, err := m.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	if f == nil {
		f = fields{}
	}
	text, err := json.Marshal(f)
	if err != nil {
		m.Fatal(err)
	}
	b, err := api.ParseBody(text)
	if err != nil {
		m.Fatal(err)
	}
	req, _, err := match.Endpoint.Decode(&match, b)
	if err != nil {
		return nil, err
	}
	return match.Endpoint.Invoke(m.call(), req)
}

// must sends a request that is to be answered.
func (m *mounted) must(op api.Op, path string, f fields) any {
	m.Helper()
	a, err := m.do(op, path, f)
	if err != nil {
		m.Fatalf("%s: %v", path, err)
	}
	return a
}

// refused sends a request that is to be refused, with a message.
func (m *mounted) refused(path string, f fields, says string) {
	m.Helper()
	if _, err := m.do(api.Write, path, f); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), says) {
		m.Errorf("%s %v: %v; want that it says %q", path, f, err, says)
	}
}

func (m *mounted) login(role, token string) (*api.Auth, error) {
	m.Helper()
	a, err := m.do(api.Write, "login", fields{"role": role, "jwt": token})
	if err != nil {
		return nil, err
	}
	return a.(*api.Auth), nil
}

// furnished is a mount that asks a Google, with a role of each type.
func furnished(t *testing.T) (*mounted, *google) {
	t.Helper()
	m, g := open(t), startGoogle(t)
	m.must(api.Write, "config", fields{"custom_endpoint": fields{"api": g.URL}})
	m.must(api.Write, "role/own", fields{"type": "iam", "bound_service_accounts": email, "token_policies": "dev", "token_ttl": "1h"})
	m.must(api.Write, "role/vm", fields{"type": "gce", "bound_projects": "shop-1", "bound_zones": "europe-west3-a", "bound_regions": "europe-west3", "bound_service_accounts": []string{email}})
	return m, g
}

func changed(f, changes fields) fields {
	for k, v := range changes {
		if f[k] = v; v == nil {
			delete(f, k)
		}
	}
	return f
}

func sign(t testing.TB, key *rsa.PrivateKey, claims fields) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ownClaims are what an account signs through signJwt.
func ownClaims(changes fields) fields {
	return changed(fields{"aud": "vault/own", "sub": email, "exp": epoch.Add(10 * time.Minute).Unix()}, changes)
}

// vmClaims are what Google signs for an instance, with format=full.
func vmClaims(changes, engine fields) fields {
	e := changed(fields{"instance_creation_timestamp": epoch.Add(-time.Hour).Unix(), "instance_id": "152986662232938449", "instance_name": "web-1",
		"project_id": "shop-1", "project_number": 739419398126, "zone": "europe-west3-a"}, engine)
	return changed(fields{"iss": "https://accounts.google.com", "aud": "https://vault.example:8200/vault/vm", "azp": id, "sub": id, "email": email, "email_verified": true,
		"iat": epoch.Unix(), "exp": epoch.Add(time.Hour).Unix(), "google": fields{"compute_engine": e}}, changes)
}
