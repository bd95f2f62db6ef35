package jwt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// idp is an OpenID provider that does what is asked of it, wrong things too. The
// sessions of test/script run against another that others have written.
type idp struct {
	*httptest.Server
	testing.TB

	mu      sync.Mutex
	codes   map[string]url.Values // what was asked when the code was given
	devices map[string]string     // "" pending, else an error or "done"
	polled  int
	claims  m // changes of the next ID tokens
	info    m // what userinfo tells
	basic   bool
	meta    m // changes of what it says of itself
	key     any
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	p := &idp{TB: t, codes: map[string]url.Values{}, devices: map[string]string{}, basic: true, key: keyring().rsa}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.say(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "one", Key: keyring().rsa.Public(), Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", p.device)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access-token" {
			p.say(w, 401, m{})
			return
		}
		p.say(w, 200, p.info)
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

func (p *idp) say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.Error(err)
	}
}

func (p *idp) discovery(w http.ResponseWriter, _ *http.Request) {
	meta := m{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize?tenant=t", "token_endpoint": p.URL + "/token",
		"userinfo_endpoint": p.URL + "/userinfo", "device_authorization_endpoint": p.URL + "/device"}
	if !p.basic {
		meta["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
	}
	for k, v := range p.meta {
		meta[k] = v
	}
	p.say(w, 200, meta)
}

// approve is a person who logs in at the page that an address leads to: it answers a code.
func (p *idp) approve(address string) (code, state string) {
	p.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Path != "/authorize" || u.Query().Get("tenant") != "t" {
		p.Fatalf("the address %q, %v", address, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code = "code-" + rand.Text()
	p.codes[code] = u.Query()
	return code, u.Query().Get("state")
}

// known reports whether the client shows its secret, as the provider says it should.
func (p *idp) known(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	if !p.basic {
		id, secret, ok = r.PostFormValue("client_id"), r.PostFormValue("client_secret"), true
	}
	return ok && id == "client" && secret == "client+secret" || ok && !p.basic && secret == "client secret"
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func(why string) { p.say(w, 400, m{"error": why}) }
	nonce := ""
	switch {
	case !p.known(r):
		refuse("invalid_client")
		return
	case r.PostFormValue("grant_type") == "authorization_code":
		asked, ok := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") || asked.Get("code_challenge_method") != "S256" ||
			asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			refuse("invalid_grant")
			return
		}
		nonce = asked.Get("nonce")
	default:
		p.polled++
		code := r.PostFormValue("device_code")
		switch state, ok := p.devices[code]; {
		case !ok:
			refuse("expired_token")
			return
		case state == "":
			refuse("authorization_pending")
			return
		case state != "done":
			refuse(state)
			return
		}
		delete(p.devices, code)
	}
	p.say(w, 200, m{"id_token": p.idToken(nonce), "access_token": "access-token", "token_type": "Bearer"})
}

func (p *idp) idToken(nonce string) string {
	claims := m{"iss": p.URL, "aud": "client", "nonce": nonce}
	for k, v := range p.claims {
		claims[k] = v
	}
	return authtest.Sign(p, "RS256", p.key, "one", saying(claims))
}

func (p *idp) device(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known(r) || r.PostFormValue("scope") != "openid email" {
		p.say(w, 401, m{"error": "invalid_client"})
		return
	}
	code := "device-" + rand.Text()
	p.devices[code] = ""
	p.say(w, 200, m{"device_code": code, "user_code": "WDJB-MJHT", "verification_uri": p.URL + "/activate", "expires_in": 300, "interval": 5})
}

// finish has all that wait for a device come to an end.
func (p *idp) finish(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for code := range p.devices {
		p.devices[code] = state
	}
}

// people is a site whose role r lets people in through a provider, with changes of the role and the configuration.
func people(t testing.TB, p *idp, role, config m) *site {
	t.Helper()
	s := newSite(t)
	cfg := m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.ca(), "oidc_client_id": "client", "oidc_client_secret": "client secret"}
	for k, v := range config {
		cfg[k] = v
	}
	s.Must(api.Write, "config", cfg)
	r := m{"user_claim": "sub", "oidc_scopes": "email", "token_policies": "dev", "allowed_redirect_uris": "http://localhost:8250/oidc/callback,https://sr.example/v1/auth/oidc/oidc/callback"}
	for k, v := range role {
		r[k] = v
	}
	s.Must(api.Write, "role/r", r)
	return s
}

const here = "http://localhost:8250/oidc/callback"

// begin begins a login.
func (s *site) begin(more m) *AuthURLAnswer {
	s.Helper()
	q := m{"role": "r", "redirect_uri": here, "client_nonce": "the-nonce"}
	for k, v := range more {
		q[k] = v
	}
	return s.Must(api.Write, "oidc/auth_url", q).(*AuthURLAnswer)
}

// back is what a browser brings back from the provider.
func (s *site) back(q m) (*api.Answer, error) {
	s.Helper()
	all := m{"client_nonce": "the-nonce"}
	for k, v := range q {
		all[k] = v
	}
	v, err := s.Do(api.Read, "oidc/callback", all)
	if err != nil {
		return nil, err
	}
	return v.(*api.Answer), nil
}
