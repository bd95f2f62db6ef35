package oidc

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// The kinds of client (RFC 6749, section 2.1).
const (
	confidential = "confidential" // keeps a secret
	publicClient = "public"       // cannot, and proves by PKCE that it is who began
)

// secretPrefix begins the secrets of clients.
const secretPrefix = "sro_secret_"

// clientRow is who lets people log in through a provider.
type clientRow struct {
	ID          string        `json:"id"`
	Secret      string        `json:"secret,omitempty"`
	Type        string        `json:"type"`
	Redirects   []string      `json:"redirects,omitempty"`
	Assignments []string      `json:"assignments,omitempty"`
	Key         string        `json:"key"`
	IDTTL       time.Duration `json:"id_ttl"`
	AccessTTL   time.Duration `json:"access_ttl"`
	NoCode      bool          `json:"no_code,omitempty"` // nobody logs in by a code
}

func clientKey(ns, name string) string { return area(ns, "client") + name }
func clientByID(ns, id string) string  { return area(ns, "client-id") + id }

// idRow is the value of the row that finds a client.
type idRow struct {
	Name string `json:"name"`
}

// ClientName names a client.
type ClientName struct {
	Name api.Name `path:"name"` // Name of the client.
}

// ClientRequest creates a client or changes one; what is absent stays as it was.
type ClientRequest struct {
	Name              api.Name      `path:"name"`                        // Name of the client.
	RedirectURIs      *[]string     `json:"redirect_uris" audit:"clear"` // Where people are sent back to; a request must name one of them exactly.
	Assignments       *[]string     `json:"assignments" audit:"clear"`   // Who may log in: names of assignments. Without any, nobody may.
	Key               *string       `json:"key" audit:"clear"`           // The named key that signs; default unless it is said. It cannot be changed.
	IDTokenTTL        *api.Duration `json:"id_token_ttl"`                // How long ID tokens are valid; 24 hours unless it is said, and no longer than the key's verification_ttl.
	AccessTokenTTL    *api.Duration `json:"access_token_ttl"`            // How long access tokens are valid; 24 hours unless it is said.
	ClientType        *string       `json:"client_type" audit:"clear"`   // confidential, which has a secret, or public, which must use PKCE. It cannot be changed.
	AuthorizationCode *bool         `json:"authorization_code"`          // People may log in by an authorization code; true unless it is said.
	ClientCredentials *bool         `json:"client_credentials"`          // Tokens for the client itself, which this server does not make: only false is taken.
}

// ClientAnswer is a client as it is read.
type ClientAnswer struct {
	AccessTokenTTL    api.Duration  `json:"access_token_ttl"`
	Assignments       []string      `json:"assignments" audit:"clear"`
	AuthorizationCode bool          `json:"authorization_code"`
	ClientCredentials bool          `json:"client_credentials"`
	ClientID          string        `json:"client_id" audit:"clear"`
	ClientSecret      api.Disclosed `json:"client_secret,omitempty"`
	ClientType        string        `json:"client_type" audit:"clear"`
	IDTokenTTL        api.Duration  `json:"id_token_ttl"`
	Key               string        `json:"key" audit:"clear"`
	RedirectURIs      []string      `json:"redirect_uris" audit:"clear"`
}

func (r *clientRow) answer() *ClientAnswer {
	return &ClientAnswer{AccessTokenTTL: api.Duration(r.AccessTTL), Assignments: api.Full(r.Assignments), AuthorizationCode: !r.NoCode, ClientID: r.ID, ClientSecret: api.Disclosed(r.Secret),
		ClientType: r.Type, IDTokenTTL: api.Duration(r.IDTTL), Key: r.Key, RedirectURIs: api.Full(r.Redirects)}
}

// readClient shows a client with its secret.
func (s *Store) readClient(c *api.Call, q *ClientName) (*ClientAnswer, error) {
	r, err := store.LoadJSON[clientRow](c, s.Store, clientKey(c.Namespace.ID, string(q.Name)))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return r.answer(), nil
}

// hasClient tells a create from an update.
func (s *Store) hasClient(c *api.Call, q *ClientRequest) (bool, error) {
	e, err := s.Store.Get(c, clientKey(c.Namespace.ID, string(q.Name)))
	return e.Exists(), err
}

// writeClient creates a client, or changes one.
func (s *Store) writeClient(c *api.Call, q *ClientRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	if q.Key == nil || keyName(*q.Key) == defaultName {
		if err := s.ensureDefault(c, defaultName); err != nil {
			return nil, err
		}
	}
	ns, name, id, secret := c.Namespace.ID, string(q.Name), random(clientIDLen), secretPrefix+random(secretLen)
	var r *clientRow
	err := s.change(c, ns, func(tx *store.Tx) (err error) {
		if r, err = load[clientRow](tx, clientKey(ns, name)); err != nil {
			return err
		}
		isNew := r == nil
		if isNew {
			r = &clientRow{ID: id, Type: confidential, Key: defaultName, IDTTL: defaultPeriod, AccessTTL: defaultPeriod}
		}
		if err := q.apply(r, isNew); err != nil {
			return err
		}
		if isNew && r.Type == confidential {
			r.Secret = secret
		}
		if err := s.signable(tx, ns, r.Key, "id_token_ttl", r.IDTTL); err != nil {
			return err
		}
		if err := s.assignable(tx, ns, r.Assignments); err != nil {
			return err
		}
		if err := tx.PutJSON(clientByID(ns, r.ID), idRow{name}); err != nil {
			return err
		}
		return tx.PutJSON(clientKey(ns, name), r)
	})
	if err == nil {
		doubtClient(c, r.Redirects, r.Assignments)
	}
	return nil, err
}

