package oidc

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
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
// reads and the server does not: the parameters are those of authorize.
type SignInRequest struct {
	Name api.Name `path:"name"` // Name of the provider.
}

// signIn is the page to which applications send browsers. It is the same for all, holds nothing, and needs no token: its
// script logs in, asks authorize as whoever has logged in, and goes where authorize has found that it may.
func (s *Store) signIn(*api.Call, *SignInRequest) (*api.Raw, error) {
	return &api.Raw{ContentType: "text/html; charset=utf-8", Body: []byte(strings.NewReplacer("{{script}}", pageScript, "{{style}}", pageStyle).Replace(pageHTML)),
		Policy: "default-src 'none'; script-src " + hashOf(pageScript) + "; style-src " + hashOf(pageStyle) + "; connect-src 'self'" +
			"; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"}, nil
}

// hashOf names a text in a page's policy (Content Security Policy Level 3, section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
