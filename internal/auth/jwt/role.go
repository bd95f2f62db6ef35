package jwt

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// Kinds of role, and how the provider's answer comes to the server.
const (
	typeJWT    = "jwt"
	typeOIDC   = "oidc"
	byClient   = "client" // the program that logs in hears the provider, and tells the server
	byDirect   = "direct" // the browser goes from the provider to the server
	byDevice   = "device" // there is no way back: the server asks the provider (RFC 8628)
	exactMatch = "string"
	globMatch  = "glob"
)

const rolePrefix = "role/"

// role is what a token must be to log in, and what comes of it.
type role struct {
	api.TokenTerms
	Type         string            `json:"role_type"`
	Leeways      jws.Leeways       `json:"leeways,omitzero"`
	Audiences    []string          `json:"audiences,omitempty"`
	Subject      string            `json:"subject,omitempty"`
	ClaimsType   string            `json:"claims_type,omitempty"`
	Claims       json.RawMessage   `json:"claims,omitempty"`
	Mappings     map[string]string `json:"mappings,omitempty"`
	User         string            `json:"user"`
	UserPointer  bool              `json:"user_pointer,omitempty"`
	Groups       string            `json:"groups,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	Redirects    []string          `json:"redirects,omitempty"`
	Callback     string            `json:"callback,omitempty"`
	PollInterval int               `json:"poll,omitempty"` // seconds; 0: the provider's
	MaxAge       time.Duration     `json:"max_age,omitempty"`
	Old          authrole.Old      `json:"old,omitempty"`
}

// RoleName names a role.
type RoleName struct {
	Name api.Name `path:"name"` // The role.
}

// RoleList asks for the names of roles.
type RoleList struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// RoleRequest creates or changes a role; what is absent stays as it was.
type RoleRequest struct {
	Name                 api.Name           `path:"name"`                                                         // The role.
	RoleType             *string            `json:"role_type"`                                                    // jwt for tokens that are brought, oidc for logins through the provider; oidc at first.
	ExpirationLeeway     *api.Duration      `json:"expiration_leeway"`                                            // How long tokens without exp live from iat or nbf on; 0: 150 seconds, negative: not at all.
	NotBeforeLeeway      *api.Duration      `json:"not_before_leeway"`                                            // How long before exp tokens without iat and nbf begin; 0: 150 seconds, negative: not at all.
	ClockSkewLeeway      *api.Duration      `json:"clock_skew_leeway"`                                            // How far the issuer's clock may differ; 0: 60 seconds, negative: not at all.
	BoundAudiences       *[]string          `json:"bound_audiences" audit:"clear"`                                // One of these must be in aud. Tokens with an aud need it.
	BoundSubject         *string            `json:"bound_subject" audit:"clear"`                                  // What sub must be.
	BoundClaimsType      *string            `json:"bound_claims_type"`                                            // How values of bound_claims are meant: string, or glob, in which * stands for any text.
	BoundClaims          any                `json:"bound_claims"`                                                 // Claims, or JSON pointers to them, and the value or list of values of which each must have one.
	ClaimMappings        *map[string]string `json:"claim_mappings"`                                               // Claims, or JSON pointers to them, and the metadata of tokens that they become.
	UserClaim            *string            `json:"user_claim" audit:"clear"`                                     // The claim that says who it is.
	UserClaimJSONPointer *bool              `json:"user_claim_json_pointer"`                                      // user_claim is a JSON pointer.
	GroupsClaim          *string            `json:"groups_claim" audit:"clear"`                                   // The claim, or a JSON pointer to it, that lists groups.
	OIDCScopes           *[]string          `json:"oidc_scopes" audit:"clear"`                                    // Scopes to ask the provider for, beside openid.
	AllowedRedirectURIs  *[]string          `json:"allowed_redirect_uris" audit:"clear"`                          // Where the provider may send people back to, exactly; any port of this machine.
	CallbackMode         *string            `json:"callback_mode"`                                                // How the provider's answer comes back: client, direct or device.
	PollInterval         *int               `json:"poll_interval"`                                                // Seconds between two polls of direct and device logins; 0: the provider's, or 5.
	VerboseOIDCLogging   *bool              `json:"verbose_oidc_logging"`                                         // Not supported: tokens and claims are never logged.
	OIDCNoConfirmation   *bool              `json:"oidc_disable_confirmation"`                                    // Not supported: who has not begun a direct login could finish it for another.
	OAuth2Metadata       *[]string          `json:"oauth2_metadata"`                                              // Not supported: the provider's tokens are handed to nobody.
	TemplateClaims       *bool              `json:"token_policies_template_claims"`                               // Not supported: roles in CEL make policies of claims.
	MaxAge               *api.Duration      `json:"max_age"`                                                      // How long ago people may have logged in at the provider; 0: any time.
	Policies             *[]string          `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	NumUses              *int               `json:"num_uses" api:"deprecated,alias=token_num_uses"`               // Old name of token_num_uses.
	TTL                  *api.Duration      `json:"ttl" api:"deprecated,alias=token_ttl"`                         // Old name of token_ttl.
	MaxTTL               *api.Duration      `json:"max_ttl" api:"deprecated,alias=token_max_ttl"`                 // Old name of token_max_ttl.
	Period               *api.Duration      `json:"period" api:"deprecated,alias=token_period"`                   // Old name of token_period.
	BoundCIDRs           *[]string          `json:"bound_cidrs" api:"deprecated,alias=token_bound_cidrs"`         // Old name of token_bound_cidrs.
	api.TokenFields
	Aliases []string `json:"-" api:"aliases"`
}

