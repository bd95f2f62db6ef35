package jwt

import (
	"context"
	"crypto"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
)

// publisher is an issuer that shows its keys, and counts how often it was asked.
type publisher struct {
	*httptest.Server
	asked atomic.Int64
	mu    sync.Mutex
	keys  map[string]crypto.PublicKey // by kid
	down  bool
	named string // what it calls itself; empty: its address
	while func() // runs while it answers
}

func publish(t testing.TB, keys map[string]crypto.PublicKey) *publisher {
	t.Helper()
	p := &publisher{keys: keys}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	keys, down, named, while := p.keys, p.down, p.named, p.while
	p.mu.Unlock()
	if named == "" {
		named = p.URL
	}
	if while != nil {
		while()
	}
	var out any
	switch {
	case down:
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	case r.URL.Path == "/away":
		http.Redirect(w, r, "/keys", http.StatusFound)
		return
	case r.URL.Path == "/keys":
		p.asked.Add(1)
		var set jose.JSONWebKeySet
		for kid, k := range keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: kid, Key: k, Use: "sig"})
		}
		out = set
	case r.URL.Path == "/.well-known/openid-configuration":
		out = m{"issuer": named, "jwks_uri": p.URL + "/keys"}
	default:
		http.NotFound(w, r)
		return
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		return // who asked has gone
	}
}

func (p *publisher) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func (p *publisher) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

// published is a site whose keys come from an issuer.
func published(t testing.TB) (*site, *publisher) {
	t.Helper()
	p := publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	s.must(api.Write, "config", m{"jwks_url": p.URL + "/keys", "jwks_ca_pem": p.ca()})
	s.must(api.Write, "role/r", ordinary(nil))
	return s, p
}

func one(t testing.TB) string { return sign(t, "RS256", keyring().rsa, "one", saying(nil)) }
func two(t testing.TB) string { return sign(t, "ES256", keyring().p256, "two", saying(nil)) }

