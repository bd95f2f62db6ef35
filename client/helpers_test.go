package client

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func pemOf(t *testing.T, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestHelpersSendWhatTheDialectWants pins method, path and body of each typed
// helper.
func TestHelpersSendWhatTheDialectWants(t *testing.T) {
	var line string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		line = r.Method + " " + r.URL.String()[len("/v1/"):] + " " + string(body)
		reply(w, 200, `{"data":{},"auth":{}}`)
	}, nil)
	ctx := t.Context()
	kv, sys, tok := c.KV2("secret/"), c.Sys(), c.Tokens()
	five := 5
	for _, tc := range []struct {
		call func() error
		want string
	}{
		{func() error { return second(c.KV1("kv").Get(ctx, "a")) }, `GET kv/a `},
		{func() error { return c.KV1("kv").Put(ctx, "a", map[string]any{"k": 1}) }, `PUT kv/a {"k":1}`},
		{func() error { return c.KV1("kv").Delete(ctx, "a") }, `DELETE kv/a `},
		{func() error { return second(c.KV1("kv").List(ctx, "", Page{})) }, `GET kv?list=true `},
		{func() error { return second(kv.GetVersion(ctx, "a/b", 3)) }, `GET secret/data/a/b?version=3 `},
		{func() error { return second(kv.Put(ctx, "a", map[string]any{"k": "v"}, &CheckAndSet{0})) },
			`PUT secret/data/a {"data":{"k":"v"},"options":{"cas":0}}`},
		{func() error { return second(kv.Patch(ctx, "a", map[string]any{"k": nil}, nil)) },
			`PATCH secret/data/a {"data":{"k":null},"options":{}}`},
		{func() error { return kv.Delete(ctx, "a") }, `DELETE secret/data/a `},
		{func() error { return kv.Delete(ctx, "a", 1, 2) }, `PUT secret/delete/a {"versions":[1,2]}`},
		{func() error { return kv.Undelete(ctx, "a", 1) }, `PUT secret/undelete/a {"versions":[1]}`},
		{func() error { return kv.Destroy(ctx, "a", 1) }, `PUT secret/destroy/a {"versions":[1]}`},
		{func() error { return second(kv.List(ctx, "a/", Page{})) }, `GET secret/metadata/a?list=true `},
		{func() error { return second(kv.Scan(ctx, "", Page{Limit: 2})) }, `GET secret/metadata?limit=2&scan=true `},
		{func() error { return kv.PutMetadata(ctx, "a", KVSettings{MaxVersions: &five}) },
			`PUT secret/metadata/a {"max_versions":5}`},
		{func() error { return kv.PatchMetadata(ctx, "a", KVSettings{Custom: map[string]any{"x": nil}}) },
			`PATCH secret/metadata/a {"custom_metadata":{"x":null}}`},
		{func() error { return kv.DeleteMetadata(ctx, "a") }, `DELETE secret/metadata/a `},
		{func() error { return second(tok.Create(ctx, TokenRequest{TTL: "1h"})) }, `PUT auth/token/create {"ttl":"1h"}`},
		{func() error { return second(tok.CreateWithRole(ctx, "r", TokenRequest{})) }, `PUT auth/token/create/r {}`},
		{func() error { return second(tok.RenewSelf(ctx, "")) }, `PUT auth/token/renew-self {}`},
		{func() error { return second(tok.Renew(ctx, "t", "1h")) }, `PUT auth/token/renew {"increment":"1h","token":"t"}`},
		{func() error { return second(tok.Lookup(ctx, "t")) }, `PUT auth/token/lookup {"token":"t"}`},
		{func() error { return tok.RevokeSelf(ctx) }, `PUT auth/token/revoke-self `},
		{func() error { return tok.RevokeAccessor(ctx, "x") }, `PUT auth/token/revoke-accessor {"accessor":"x"}`},
		{func() error { return sys.EnableSecrets(ctx, "kv/", MountRequest{Type: "kv"}) }, `PUT sys/mounts/kv {"type":"kv"}`},
		{func() error { return sys.TuneAuth(ctx, "up/", Tuning{MaxLeaseTTL: "1h"}) },
			`PUT sys/auth/up/tune {"max_lease_ttl":"1h"}`},
		{func() error { return second(sys.Move(ctx, "a", "b")) }, `PUT sys/remount {"from":"a","to":"b"}`},
		{func() error { return sys.PutPolicy(ctx, "p", "x") }, `PUT sys/policies/acl/p {"policy":"x"}`},
		{func() error { return sys.DisableAudit(ctx, "file") }, `DELETE sys/audit/file `},
		{func() error { return second(sys.CreateNamespace(ctx, "n", nil)) }, `PUT sys/namespaces/n {"custom_metadata":null}`},
		{func() error { return second(sys.Capabilities(ctx, "a")) }, `PUT sys/capabilities-self {"paths":["a"]}`},
		{func() error { return second(sys.Unseal(ctx, "k")) }, `PUT sys/unseal {"key":"k"}`},
		{func() error { return sys.Seal(ctx) }, `PUT sys/seal `},
		{func() error { return second(c.Unwrap(ctx, "w")) }, `PUT sys/wrapping/unwrap `},
	} {
		if err := tc.call(); err != nil {
			t.Errorf("%s: %v", tc.want, err)
		}
		if line != tc.want {
			t.Errorf("sent %q, want %q", line, tc.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestKVSecretDecodes(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, `{"data":{"data":{"k":"v"},"metadata":{"created_time":"2026-01-02T03:04:05.678Z",
			"custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}}}`)
	}, nil)
	s, err := c.KV2("secret").Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if s.Data["k"] != "v" || s.Metadata.Version != 7 || !s.Metadata.DeletionTime.IsZero() || s.Metadata.CreatedTime.Year() != 2026 {
		t.Errorf("%+v %+v", s.Data, s.Metadata)
	}
}

