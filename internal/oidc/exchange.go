package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// ExchangeRequest exchanges a code for tokens (OpenID Connect Core 1.0, section 3.1.3). Confidential clients
// name themselves by client_id and client_secret, or by HTTP's basic authentication.
type ExchangeRequest struct {
	Name         api.Name   `path:"name"`                       // Name of the provider.
	GrantType    string     `json:"grant_type" audit:"clear"`   // authorization_code.
	Code         api.Secret `json:"code"`                       // The code that authorize has handed out.
	RedirectURI  string     `json:"redirect_uri" audit:"clear"` // As it was for authorize.
	ClientID     string     `json:"client_id" audit:"clear"`    // The client, unless basic authentication names it.
	ClientSecret api.Secret `json:"client_secret"`              // Its secret, likewise.
	CodeVerifier api.Secret `json:"code_verifier"`              // PKCE (RFC 7636): what the code_challenge was made of.
	Scope        string     `json:"scope" audit:"clear"`        // Not looked at: the code has its scopes.
}

// tokens is the answer to a code.
type tokens struct {
	Type    string `json:"token_type"`
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Expires int64  `json:"expires_in"`
}

// exchange gives a client an ID token and an access token for a code, once.
func (s *Store) exchange(c *api.Call, q *ExchangeRequest) (*api.Raw, error) {
	u, no, err := s.identified(c, q)
	if err != nil {
		return nil, err
	}
	if no != nil {
		return no.raw()
	}
	access := accessPrefix + random(accessLen)
	row, no, err := s.redeem(c, q, u, access)
	if err != nil {
		return nil, err
	}
	if no != nil {
		return no.raw()
	}
	p, err := s.granted(c, u, &row.grant)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return refuse("invalid_grant", "identity entity not authorized by client assignment").raw()
	}
	id, err := s.idToken(c, u, row, p, q.Code.Reveal(), access)
	if err != nil {
		return nil, err
	}
	return api.JSON(0, tokens{"Bearer", access, id.Reveal(), int64(u.client.AccessTTL / time.Second)})
}

// identified is the client that asks, which may use the provider and has shown that it is it.
func (s *Store) identified(c *api.Call, q *ExchangeRequest) (*use, *refusal, error) {
	id, secret, no := q.credentials(c)
	if no != nil {
		return nil, no, nil
	}
	unknown := &refusal{Code: "invalid_client", Why: "client failed to authenticate", status: 401}
	client, err := s.client(c, id)
	if err != nil {
		return nil, nil, err
	}
	if client == nil || client.Type == confidential && !secret.Equal(api.NewSecret(client.Secret)) {
		return nil, unknown, nil
	}
	u, err := s.permitted(c, string(q.Name), id)
	switch {
	case err != nil:
		return nil, nil, err
	case u == nil:
		return nil, refuse("unauthorized_client", "client is not authorized to use the provider"), nil
	case q.GrantType == "":
		return nil, refuse("invalid_request", "grant_type parameter is required"), nil
	case q.GrantType != "authorization_code":
		return nil, refuse("unsupported_grant_type", "unsupported grant_type value"), nil
	case q.Code.Empty():
		return nil, refuse("invalid_request", "code parameter is required"), nil
	}
	return u, nil, nil
}

// credentials are what the client names itself by, in one of the two ways.
func (q *ExchangeRequest) credentials(c *api.Call) (id string, secret api.Secret, no *refusal) {
	if c.Basic == nil {
		return q.ClientID, q.ClientSecret, nil
	}
	id, err := url.QueryUnescape(c.Basic.User)
	if err != nil || !q.ClientSecret.Empty() || q.ClientID != "" && q.ClientID != id {
		return "", secret, refuse("invalid_request", "the client names itself in two ways")
	}
	text, err := url.QueryUnescape(c.Basic.Password.Reveal())
	if err != nil {
		return "", secret, refuse("invalid_request", "the basic authentication is malformed")
	}
	return id, api.NewSecret(text), nil
}

// redeem uses a code up, whatever comes of it, and makes the access token if all is right. A code that comes a second
// time takes the access token back that it was redeemed for (RFC 6749, section 4.1.2).
func (s *Store) redeem(c *api.Call, q *ExchangeRequest, u *use, access string) (row *codeRow, no *refusal, err error) {
	ns := c.Namespace.ID
	k := codeKey(ns, q.Code.Reveal())
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		row, no = nil, refuse("invalid_grant", "authorization grant is invalid or expired")
		if row, err = load[codeRow](tx, k); err != nil || row == nil {
			return err
		}
		if row.Used {
			if row.Access != "" {
				tx.Delete(row.Access)
			}
			return nil
		}
		used := *row
		if used.Used = true; row.Until.After(c.Now) {
			no = row.fits(q, u)
		}
		if no == nil {
			g := row.grant
			used.Access, g.Until = accessKey(ns, access), c.Now.Add(u.client.AccessTTL)
			if err := putUntil(tx, ns, used.Access, g, g.Until); err != nil {
				return err
			}
		}
		return tx.PutJSON(k, used)
	})
	return row, no, err
}

