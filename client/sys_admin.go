package client

import (
	"context"
	"net/http"
	"net/url"
)

// Policies lists the names of the ACL policies.
func (s Sys) Policies(ctx context.Context) ([]string, error) {
	answer, err := s.c.List(ctx, "sys/policies/acl", Page{})
	return answer.Keys(), err
}

// Policy reads the rules of an ACL policy.
func (s Sys) Policy(ctx context.Context, name string) (string, error) {
	var out struct {
		Policy string `json:"policy"`
	}
	err := s.c.data(ctx, Request{Path: JoinPath("sys/policies/acl", name)}, &out)
	return out.Policy, err
}

// PutPolicy creates or replaces an ACL policy; rules are HCL or JSON.
func (s Sys) PutPolicy(ctx context.Context, name, rules string) error {
	return s.c.done(ctx, put(JoinPath("sys/policies/acl", name), "policy", rules))
}

// DeletePolicy deletes an ACL policy.
func (s Sys) DeletePolicy(ctx context.Context, name string) error {
	return s.remove(ctx, JoinPath("sys/policies/acl", name))
}

// Audit is an audit device.
type Audit struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Path        string            `json:"path,omitempty"` // in answers only
	Options     map[string]string `json:"options"`
	Local       bool              `json:"local"`
}

// Audits lists the audit devices by path, which ends in a slash.
func (s Sys) Audits(ctx context.Context) (map[string]Audit, error) {
	var out map[string]Audit
	err := s.c.data(ctx, Request{Path: "sys/audit"}, &out)
	return out, err
}

// EnableAudit enables an audit device at path.
func (s Sys) EnableAudit(ctx context.Context, path string, a Audit) error {
	return s.enable(ctx, JoinPath("sys/audit", path), a)
}

// DisableAudit disables the audit device at path.
func (s Sys) DisableAudit(ctx context.Context, path string) error {
	return s.remove(ctx, JoinPath("sys/audit", path))
}

// Namespace is a namespace below the client's own.
type Namespace struct {
	ID             string            `json:"id"`
	Path           string            `json:"path"`
	CustomMetadata map[string]string `json:"custom_metadata"`
}

// Namespaces lists the paths of the namespaces right below the client's own.
func (s Sys) Namespaces(ctx context.Context) ([]string, error) {
	answer, err := s.c.List(ctx, "sys/namespaces", Page{})
	return answer.Keys(), err
}

// Namespace looks one up.
func (s Sys) Namespace(ctx context.Context, path string) (*Namespace, error) {
	return s.namespace(ctx, Request{Path: JoinPath("sys/namespaces", path)})
}

// CreateNamespace makes one; metadata may be nil.
func (s Sys) CreateNamespace(ctx context.Context, path string, metadata map[string]string) (*Namespace, error) {
	return s.namespace(ctx, put(JoinPath("sys/namespaces", path), "custom_metadata", metadata))
}

// PatchNamespace merges metadata into a namespace's own; a nil value removes its
// key.
func (s Sys) PatchNamespace(ctx context.Context, path string, metadata map[string]any) (*Namespace, error) {
	return s.namespace(ctx, Request{
		Method: http.MethodPatch, Path: JoinPath("sys/namespaces", path),
		Body:   map[string]any{"custom_metadata": metadata},
		Header: http.Header{"Content-Type": {"application/merge-patch+json"}},
	})
}

// DeleteNamespace starts deleting a namespace and all it holds; the server goes
// on in the background.
func (s Sys) DeleteNamespace(ctx context.Context, path string) error {
	return s.remove(ctx, JoinPath("sys/namespaces", path))
}

func (s Sys) namespace(ctx context.Context, req Request) (*Namespace, error) {
	var out Namespace
	if err := s.c.data(ctx, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// KVMount tells where a KV path is mounted and which version of KV is there. A
// mount that is no KV counts as version 1, as it does for other clients.
func (s Sys) KVMount(ctx context.Context, path string) (mount string, version int, err error) {
	var out struct {
		Path    string            `json:"path"`
		Options map[string]string `json:"options"`
	}
	if err := s.c.data(ctx, Request{Path: JoinPath("sys/internal/ui/mounts", path)}, &out); err != nil {
		return "", 0, err
	}
	version = 1
	if out.Options["version"] == "2" {
		version = 2
	}
	return out.Path, version, nil
}

// RenewLease asks for increment more on a lease, as a duration; empty means what
// it was given with.
func (s Sys) RenewLease(ctx context.Context, id, increment string) (*Secret, error) {
	body := map[string]any{"lease_id": id}
	if increment != "" {
		body["increment"] = increment
	}
	return s.c.Write(ctx, "sys/leases/renew", body)
}

// RevokeLease ends a lease.
func (s Sys) RevokeLease(ctx context.Context, id string) error {
	return s.c.done(ctx, put("sys/leases/revoke", "lease_id", id))
}

// OpenAPI fetches the server's own description as an OpenAPI document.
func (s Sys) OpenAPI(ctx context.Context) ([]byte, error) {
	resp, err := s.c.Do(ctx, Request{
		Path: "sys/internal/specs/openapi", Query: url.Values{"generic_mount_paths": {"true"}},
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