func TestKVMetadataDecodes(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, `{"data":{"current_version":2,"custom_metadata":{"owner":"ann"},"delete_version_after":"0s",
			"versions":{"2":{"created_time":"2026-01-02T03:04:05Z","deletion_time":"2026-02-02T00:00:00Z","destroyed":true}}}}`)
	}, nil)
	m, err := c.KV2("secret").Metadata(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if v := m.Versions[2]; v.Version != 2 || v.DeletionTime.Month() != 2 || !v.Destroyed || m.Custom["owner"] != "ann" {
		t.Errorf("%+v", m)
	}
}

func TestHealthIsReadWhateverTheStatus(t *testing.T) {
	status, body := 503, `{"initialized":true,"sealed":true,"server_time_utc":5}`
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, status, body) }, nil)
	h, err := c.Sys().Health(t.Context())
	if err != nil || !h.Sealed {
		t.Errorf("sealed: %v %v", h, err)
	}
	body = "upstream connect error"
	if h, err := c.Sys().Health(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a proxy's 503: %v %v", h, err)
	}
}

func TestDecodeErrorsNameThePath(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, 200, `not json`) }, nil)
	_, err := c.Sys().SealStatus(context.Background())
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		t.Errorf("error = %v", err)
	}
}

// FuzzAnswer feeds answers of any status and body: none may panic or lose its
// status.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"data":{"keys":["a",1]},"auth":{},"wrap_info":null}`))
	f.Add(404, []byte(`{"errors":[1,null,"x"],"warnings":["w"]}`))
	f.Add(503, []byte(`[]`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := &Response{Status: status, Header: http.Header{}, Body: body}
		err := r.asError("GET", "p")
		if (err == nil) != (status < 300) {
			t.Fatalf("status %d gives %v", status, err)
		}
		s, err := parseSecret(body)
		if err == nil {
			s.Keys()
		}
	})
}
