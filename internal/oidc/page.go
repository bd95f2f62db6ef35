package oidc

import (
	_ "embed" // the page

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
	return api.Page(pageHTML, pageScript, pageStyle, "connect-src 'self'", "form-action 'none'"), nil
}
