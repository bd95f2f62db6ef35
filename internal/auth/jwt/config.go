package jwt

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

const configRow = "config"

// How an OpenID provider answers a login (OAuth 2.0 Multiple Response Types, Form Post Response Mode).
const (
	byQuery = "query"
	byForm  = "form_post"
	forCode = "code"
	forID   = "id_token"
)

// config is the configuration as it is kept.
type config struct {
	ID            string         `json:"id"` // another with each change
	DiscoveryURL  string         `json:"discovery,omitempty"`
	DiscoveryCA   string         `json:"discovery_ca,omitempty"`
	ClientID      string         `json:"client_id,omitempty"`
	ClientSecret  string         `json:"client_secret,omitempty"`
	ResponseMode  string         `json:"mode,omitempty"`
	ResponseTypes []string       `json:"types,omitempty"`
	JWKSURL       string         `json:"jwks,omitempty"`
	JWKSCA        string         `json:"jwks_ca,omitempty"`
	PublicKeys    []string       `json:"keys,omitempty"` // PEM
	Algorithms    []string       `json:"algs,omitempty"`
	BoundIssuer   string         `json:"issuer,omitempty"`
	DefaultRole   string         `json:"role,omitempty"`
	Provider      map[string]any `json:"provider,omitempty"`
	InState       bool           `json:"ns_in_state,omitempty"`
}

// ConfigRequest sets the whole configuration: what is absent is unset.
type ConfigRequest struct {
	OIDCDiscoveryURL           string         `json:"oidc_discovery_url" audit:"clear"` // Address of the OpenID provider, without /.well-known/openid-configuration.
	OIDCDiscoveryCAPEM         string         `json:"oidc_discovery_ca_pem"`            // Certificates that the provider's must come from; the system's when absent.
	OIDCClientID               string         `json:"oidc_client_id" audit:"clear"`     // Client that people log in to at the provider.
	OIDCClientSecret           api.Secret     `json:"oidc_client_secret"`               // Its secret.
	OIDCResponseMode           string         `json:"oidc_response_mode"`               // How the provider answers: query or form_post.
	OIDCResponseTypes          []string       `json:"oidc_response_types"`              // What it answers: code, the usual, or id_token, by form_post alone.
	JWKSURL                    string         `json:"jwks_url" audit:"clear"`           // Address of the issuer's keys.
	JWKSCAPEM                  string         `json:"jwks_ca_pem"`                      // Certificates that the certificate of that address must come from; the system's when absent.
	JWTValidationPubkeys       []string       `json:"jwt_validation_pubkeys"`           // The issuer's public keys, in PEM.
	JWTSupportedAlgs           []string       `json:"jwt_supported_algs" audit:"clear"` // Algorithms that tokens may be signed with; all when absent, and RS256 for logins through a provider.
	BoundIssuer                string         `json:"bound_issuer" audit:"clear"`       // What iss must be in tokens; the provider's name when absent.
	DefaultRole                api.Name       `json:"default_role" audit:"clear"`       // Role of logins that name none.
	ProviderConfig             map[string]any `json:"provider_config"`                  // What is special about the provider: provider is azure, ibmisam or secureauth.
	OverrideAllowedServerNames []string       `json:"override_allowed_server_names"`    // Not supported: a certificate is for the host that is asked.
	NamespaceInState           *bool          `json:"namespace_in_state"`               // Keep the namespace in the state rather than in the redirect URI; true at first.
	JWKSPairs                  any            `json:"jwks_pairs"`                       // Not supported: a mount has one issuer.
	SkipJWKSValidation         bool           `json:"skip_jwks_validation"`             // Take the configuration though the issuer does not answer.
}

// ConfigAnswer is the configuration as it is read, without the client's secret.
type ConfigAnswer struct {
	BoundIssuer                string         `json:"bound_issuer" audit:"clear"`
	DefaultRole                string         `json:"default_role" audit:"clear"`
	JWKSCAPEM                  string         `json:"jwks_ca_pem"`
	JWKSURL                    string         `json:"jwks_url" audit:"clear"`
	JWTSupportedAlgs           []string       `json:"jwt_supported_algs" audit:"clear"`
	JWTValidationPubkeys       []string       `json:"jwt_validation_pubkeys"`
	NamespaceInState           bool           `json:"namespace_in_state"`
	OIDCClientID               string         `json:"oidc_client_id" audit:"clear"`
	OIDCDiscoveryCAPEM         string         `json:"oidc_discovery_ca_pem"`
	OIDCDiscoveryURL           string         `json:"oidc_discovery_url" audit:"clear"`
	OIDCResponseMode           string         `json:"oidc_response_mode"`
	OIDCResponseTypes          []string       `json:"oidc_response_types"`
	OverrideAllowedServerNames []string       `json:"override_allowed_server_names"`
	ProviderConfig             map[string]any `json:"provider_config"`
	Status                     string         `json:"status"` // valid, or invalid while no keys are known
}

