package oidc

import (
	_ "embed" // the page
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

//go:embed page.html
var pageHTML string

//go:embed page.js
var pageScript string

//go:embed page.css
var pageStyle string

// SignInRequest opens the page at which people sign in. What their application asks for stands in the query, which the page
// reads and hands on: the parameters are those of authorize.
type SignInRequest struct {
	Name api.Name `path:"name"` // Name of the provider.
}

// signIn is the page to which applications send browsers. It is the same for all, holds nothing, and needs no token: its
// script has judged what the application asks, logs in, asks authorize as whoever has logged in, and goes where it was told that it may.
func (s *Store) signIn(*api.Call, *SignInRequest) (*api.Raw, error) {
	return api.Page(pageHTML, pageScript, pageStyle, "connect-src 'self'", "form-action 'none'"), nil
}

// terms are what the page is told of what may be asked.
type terms struct {
	Back  string   `json:"redirect_uri"`            // of the application
	Paths []string `json:"sign_in_paths,omitempty"` // of auth methods; none: the person writes one
}

// pageTypes are those of the auth methods that the page logs in by: a name and a password are all that they ask.
var pageTypes = [...]string{"userpass", "ldap", "radius"}

// signInPaths are paths of auth methods in their one spelling, each once.
func signInPaths(given []string) ([]string, error) {
	if err := checkList("sign_in_paths", given); err != nil {
		return nil, err
	}
	var out []string
	for _, text := range given {
		at := strings.TrimPrefix(strings.Trim(text, "/"), "auth/")
		if at == "" || path.Clean(at) != at || strings.HasPrefix(at, ".") {
			return nil, api.Errorf(api.Invalid, "sign_in_paths: one of them is no path of an auth method, such as ldap")
		}
		if !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out, nil
}

// doubtPaths warns of paths by which nobody can sign in.
func (s *Store) doubtPaths(c *api.Call, paths []string) error {
	for _, at := range paths {
		kind, err := s.AuthType(c, c.Namespace.ID, at)
		switch {
		case err != nil:
			return err
		case kind == "":
			c.Warn("sign_in_paths: at one of them this namespace has no auth method")
			return nil
		case !slices.Contains(pageTypes[:], kind):
			c.Warn("sign_in_paths: at one of them is an auth method that the page cannot log in by; it knows " + strings.Join(pageTypes[:], ", "))
			return nil
		}
	}
	return nil
}

// judgeSignIn judges what an application asks for, before anybody signs in. A refusal with a redirect_uri is told to the application
// there (RFC 6749, section 4.1.2.1). One without is shown to the person alone: the address may be anybody's. It needs no token.
func (s *Store) judgeSignIn(c *api.Call, q *AuthorizeRequest) (*api.Raw, error) {
	client, no, err := s.asks(c, q)
	switch {
	case err != nil:
		return nil, err
	case no != nil:
		return no.to(q)
	}
	u, no, err := s.asked(c, q, client)
	switch {
	case err != nil:
		return nil, err
	case no == nil && slices.Contains(strings.Fields(q.Prompt), "none"):
		no = refuse("login_required", "nobody stays signed in here")
	}
	if no != nil {
		p, err := s.provider(c, string(q.Name))
		if err != nil {
			return nil, err
		}
		if no.Back = q.RedirectURI; p != nil {
			no.Issuer = s.providerIssuer(c.Namespace, string(q.Name), p)
		}
		return no.to(q)
	}
	return api.JSON(0, terms{q.RedirectURI, u.provider.Paths})
}
