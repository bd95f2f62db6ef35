package azure

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
	tenant       = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	other        = "00000000-0000-4000-8000-000000000001"
	principal    = "9a2fd9b5-53f3-4d4b-9cd5-0b3c0b1d5a11"
	group        = "1f3a6c20-6a47-4ad4-8bd0-3d4f8f1c2b22"
	subscription = "d2b8d1d4-6b4c-4a4b-9a27-5f7f1f6f0a33"
	machine      = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.Compute/virtualMachines/web-1"
	scaleSet     = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.Compute/virtualMachineScaleSets/web"
	identity     = "/subscriptions/" + subscription + "/resourcegroups/Shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
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
		var out any
		switch path := r.URL.Path; {
		case path == "/"+tenant+"/.well-known/openid-configuration":
			out = fields{"issuer": e.named, "jwks_uri": e.URL + "/common/discovery/keys"}
		case path == "/common/discovery/keys":
			out = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "k1", Use: "sig", Key: pair()[0].Public()}}}
		case path == "/"+tenant+"/oauth2/v2.0/token" && r.PostFormValue("client_secret") == "hush-hush" && r.PostFormValue("grant_type") == "client_credentials":
			out = fields{"access_token": "bearer", "token_type": "Bearer"}
		case strings.HasPrefix(path, "/subscriptions/") && r.Header.Get("Authorization") == "Bearer bearer" && r.URL.Query().Get("api-version") != "":
			id := e.known
			if id == "" {
				id = path
			}
			w.WriteHeader(e.status)
			out = fields{"id": id, "location": e.location}
		default:
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	e.named = e.URL + "/" + tenant + "/"
	t.Cleanup(e.Close)
	return e
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
	return &api.Call{Context: m.Context(), Store: m.store, Now: m.now, Mount: api.Mount{Path: "auth/azure/"}}
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

// furnished is a mount that takes the tokens of a tenant, with a role.
func furnished(t *testing.T, role fields) (*mounted, *entra) {
	t.Helper()
	m, e := open(t), startEntra(t)
	m.must(api.Write, "config", fields{"tenant_id": tenant, "resource": "https://vault.example", "client_id": "reader", "client_secret": "hush-hush",
		"custom_endpoint": fields{"login": e.URL, "issuer": e.URL, "management": e.URL}})
	m.must(api.Write, "role/web", role)
	return m, e
}

// claims are what Entra ID signs for the identity of a machine.
func (e *entra) claims(changes fields) fields {
	return changed(fields{"aud": "https://vault.example", "iss": e.URL + "/" + tenant + "/", "iat": epoch.Unix(), "nbf": epoch.Unix(), "exp": epoch.Add(24 * time.Hour).Unix(),
		"appid": "5e2a1b44-0d0b-4c54-8f0e-2c8d6d2f0c44", "appidacr": "2", "idtyp": "app", "oid": principal, "sub": principal, "tid": tenant, "ver": "1.0", "xms_mirid": machine}, changes)
}
