package server

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// randomToken is a root token for a development server, of 160 random bits.
func randomToken() (string, error) {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return "dev-" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}
