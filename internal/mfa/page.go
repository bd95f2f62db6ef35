package mfa

import (
	_ "embed" // the page

	"github.com/strongroom/strongroom/internal/api"
)

//go:embed page.html
var pageHTML string

//go:embed page.js
var pageScript string

// page is the page at which a browser makes and shows passkeys for a program on the same machine, such as the
// command line. It is the same for all, holds nothing, and hands what it gets to 127.0.0.1 alone.
func (s *Store) page(*api.Call, *api.None) (*api.Raw, error) {
	return api.Page(pageHTML, pageScript, "", "form-action http://127.0.0.1:*"), nil
}