// RoleAnswer is a role as it is read.
type RoleAnswer struct {
	AllowedRedirectURIs  []string          `json:"allowed_redirect_uris" audit:"clear"`
	BoundAudiences       []string          `json:"bound_audiences" audit:"clear"`
	BoundClaims          api.Object        `json:"bound_claims"`
	BoundClaimsType      string            `json:"bound_claims_type"`
	BoundSubject         string            `json:"bound_subject" audit:"clear"`
	CallbackMode         string            `json:"callback_mode"`
	ClaimMappings        map[string]string `json:"claim_mappings"`
	ClockSkewLeeway      api.Duration      `json:"clock_skew_leeway"`
	ExpirationLeeway     api.Duration      `json:"expiration_leeway"`
	GroupsClaim          string            `json:"groups_claim" audit:"clear"`
	MaxAge               api.Duration      `json:"max_age"`
	NotBeforeLeeway      api.Duration      `json:"not_before_leeway"`
	OIDCScopes           []string          `json:"oidc_scopes" audit:"clear"`
	PollInterval         int               `json:"poll_interval,omitempty"`
	RoleType             string            `json:"role_type"`
	UserClaim            string            `json:"user_claim" audit:"clear"`
	UserClaimJSONPointer bool              `json:"user_claim_json_pointer"`
	VerboseOIDCLogging   bool              `json:"verbose_oidc_logging"`
	api.TokenAnswer
	authrole.OldAnswer
}

// roleOf is a role; nil when there is none.
func roleOf(ctx context.Context, s store.Reader, name string) (*role, error) {
	return store.LoadJSON[role](ctx, s, rolePrefix+name)
}

// readRole shows a role.
func (engine) readRole(c *api.Call, req *RoleName) (*RoleAnswer, error) {
	r, err := roleOf(c, c.Store, string(req.Name))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return &RoleAnswer{AllowedRedirectURIs: api.Full(r.Redirects), BoundAudiences: api.Full(r.Audiences), BoundClaims: api.Object(r.Claims),
		BoundClaimsType: r.ClaimsType, BoundSubject: r.Subject, CallbackMode: r.Callback, ClaimMappings: r.Mappings,
		ClockSkewLeeway: api.Duration(r.Leeways.ClockSkew), ExpirationLeeway: api.Duration(r.Leeways.Expiration), GroupsClaim: r.Groups,
		MaxAge: api.Duration(r.MaxAge), NotBeforeLeeway: api.Duration(r.Leeways.NotBefore), OIDCScopes: api.Full(r.Scopes), PollInterval: r.PollInterval,
		RoleType: r.Type, UserClaim: r.User, UserClaimJSONPointer: r.UserPointer, TokenAnswer: r.Answer(), OldAnswer: r.Old.Answer(r.Answer())}, nil
}

func (engine) hasRole(c *api.Call, req *RoleRequest) (bool, error) {
	r, err := roleOf(c, c.Store, string(req.Name))
	return r != nil, err
}

