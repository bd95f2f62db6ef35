package oidc

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// Lengths of what is made up, of 5 bits a character.
const (
	codeLen   = 52
	accessLen = 52
	secretLen = 52
)

const (
	codeLife  = 5 * time.Minute
	maxState  = 4 << 10 // what a client has handed back, in bytes
	maxScopes = 4 << 10 // a list of scopes, in bytes
	s256Len   = 43      // SHA-256 as base64url
)

// accessPrefix begins access tokens.
const accessPrefix = "sro_access_"

// kindEnd is the work of removing a code or access token that has expired.
const kindEnd = "oidc-end"

// grant is what a person has let a client know. It binds a code, and then an access token.
type grant struct {
	Provider string    `json:"provider"`
	Made     string    `json:"made,omitempty"` // which provider of that name
	ClientID string    `json:"client"`
	Entity   string    `json:"entity"`
	Home     string    `json:"home"`            // namespace of the entity
	Epoch    int       `json:"epoch,omitempty"` // its count of revocations: once it is higher, this is worth nothing
	Scopes   []string  `json:"scopes,omitempty"`
	Until    time.Time `json:"until"`
}

// codeRow is a code that was handed out.
type codeRow struct {
	grant
	Redirect  string    `json:"redirect"`
	Nonce     string    `json:"nonce,omitempty"`
	Challenge string    `json:"challenge,omitempty"`
	LoggedIn  time.Time `json:"logged_in,omitzero"`
	Used      bool      `json:"used,omitempty"`
	Access    string    `json:"access,omitempty"` // key of the access token that it was redeemed for
}

// digest is what is kept of a code or access token, which has 260 random bits.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func codeKey(ns, code string) string    { return area(ns, "code") + digest(code) }
func accessKey(ns, token string) string { return area(ns, "access") + digest(token) }

// putUntil writes a row that goes by itself.
func putUntil(tx *store.Tx, ns, key string, v any, until time.Time) error {
	id := strings.ReplaceAll(strings.TrimPrefix(key, ns+"/oidc/"), "/", "-")
	if err := schedule.Add(tx, schedule.Item{Namespace: ns, At: until.Add(sweepDelay), Kind: kindEnd, ID: id, Data: []byte(key)}); err != nil {
		return err
	}
	return tx.PutJSON(key, v)
}

// sweepDelay is for how long what has expired is kept, for clocks that differ.
const sweepDelay = time.Minute

// AuthorizeRequest asks that the caller be known to a client (OpenID Connect Core 1.0, section 3.1.2.1).
type AuthorizeRequest struct {
	Name                api.Name `path:"name"`                                // Name of the provider.
	ClientID            string   `json:"client_id" audit:"clear"`             // Client id of the client.
	RedirectURI         string   `json:"redirect_uri" audit:"clear"`          // Where the caller is sent back to: exactly one of the client's redirect_uris.
	ResponseType        string   `json:"response_type" audit:"clear"`         // code.
	Scope               string   `json:"scope" audit:"clear"`                 // openid, and further scopes, with spaces between them. Those that the provider does not support are passed over.
	State               string   `json:"state"`                               // Handed back as it is.
	Nonce               string   `json:"nonce"`                               // Put into the ID token.
	MaxAge              *int     `json:"max_age"`                             // How many seconds ago the caller may have logged in to this server.
	CodeChallenge       string   `json:"code_challenge"`                      // PKCE (RFC 7636): SHA-256 of the code verifier as base64url. Public clients must send it.
	CodeChallengeMethod string   `json:"code_challenge_method" audit:"clear"` // S256; plain is not taken.
	ResponseMode        string   `json:"response_mode" audit:"clear"`         // query, which it is unless it is said.
	Prompt              string   `json:"prompt" audit:"clear"`                // How the caller is to be asked. The page at which people sign in always asks, and refuses none.
	Request             string   `json:"request"`                             // Refused: the parameters stand by themselves.
	RequestURI          string   `json:"request_uri"`                         // Refused, likewise.
}