// configured is the configuration; Invalid when there is none.
func configured(c *api.Call) (*config, error) {
	cfg, err := store.LoadJSON[config](c, c.Store, configRow)
	if err == nil && cfg == nil {
		err = c.Unconfigured("config", "could not load configuration: the auth method has not been configured")
	}
	return cfg, err
}

// readConfig shows the configuration.
func (engine) readConfig(c *api.Call, _ *api.None) (*ConfigAnswer, error) {
	cfg, err := store.LoadJSON[config](c, c.Store, configRow)
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		return nil, api.ErrNotFound()
	}
	is, err := store.LoadJSON[issuer.Known](c, c.Store, issuerRow)
	if err != nil {
		return nil, err
	}
	status := "valid"
	if len(cfg.PublicKeys) == 0 && (is == nil || !cfg.source().Usable(is, c.Now)) {
		status = "invalid"
		c.Warn("the issuer's keys are not known, or too old: they are fetched at the next login")
	}
	provider := cfg.Provider
	if provider == nil {
		provider = map[string]any{}
	}
	return &ConfigAnswer{BoundIssuer: cfg.BoundIssuer, DefaultRole: cfg.DefaultRole, JWKSCAPEM: cfg.JWKSCA, JWKSURL: cfg.JWKSURL,
		JWTSupportedAlgs: api.Full(cfg.Algorithms), JWTValidationPubkeys: api.Full(cfg.PublicKeys), NamespaceInState: cfg.InState,
		OIDCClientID: cfg.ClientID, OIDCDiscoveryCAPEM: cfg.DiscoveryCA, OIDCDiscoveryURL: cfg.DiscoveryURL, OIDCResponseMode: cfg.ResponseMode,
		OIDCResponseTypes: api.Full(cfg.ResponseTypes), OverrideAllowedServerNames: []string{}, ProviderConfig: provider, Status: status}, nil
}

// writeConfig sets where the issuer's keys come from, and the client that people log in to. The issuer is
// asked at once, so that a mistake is found now.
func (engine) writeConfig(c *api.Call, req *ConfigRequest) (*api.None, error) {
	cfg := req.config()
	if err := cfg.check(req); err != nil {
		return nil, err
	}
	if err := cfg.judge(c); err != nil {
		return nil, err
	}
	is := &issuer.Known{Of: cfg.ID}
	if len(cfg.PublicKeys) == 0 {
		keys, meta, err := cfg.source().Fetch(c)
		switch {
		case outbound.Forbidden(err) != nil:
			return nil, outbound.Forbidden(err)
		case err == nil:
			is.Fetched, is.Asked, is.Keys, is.Meta = c.Now, c.Now, keys, meta
		case !req.SkipJWKSValidation:
			return nil, &api.Error{Kind: api.Invalid, Message: cfg.unfetched(err), Hint: "skip_jwks_validation takes the configuration nevertheless", Err: err}
		default:
			c.Warn(cfg.unfetched(err))
		}
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var old config
		found, err := tx.LoadJSON(configRow, &old)
		if err != nil {
			return err
		}
		cfg.InState = !found || old.InState
		api.Set(&cfg.InState, req.NamespaceInState)
		if err := tx.PutJSON(configRow, cfg); err != nil {
			return err
		}
		return tx.PutJSON(issuerRow, is)
	})
	return nil, err
}

// unfetched says why the issuer did not give its keys.
func (cfg *config) unfetched(err error) string {
	field, why := "jwks_url", outbound.Why(err)
	if cfg.DiscoveryURL != "" {
		field = "oidc_discovery_url"
	}
	var f jws.Fault
	if errors.As(err, &f) {
		why = f.Error()
	}
	return field + ": the issuer's keys could not be fetched: " + why
}

func (q *ConfigRequest) config() *config {
	return &config{ID: api.NewUUID(), DiscoveryURL: q.OIDCDiscoveryURL, DiscoveryCA: q.OIDCDiscoveryCAPEM, ClientID: q.OIDCClientID,
		ClientSecret: q.OIDCClientSecret.Reveal(), ResponseMode: q.OIDCResponseMode, ResponseTypes: q.OIDCResponseTypes, JWKSURL: q.JWKSURL,
		JWKSCA: q.JWKSCAPEM, PublicKeys: q.JWTValidationPubkeys, Algorithms: q.JWTSupportedAlgs, BoundIssuer: q.BoundIssuer,
		DefaultRole: string(q.DefaultRole), Provider: q.ProviderConfig}
}

func (cfg *config) check(q *ConfigRequest) error {
	if len(q.OverrideAllowedServerNames) > 0 {
		return api.Errorf(api.Invalid, "override_allowed_server_names: is not supported, a certificate is for the host that is asked")
	}
	if q.JWKSPairs != nil {
		return &api.Error{Kind: api.Invalid, Message: "jwks_pairs: is not supported, a mount has one issuer", Hint: "give one as jwks_url and jwks_ca_pem, and enable the method at another path for each other"}
	}
	if err := cfg.checkSource(); err != nil {
		return err
	}
	for _, alg := range cfg.Algorithms {
		if !slices.Contains(jws.Algorithms(), alg) {
			return api.Errorf(api.Invalid, "jwt_supported_algs: must be of %s", strings.Join(jws.Algorithms(), ", "))
		}
	}
	if err := cfg.checkClient(); err != nil {
		return err
	}
	return cfg.checkProvider()
}

