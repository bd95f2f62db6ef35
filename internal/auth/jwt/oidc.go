package jwt

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

const (
	usualInterval = 5 * time.Second // between polls (RFC 8628 3.2)
	maxNonce      = 512             // of what clients and providers name things by, in bytes
)

// AuthURLRequest begins a login through the provider.
type AuthURLRequest struct {
	Role        api.Name   `json:"role" audit:"clear"`         // The role to log in by; the configuration's default when absent.
	RedirectURI string     `json:"redirect_uri" audit:"clear"` // Where the provider is to send the browser back to. Logins by device have none.
	ClientNonce api.Secret `json:"client_nonce"`               // A random text that the client must show again to finish the login.
}

// AuthURLAnswer says where to go. Without an address the role does not exist, is not for
// people, or does not want them sent to that address, or the client gave no nonce where it needs one.
type AuthURLAnswer struct {
	AuthURL      string `json:"auth_url"`
	State        string `json:"state,omitempty"`         // of direct logins and those by device: names the login at oidc/poll
	PollInterval string `json:"poll_interval,omitempty"` // seconds
	UserCode     string `json:"user_code,omitempty"`     // what to type when asked
}

// authURL begins a login through the provider: by its browser page, or by its device flow where the
// role says so.
func (engine) authURL(c *api.Call, req *AuthURLRequest) (*AuthURLAnswer, error) {
	cfg, err := configured(c)
	if err != nil {
		return nil, err
	}
	switch {
	case !cfg.isOIDC():
		return nil, c.Unconfigured("config", "OIDC login is not configured for this mount: it has no oidc_discovery_url or no oidc_client_id")
	case len(req.ClientNonce.Reveal()) > maxNonce || len(req.RedirectURI) > 4*maxNonce:
		return nil, api.Errorf(api.Invalid, "client_nonce, redirect_uri: too long")
	}
	name, err := cfg.named(req.Role)
	if err != nil {
		return nil, err
	}
	r, err := roleOf(c, c.Store, name)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Type != typeOIDC || r.Callback != byClient && req.ClientNonce.Empty() {
		return &AuthURLAnswer{}, nil
	}
	p, err := cfg.provider(c)
	if err != nil {
		return nil, err
	}
	f := &flow{Config: cfg.ID, Role: name, Mode: r.Callback, Ends: c.Now.Add(flowTime), Remote: c.Remote.Unmap().String()}
	if !req.ClientNonce.Empty() {
		f.Client = hashed(req.ClientNonce.Reveal())
	}
	if r.Callback == byDevice {
		return p.byDevice(c, r, f)
	}
	return p.byBrowser(c, r, f, req.RedirectURI)
}

// byBrowser begins a login at the provider's page.
func (p *provider) byBrowser(c *api.Call, r *role, f *flow, target string) (*AuthURLAnswer, error) {
	target, ns := p.redirect(target)
	page, err := url.Parse(p.meta.Authorization)
	if err != nil || p.meta.Authorization == "" || !sendable(target, r.Redirects) {
		return &AuthURLAnswer{}, nil
	}
	f.Redirect, f.Nonce, f.Verifier = target, random(), random()+random()
	answer := &AuthURLAnswer{}
	if r.Callback == byDirect {
		f.UserCode = userCode()
		answer.UserCode = f.UserCode
	}
	state, err := f.begin(c)
	if err != nil {
		return nil, err
	}
	if r.Callback == byDirect {
		answer.State, answer.PollInterval = state, interval(r, usualInterval)
	}
	if ns != "" {
		state += nsMark + ns
	}
	q := page.Query()
	q.Set("response_type", forCode)
	if !p.has(forCode) {
		q.Set("response_type", forID)
	} else {
		sum := sha256.Sum256([]byte(f.Verifier))
		q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		q.Set("code_challenge_method", "S256")
	}
	q.Set("client_id", p.ClientID)
	q.Set("redirect_uri", target)
	q.Set("scope", scopes(r))
	q.Set("state", state)
	q.Set("nonce", f.Nonce)
	if p.ResponseMode == byForm {
		q.Set("response_mode", byForm)
	}
	if r.MaxAge > 0 {
		q.Set("max_age", strconv.FormatInt(int64(r.MaxAge/time.Second), 10))
	}
	page.RawQuery = q.Encode()
	answer.AuthURL = page.String()
	return answer, nil
}