// codeAnswer is what a client gets a token for.
type codeAnswer struct {
	Code   string `json:"code"`
	State  string `json:"state"`
	Issuer string `json:"iss"` // who has answered, for clients of several (RFC 9207)
}

// refusal is an error of OAuth 2.0 (RFC 6749, sections 4.1.2.1 and 5.2).
type refusal struct {
	Code   string `json:"error"`
	Why    string `json:"error_description"`
	State  string `json:"state,omitempty"`
	Back   string `json:"redirect_uri,omitempty"` // where the client may be told; empty: nowhere, or it asks itself
	Issuer string `json:"iss,omitempty"`          // who tells it (RFC 9207)
	status int
}

func (r *refusal) raw() (*api.Raw, error) {
	raw, err := api.JSON(r.status, r)
	if err == nil && r.status == 401 {
		raw.Challenge = `Bearer error="` + r.Code + `"`
		if r.Code == "invalid_client" {
			raw.Challenge = `Basic realm="strongroom"`
		}
	}
	return raw, err
}

// to is the refusal of what a client asks for.
func (r *refusal) to(q *AuthorizeRequest) (*api.Raw, error) {
	if len(q.State) <= maxState {
		r.State = q.State
	}
	return r.raw()
}

func refuse(code, why string) *refusal { return &refusal{Code: code, Why: why, status: 400} }

// authorize hands out a code by which a client learns who the caller is, if the caller may log in to it.
func (s *Store) authorize(c *api.Call, q *AuthorizeRequest) (*api.Raw, error) {
	u, row, no, err := s.consider(c, q)
	if err != nil {
		return nil, err
	}
	if no != nil {
		return no.to(q)
	}
	code := random(codeLen)
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		return putUntil(tx, c.Namespace.ID, codeKey(c.Namespace.ID, code), row, row.Until)
	})
	if err != nil {
		return nil, err
	}
	return api.JSON(0, codeAnswer{code, q.State, s.providerIssuer(c.Namespace, u.name, u.provider)})
}

// consider is what a code would stand for, and of whom, or why there is none.
func (s *Store) consider(c *api.Call, q *AuthorizeRequest) (*use, *codeRow, *refusal, error) {
	client, no, err := s.asks(c, q)
	if err != nil || no != nil {
		return nil, nil, no, err
	}
	u, no, err := s.asked(c, q, client)
	if err != nil || no != nil {
		return nil, nil, no, err
	}
	row, no, err := s.bind(c, q, u)
	return u, row, no, err
}

// asks is the client that asks. It is refused where nobody can say who that is, or whether an address is its own: then
// nobody may be sent there (RFC 6749, section 4.1.2.1).
func (s *Store) asks(c *api.Call, q *AuthorizeRequest) (*clientRow, *refusal, error) {
	if len(q.State) > maxState || len(q.Nonce) > maxState || len(q.Scope) > maxScopes {
		return nil, refuse("invalid_request", "state, nonce or scope is too long"), nil
	}
	client, err := s.client(c, q.ClientID)
	switch {
	case err != nil:
		return nil, nil, err
	case q.ClientID == "":
		return nil, refuse("invalid_request", "client_id parameter is required"), nil
	case client == nil:
		return nil, refuse("invalid_client_id", "client with client_id not found"), nil
	case q.RedirectURI == "":
		return nil, refuse("invalid_request", "redirect_uri parameter is required"), nil
	case !slices.Contains(client.Redirects, q.RedirectURI):
		return nil, refuse("invalid_redirect_uri", "redirect_uri is not allowed for the client"), nil
	}
	return client, nil, nil
}