// judge refuses an issuer that may not be reached.
func (cfg *config) judge(c *api.Call) error {
	for field, text := range map[string]string{"oidc_discovery_url": cfg.DiscoveryURL, "jwks_url": cfg.JWKSURL} {
		if text == "" {
			continue
		}
		if err := outbound.JudgeURL(c, field, text); err != nil {
			return err
		}
	}
	return nil
}

// checkSource wants exactly one place that keys come from.
func (cfg *config) checkSource() error {
	sources := 0
	for _, given := range []bool{cfg.DiscoveryURL != "", cfg.JWKSURL != "", len(cfg.PublicKeys) > 0} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return api.Errorf(api.Invalid, "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set")
	}
	for _, f := range []struct {
		name, url, caName, ca string
		check                 func(string) error
	}{
		{"oidc_discovery_url", cfg.DiscoveryURL, "oidc_discovery_ca_pem", cfg.DiscoveryCA, outbound.CheckBase},
		{"jwks_url", cfg.JWKSURL, "jwks_ca_pem", cfg.JWKSCA, outbound.CheckURL},
	} {
		if err := outbound.CheckCA(f.ca); err != nil {
			return api.Errorf(api.Invalid, "%s: %v", f.caName, err)
		}
		if f.url == "" {
			continue
		}
		if err := f.check(f.url); err != nil {
			return api.Errorf(api.Invalid, "%s: %v", f.name, err)
		}
	}
	if strings.Contains(cfg.DiscoveryURL, ".well-known/openid-configuration") {
		return api.Errorf(api.Invalid, "oidc_discovery_url: is the address before /.well-known/openid-configuration")
	}
	if len(cfg.PublicKeys) > jws.MaxKeys {
		return api.Errorf(api.Invalid, "jwt_validation_pubkeys: more than %d", jws.MaxKeys)
	}
	for _, text := range cfg.PublicKeys {
		if _, err := jws.ParsePEM(text); err != nil {
			return api.Errorf(api.Invalid, "jwt_validation_pubkeys: one %v", err)
		}
	}
	return nil
}

// checkClient judges what logins of people need.
func (cfg *config) checkClient() error {
	switch {
	case (cfg.ClientID == "") != (cfg.ClientSecret == ""):
		return api.Errorf(api.Invalid, "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC")
	case cfg.ClientID != "" && cfg.DiscoveryURL == "":
		return api.Errorf(api.Invalid, "'oidc_discovery_url' must be set for OIDC")
	case !slices.Contains([]string{"", byQuery, byForm}, cfg.ResponseMode):
		return api.Errorf(api.Invalid, "oidc_response_mode: must be query or form_post")
	case slices.ContainsFunc(cfg.ResponseTypes, func(t string) bool { return t != forCode && t != forID }):
		return api.Errorf(api.Invalid, "oidc_response_types: must be code or id_token")
	case slices.Contains(cfg.ResponseTypes, forID) && cfg.ResponseMode != byForm:
		return api.Errorf(api.Invalid, "oidc_response_types: id_token needs the oidc_response_mode form_post")
	case len(cfg.ResponseTypes) > 2:
		return api.Errorf(api.Invalid, "oidc_response_types: must be code or id_token, each once")
	}
	return nil
}

// checkProvider takes the providers about which nothing has to be fetched elsewhere.
func (cfg *config) checkProvider() error {
	if len(cfg.Provider) == 0 {
		return nil
	}
	name, ok := cfg.Provider["provider"].(string)
	if !ok || !slices.Contains([]string{"azure", "ibmisam", "secureauth"}, name) {
		return api.Errorf(api.Invalid, "provider_config: provider must be azure, ibmisam or secureauth")
	}
	if len(cfg.Provider) > 1 {
		return api.Errorf(api.Invalid, "provider_config: takes nothing but provider")
	}
	return nil
}

// isOIDC reports whether people can log in through the provider.
func (cfg *config) isOIDC() bool { return cfg.DiscoveryURL != "" && cfg.ClientID != "" }

// has reports whether the provider is asked to answer with a kind of thing.
func (cfg *config) has(kind string) bool {
	if len(cfg.ResponseTypes) == 0 {
		return kind == forCode
	}
	return slices.Contains(cfg.ResponseTypes, kind)
}

// numbers decodes a stored object with its numbers as they are written; nil for none.
func numbers(raw json.RawMessage) map[string]any {
	c, err := jws.ParseClaims(raw)
	if err != nil {
		return nil
	}
	return c
}
