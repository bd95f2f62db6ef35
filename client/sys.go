package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Sys works on the server itself.
type Sys struct{ c *Client }

// Sys returns the helper for sys/.
func (c *Client) Sys() Sys { return Sys{c} }

// Health is the state of one node.
type Health struct {
	Initialized   bool   `json:"initialized"`
	Sealed        bool   `json:"sealed"`
	Standby       bool   `json:"standby"`
	ServerTimeUTC int64  `json:"server_time_utc"` // Unix seconds
	Version       string `json:"version"`
	ClusterName   string `json:"cluster_name"`
	ClusterID     string `json:"cluster_id"`
}

// Health asks for the node's state, whatever it is; no token is needed.
func (s Sys) Health(ctx context.Context) (*Health, error) {
	resp, err := s.c.Do(ctx, Request{Path: "sys/health", Once: true})
	if resp == nil {
		return nil, err
	}
	var out Health
	// A node that is sealed or not initialised says so in the status, too; only a
	// body that is no health report leaves the status as an error.
	if decodeErr := json.Unmarshal(resp.Body, &out); decodeErr != nil || out.ServerTimeUTC == 0 {
		return nil, fmt.Errorf("sys/health: no health report, status %d: %w", resp.Status, err)
	}
	return &out, nil
}

// SealStatus tells how far a node is from being unsealed.
type SealStatus struct {
	Type         string   `json:"type"`
	Initialized  bool     `json:"initialized"`
	Sealed       bool     `json:"sealed"`
	Threshold    int      `json:"t"`
	Shares       int      `json:"n"`
	Progress     int      `json:"progress"` // shares given so far
	Nonce        string   `json:"nonce"`
	Version      string   `json:"version"` // of the API
	BuildDate    string   `json:"build_date"`
	CommitDate   string   `json:"commit_date"`
	Migration    bool     `json:"migration"`
	ClusterName  string   `json:"cluster_name,omitempty"`
	ClusterID    string   `json:"cluster_id,omitempty"`
	RecoverySeal bool     `json:"recovery_seal"`
	StorageType  string   `json:"storage_type,omitempty"`
	LeasesHeld   bool     `json:"leases_held,omitempty"` // leases that came with a snapshot are not taken back
	Warnings     []string `json:"warnings,omitempty"`
	Warning      string   `json:"warning,omitempty"` // the node cannot reach its store: the rest is what it knows without
	// DamagedKeySlots are rows of key slots by which a sealed server cannot be unsealed.
	DamagedKeySlots []string `json:"damaged_key_slots,omitempty"`
	// ProgramVersion is the version of the server's program, with the commit; empty where it is not told.
	ProgramVersion string `json:"program_version,omitempty"`
	// KeySlots are the ways to unseal, of which Threshold and Shares are one's.
	KeySlots []KeySlot `json:"key_slots,omitempty"`
}

// KeySlot is one way to unseal, which needs none of the others.
type KeySlot struct {
	Kind      string `json:"kind"`
	Shares    int    `json:"secret_shares,omitempty"` // 0 where no people hold any
	Threshold int    `json:"secret_threshold,omitempty"`
}

// SealStatus asks whether the node is sealed; no token is needed.
func (s Sys) SealStatus(ctx context.Context) (*SealStatus, error) {
	return s.seal(ctx, Request{Path: "sys/seal-status"})
}

// Unseal gives one key share.
func (s Sys) Unseal(ctx context.Context, share string) (*SealStatus, error) {
	return s.seal(ctx, put("sys/unseal", "key", share))
}

// ResetUnseal forgets the shares given so far. It takes one of the shares; with
// none, an empty text, the last must have been given more than a minute ago.
func (s Sys) ResetUnseal(ctx context.Context, share string) (*SealStatus, error) {
	body := map[string]any{"reset": true}
	if share != "" {
		body["key"] = share
	}
	return s.seal(ctx, Request{Method: http.MethodPut, Path: "sys/unseal", Body: body})
}

