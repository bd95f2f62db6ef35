package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// KV1 is a KV version 1 mount: one value a path.
type KV1 struct {
	c     *Client
	mount string
}

// KV1 returns the helper for the KV version 1 engine at mount.
func (c *Client) KV1(mount string) KV1 { return KV1{c, mount} }

// Get reads the secret at path.
func (kv KV1) Get(ctx context.Context, path string) (map[string]any, error) {
	var out map[string]any
	err := kv.c.data(ctx, Request{Path: JoinPath(kv.mount, path)}, &out)
	return out, err
}

// Put replaces the secret at path.
func (kv KV1) Put(ctx context.Context, path string, data map[string]any) error {
	return kv.c.done(ctx, Request{Method: http.MethodPut, Path: JoinPath(kv.mount, path), Body: data})
}

// Delete removes the secret at path.
func (kv KV1) Delete(ctx context.Context, path string) error {
	return kv.c.done(ctx, Request{Method: http.MethodDelete, Path: JoinPath(kv.mount, path)})
}

// List gives the names right below path.
func (kv KV1) List(ctx context.Context, path string, page Page) ([]string, error) {
	s, err := kv.c.List(ctx, JoinPath(kv.mount, path), page)
	return s.Keys(), err
}

// KV2 is a KV version 2 mount: numbered versions a path.
type KV2 struct {
	c     *Client
	mount string
}

// KV2 returns the helper for the KV version 2 engine at mount.
func (c *Client) KV2(mount string) KV2 { return KV2{c, mount} }

// KVVersion tells about one version of a secret. Times are the zero time when
// they have not come.
type KVVersion struct {
	Version      int            `json:"version"`
	CreatedTime  time.Time      `json:"created_time"`
	DeletionTime OptionalTime   `json:"deletion_time"`
	Destroyed    bool           `json:"destroyed"`
	Custom       map[string]any `json:"custom_metadata"` // the secret's, not the version's
}

// KVSecret is one version with its data, which is nil for a deleted version.
type KVSecret struct {
	Data     map[string]any `json:"data"`
	Metadata KVVersion      `json:"metadata"`
}

// Format implements fmt.Formatter; it prints no value.
func (s KVSecret) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "secret(version %d)", s.Metadata.Version)
}

// KVMetadata tells about a secret and all its versions.
type KVMetadata struct {
	CASRequired        bool              `json:"cas_required"`
	CreatedTime        time.Time         `json:"created_time"`
	UpdatedTime        time.Time         `json:"updated_time"`
	CurrentVersion     int               `json:"current_version"`
	OldestVersion      int               `json:"oldest_version"`
	MaxVersions        int               `json:"max_versions"`         // 0 means the mount's
	DeleteVersionAfter string            `json:"delete_version_after"` // a duration, "0s" for never
	Custom             map[string]any    `json:"custom_metadata"`
	Versions           map[int]KVVersion `json:"versions"` // by number
}

// OptionalTime is a time that the dialect writes as "" when there is none.
type OptionalTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *OptionalTime) UnmarshalJSON(raw []byte) error {
	if string(raw) == `""` || string(raw) == "null" {
		t.Time = time.Time{}
		return nil
	}
	return json.Unmarshal(raw, &t.Time)
}

// CheckAndSet makes a write go through only if the secret's current version is
// Version; 0 means only if there is none.
type CheckAndSet struct{ Version int }

func (cas *CheckAndSet) options() map[string]any {
	if cas == nil {
		return map[string]any{}
	}
	return map[string]any{"cas": cas.Version}
}

// Get reads the current version at path.
func (kv KV2) Get(ctx context.Context, path string) (*KVSecret, error) {
	return kv.GetVersion(ctx, path, 0)
}

// GetVersion reads one version at path; 0 is the current one. For a version that
// was deleted or destroyed the error is ErrNotFound.
func (kv KV2) GetVersion(ctx context.Context, path string, version int) (*KVSecret, error) {
	req := Request{Path: JoinPath(kv.mount, "data", path)}
	if version > 0 {
		req.Query = url.Values{"version": {strconv.Itoa(version)}}
	}
	return kv.one(ctx, req)
}

