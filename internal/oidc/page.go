package oidc

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
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
	return &api.Raw{ContentType: "text/html; charset=utf-8", Body: []byte(strings.NewReplacer("{{script}}", pageScript, "{{style}}", pageStyle).Replace(pageHTML)),
		Policy: "default-src 'none'; script-src " + hashOf(pageScript) + "; style-src " + hashOf(pageStyle) + "; connect-src 'self'" +
			"; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"}, nil
}

// terms are what the page is told of what may be asked.
type terms struct {
	Back string `json:"redirect_uri"` // of the application
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
	_, no, err = s.asked(c, q, client)
	switch {
	case err != nil:
		return nil, err
	case no == nil && slices.Contains(strings.Fields(q.Prompt), "none"):
		no = refuse("login_required", "nobody stays signed in here")
	}
	if no != nil {
		no.Back = q.RedirectURI
		return no.to(q)
	}
	return api.JSON(0, terms{Back: q.RedirectURI})
}

// hashOf names a text in a page's policy (Content Security Policy Level 3, section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