// writeRole creates or changes a role.
func (engine) writeRole(c *api.Call, req *RoleRequest) (*api.None, error) {
	if err := checkRoleName(req.Name); err != nil {
		return nil, err
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		r := &role{Type: typeOIDC, ClaimsType: exactMatch, Callback: byClient}
		if _, err := tx.LoadJSON(rolePrefix+string(req.Name), r); err != nil {
			return err
		}
		if err := req.apply(r); err != nil {
			return err
		}
		return tx.PutJSON(rolePrefix+string(req.Name), r)
	})
	return nil, err
}

func checkRoleName(name api.Name) error {
	if name == "" || strings.Contains(string(name), "/") || len(name) > maxName {
		return api.Errorf(api.Invalid, "name: is not the name of a role")
	}
	return nil
}

// deleteRole removes a role. Tokens made with it live on, but cannot be renewed.
func (engine) deleteRole(c *api.Call, req *RoleName) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: rolePrefix + string(req.Name), Delete: true}})
	return nil, err
}

// listRoles names the roles.
func (engine) listRoles(c *api.Call, req *RoleList) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, rolePrefix, req.After, max(0, req.Limit))
	return &api.Keys{Keys: names}, err
}

// apply changes a role as asked.
func (q *RoleRequest) apply(r *role) error {
	if err := q.refuse(); err != nil {
		return err
	}
	if err := q.Apply(&r.TokenTerms); err != nil {
		return err
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	api.Set(&r.Type, q.RoleType)
	api.Set(&r.ClaimsType, q.BoundClaimsType)
	api.Set(&r.Audiences, q.BoundAudiences)
	api.Set(&r.Subject, q.BoundSubject)
	api.Set(&r.Mappings, q.ClaimMappings)
	api.Set(&r.User, q.UserClaim)
	api.Set(&r.UserPointer, q.UserClaimJSONPointer)
	api.Set(&r.Groups, q.GroupsClaim)
	api.Set(&r.Scopes, q.OIDCScopes)
	api.Set(&r.Redirects, q.AllowedRedirectURIs)
	api.Set(&r.Callback, q.CallbackMode)
	api.Set(&r.PollInterval, q.PollInterval)
	api.Set((*api.Duration)(&r.Leeways.Expiration), q.ExpirationLeeway)
	api.Set((*api.Duration)(&r.Leeways.NotBefore), q.NotBeforeLeeway)
	api.Set((*api.Duration)(&r.Leeways.ClockSkew), q.ClockSkewLeeway)
	api.Set((*api.Duration)(&r.MaxAge), q.MaxAge)
	if q.BoundClaims != nil {
		var err error
		if r.Claims, err = objectOf("bound_claims", q.BoundClaims); err != nil {
			return err
		}
	}
	return r.check()
}

// objectOf is an object, or a text that holds one in JSON, as command lines send it.
func objectOf(name string, v any) (json.RawMessage, error) {
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("jwt: encode an object: %w", err)
		}
		text = string(b)
	}
	if _, err := jws.ParseClaims([]byte(text)); err != nil {
		return nil, api.Errorf(api.Invalid, "%s: must be an object", name)
	}
	return json.RawMessage(text), nil
}

// refuse tells of settings that would be unsafe.
func (q *RoleRequest) refuse() error {
	on := func(b *bool) bool { return b != nil && *b }
	switch {
	case on(q.VerboseOIDCLogging):
		return api.Errorf(api.Invalid, "verbose_oidc_logging: is not supported, tokens and claims are never logged")
	case on(q.OIDCNoConfirmation):
		return api.Errorf(api.Invalid, "oidc_disable_confirmation: is not supported, who has not begun a login could finish it for another")
	case on(q.TemplateClaims):
		return api.Errorf(api.Invalid, "token_policies_template_claims: is not supported, a role in CEL makes policies of claims")
	case q.OAuth2Metadata != nil && len(*q.OAuth2Metadata) > 0:
		return api.Errorf(api.Invalid, "oauth2_metadata: is not supported, the provider's tokens are handed to nobody")
	}
	return nil
}

