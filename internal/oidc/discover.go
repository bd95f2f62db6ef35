package oidc

import (
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// For how long others may keep what is published. A key is published for a whole period before it
// signs.
const (
	keepKeys   = 5 * time.Minute
	keepConfig = time.Hour
)

// document is the configuration of an issuer (OpenID Connect Discovery 1.0).
type document struct {
	Issuer        string   `json:"issuer"`
	Keys          string   `json:"jwks_uri"`
	Authorize     string   `json:"authorization_endpoint,omitempty"`
	Token         string   `json:"token_endpoint,omitempty"`
	UserInfo      string   `json:"userinfo_endpoint,omitempty"`
	RequestParam  *bool    `json:"request_parameter_supported,omitempty"`
	RequestURI    *bool    `json:"request_uri_parameter_supported,omitempty"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes []string `json:"response_types_supported"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	Claims        []string `json:"claims_supported,omitempty"`
	Subjects      []string `json:"subject_types_supported"`
	Grants        []string `json:"grant_types_supported,omitempty"`
	ClientAuth    []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	Challenges    []string `json:"code_challenge_methods_supported,omitempty"`
	TellsIssuer   bool     `json:"authorization_response_iss_parameter_supported,omitempty"` // RFC 9207
}

func algorithmNames() []string {
	out := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		out = append(out, string(a))
	}
	return out
}

// configuration tells everybody who identity tokens are from and where the keys are.
func (s *Store) configuration(c *api.Call, _ *api.None) (*api.Raw, error) {
	issuer, err := s.issuer(c, c.Namespace)
	if err != nil {
		return nil, err
	}
	return keepable(keepConfig, document{Issuer: issuer, Keys: issuer + "/.well-known/keys", Algorithms: algorithmNames(),
		ResponseTypes: []string{"id_token"}, Subjects: []string{"public"}})
}

// keys tells everybody the public keys that identity tokens of roles are checked with: the ones that sign, the next ones,
// and those whose tokens still count.
func (s *Store) keys(c *api.Call, _ *api.None) (*api.Raw, error) {
	all, err := s.public(c)
	if err != nil {
		return nil, err
	}
	return all.answer(c.Now, all.roles.of(func(string) bool { return true }))
}

// keepable is an answer that everybody may keep for a while.
func keepable(span time.Duration, v any) (*api.Raw, error) {
	raw, err := api.JSON(0, v)
	if err == nil {
		raw.Keep = span
	}
	return raw, err
}
