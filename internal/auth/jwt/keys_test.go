package jwt

import (
	"context"
	"crypto"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/issuer"
)

// published is a site whose keys come from an issuer.
func published(t testing.TB) (*site, *authtest.Issuer) {
	t.Helper()
	p := authtest.Publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	s.Must(api.Write, "config", m{"jwks_url": p.URL + "/keys", "jwks_ca_pem": p.CA()})
	s.Must(api.Write, "role/r", ordinary(nil))
	return s, p
}

func one(t testing.TB) string { return authtest.Sign(t, "RS256", keyring().rsa, "one", saying(nil)) }
func two(t testing.TB) string { return authtest.Sign(t, "ES256", keyring().p256, "two", saying(nil)) }

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
	if n := p.Asked("/keys"); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAKeyThatIsNew is known as soon as a token names it.
func TestAKeyThatIsNew(t *testing.T) {
	s, p := published(t)
	p.Change(func(now *authtest.State) { now.Keys = map[string]crypto.PublicKey{"two": keyring().p256.Public()} })
	s.With.Now = s.With.Now.Add(issuer.AskEvery)
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
	s.With.Now = s.With.Now.Add(issuer.AskEvery)
	stranger := s.twin()
	ctx, leave := context.WithCancel(t.Context())
	stranger.With.Context = ctx
	p.Change(func(now *authtest.State) {
		now.Keys, now.While = map[string]crypto.PublicKey{"two": keyring().p256.Public()}, leave
	})
	if _, err := stranger.login("r", authtest.Sign(t, "RS256", keyring().rsa, "x", saying(nil))); err == nil {
		t.Fatal("a key that nobody knows was taken")
	}
	p.Change(func(now *authtest.State) { now.While = nil })
	s.With.Now = s.With.Now.Add(issuer.AskEvery / 2)
	if _, err := s.login("r", two(t)); err != nil {
		t.Errorf("the key that was to be fetched: %v", err)
	}
}

// TestAFloodOfUnknownKeys asks the issuer no more than the bound says, whatever strangers send.
func TestAFloodOfUnknownKeys(t *testing.T) {
	s, p := published(t)
	twin := s.twin()
	unknown := []string{authtest.Sign(t, "RS256", keyring().rsa, "x", saying(nil)), authtest.Sign(t, "RS256", keyring().rsa, "y", saying(nil))}
	for i := range 1000 {
		s.With.Now = s.With.Now.Add(10 * time.Millisecond)
		twin.With.Now = s.With.Now
		for _, n := range []*site{s, twin} {
			if _, err := n.login("r", unknown[i%2]); err == nil {
				t.Fatal("a key that nobody knows was taken")
			}
		}
	}
	if n := p.Asked("/keys"); n > 4 { // 10 seconds: at the configuration, and then every 5
		t.Errorf("the issuer was asked %d times in 10 seconds", n)
	}
	if _, err := s.login("r", one(t)); err != nil {
		t.Errorf("the known key: %v", err)
	}
}

