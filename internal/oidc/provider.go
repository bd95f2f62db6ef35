package oidc

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/store"
)

// providerRow is a provider.
type providerRow struct {
	ID      string   `json:"id,omitempty"` // no other's, of the same name later neither; the default one has none
	Issuer  string   `json:"issuer,omitempty"`
	Clients []string `json:"clients,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
	Paths   []string `json:"paths,omitempty"` // of auth methods, without a slash at the ends
}

func providerKey(ns, name string) string { return area(ns, "provider") + name }

// ProviderName names a provider.
type ProviderName struct {
	Name api.Name `path:"name"` // Name of the provider.
}

// ProviderRequest creates a provider or changes one; what is absent stays as it was.
type ProviderRequest struct {
	Name             api.Name  `path:"name"`                             // Name of the provider.
	Issuer           *string   `json:"issuer" audit:"clear"`             // Scheme, host and port that its issuer begins with; empty: the server's address.
	AllowedClientIDs *[]string `json:"allowed_client_ids" audit:"clear"` // Client ids of the clients that may use it; * is all.
	ScopesSupported  *[]string `json:"scopes_supported" audit:"clear"`   // Scopes that clients may ask for, beside openid.
	SignInPaths      *[]string `json:"sign_in_paths" audit:"clear"`      // Paths of the auth methods that people sign in with at the provider's page, such as ldap, the preset one first. Of one the page does not ask; without any, it asks people for the path.
}

// ProviderAnswer is a provider as it is read.
type ProviderAnswer struct {
	AllowedClientIDs []string `json:"allowed_client_ids" audit:"clear"`
	Issuer           string   `json:"issuer" audit:"clear"`
	ScopesSupported  []string `json:"scopes_supported" audit:"clear"`
	SignInPaths      []string `json:"sign_in_paths,omitempty" audit:"clear"`
}

// providerIssuer is who ID tokens of a provider are from.
func (s *Store) providerIssuer(ns api.Namespace, name string, p *providerRow) string {
	return s.base(p.Issuer, ns) + "/provider/" + name
}

// provider is a provider; nil: there is none. The default one is always there.
func (s *Store) provider(c *api.Call, name string) (*providerRow, error) {
	p, err := store.LoadJSON[providerRow](c, s.Store, providerKey(c.Namespace.ID, name))
	if err == nil && p == nil && name == defaultName {
		p = &providerRow{Clients: []string{anyone}}
	}
	return p, err
}

func (s *Store) showProvider(ns api.Namespace, name string, p *providerRow) *ProviderAnswer {
	return &ProviderAnswer{api.Full(p.Clients), s.providerIssuer(ns, name, p), api.Full(p.Scopes), p.Paths}
}

// readProvider shows a provider.
func (s *Store) readProvider(c *api.Call, q *ProviderName) (*ProviderAnswer, error) {
	p, err := s.provider(c, string(q.Name))
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, api.ErrNotFound()
	}
	return s.showProvider(c.Namespace, string(q.Name), p), nil
}

// hasProvider tells a create from an update.
func (s *Store) hasProvider(c *api.Call, q *ProviderRequest) (bool, error) {
	p, err := s.provider(c, string(q.Name))
	return p != nil, err
}

// writeProvider creates a provider, or changes one.
func (s *Store) writeProvider(c *api.Call, q *ProviderRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	ns, name, id := c.Namespace.ID, string(q.Name), api.NewUUID()
	var p *providerRow
	err := s.change(c, ns, func(tx *store.Tx) (err error) {
		if p, err = load[providerRow](tx, providerKey(ns, name)); err != nil {
			return err
		}
		if p == nil {
			p = &providerRow{ID: id}
			if name == defaultName { // which was there before it had a row
				p = &providerRow{Clients: []string{anyone}}
			}
		}
		if err := q.apply(p); err != nil {
			return err
		}
		for _, n := range p.Scopes {
			if e, err := tx.Get(scopeKey(ns, n)); err != nil || !e.Exists() {
				return orInvalid(err, "scopes_supported: one of them does not exist")
			}
		}
		return tx.PutJSON(providerKey(ns, name), p)
	})
	if err != nil {
		return nil, err
	}
	return nil, s.doubtProvider(c, p.Clients, p.Paths)
}

func orInvalid(err error, message string) error {
	if err != nil {
		return err
	}
	return api.Errorf(api.Invalid, "%s", message)
}

// apply changes a provider as asked.
func (q *ProviderRequest) apply(p *providerRow) (err error) {
	if q.Issuer != nil {
		if p.Issuer, err = checkIssuer(*q.Issuer); err != nil {
			return err
		}
	}
	api.Set(&p.Clients, q.AllowedClientIDs)
	if q.ScopesSupported != nil {
		p.Scopes = nil
		for _, n := range *q.ScopesSupported {
			if n = keyName(n); n != openID && !slices.Contains(p.Scopes, n) {
				p.Scopes = append(p.Scopes, n)
			}
		}
	}
	if q.SignInPaths != nil {
		if p.Paths, err = signInPaths(*q.SignInPaths); err != nil {
			return err
		}
	}
	if err := checkList("allowed_client_ids", p.Clients); err != nil {
		return err
	}
	for _, n := range p.Scopes {
		if strings.Contains(n, "/") {
			return api.Errorf(api.Invalid, "scopes_supported: one of them does not exist")
		}
	}
	return checkList("scopes_supported", p.Scopes)
}

// removeProvider deletes a provider. Its codes and access tokens count no more.
func (s *Store) removeProvider(c *api.Call, q *ProviderName) (*api.None, error) {
	if q.Name == defaultName {
		return nil, api.Errorf(api.Invalid, "deletion of OIDC provider %q not allowed", defaultName)
	}
	return nil, s.change(c, c.Namespace.ID, func(tx *store.Tx) error {
		tx.Delete(providerKey(c.Namespace.ID, string(q.Name)))
		return nil
	})
}

// ProvidersRequest asks for the providers.
type ProvidersRequest struct {
	AllowedClientID string `json:"allowed_client_id" audit:"clear"` // List those alone that this client may use.
}

// listProviders names the providers, with their settings.
func (s *Store) listProviders(c *api.Call, q *ProvidersRequest) (*api.Keys, error) {
	stored := false // the default one
	show := func(name string, p *providerRow) any {
		stored = stored || name == defaultName
		if q.AllowedClientID != "" && !p.allows(q.AllowedClientID) {
			return nil
		}
		return s.showProvider(c.Namespace, name, p)
	}
	out, err := list(c, s.Store, area(c.Namespace.ID, "provider"), show)
	if err != nil || stored || slices.Contains(out.Keys, defaultName) {
		return out, err
	}
	p, err := s.provider(c, defaultName)
	if err != nil {
		return nil, err
	}
	out.Keys, out.Info[defaultName] = append(out.Keys, defaultName), show(defaultName, p)
	slices.Sort(out.Keys)
	return out, nil
}

func (p *providerRow) allows(clientID string) bool {
	return slices.Contains(p.Clients, anyone) || slices.Contains(p.Clients, clientID)
}

// use is a client at a provider.
type use struct {
	name     string // of the provider
	provider *providerRow
	client   *clientRow
}

// permitted is the one place that says whether a client may use a provider: the way to a code, to a token and
// to what is known of a person all ask here (GHSA-7qjx-gp9h-65qj). nil: it may not.
func (s *Store) permitted(c *api.Call, name, clientID string) (*use, error) {
	p, err := s.provider(c, name)
	if err != nil || p == nil {
		return nil, err
	}
	r, err := s.client(c, clientID)
	if err != nil || r == nil || r.NoCode || !p.allows(r.ID) {
		return nil, err
	}
	k, err := store.LoadJSON[keyRow](c, s.Store, keyKey(c.Namespace.ID, r.Key))
	if err != nil || k == nil || !k.allows(r.ID) {
		return nil, err
	}
	return &use{name, p, r}, nil
}

// assigned reports whether a person may log in to a client.
func (s *Store) assigned(c *api.Call, client *clientRow, p *identity.Person) (bool, error) {
	groups, _ := p.Groups(c.Namespace.ID)
	for _, name := range client.Assignments {
		if name == allowAll {
			return true, nil
		}
		a, err := store.LoadJSON[assignmentRow](c, s.Store, assignmentKey(c.Namespace.ID, name))
		if err != nil {
			return false, err
		}
		if a == nil {
			continue
		}
		if slices.Contains(a.Entities, anyone) || slices.Contains(a.Entities, p.ID) ||
			slices.ContainsFunc(a.Groups, func(g string) bool { return slices.Contains(groups, g) }) {
			return true, nil
		}
	}
	return false, nil
}

// describe tells everybody where the endpoints of a provider are, and what it supports.
func (s *Store) describe(c *api.Call, q *ProviderName) (*api.Raw, error) {
	p, err := s.provider(c, string(q.Name))
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, api.ErrNotFound()
	}
	at, no := s.providerIssuer(c.Namespace, string(q.Name), p), false
	return keepable(keepConfig, document{Issuer: at, Keys: at + "/.well-known/keys", Authorize: at + "/sign-in", Token: at + "/token", UserInfo: at + "/userinfo",
		RequestParam: &no, RequestURI: &no, Algorithms: algorithmNames(), ResponseTypes: []string{"code"}, Scopes: append([]string{openID}, p.Scopes...),
		Claims: []string{}, Subjects: []string{"public"}, Grants: []string{"authorization_code"},
		ClientAuth: []string{"none", "client_secret_basic", "client_secret_post"}, Challenges: []string{"S256"}, TellsIssuer: true})
}

// providerKeys tells everybody the public keys that ID tokens of a provider are checked with.
func (s *Store) providerKeys(c *api.Call, q *ProviderName) (*api.Raw, error) {
	p, err := s.provider(c, string(q.Name))
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, api.ErrNotFound()
	}
	all, err := s.public(c)
	if err != nil {
		return nil, err
	}
	return all.answer(c.Now, all.clients.of(p.allows))
}
