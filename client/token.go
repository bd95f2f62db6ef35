package client

import (
	"context"
	"fmt"
	"net/http"
)

// Tokens makes, looks up, renews and revokes tokens.
type Tokens struct{ c *Client }

// Tokens returns the helper for auth/token.
func (c *Client) Tokens() Tokens { return Tokens{c} }

// TokenRequest describes a token to make. Durations are written as seconds or
// with a unit ("3600", "1h"); the zero value asks for the server's defaults.
type TokenRequest struct {
	ID              string            `json:"id,omitempty"` // root only
	Policies        []string          `json:"policies,omitempty"`
	Metadata        map[string]string `json:"meta,omitempty"`
	TTL             string            `json:"ttl,omitempty"`
	ExplicitMaxTTL  string            `json:"explicit_max_ttl,omitempty"`
	Period          string            `json:"period,omitempty"`
	NoParent        bool              `json:"no_parent,omitempty"`
	NoDefaultPolicy bool              `json:"no_default_policy,omitempty"`
	DisplayName     string            `json:"display_name,omitempty"`
	NumUses         int               `json:"num_uses,omitempty"` // 0 means no limit
	Renewable       *bool             `json:"renewable,omitempty"`
	Type            string            `json:"type,omitempty"` // "service" or "batch"
	EntityAlias     string            `json:"entity_alias,omitempty"`
}

// TokenInfo is what a look-up tells of a token.
type TokenInfo struct {
	ID             string            `json:"id"`
	Accessor       string            `json:"accessor"`
	DisplayName    string            `json:"display_name"`
	EntityID       string            `json:"entity_id"`
	Path           string            `json:"path"`
	Policies       []string          `json:"policies"`
	Metadata       map[string]string `json:"meta"`
	CreationTime   int64             `json:"creation_time"` // Unix seconds
	CreationTTL    int               `json:"creation_ttl"`  // seconds
	TTL            int               `json:"ttl"`           // seconds left; 0 means for ever
	ExplicitMaxTTL int               `json:"explicit_max_ttl"`
	NumUses        int               `json:"num_uses"`
	Orphan         bool              `json:"orphan"`
	Renewable      bool              `json:"renewable"`
	Type           string            `json:"type"`
}

// Format implements fmt.Formatter; it prints no token.
func (i TokenInfo) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "token(accessor %s)", i.Accessor) }

// Create makes a child of the client's own token.
func (t Tokens) Create(ctx context.Context, req TokenRequest) (*Auth, error) {
	return t.auth(ctx, "auth/token/create", req)
}

// CreateOrphan makes a token without a parent.
func (t Tokens) CreateOrphan(ctx context.Context, req TokenRequest) (*Auth, error) {
	return t.auth(ctx, "auth/token/create-orphan", req)
}

// CreateWithRole makes a token as a token role says.
func (t Tokens) CreateWithRole(ctx context.Context, role string, req TokenRequest) (*Auth, error) {
	return t.auth(ctx, JoinPath("auth/token/create", role), req)
}

// RenewSelf asks for increment more on the client's own token, written as a
// duration; empty means what the token was made with.
func (t Tokens) RenewSelf(ctx context.Context, increment string) (*Auth, error) {
	return t.renew(ctx, "auth/token/renew-self", map[string]any{}, increment)
}

// Renew is RenewSelf for another token.
func (t Tokens) Renew(ctx context.Context, token Token, increment string) (*Auth, error) {
	return t.renew(ctx, "auth/token/renew", map[string]any{"token": token.Reveal()}, increment)
}

// RenewAccessor is RenewSelf for the token with an accessor.
func (t Tokens) RenewAccessor(ctx context.Context, accessor, increment string) (*Auth, error) {
	return t.renew(ctx, "auth/token/renew-accessor", map[string]any{"accessor": accessor}, increment)
}

func (t Tokens) renew(ctx context.Context, path string, body map[string]any, increment string) (*Auth, error) {
	if increment != "" {
		body["increment"] = increment
	}
	return t.auth(ctx, path, body)
}

func (t Tokens) auth(ctx context.Context, path string, body any) (*Auth, error) {
	var out Auth
	err := t.c.decodeField(ctx, Request{Method: http.MethodPut, Path: path, Body: body}, "auth", &out)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// LookupSelf tells about the client's own token.
func (t Tokens) LookupSelf(ctx context.Context) (*TokenInfo, error) {
	return t.lookup(ctx, Request{Path: "auth/token/lookup-self"})
}

// Lookup tells about another token.
func (t Tokens) Lookup(ctx context.Context, token Token) (*TokenInfo, error) {
	return t.lookup(ctx, put("auth/token/lookup", "token", token.Reveal()))
}

// LookupAccessor tells about the token with an accessor, without its ID.
func (t Tokens) LookupAccessor(ctx context.Context, accessor string) (*TokenInfo, error) {
	return t.lookup(ctx, put("auth/token/lookup-accessor", "accessor", accessor))
}

func (t Tokens) lookup(ctx context.Context, req Request) (*TokenInfo, error) {
	var out TokenInfo
	if err := t.c.data(ctx, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// RevokeSelf ends the client's own token, its children and its leases.
func (t Tokens) RevokeSelf(ctx context.Context) error {
	return t.c.done(ctx, Request{Method: http.MethodPut, Path: "auth/token/revoke-self"})
}

// Revoke ends another token, its children and its leases.
func (t Tokens) Revoke(ctx context.Context, token Token) error {
	return t.c.done(ctx, put("auth/token/revoke", "token", token.Reveal()))
}

// RevokeOrphan ends a token and leaves its children as orphans.
func (t Tokens) RevokeOrphan(ctx context.Context, token Token) error {
	return t.c.done(ctx, put("auth/token/revoke-orphan", "token", token.Reveal()))
}

// RevokeAccessor ends the token with an accessor, its children and its leases.
func (t Tokens) RevokeAccessor(ctx context.Context, accessor string) error {
	return t.c.done(ctx, put("auth/token/revoke-accessor", "accessor", accessor))
}

// Accessors lists the accessors of all tokens in the namespace.
func (t Tokens) Accessors(ctx context.Context) ([]string, error) {
	s, err := t.c.List(ctx, "auth/token/accessors", Page{})
	return s.Keys(), err
}

// put is a request with one field in its body.
func put(path, field string, value any) Request {
	return Request{Method: http.MethodPut, Path: path, Body: map[string]any{field: value}}
}