func (kv KV2) one(ctx context.Context, req Request) (*KVSecret, error) {
	var out KVSecret
	if err := kv.c.data(ctx, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

func (kv KV2) version(ctx context.Context, req Request) (*KVVersion, error) {
	var out KVVersion
	if err := kv.c.data(ctx, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// Put writes a new version at path; cas may be nil. When cas does not hold the
// error is ErrBadRequest.
func (kv KV2) Put(ctx context.Context, path string, data map[string]any, cas *CheckAndSet) (*KVVersion, error) {
	return kv.version(ctx, Request{
		Method: http.MethodPut, Path: JoinPath(kv.mount, "data", path),
		Body: map[string]any{"data": data, "options": cas.options()},
	})
}

// Patch merges data into the current version (RFC 7396) and writes the result as
// a new one; cas may be nil.
func (kv KV2) Patch(ctx context.Context, path string, data map[string]any, cas *CheckAndSet) (*KVVersion, error) {
	return kv.version(ctx, Request{
		Method: http.MethodPatch, Path: JoinPath(kv.mount, "data", path),
		Body:   map[string]any{"data": data, "options": cas.options()},
		Header: http.Header{"Content-Type": {"application/merge-patch+json"}},
	})
}

// Delete marks the current version, or the versions given, as deleted.
func (kv KV2) Delete(ctx context.Context, path string, versions ...int) error {
	if len(versions) == 0 {
		return kv.c.done(ctx, Request{Method: http.MethodDelete, Path: JoinPath(kv.mount, "data", path)})
	}
	return kv.onVersions(ctx, "delete", path, versions)
}

// Undelete takes back the deletion of versions.
func (kv KV2) Undelete(ctx context.Context, path string, versions ...int) error {
	return kv.onVersions(ctx, "undelete", path, versions)
}

// Destroy removes the data of versions for ever.
func (kv KV2) Destroy(ctx context.Context, path string, versions ...int) error {
	return kv.onVersions(ctx, "destroy", path, versions)
}

func (kv KV2) onVersions(ctx context.Context, verb, path string, versions []int) error {
	return kv.c.done(ctx, Request{
		Method: http.MethodPut, Path: JoinPath(kv.mount, verb, path),
		Body: map[string]any{"versions": versions},
	})
}

// List gives the names right below path.
func (kv KV2) List(ctx context.Context, path string, page Page) ([]string, error) {
	s, err := kv.c.List(ctx, JoinPath(kv.mount, "metadata", path), page)
	return s.Keys(), err
}

// Scan gives all names below path, at any depth.
func (kv KV2) Scan(ctx context.Context, path string, page Page) ([]string, error) {
	s, err := kv.c.Scan(ctx, JoinPath(kv.mount, "metadata", path), page)
	return s.Keys(), err
}

// Metadata reads what is known of the secret at path.
func (kv KV2) Metadata(ctx context.Context, path string) (*KVMetadata, error) {
	var out KVMetadata
	if err := kv.c.data(ctx, Request{Path: JoinPath(kv.mount, "metadata", path)}, &out); err != nil {
		return nil, err
	}
	for number, v := range out.Versions {
		v.Version = number // which the answer has as the key alone
		out.Versions[number] = v
	}
	return &out, nil
}

// KVSettings are the writable parts of a secret's metadata. Nil fields are left
// as they are.
type KVSettings struct {
	MaxVersions        *int           `json:"max_versions,omitempty"`
	CASRequired        *bool          `json:"cas_required,omitempty"`
	DeleteVersionAfter *string        `json:"delete_version_after,omitempty"` // a duration
	Custom             map[string]any `json:"custom_metadata,omitempty"`      // a nil value removes its key in PatchMetadata
}

// PutMetadata sets the metadata of the secret at path.
func (kv KV2) PutMetadata(ctx context.Context, path string, set KVSettings) error {
	return kv.c.done(ctx, Request{Method: http.MethodPut, Path: JoinPath(kv.mount, "metadata", path), Body: set})
}

// PatchMetadata merges set into the metadata of the secret at path.
func (kv KV2) PatchMetadata(ctx context.Context, path string, set KVSettings) error {
	_, err := kv.c.Patch(ctx, JoinPath(kv.mount, "metadata", path), set)
	return err
}

// DeleteMetadata removes the secret at path with all its versions, for ever.
func (kv KV2) DeleteMetadata(ctx context.Context, path string) error {
	return kv.c.done(ctx, Request{Method: http.MethodDelete, Path: JoinPath(kv.mount, "metadata", path)})
}