func (s Sys) seal(ctx context.Context, req Request) (*SealStatus, error) {
	var out SealStatus
	if err := s.c.bare(ctx, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// Seal seals the node: it forgets its keys and serves nothing until unsealed.
func (s Sys) Seal(ctx context.Context) error {
	return s.c.done(ctx, Request{Method: http.MethodPut, Path: "sys/seal"})
}

// InitRequest asks for a new store's keys.
type InitRequest struct {
	SecretShares      int      `json:"secret_shares"`
	SecretThreshold   int      `json:"secret_threshold"`
	PGPKeys           []string `json:"pgp_keys,omitempty"`
	RootTokenPGPKey   string   `json:"root_token_pgp_key,omitempty"`
	RecoveryShares    int      `json:"recovery_shares,omitempty"`
	RecoveryThreshold int      `json:"recovery_threshold,omitempty"`
	RecoveryPGPKeys   []string `json:"recovery_pgp_keys,omitempty"`
}

// InitResponse holds the key shares and the first root token, which are shown
// this once.
type InitResponse struct {
	Keys            []string `json:"keys"` // hexadecimal
	KeysBase64      []string `json:"keys_base64"`
	RecoveryKeys    []string `json:"recovery_keys"`
	RecoveryKeysB64 []string `json:"recovery_keys_base64"`
	RootToken       string   `json:"root_token"`
}

// Format implements fmt.Formatter; it prints no key.
func (r InitResponse) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "init(%d keys)", len(r.Keys)) }

// Init initialises the store.
func (s Sys) Init(ctx context.Context, req InitRequest) (*InitResponse, error) {
	var out InitResponse
	err := s.c.bare(ctx, Request{Method: http.MethodPut, Path: "sys/init", Body: req}, &out)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// Initialized tells whether the store has been initialised; no token is needed.
func (s Sys) Initialized(ctx context.Context) (bool, error) {
	var out struct {
		Initialized bool `json:"initialized"`
	}
	err := s.c.bare(ctx, Request{Path: "sys/init"}, &out)
	return out.Initialized, err
}

// Leader tells which node leads, where one does.
type Leader struct {
	HAEnabled            bool      `json:"ha_enabled"`
	IsSelf               bool      `json:"is_self"`
	ActiveTime           time.Time `json:"active_time"`
	LeaderAddress        string    `json:"leader_address"`
	LeaderClusterAddress string    `json:"leader_cluster_address"`
}

// Leader asks which node leads.
func (s Sys) Leader(ctx context.Context) (*Leader, error) {
	var out Leader
	if err := s.c.bare(ctx, Request{Path: "sys/leader", Once: true}, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// KeyStatus tells about the encryption key in use.
type KeyStatus struct {
	Term        int       `json:"term"`
	InstallTime time.Time `json:"install_time"`
	Encryptions int64     `json:"encryptions"`
}

// KeyStatus asks about the encryption key in use.
func (s Sys) KeyStatus(ctx context.Context) (*KeyStatus, error) {
	var out KeyStatus
	if err := s.c.data(ctx, Request{Path: "sys/key-status"}, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// Rotate starts using a new encryption key.
func (s Sys) Rotate(ctx context.Context) error {
	return s.c.done(ctx, Request{Method: http.MethodPut, Path: "sys/rotate"})
}

// Capabilities tells what the client's own token may do at paths, by path.
func (s Sys) Capabilities(ctx context.Context, paths ...string) (map[string][]string, error) {
	return s.capabilities(ctx, "sys/capabilities-self", map[string]any{"paths": paths}, paths)
}

// TokenCapabilities tells what another token may do at paths, by path.
func (s Sys) TokenCapabilities(ctx context.Context, token Token, paths ...string) (map[string][]string, error) {
	return s.capabilities(ctx, "sys/capabilities", map[string]any{"token": token.Reveal(), "paths": paths}, paths)
}

// AccessorCapabilities is TokenCapabilities for the token with an accessor.
func (s Sys) AccessorCapabilities(ctx context.Context, accessor string, paths ...string) (map[string][]string, error) {
	return s.capabilities(ctx, "sys/capabilities-accessor", map[string]any{"accessor": accessor, "paths": paths}, paths)
}

func (s Sys) capabilities(ctx context.Context, path string, body any, paths []string) (map[string][]string, error) {
	var all map[string][]string
	err := s.c.data(ctx, Request{Method: http.MethodPut, Path: path, Body: body}, &all)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(paths))
	for _, p := range paths {
		out[p] = all[p]
	}
	return out, nil
}