// asked is by what a client may have what it asks for, whoever signs in.
func (s *Store) asked(c *api.Call, q *AuthorizeRequest, client *clientRow) (*use, *refusal, error) {
	switch {
	case q.Request != "":
		return nil, refuse("request_not_supported", "request parameter is not supported"), nil
	case q.RequestURI != "":
		return nil, refuse("request_uri_not_supported", "request_uri parameter is not supported"), nil
	case q.ResponseMode != "" && q.ResponseMode != "query":
		return nil, refuse("invalid_request", "response_mode must be query"), nil
	case !slices.Contains(strings.Fields(q.Scope), openID):
		return nil, refuse("invalid_request", "openid scope is required"), nil
	case q.ResponseType == "":
		return nil, refuse("invalid_request", "response_type parameter is required"), nil
	case q.ResponseType != "code":
		return nil, refuse("unsupported_response_type", "unsupported response_type value"), nil
	case q.MaxAge != nil && (*q.MaxAge < 0 || *q.MaxAge > int(maxSpan/time.Second)):
		return nil, refuse("invalid_request", "max_age must be a number of seconds"), nil
	}
	if no := q.challenge(client); no != nil {
		return nil, no, nil
	}
	u, err := s.permitted(c, string(q.Name), q.ClientID)
	if err == nil && u == nil {
		return nil, refuse("unauthorized_client", "client is not authorized to use the provider"), nil
	}
	return u, nil, err
}

// challenge is what is wrong with what PKCE has.
func (q *AuthorizeRequest) challenge(client *clientRow) *refusal {
	switch {
	case q.CodeChallenge == "" && client.Type == publicClient:
		return refuse("invalid_request", "PKCE is required for public clients")
	case q.CodeChallenge == "" && q.CodeChallengeMethod == "":
		return nil
	case q.CodeChallengeMethod != "S256":
		return refuse("invalid_request", "code_challenge_method must be S256")
	case len(q.CodeChallenge) != s256Len || strings.Trim(q.CodeChallenge, base64url) != "":
		return refuse("invalid_request", "code_challenge is not a SHA-256 as base64url")
	}
	return nil
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// bind is a code of the caller for a client.
func (s *Store) bind(c *api.Call, q *AuthorizeRequest, u *use) (*codeRow, *refusal, error) {
	if c.Caller.EntityID == "" {
		return nil, refuse("access_denied", "identity entity must be associated with the request"), nil
	}
	p, err := s.caller(c)
	if err != nil {
		return nil, nil, err
	}
	ok, err := s.assigned(c, u.client, p)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, refuse("access_denied", "identity entity not authorized by client assignment"), nil
	}
	at, err := s.LoggedIn(c)
	if err != nil {
		return nil, nil, err
	}
	if q.MaxAge != nil && c.Now.Sub(at) > time.Duration(*q.MaxAge)*time.Second {
		return nil, refuse("max_age_violation", "active re-authentication is required by max_age"), nil
	}
	g := grant{u.name, u.provider.ID, u.client.ID, p.ID, c.Caller.EntityNamespace, p.Epoch(), supported(u.provider, strings.Fields(q.Scope)), c.Now.Add(codeLife)}
	return &codeRow{grant: g, Redirect: q.RedirectURI, Nonce: q.Nonce, Challenge: q.CodeChallenge, LoggedIn: at}, nil, nil
}

// supported are the scopes among those that were asked for that a provider has, beside openid.
func supported(p *providerRow, asked []string) []string {
	var out []string
	for _, n := range p.Scopes {
		if slices.Contains(asked, n) {
			out = append(out, n)
		}
	}
	return out
}

// granted is who a grant is about, if that may still log in; nil: it may not.
func (s *Store) granted(c *api.Call, u *use, g *grant) (*identity.Person, error) {
	p, err := s.Person(c, g.Home, g.Entity)
	if err != nil || p == nil || p.Disabled || p.Ended(g.Epoch) {
		return nil, err
	}
	if ok, err := s.assigned(c, u.client, p); err != nil || !ok {
		return nil, err
	}
	return p, nil
}
