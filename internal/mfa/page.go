package mfa

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

// page is the page at which a browser makes and shows passkeys for a program on the same machine, such as the
// command line. It is the same for all, holds nothing, and hands what it gets to 127.0.0.1 alone.
func (s *Store) page(*api.Call, *api.None) (*api.Raw, error) {
	sum := sha256.Sum256([]byte(pageScript))
	return &api.Raw{ContentType: "text/html; charset=utf-8", Body: []byte(strings.Replace(pageHTML, "{{script}}", pageScript, 1)),
		Policy: "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"}, nil
}