func scopes(r *role) string {
	out := []string{"openid"}
	for _, s := range r.Scopes {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

// interval is how many seconds a client is to wait between polls.
func interval(r *role, usual time.Duration) string {
	if r.PollInterval > 0 {
		return strconv.Itoa(r.PollInterval)
	}
	return strconv.FormatInt(int64(usual/time.Second), 10)
}

// nsMark stands in the state before the namespace that a web page has to go on in.
const nsMark = ",ns="

// redirect takes the namespace out of an address, where the configuration wants it in the state.
func (p *provider) redirect(target string) (bare, ns string) {
	u, err := url.Parse(target)
	if err != nil || !p.InState || !u.Query().Has("namespace") {
		return target, ""
	}
	q := u.Query()
	ns = q.Get("namespace")
	q.Del("namespace")
	u.RawQuery = q.Encode()
	return u.String(), ns
}

// sendable reports whether the provider may send a browser to an address: one that the role
// names exactly. On the machine itself any port will do (RFC 8252 7.3): a program there listens on one that is free.
func sendable(target string, allowed []string) bool {
	u, err := redirect(target)
	if err != nil {
		return false
	}
	if !outbound.Loopback(u.Hostname()) {
		return slices.Contains(allowed, target)
	}
	return slices.ContainsFunc(allowed, func(text string) bool {
		a, err := redirect(text)
		if err != nil {
			return false
		}
		one, other := *u, *a
		one.Host, other.Host = u.Hostname(), a.Hostname()
		return one.String() == other.String()
	})
}

// device is a provider's answer to the beginning of a login by device (RFC 8628 3.2). Older
// providers say url for uri.
type device struct {
	Code        string `json:"device_code"`
	User        string `json:"user_code"`
	URI         string `json:"verification_uri"`
	Complete    string `json:"verification_uri_complete"`
	URL         string `json:"verification_url"`
	URLComplete string `json:"verification_url_complete"`
	Interval    int    `json:"interval"`
	Expires     int    `json:"expires_in"`
}

// where is the address to go to, and the code to type there; none where the address has it.
func (d *device) where() (address, code string) {
	for _, u := range []string{d.Complete, d.URLComplete, d.URI, d.URL} {
		if u != "" {
			address = u
			break
		}
	}
	return address, d.User
}

// byDevice begins a login for who has a browser elsewhere.
func (p *provider) byDevice(c *api.Call, r *role, f *flow) (*AuthURLAnswer, error) {
	if p.meta.Device == "" {
		return nil, api.Errorf(api.Invalid, "the provider has no device_authorization_endpoint")
	}
	status, body, err := p.post(c, p.meta.Device, url.Values{"scope": {scopes(r)}})
	if err != nil {
		return nil, failed(err)
	}
	var d device
	if json.Unmarshal(body, &d) != nil || status != http.StatusOK || d.Code == "" || d.User == "" {
		return nil, failed(wrong("the provider does not begin a login by device"))
	}
	address, code := d.where()
	if outbound.CheckURL(address) != nil || len(address) > 4*maxNonce || len(d.Code) > 8*maxNonce || len(code) > maxNonce {
		return nil, failed(wrong("the provider's answer to the beginning of a login cannot be used"))
	}
	f.Device, f.Interval = d.Code, usualInterval
	if d.Interval > 0 && d.Interval <= 300 {
		f.Interval = time.Duration(d.Interval) * time.Second
	}
	if lives := time.Duration(min(max(d.Expires, 0), int(maxDevice/time.Second))) * time.Second; lives > 0 {
		f.Ends = c.Now.Add(lives)
	}
	f.Next = c.Now
	state, err := f.begin(c)
	if err != nil {
		return nil, err
	}
	return &AuthURLAnswer{AuthURL: address, UserCode: code, State: state, PollInterval: interval(r, f.Interval)}, nil
}

// failed is the answer to a login that has come to nothing. Whoever began it got an address by the
// role, so that why it failed tells nothing else of it.
func failed(why error) error {
	return told("login failed", why)
}