func (r *role) check() error {
	switch {
	case r.Type != typeJWT && r.Type != typeOIDC:
		return api.Errorf(api.Invalid, "role_type: must be jwt or oidc")
	case r.User == "":
		return api.Errorf(api.Invalid, "user_claim: must be set")
	case r.ClaimsType != exactMatch && r.ClaimsType != globMatch:
		return api.Errorf(api.Invalid, "bound_claims_type: must be string or glob")
	case !slices.Contains([]string{byClient, byDirect, byDevice}, r.Callback):
		return api.Errorf(api.Invalid, "callback_mode: must be client, direct or device")
	case r.PollInterval < 0 || r.PollInterval > 300:
		return api.Errorf(api.Invalid, "poll_interval: must be from 0 to 300 seconds")
	case r.MaxAge < 0:
		return api.Errorf(api.Invalid, "max_age: cannot be negative")
	case r.Leeways.ClockSkew > 10*time.Minute:
		return api.Errorf(api.Invalid, "clock_skew_leeway: cannot be more than 10 minutes")
	case slices.ContainsFunc(r.Policies, func(p string) bool { return strings.EqualFold(strings.TrimSpace(p), "root") }):
		return api.Errorf(api.Invalid, "token_policies: root cannot be attached by a role")
	}
	if err := r.checkLists(); err != nil {
		return err
	}
	if err := r.checkClaims(); err != nil {
		return err
	}
	return r.checkBounds()
}

func (r *role) checkLists() error {
	for _, f := range []struct {
		name string
		list []string
	}{
		{"bound_audiences", r.Audiences}, {"oidc_scopes", r.Scopes}, {"allowed_redirect_uris", r.Redirects}, {"token_policies", r.Policies},
		{"token_bound_cidrs", r.BoundCIDRs}, {"claim_mappings", slices.Collect(maps.Keys(r.Mappings))},
	} {
		if len(f.list) > maxList {
			return api.Errorf(api.Invalid, "%s: more than %d entries", f.name, maxList)
		}
	}
	if slices.Contains(r.Audiences, "") {
		return api.Errorf(api.Invalid, "bound_audiences: one is empty")
	}
	for _, s := range r.Scopes {
		if s == "" || strings.ContainsAny(s, " \"\\") {
			return api.Errorf(api.Invalid, "oidc_scopes: is not a list of scopes")
		}
	}
	for _, u := range r.Redirects {
		if _, err := redirect(u); err != nil {
			return api.Errorf(api.Invalid, "allowed_redirect_uris: one %v", err)
		}
	}
	return nil
}

// checkClaims judges the claims that a role names.
func (r *role) checkClaims() error {
	wanted := numbers(r.Claims)
	if len(wanted) > maxList {
		return api.Errorf(api.Invalid, "bound_claims: more than %d entries", maxList)
	}
	for _, value := range wanted {
		want, ok := listed(value)
		if !ok || len(want) == 0 || slices.ContainsFunc(want, func(v any) bool { return !r.boundable(v) }) {
			return api.Errorf(api.Invalid, "bound_claims: values must be texts, numbers, truth values or lists of them, and texts alone for bound_claims_type glob")
		}
	}
	targets := map[string]bool{"role": true}
	for _, target := range r.Mappings {
		if targets[target] || target == "" {
			return api.Errorf(api.Invalid, "claim_mappings: two claims become the same metadata, or one has the reserved name role, or none")
		}
		targets[target] = true
	}
	return nil
}

func (r *role) boundable(v any) bool {
	if r.ClaimsType == globMatch {
		_, ok := v.(string)
		return ok
	}
	_, number := v.(json.Number)
	return number || scalar(v)
}

// checkBounds wants a role not to let everybody in.
func (r *role) checkBounds() error {
	switch {
	case r.Type == typeJWT && len(r.Audiences) == 0 && r.Subject == "" && len(numbers(r.Claims)) == 0 && len(r.BoundCIDRs) == 0:
		return api.Errorf(api.Invalid, "must have at least one bound constraint when creating/updating a role: bound_audiences, bound_subject, bound_claims or token_bound_cidrs")
	case r.Type == typeOIDC && len(r.Redirects) == 0 && r.Callback != byDevice:
		return api.Errorf(api.Invalid, "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.")
	}
	return nil
}

// redirect reads an address that a provider may send a browser to.
func redirect(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.Contains(text, "#") || u.Opaque != "":
		return nil, fmt.Errorf("is not an address such as https://vault.example.com/callback")
	case u.Scheme == "https", u.Scheme == "http" && outbound.Loopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("must begin with https://, or with http:// on this machine")
}
