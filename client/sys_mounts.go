package client

import (
	"context"
	"net/http"
)

// Mount is a secret engine or an auth method at a path.
type Mount struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Accessor    string            `json:"accessor"`
	UUID        string            `json:"uuid"`
	Config      MountConfig       `json:"config"`
	Options     map[string]string `json:"options"`
	Local       bool              `json:"local"`
	SealWrap    bool              `json:"seal_wrap"`
}

// MountConfig is how a mount is tuned. TTLs are in seconds.
type MountConfig struct {
	DefaultLeaseTTL           int      `json:"default_lease_ttl"`
	MaxLeaseTTL               int      `json:"max_lease_ttl"`
	ForceNoCache              bool     `json:"force_no_cache"`
	AuditNonHMACRequestKeys   []string `json:"audit_non_hmac_request_keys"`
	AuditNonHMACResponseKeys  []string `json:"audit_non_hmac_response_keys"`
	ListingVisibility         string   `json:"listing_visibility"`
	PassthroughRequestHeaders []string `json:"passthrough_request_headers"`
	AllowedResponseHeaders    []string `json:"allowed_response_headers"`
	TokenType                 string   `json:"token_type"` // auth methods only
}

// MountRequest asks for a new mount.
type MountRequest struct {
	Type        string            `json:"type"`
	Description string            `json:"description,omitempty"`
	Config      *Tuning           `json:"config,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	Local       bool              `json:"local,omitempty"`
	SealWrap    bool              `json:"seal_wrap,omitempty"`
}

// Tuning changes a mount's configuration; nil fields and empty texts are left
// as they are. TTLs are durations, as "1h"; "system" means the server's.
type Tuning struct {
	DefaultLeaseTTL           string            `json:"default_lease_ttl,omitempty"`
	MaxLeaseTTL               string            `json:"max_lease_ttl,omitempty"`
	Description               *string           `json:"description,omitempty"`
	ForceNoCache              bool              `json:"force_no_cache,omitempty"`
	AuditNonHMACRequestKeys   []string          `json:"audit_non_hmac_request_keys,omitempty"`
	AuditNonHMACResponseKeys  []string          `json:"audit_non_hmac_response_keys,omitempty"`
	ListingVisibility         string            `json:"listing_visibility,omitempty"`
	PassthroughRequestHeaders []string          `json:"passthrough_request_headers,omitempty"`
	AllowedResponseHeaders    []string          `json:"allowed_response_headers,omitempty"`
	TokenType                 string            `json:"token_type,omitempty"`
	Options                   map[string]string `json:"options,omitempty"`
}

// Mounts lists the secret engines by path, which ends in a slash.
func (s Sys) Mounts(ctx context.Context) (map[string]Mount, error) {
	return s.mounts(ctx, "sys/mounts")
}

// EnableSecrets mounts a secret engine at path.
func (s Sys) EnableSecrets(ctx context.Context, path string, req MountRequest) error {
	return s.enable(ctx, JoinPath("sys/mounts", path), req)
}

// DisableSecrets unmounts the secret engine at path and deletes what it holds.
func (s Sys) DisableSecrets(ctx context.Context, path string) error {
	return s.remove(ctx, JoinPath("sys/mounts", path))
}

// TuneSecrets changes the configuration of the secret engine at path.
func (s Sys) TuneSecrets(ctx context.Context, path string, t Tuning) error {
	return s.enable(ctx, JoinPath("sys/mounts", path, "tune"), t)
}

// SecretsTuning reads the configuration of the secret engine at path.
func (s Sys) SecretsTuning(ctx context.Context, path string) (*MountConfig, error) {
	return s.tuning(ctx, JoinPath("sys/mounts", path, "tune"))
}

// Auths lists the auth methods by path, which ends in a slash and leaves out the
// leading "auth/".
func (s Sys) Auths(ctx context.Context) (map[string]Mount, error) {
	return s.mounts(ctx, "sys/auth")
}

// EnableAuth enables an auth method at auth/path.
func (s Sys) EnableAuth(ctx context.Context, path string, req MountRequest) error {
	return s.enable(ctx, JoinPath("sys/auth", path), req)
}

// DisableAuth disables the auth method at auth/path and revokes its tokens.
func (s Sys) DisableAuth(ctx context.Context, path string) error {
	return s.remove(ctx, JoinPath("sys/auth", path))
}

// TuneAuth changes the configuration of the auth method at auth/path.
func (s Sys) TuneAuth(ctx context.Context, path string, t Tuning) error {
	return s.enable(ctx, JoinPath("sys/auth", path, "tune"), t)
}

// AuthTuning reads the configuration of the auth method at auth/path.
func (s Sys) AuthTuning(ctx context.Context, path string) (*MountConfig, error) {
	return s.tuning(ctx, JoinPath("sys/auth", path, "tune"))
}

// Move starts moving a mount and returns the move's id. Paths of auth methods
// begin with "auth/".
func (s Sys) Move(ctx context.Context, from, to string) (string, error) {
	var out struct {
		ID string `json:"migration_id"`
	}
	err := s.c.data(ctx, Request{
		Method: http.MethodPut, Path: "sys/remount", Body: map[string]string{"from": from, "to": to},
	}, &out)
	return out.ID, err
}

// MoveStatus tells how the move with an id stands: "in-progress", "success" or
// "failure".
func (s Sys) MoveStatus(ctx context.Context, id string) (string, error) {
	var out struct {
		Info struct {
			Status string `json:"status"`
		} `json:"migration_info"`
	}
	err := s.c.data(ctx, Request{Path: JoinPath("sys/remount/status", id)}, &out)
	return out.Info.Status, err
}

func (s Sys) mounts(ctx context.Context, path string) (map[string]Mount, error) {
	var out map[string]Mount
	err := s.c.data(ctx, Request{Path: path}, &out)
	return out, err
}

func (s Sys) tuning(ctx context.Context, path string) (*MountConfig, error) {
	var out MountConfig
	if err := s.c.data(ctx, Request{Path: path}, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

func (s Sys) enable(ctx context.Context, path string, body any) error {
	return s.c.done(ctx, Request{Method: http.MethodPut, Path: path, Body: body})
}

func (s Sys) remove(ctx context.Context, path string) error {
	return s.c.done(ctx, Request{Method: http.MethodDelete, Path: path})
}
