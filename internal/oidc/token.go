package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// maxToken bounds a token that is shown to be judged, in bytes. Longer ones are not read.
const maxToken = 128 << 10

// TokenAnswer is a token about the caller.
type TokenAnswer struct {
	ClientID string        `json:"client_id" audit:"clear"`
	Token    api.Disclosed `json:"token"`
	TTL      api.Duration  `json:"ttl"`
}

// token makes a token about the caller's entity, as a role says.
func (s *Store) token(c *api.Call, q *RoleName) (*TokenAnswer, error) {
	ns := c.Namespace.ID
	p, err := s.caller(c)
	if err != nil {
		return nil, err
	}
	r, err := store.LoadJSON[roleRow](c, s.Store, roleKey(ns, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.Errorf(api.Invalid, "role not found")
	}
	k, err := store.LoadJSON[keyRow](c, s.Store, keyKey(ns, r.Key))
	if err != nil {
		return nil, err
	}
	if k == nil || !k.allows(r.ClientID) {
		return nil, api.Errorf(api.Invalid, "the key of the role does not allow its client id; allowed_client_ids of the key says which it does")
	}
	all, err := claims(r.Template, p, ns, c.Now)
	if err != nil {
		return nil, err
	}
	issuer, err := s.issuer(c, c.Namespace)
	if err != nil {
		return nil, err
	}
	signed, err := s.sign(c, ns, r.Key, all, map[string]any{"iss": issuer, "sub": p.ID, "aud": r.ClientID, "namespace": ns,
		"iat": c.Now.Unix(), "exp": c.Now.Add(r.TTL).Unix()})
	if err != nil {
		return nil, err
	}
	return &TokenAnswer{r.ClientID, signed.Disclose(), api.Duration(r.TTL)}, nil
}

// sign makes a token of claims of a template and those that are ours.
func (s *Store) sign(ctx context.Context, ns, key string, all map[string]json.RawMessage, ours map[string]any) (api.Secret, error) {
	row, err := store.LoadJSON[signRow](ctx, s.Store, signKey(ns, key))
	if err != nil {
		return api.Secret{}, err
	}
	if row == nil {
		return api.Secret{}, api.Errorf(api.Invalid, "key: there is no such key")
	}
	return signWith(row.Now, all, ours)
}

// signWith signs claims; those that are ours come last.
func signWith(key pair, all map[string]json.RawMessage, ours map[string]any) (api.Secret, error) {
	for name, v := range ours {
		b, err := json.Marshal(v)
		if err != nil {
			return api.Secret{}, fmt.Errorf("oidc: encoding a claim: %w", err)
		}
		all[name] = b
	}
	payload, err := json.Marshal(all)
	if err != nil {
		return api.Secret{}, fmt.Errorf("oidc: encoding claims: %w", err)
	}
	signer, err := key.signer()
	if err != nil {
		return api.Secret{}, err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return api.Secret{}, fmt.Errorf("oidc: signing: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return api.Secret{}, fmt.Errorf("oidc: signing: %w", err)
	}
	return api.NewSecret(text), nil
}

// IntrospectRequest asks whether a token counts.
type IntrospectRequest struct {
	Token    api.Secret `json:"token"`                   // The token.
	ClientID string     `json:"client_id" audit:"clear"` // What it must be for; empty: that is not looked at.
}

// verdict is whether a token counts (RFC 7662).
type verdict struct {
	Active bool   `json:"active"`
	Error  string `json:"error,omitempty"`
}

// introspect tells whether an identity token counts: it was signed with one of the keys, has not expired, and
// who it is about is still there and not disabled.
func (s *Store) introspect(c *api.Call, q *IntrospectRequest) (*api.Raw, error) {
	why, err := s.judge(c, q)
	if err != nil {
		return nil, err
	}
	return api.JSON(0, verdict{why == "", why})
}

// judge is why a token does not count; empty: it does.
func (s *Store) judge(c *api.Call, q *IntrospectRequest) (string, error) {
	if q.Token.Empty() || q.Token.Len() > maxToken {
		return "unable to parse the token", nil
	}
	signed, err := jwt.ParseSigned(q.Token.Reveal(), algorithms[:])
	if err != nil || len(signed.Headers) != 1 {
		return "unable to parse the token", nil
	}
	key, err := s.verifier(c, signed.Headers[0])
	if err != nil {
		return "", err
	}
	issuer, err := s.issuer(c, c.Namespace)
	if err != nil {
		return "", err
	}
	var said jwt.Claims
	switch {
	case key == nil || signed.Claims(key, &said) != nil:
		return "unable to validate the token signature", nil
	case said.Issuer != issuer:
		return "the token is from another issuer", nil
	case said.Expiry == nil || !c.Now.Before(said.Expiry.Time()) || said.NotBefore != nil && c.Now.Before(said.NotBefore.Time()):
		return "the token has expired, or is not valid yet", nil
	case q.ClientID != "" && !slices.Contains(said.Audience, q.ClientID):
		return "the token is for another client id", nil
	}
	p, err := s.someone(c, c.Namespace.ID, said.Subject)
	if err == nil && p == nil {
		return "the entity is unknown or disabled", nil
	}
	return "", err
}

// verifier is the public key that a token says it was signed with; nil: there is none, or
// it is of another algorithm.
func (s *Store) verifier(c *api.Call, h jose.Header) (any, error) {
	all, err := s.public(c)
	if err != nil {
		return nil, err
	}
	for _, k := range all.keys {
		for i := range k.Public {
			p := &k.Public[i]
			if p.ID != h.KeyID || p.Alg != h.Algorithm || !p.live(c.Now) {
				continue
			}
			web, err := p.web()
			return web.Key, err
		}
	}
	if len(all.damaged) > 0 { // it may be one of those
		return nil, all.unreadable()
	}
	return nil, nil
}

// published is what a namespace tells everybody. It is shared and holds nothing secret.
type published struct {
	keys    map[string]*keyRow
	damaged []store.Entry // rows of keys
	roles   users
	clients users
}

// users are what uses keys. Where the row of one is damaged, it may use any.
type users struct {
	keys map[string]string // by who uses it
	any  bool
}

// public is what the call's namespace tells everybody. While nothing of its keys can be read, that is an error: an empty set would say that
// nothing was ever signed.
func (s *Store) public(c *api.Call) (*published, error) {
	p, err := s.published.Get(c, c.Namespace.ID)
	if err == nil && len(p.damaged) > 0 { // it may be readable by now though its own row has not changed: the one of the namespace's key has
		p, err = s.loadPublished(c, s.Store, c.Namespace.ID)
	}
	if err == nil && len(p.keys) == 0 && len(p.damaged) > 0 {
		return nil, p.unreadable()
	}
	return p, err
}

func (p *published) unreadable() error {
	return fmt.Errorf("oidc: row %q cannot be read: %w", p.damaged[0].Key, store.ErrCorrupt)
}

func (s *Store) loadPublished(ctx context.Context, r store.Reader, ns string) (*published, error) {
	p := &published{keys: map[string]*keyRow{}, roles: users{keys: map[string]string{}}, clients: users{keys: map[string]string{}}}
	var err error
	if p.damaged, err = sift(ctx, r, area(ns, "key"), func(name string, k *keyRow) { p.keys[name] = k }); err != nil {
		return nil, err
	}
	roles, err := sift(ctx, r, area(ns, "role"), func(name string, r *roleRow) { p.roles.keys[name] = r.Key })
	if err != nil {
		return nil, err
	}
	clients, err := sift(ctx, r, area(ns, "client"), func(_ string, r *clientRow) { p.clients.keys[r.ID] = r.Key })
	p.roles.any, p.clients.any = len(roles) > 0, len(clients) > 0
	return p, err
}

// of are the keys of those users that are asked for. One whose row is damaged would otherwise have what it signed
// taken for forged; a public key more harms nobody.
func (u *users) of(wanted func(user string) bool) func(key string) bool {
	keys := map[string]bool{}
	for user, key := range u.keys {
		if wanted(user) {
			keys[key] = true
		}
	}
	return func(key string) bool { return u.any || keys[key] }
}

// answer is the public keys of the named keys that are asked for. While the row of one is damaged, it is not among them, and nobody
// may keep the others as if they were all.
func (p *published) answer(now time.Time, wanted func(name string) bool) (*api.Raw, error) {
	set, err := p.webKeys(now, wanted)
	switch {
	case err != nil:
		return nil, err
	case len(p.damaged) > 0:
		return api.JSON(0, set)
	}
	return keepable(keepKeys, set)
}

// webKeys are the public keys of the named keys that are asked for, in the order of their identifiers.
func (p *published) webKeys(now time.Time, wanted func(name string) bool) (*jose.JSONWebKeySet, error) {
	out := &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for name, k := range p.keys {
		if !wanted(name) {
			continue
		}
		for i := range k.Public {
			if !k.Public[i].live(now) {
				continue
			}
			w, err := k.Public[i].web()
			if err != nil {
				return nil, err
			}
			out.Keys = append(out.Keys, w)
		}
	}
	slices.SortFunc(out.Keys, func(a, b jose.JSONWebKey) int { return strings.Compare(a.KeyID, b.KeyID) })
	return out, nil
}