// fits is what does not fit between a code and who brings it.
func (r *codeRow) fits(q *ExchangeRequest, u *use) *refusal {
	switch {
	case r.ClientID != u.client.ID:
		return refuse("invalid_grant", "authorization code was not issued to the client")
	case r.Provider != u.name || r.Made != u.provider.ID:
		return refuse("invalid_grant", "authorization code was not issued by the provider")
	case r.Redirect != q.RedirectURI:
		return refuse("invalid_grant", "redirect_uri does not match the redirect_uri used in the authorization request")
	case r.Challenge == "" && u.client.Type == publicClient:
		return refuse("invalid_grant", "PKCE is required for public clients")
	case r.Challenge == "" && !q.CodeVerifier.Empty():
		return refuse("invalid_grant", "unexpected code_verifier for token exchange")
	case r.Challenge == "":
		return nil
	case q.CodeVerifier.Len() < 43 || q.CodeVerifier.Len() > 128 || !api.NewSecret(challengeOf(q.CodeVerifier.Reveal())).Equal(api.NewSecret(r.Challenge)):
		return refuse("invalid_grant", "invalid code_verifier for token exchange")
	}
	return nil
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// idToken says who a person is.
func (s *Store) idToken(c *api.Call, u *use, row *codeRow, p *identity.Person, code, access string) (api.Secret, error) {
	k, err := store.LoadJSON[signRow](c, s.Store, signKey(c.Namespace.ID, u.client.Key))
	if err != nil {
		return api.Secret{}, err
	}
	if k == nil {
		return api.Secret{}, api.Errorf(api.Invalid, "key: there is no such key")
	}
	all, err := s.told(c, u, &row.grant, p)
	if err != nil {
		return api.Secret{}, err
	}
	ours := map[string]any{"iss": s.providerIssuer(c.Namespace, u.name, u.provider), "sub": p.ID, "aud": u.client.ID, "namespace": c.Namespace.ID, "iat": c.Now.Unix(),
		"exp": c.Now.Add(u.client.IDTTL).Unix(), "at_hash": half(k.Now.Alg, access), "c_hash": half(k.Now.Alg, code)}
	if row.Nonce != "" {
		ours["nonce"] = row.Nonce
	}
	if !row.LoggedIn.IsZero() {
		ours["auth_time"] = row.LoggedIn.Unix()
	}
	return signWith(k.Now, all, ours)
}

// half is the left half of a hash of a text (OpenID Connect Core 1.0, section 3.1.3.6).
func half(alg, text string) string {
	var h hash.Hash
	switch jose.SignatureAlgorithm(alg) {
	case jose.RS384, jose.ES384:
		h = sha512.New384()
	case jose.RS512, jose.ES512, jose.EdDSA:
		h = sha512.New()
	default:
		h = sha256.New()
	}
	h.Write([]byte(text))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// told are the claims of the scopes of a grant that the provider still supports. Of two scopes that have the
// same claim, the first tells it.
func (s *Store) told(c *api.Call, u *use, g *grant, p *identity.Person) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for _, name := range u.provider.Scopes {
		if !slices.Contains(g.Scopes, name) {
			continue
		}
		r, err := store.LoadJSON[scopeRow](c, s.Store, scopeKey(c.Namespace.ID, name))
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		some, err := claims(r.Template, p, c.Namespace.ID, c.Now)
		if err != nil {
			return nil, err
		}
		for claim, v := range some {
			if _, has := all[claim]; !has {
				all[claim] = v
			}
		}
	}
	return all, nil
}

// userinfo tells the holder of an access token who it is about.
func (s *Store) userinfo(c *api.Call, q *ProviderName) (*api.Raw, error) {
	bad := &refusal{Code: "invalid_token", Why: "access token is not valid", status: 401}
	text := c.Caller.Token.Reveal()
	if !strings.HasPrefix(text, accessPrefix) || len(text) != len(accessPrefix)+accessLen {
		return bad.raw()
	}
	g, err := store.LoadJSON[grant](c, s.Store, accessKey(c.Namespace.ID, text))
	if err != nil {
		return nil, err
	}
	if g == nil || !g.Until.After(c.Now) || g.Provider != string(q.Name) {
		return bad.raw()
	}
	u, err := s.permitted(c, g.Provider, g.ClientID)
	if err != nil {
		return nil, err
	}
	if u == nil || u.provider.ID != g.Made {
		return bad.raw()
	}
	p, err := s.granted(c, u, g)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return bad.raw()
	}
	all, err := s.told(c, u, g, p)
	if err != nil {
		return nil, err
	}
	if all["sub"], err = json.Marshal(p.ID); err != nil {
		return nil, err
	}
	return api.JSON(0, all)
}

// end removes a code or access token that has expired.
func (s *Store) end(ctx context.Context, job *schedule.Job) error {
	key := string(job.Data)
	if !strings.HasPrefix(key, area(job.Namespace, "code")) && !strings.HasPrefix(key, area(job.Namespace, "access")) {
		return nil
	}
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		g, err := load[grant](tx, key)
		if err != nil || g == nil || g.Until.After(s.Now()) {
			return err
		}
		tx.Delete(key)
		return nil
	})
	return err
}