// TestWhileAnotherNodeAsks tells who comes meanwhile to try again, and lets known keys in.
func TestWhileAnotherNodeAsks(t *testing.T) {
	s, p := published(t)
	s.With.Now = s.With.Now.Add(issuer.AskEvery)
	twin := s.twin()
	p.Change(func(now *authtest.State) {
		now.Keys = map[string]crypto.PublicKey{"one": keyring().rsa.Public(), "two": keyring().p256.Public()}
		now.While = func() {
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
	p.Change(func(now *authtest.State) { now.Down = true })
	at := func(d time.Duration) (*api.Auth, error) {
		s.With.Now = authtest.Epoch.Add(d)
		return s.login("r", authtest.Sign(t, "RS256", keyring().rsa, "one", saying(m{"iat": s.With.Now.Unix(), "exp": s.With.Now.Add(time.Minute).Unix()})))
	}
	for _, d := range []time.Duration{0, time.Hour - 1, time.Hour, 23 * time.Hour} {
		if _, err := at(d); err != nil {
			t.Errorf("after %v: %v", d, err)
		}
	}
	if _, err := at(issuer.Usable); api.KindOf(err) != api.Unavailable {
		t.Errorf("after a day: %v", err)
	}
	p.Change(func(now *authtest.State) { now.Down = false })
	if _, err := at(issuer.Usable + issuer.AskEvery); err != nil {
		t.Errorf("once it is back: %v", err)
	}
	if got := s.Must(api.Read, "config", nil).(*ConfigAnswer); got.Status != "valid" {
		t.Errorf("status is %s", got.Status)
	}
}

func TestDiscovery(t *testing.T) {
	p := authtest.Publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	s.Must(api.Write, "config", m{"oidc_discovery_url": p.URL + "/", "oidc_discovery_ca_pem": p.CA()})
	s.Must(api.Write, "role/r", ordinary(nil))
	if _, err := s.login("r", authtest.Sign(t, "RS256", keyring().rsa, "one", saying(m{"iss": p.URL}))); err != nil {
		t.Error(err)
	}
	if _, err := s.login("r", one(t)); err == nil {
		t.Error("a token of another issuer, by a key that is known, was let in")
	}
	s.Must(api.Write, "config", m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.CA(), "bound_issuer": "https://issuer.example"})
	if _, err := s.login("r", one(t)); err != nil {
		t.Errorf("bound_issuer: %v", err)
	}
	p.Change(func(now *authtest.State) { now.Name = "https://evil.example" })
	s.Refused(api.Write, "config", m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.CA()}, api.Invalid, "another issuer")
}

func TestConfigurations(t *testing.T) {
	p := authtest.Publish(t, map[string]crypto.PublicKey{"one": keyring().rsa.Public()})
	s := newSite(t)
	key := authtest.PEM(t, keyring().rsa.Public())
	oidc := func(more m) m {
		out := m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.CA(), "oidc_client_id": "c", "oidc_client_secret": "hush-hush"}
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
		"oidc_discovery_url: is not":    {"oidc_discovery_url": "issuer.example"},
		"oidc_discovery_url: must":      {"oidc_discovery_url": "http://issuer.example"},
		"with nothing behind":           {"oidc_discovery_url": "https://issuer.example/?tenant=1"},
		"oidc_discovery_ca_pem: must":   {"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.CA() + key},
		"in PEM":                        {"jwt_validation_pubkeys": "key.pub"},
		"could not be fetched":          {"jwks_url": p.URL + "/nothing", "jwks_ca_pem": p.CA()},
		"status 302":                    {"jwks_url": p.URL + "/away", "jwks_ca_pem": p.CA()},
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
		"jwks_pairs: is not supported":  {"jwks_pairs": []m{{"jwks_url": p.URL}}},
	} {
		s.Refused(api.Write, "config", c, api.Invalid, says)
	}
	if _, err := s.Do(api.Read, "config", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("a refused configuration is there: %v", err)
	}
	s.Refused(api.Write, "login", m{"role": "r", "jwt": "x"}, api.Invalid, "could not load configuration")
	for path, f := range map[string]m{"login": {"role": "r", "jwt": "x"}, "cel/login": {"role": "r", "jwt": "x"}, "oidc/auth_url": {"role": "r", "redirect_uri": "http://localhost:8250/oidc/callback"}, "oidc/poll": {"state": "x"}} {
		s.Refused(api.Write, path, f, api.Invalid, "write its configuration to auth/jwt/config")
	}
	_, err := s.Do(api.Write, "config", m{"jwks_url": "https://name.invalid/keys"})
	if api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), "jwks_url: the issuer's keys could not be fetched: ") || strings.Contains(err.Error(), "name.invalid") {
		t.Errorf("an issuer that is not there: %v", err)
	}
	s.Must(api.Write, "config", oidc(m{"default_role": "R", "namespace_in_state": false}))
	got := s.Must(api.Read, "config", nil)
	b, err := json.Marshal(got)
	if err != nil || strings.Contains(string(b), "hush-hush") {
		t.Errorf("the configuration reads as %s, %v", b, err)
	}
	a := got.(*ConfigAnswer)
	if a.OIDCClientID != "c" || a.DefaultRole != "r" || a.NamespaceInState || a.Status != "valid" {
		t.Errorf("%+v", a)
	}
	s.Must(api.Write, "config", m{"jwks_url": p.URL + "/nothing", "jwks_ca_pem": p.CA(), "skip_jwks_validation": true})
	a = s.Must(api.Read, "config", nil).(*ConfigAnswer)
	if a.OIDCClientID != "" || a.NamespaceInState || a.Status != "invalid" {
		t.Errorf("the configuration that was not checked: %+v", a)
	}
	s.Refused(api.Write, "login", m{"role": "r", "jwt": one(t)}, api.Unavailable, "keys")
}

// TestKeysOfAnOlderConfiguration are not used once there is a new one.
func TestKeysOfAnOlderConfiguration(t *testing.T) {
	s, p := published(t)
	other := authtest.Publish(t, map[string]crypto.PublicKey{"two": keyring().p256.Public()})
	s.With.Now = s.With.Now.Add(2 * time.Hour)
	raw := authtest.Sign(t, "RS256", keyring().rsa, "one", saying(m{"iat": s.With.Now.Unix(), "exp": s.With.Now.Add(time.Minute).Unix()}))
	p.Change(func(now *authtest.State) {
		now.While = func() { // it is changed while an old login asks the old issuer
			p.Change(func(now *authtest.State) { now.While = nil })
			s.twin().Must(api.Write, "config", m{"jwks_url": other.URL + "/keys", "jwks_ca_pem": other.CA()})
		}
	})
	if _, err := s.login("r", raw); err != nil {
		t.Errorf("the login that came first: %v", err)
	}
	if _, err := s.login("r", raw); err == nil {
		t.Error("the keys of the older configuration are used")
	}
}
