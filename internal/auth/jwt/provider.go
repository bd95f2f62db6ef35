package jwt

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
)

// tokens are what a provider answers at its token endpoint (RFC 6749 5, OpenID Connect Core 3.1.3.3).
type tokens struct {
	ID     string `json:"id_token"`
	Access string `json:"access_token"`
	Error  string `json:"error"`
}

// provider is the OpenID provider that people log in to.
type provider struct {
	*config
	meta *issuer.Metadata
}

// provider is what is known of the provider, which is asked when that is too old.
func (cfg *config) provider(c *api.Call) (*provider, error) {
	is, err := cfg.source().Current(c)
	if err != nil {
		return nil, err
	}
	if is.Meta == nil {
		return nil, issuer.ErrAsking()
	}
	return &provider{cfg, is.Meta}, nil
}

// post sends a form to the provider, and shows that it comes from the client that the provider knows.
func (p *provider) post(c *api.Call, target string, form url.Values) (status int, body []byte, err error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if len(p.meta.TokenAuth) == 0 || slices.Contains(p.meta.TokenAuth, "client_secret_basic") {
		both := url.QueryEscape(p.ClientID) + ":" + url.QueryEscape(p.ClientSecret) // RFC 6749 2.3.1
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(both)))
	} else {
		form.Set("client_secret", p.ClientSecret)
	}
	form.Set("client_id", p.ClientID)
	a, err := issuer.Ask(c, p.DiscoveryCA, issuer.Question{Method: http.MethodPost, Target: target, Header: header, Body: []byte(form.Encode())})
	if err != nil {
		return 0, nil, outbound.Away(err, "the provider could not be asked", "the server must reach it at the addresses that it names in its /.well-known/openid-configuration")
	}
	if _, err := api.ParseBodyWithin(a.Body, jws.MaxValues); err != nil {
		return 0, nil, wrong("the provider's answer is not a JSON object")
	}
	return a.Status, a.Body, nil
}

// token asks for tokens.
func (p *provider) token(c *api.Call, form url.Values) (*tokens, error) {
	if p.meta.Token == "" {
		return nil, wrong("the provider has no token endpoint")
	}
	status, body, err := p.post(c, p.meta.Token, form)
	if err != nil {
		return nil, err
	}
	var t tokens
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, wrong("the provider's answer cannot be read")
	}
	switch {
	case t.Error != "":
		return &tokens{Error: t.Error}, nil
	case status != http.StatusOK || t.ID == "":
		return nil, wrong("the provider gives no id_token")
	}
	return &t, nil
}

// exchange hands in the code that the provider gave, which proves that it was given to the login that began
// (RFC 7636).
func (p *provider) exchange(c *api.Call, f *flow, code string) (*tokens, error) {
	t, err := p.token(c, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.Redirect}, "code_verifier": {f.Verifier}})
	if err == nil && t.Error != "" {
		err = wrong("the provider does not take its code")
	}
	return t, err
}

// identify verifies an ID token (OpenID Connect Core 3.1.3.7) and says who it is about.
func (p *provider) identify(c *api.Call, r *role, t *tokens, nonce string) (*person, error) {
	said, err := p.read(c, t.ID, p.allowed([]string{"RS256"}))
	if err != nil {
		return nil, err
	}
	if err := p.checkID(said, nonce); err != nil {
		return nil, err
	}
	if err := r.Leeways.Valid(said, c.Now); err != nil {
		return nil, err
	}
	if err := recent(said, r.MaxAge, r.Leeways.ClockSkew, c.Now); err != nil {
		return nil, err
	}
	p.more(c, said, t.Access)
	return r.admit(said, p.config)
}

// checkID checks that an ID token is the provider's, for our client, and for the login that began.
func (p *provider) checkID(said jws.Claims, nonce string) error {
	audiences, err := said.Audiences()
	azp, there := said["azp"]
	switch {
	case err != nil:
		return err
	case said.Text("iss") != p.meta.Issuer:
		return wrong("the id_token is from another issuer")
	case !slices.Contains(audiences, p.ClientID):
		return wrong("the id_token is for another client")
	case len(audiences) > 1 && !there, there && azp != p.ClientID:
		return wrong("the id_token was given to another client")
	case said.Text("sub") == "" || said["exp"] == nil || said["iat"] == nil:
		return wrong("the id_token lacks sub, exp or iat")
	case nonce != "" && !equal(hashed(said.Text("nonce")), hashed(nonce)):
		return wrong("the id_token is for another login")
	}
	return nil
}

// more adds what the provider tells at its userinfo endpoint (OpenID Connect Core 5.3), about the same subject. What the ID token says
// stays as it is signed. That there is no more is no failure.
func (p *provider) more(c *api.Call, said jws.Claims, access string) {
	if p.meta.UserInfo == "" || access == "" || strings.ContainsFunc(access, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return
	}
	a, err := issuer.Ask(c, p.DiscoveryCA, issuer.Question{Method: http.MethodGet, Target: p.meta.UserInfo, Header: http.Header{"Authorization": {"Bearer " + access}}})
	if err != nil || a.Status != http.StatusOK {
		return
	}
	told, err := jws.ParseClaims(a.Body)
	if err != nil || told.Text("sub") != said.Text("sub") {
		return
	}
	for name, v := range told {
		if _, there := said[name]; !there {
			said[name] = v
		}
	}
}
