package server

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// unsent is an answer that goes nowhere. It costs nothing but its headers.
type unsent struct {
	header http.Header
	status int
}

func (u *unsent) Header() http.Header         { return u.header }
func (u *unsent) WriteHeader(status int)      { u.status = status }
func (u *unsent) Write(b []byte) (int, error) { return len(b), nil }

// SetWriteDeadline is for http.ResponseController.
func (u *unsent) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkRead is a read of a KV v2 secret, and a look-up of the calling token, from the door to the answer, on the embedded
// store with an audit file, by a token that is not root. HTTP and the connection are not in it.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	w := startFor(b, Config{DataDir: filepath.Join(dir, "data"), LocalSlot: true, Audit: logFile(filepath.Join(dir, "audit.log"))})
	root := w.printed()
	w.wants(204, "", root, "POST", "sys/mounts/bench", `{"type":"kv","options":{"version":"2"}}`)
	w.wants(200, "", root, "POST", "bench/data/app/key", `{"data":{"username":"application","password":"correct horse battery staple","url":"postgres://db.internal:5432/app"}}`)
	w.wants(204, "", root, "POST", "sys/policies/acl/bench", `{"policy":"path \"bench/*\" { capabilities = [\"read\"] }"}`)
	made := w.wants(200, "", root, "POST", "auth/token/create", `{"policies":["bench"],"ttl":"24h"}`)
	token := made["auth"].(map[string]any)["client_token"].(string)
	for name, path := range map[string]string{"kv": "bench/data/app/key", "lookup": "auth/token/lookup-self"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(b.Context(), "GET", "/v1/"+path, nil)
			r.Header.Set("X-Vault-Token", token)
			u := &unsent{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(u.header)
				w.door.ServeHTTP(u, r)
			}
			if u.status != 200 {
				b.Fatal(u.status)
			}
		})
	}
}