func TestKeysAreFetchedOnceForAllNodes(t *testing.T) {
	s, p := published(t)
	nodes := []*site{s, s.twin(), s.twin()}
	for range 20 {
		for _, n := range nodes {
			if _, err := n.login("r", one(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAKeyThatIsNew is known as soon as a token names it.
func TestAKeyThatIsNew(t *testing.T) {
	s, p := published(t)
	p.change(func() { p.keys = map[string]crypto.PublicKey{"two": keyring().p256.Public()} })
	s.now = s.now.Add(issuer.AskEvery)
	if _, err := s.login("r", two(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.login("r", one(t)); err == nil {
		t.Error("a key that the issuer has no more is taken")
	}
}

// TestWhoAsksGoesAway: keys that a request asks for are fetched though its client goes away, so
// that nobody keeps them from being known by asking and leaving.
func TestWhoAsksGoesAway(t *testing.T) {
	s, p := published(t)
	s.now = s.now.Add(issuer.AskEvery)
	stranger := s.twin()
	ctx, leave := context.WithCancel(t.Context())
	stranger.ctx = ctx
	p.change(func() { p.keys, p.while = map[string]crypto.PublicKey{"two": keyring().p256.Public()}, leave })
	if _, err := stranger.login("r", sign(t, "RS256", keyring().rsa, "x", saying(nil))); err == nil {
		t.Fatal("a key that nobody knows was taken")
	}
	p.change(func() { p.while = nil })
	s.now = s.now.Add(issuer.AskEvery / 2)
	if _, err := s.login("r", two(t)); err != nil {
		t.Errorf("the key that was to be fetched: %v", err)
	}
}

// TestAFloodOfUnknownKeys asks the issuer no more than the bound says, whatever strangers send.
func TestAFloodOfUnknownKeys(t *testing.T) {
	s, p := published(t)
	twin := s.twin()
	unknown := []string{sign(t, "RS256", keyring().rsa, "x", saying(nil)), sign(t, "RS256", keyring().rsa, "y", saying(nil))}
	for i := range 1000 {
		s.now = s.now.Add(10 * time.Millisecond)
		twin.now = s.now
		for _, n := range []*site{s, twin} {
			if _, err := n.login("r", unknown[i%2]); err == nil {
				t.Fatal("a key that nobody knows was taken")
			}
		}
	}
	if n := p.asked.Load(); n > 4 { // 10 seconds: at the configuration, and then every 5
		t.Errorf("the issuer was asked %d times in 10 seconds", n)
	}
	if _, err := s.login("r", one(t)); err != nil {
		t.Errorf("the known key: %v", err)
	}
}

// TestWhileAnotherNodeAsks tells who comes meanwhile to try again, and lets known keys in.
func TestWhileAnotherNodeAsks(t *testing.T) {
	s, p := published(t)
	s.now = s.now.Add(issuer.AskEvery)
	twin := s.twin()
	p.change(func() {
		p.keys = map[string]crypto.PublicKey{"one": keyring().rsa.Public(), "two": keyring().p256.Public()}
		p.while = func() {
			if _, err := twin.login("r", two(t)); api.KindOf(err) != api.Unavailable {
				t.Errorf("while another node asks: %v", err)
			}
			if _, err := twin.login("r", one(t)); err != nil {
				t.Errorf("a known key, while another node asks: %v", err)
			}
		}
	})
	if _, err := s.login("r", two(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := twin.login("r", two(t)); err != nil {
		t.Errorf("once another node has asked: %v", err)
	}
}

// TestAnIssuerThatIsAway is done without for a day, not longer.
func TestAnIssuerThatIsAway(t *testing.T) {
	s, p := published(t)
	p.change(func() { p.down = true })
	at := func(d time.Duration) (*api.Auth, error) {
		s.now = epoch.Add(d)
		return s.login("r", sign(t, "RS256", keyring().rsa, "one", saying(m{"iat": s.now.Unix(), "exp": s.now.Add(time.Minute).Unix()})))
	}
	for _, d := range []time.Duration{0, time.Hour - 1, time.Hour, 23 * time.Hour} {
		if _, err := at(d); err != nil {
			t.Errorf("after %v: %v", d, err)
		}
	}
	if _, err := at(issuer.Usable); api.KindOf(err) != api.Unavailable {
		t.Errorf("after a day: %v", err)
	}
	p.change(func() { p.down = false })
	if _, err := at(issuer.Usable + issuer.AskEvery); err != nil {
		t.Errorf("once it is back: %v", err)
	}
	if got := s.must(api.Read, "config", nil).(*ConfigAnswer); got.Status != "valid" {
		t.Errorf("status is %s", got.Status)
	}
}

func TestDiscovery(t *testing.T) {
	p := publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	s.must(api.Write, "config", m{"oidc_discovery_url": p.URL + "/", "oidc_discovery_ca_pem": p.ca()})
	s.must(api.Write, "role/r", ordinary(nil))
	if _, err := s.login("r", sign(t, "RS256", keyring().rsa, "one", saying(m{"iss": p.URL}))); err != nil {
		t.Error(err)
	}
	if _, err := s.login("r", one(t)); err == nil {
		t.Error("a token of another issuer, by a key that is known, was let in")
	}
	s.must(api.Write, "config", m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.ca(), "bound_issuer": "https://issuer.example"})
	if _, err := s.login("r", one(t)); err != nil {
		t.Errorf("bound_issuer: %v", err)
	}
	p.change(func() { p.named = "https://evil.example" })
	s.refused(api.Write, "config", m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.ca()}, api.Invalid, "another issuer")
}

func TestConfigurations(t *testing.T) {
	p := publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	key := pemOf(t, keyring().rsa.Public())
	oidc := func(more m) m {
		out := m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.ca(), "oidc_client_id": "c", "oidc_client_secret": "hush-hush"}
		for k, v := range more {
			if out[k] = v; v == nil {
				delete(out, k)
			}
		}
		return out
	}
	for says, c := range map[string]m{
		"exactly one of":                {},
		"exactly one":                   {"jwks_url": p.URL, "jwt_validation_pubkeys": key},
		"jwt_validation_pubkeys":        {"jwt_validation_pubkeys": "x"},
		"jwks_ca_pem":                   {"jwks_url": p.URL, "jwks_ca_pem": "x"},
		"jwks_url: must begin":          {"jwks_url": "http://issuer.example/keys"},
		"jwks_url: is not":              {"jwks_url": "https://u:p@issuer.example/keys"},
		"jwks_url":                      {"jwks_url": "ftp://issuer.example/keys"},
		"could not be fetched":          {"jwks_url": p.URL + "/nothing", "jwks_ca_pem": p.ca()},
		"status 302":                    {"jwks_url": p.URL + "/away", "jwks_ca_pem": p.ca()},
		"certificate":                   {"jwks_url": p.URL + "/keys"},
		"is the address before":         {"oidc_discovery_url": p.URL + "/.well-known/openid-configuration"},
		"both 'oidc_client_id'":         oidc(m{"oidc_client_secret": nil}),
		"'oidc_discovery_url' must":     {"jwt_validation_pubkeys": key, "oidc_client_id": "c", "oidc_client_secret": "s"},
		"oidc_response_mode: must":      oidc(m{"oidc_response_mode": "fragment"}),
		"oidc_response_types: must":     oidc(m{"oidc_response_types": "token"}),
		"id_token needs":                oidc(m{"oidc_response_types": "id_token"}),
		"provider_config: provider":     oidc(m{"provider_config": m{"provider": "gsuite"}}),
		"provider_config: takes":        oidc(m{"provider_config": m{"provider": "azure", "x": 1}}),
		"override_allowed_server_names": oidc(m{"override_allowed_server_names": "x"}),
	} {
		s.refused(api.Write, "config", c, api.Invalid, says)
	}
	if _, err := s.do(api.Read, "config", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("a refused configuration is there: %v", err)
	}
	s.refused(api.Write, "login", m{"role": "r", "jwt": "x"}, api.Invalid, "could not load configuration")
	s.must(api.Write, "config", oidc(m{"default_role": "R", "namespace_in_state": false}))
	got := s.must(api.Read, "config", nil)
	b, err := json.Marshal(got)
	if err != nil || strings.Contains(string(b), "hush-hush") {
		t.Errorf("the configuration reads as %s, %v", b, err)
	}
	a := got.(*ConfigAnswer)
	if a.OIDCClientID != "c" || a.DefaultRole != "r" || a.NamespaceInState || a.Status != "valid" {
		t.Errorf("%+v", a)
	}
	s.must(api.Write, "config", m{"jwks_url": p.URL + "/nothing", "jwks_ca_pem": p.ca(), "skip_jwks_validation": true})
	a = s.must(api.Read, "config", nil).(*ConfigAnswer)
	if a.OIDCClientID != "" || a.NamespaceInState || a.Status != "invalid" {
		t.Errorf("the configuration that was not checked: %+v", a)
	}
	s.refused(api.Write, "login", m{"role": "r", "jwt": one(t)}, api.Unavailable, "keys")
}

// TestKeysOfAnOlderConfiguration are not used once there is a new one.
func TestKeysOfAnOlderConfiguration(t *testing.T) {
	s, p := published(t)
	other := publish(t, map[string]crypto.PublicKey{"two": keyring().p256.Public()})
	s.now = s.now.Add(2 * time.Hour)
	raw := sign(t, "RS256", keyring().rsa, "one", saying(m{"iat": s.now.Unix(), "exp": s.now.Add(time.Minute).Unix()}))
	p.change(func() {
		p.while = func() { // it is changed while an old login asks the old issuer
			p.change(func() { p.while = nil })
			s.twin().must(api.Write, "config", m{"jwks_url": other.URL + "/keys", "jwks_ca_pem": other.ca()})
		}
	})
	if _, err := s.login("r", raw); err != nil {
		t.Errorf("the login that came first: %v", err)
	}
	if _, err := s.login("r", raw); err == nil {
		t.Error("the keys of the older configuration are used")
	}
}