// apply changes a client as asked.
func (q *ClientRequest) apply(r *clientRow, isNew bool) error {
	if q.Key != nil && keyName(*q.Key) != r.Key {
		if r.Key = keyName(*q.Key); !isNew {
			return api.Errorf(api.Invalid, "key modification is not allowed")
		}
	}
	if q.ClientType != nil && *q.ClientType != r.Type {
		if r.Type = *q.ClientType; !isNew {
			return api.Errorf(api.Invalid, "client_type modification is not allowed")
		}
	}
	api.Set(&r.Redirects, q.RedirectURIs)
	api.Set(&r.Assignments, q.Assignments)
	api.Set((*api.Duration)(&r.IDTTL), q.IDTokenTTL)
	api.Set((*api.Duration)(&r.AccessTTL), q.AccessTokenTTL)
	if q.AuthorizationCode != nil {
		r.NoCode = !*q.AuthorizationCode
	}
	switch {
	case r.Type != confidential && r.Type != publicClient:
		return api.Errorf(api.Invalid, "invalid client_type: must be confidential or public")
	case q.ClientCredentials != nil && *q.ClientCredentials:
		return api.Errorf(api.Invalid, "client_credentials: this server makes no tokens for clients themselves")
	case r.IDTTL < time.Second || r.IDTTL > maxSpan || r.AccessTTL < time.Second || r.AccessTTL > maxSpan:
		return api.Errorf(api.Invalid, "id_token_ttl and access_token_ttl: must be between a second and ten years")
	}
	for i, a := range r.Assignments {
		r.Assignments[i] = keyName(a)
	}
	return checkRedirects(r.Redirects)
}

// checkRedirects takes absolute addresses without a fragment (RFC 6749, section 3.1.2) that do not
// have a browser run what they say.
func checkRedirects(list []string) error {
	if err := checkList("redirect_uris", list); err != nil {
		return err
	}
	for _, text := range list {
		u, err := url.Parse(text)
		bad := err != nil || u.Scheme == "" || strings.Contains(text, "#") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' })
		if bad || slices.Contains([]string{"javascript", "data", "vbscript", "file", "blob", "about"}, u.Scheme) || strings.HasPrefix(u.Scheme, "http") && u.Hostname() == "" {
			return api.Errorf(api.Invalid, "redirect_uris: must be absolute addresses without a fragment, such as https://app.example.com/callback")
		}
	}
	return nil
}

// assignable refuses assignments that are not there.
func (s *Store) assignable(tx *store.Tx, ns string, names []string) error {
	if err := checkList("assignments", names); err != nil {
		return err
	}
	for _, n := range names {
		if n == allowAll {
			continue
		}
		e, err := tx.Get(assignmentKey(ns, n))
		if err != nil {
			return err
		}
		if !e.Exists() {
			return api.Errorf(api.Invalid, "assignments: one of them does not exist")
		}
	}
	return nil
}

// removeClient deletes a client. Its codes and access tokens count no more.
func (s *Store) removeClient(c *api.Call, q *ClientName) (*api.None, error) {
	ns, name := c.Namespace.ID, string(q.Name)
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		r, err := load[clientRow](tx, clientKey(ns, name))
		if err != nil || r == nil {
			return err
		}
		tx.Delete(clientKey(ns, name))
		tx.Delete(clientByID(ns, r.ID))
		return nil
	})
}

// listClients names the clients, with what is not secret of them.
func (s *Store) listClients(c *api.Call, _ *api.None) (*api.Keys, error) {
	return list(c, s.Store, area(c.Namespace.ID, "client"), func(_ string, r *clientRow) any {
		a := r.answer()
		a.ClientSecret = ""
		return a
	})
}

// client is the client with an identifier; nil: there is none.
func (s *Store) client(c *api.Call, id string) (*clientRow, error) {
	if id == "" || len(id) > maxEntry || strings.Contains(id, "/") {
		return nil, nil
	}
	by, err := store.LoadJSON[idRow](c, s.Store, clientByID(c.Namespace.ID, id))
	if err != nil || by == nil {
		return nil, err
	}
	r, err := store.LoadJSON[clientRow](c, s.Store, clientKey(c.Namespace.ID, by.Name))
	if err != nil || r == nil || r.ID != id {
		return nil, err
	}
	return r, nil
}
