package blackbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// known are the statuses that the dialect has.
var known = map[int]bool{200: true, 204: true, 400: true, 403: true, 404: true, 405: true, 413: true, 415: true, 429: true, 472: true, 473: true, 501: true, 503: true}

// FuzzRequest gives the server any bytes that net/http takes for a request: it
// neither panics nor fails inside, and answers with a status of the dialect and
// JSON or nothing.
func FuzzRequest(f *testing.F) {
	s := furnished(f, servertest.Silent)
	handler := s.Handler()
	head := "\r\nHost: x\r\nX-Vault-Token: " + root + "\r\n"
	for _, seed := range []string{
		"GET /v1/kv1/a HTTP/1.1" + head + "\r\n", "LIST /v1/kv1?limit=1 HTTP/1.1" + head + "\r\n", "POST /v1/kv1/f HTTP/1.1" + head + "Content-Length: 9\r\n\r\n{\"a\":\"b\"}",
		"PATCH /v1/secret/data/a HTTP/1.1" + head + "Content-Type: application/merge-patch+json\r\nContent-Length: 18\r\n\r\n{\"data\":{\"x\":null}}",
		"POST /v1/kv1/f HTTP/1.1" + head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d", "GET /v1/sys/health?standbyok=1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/auth/token/create HTTP/1.1" + head + "X-Vault-Wrap-TTL: 60\r\nContent-Length: 12\r\n\r\n{\"ttl\":\"1h\"}", "PUT /v1/kv1/%2e%2e/x;y HTTP/1.1" + head + "X-Vault-Namespace: /a/../\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"POST /v1/sys/policies/acl/p HTTP/1.1" + head + "Content-Length: 38\r\n\r\n{\"policy\":\"path \\\"a/+/*\\\" { deny = 1 }\"}", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil || strings.Contains(r.URL.Path, "sys/seal") {
			return
		}
		r.RemoteAddr = "127.0.0.1:4000"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if !known[w.Code] {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if body := w.Body.Bytes(); len(body) > 0 && !json.Valid(body) {
			t.Errorf("status %d and no JSON: %q", w.Code, body)
		}
	})
}

// FuzzPath gives a caller who may read one half of a mount any path: the answer
// is 400 or the one that the canonical path gets, and the other half's secret
// is never in it.
func FuzzPath(f *testing.F) {
	s := furnished(f, servertest.Silent)
	s.Want(f, 204, "POST", "kv1/priv/x", root, `{"v":"`+canary+`"}`)
	s.Want(f, 204, "POST", "kv1/open/x", root, `{"v":"shown"}`)
	token := s.Policy(f, "", "half", `path "kv1/*" { capabilities = ["read", "list", "scan"] } path "kv1/priv*" { capabilities = ["deny"] } path "kv1/+/priv/*" { capabilities = ["deny"] }`)
	handler := s.Handler()
	for _, target := range append(spellings("kv1", "open", "priv/x"), "kv1/open/x", "kv1/priv", "secret/data/a", "kv1/") {
		f.Add("/v1/" + target)
	}
	ask := func(target string, u *url.URL) (int, string) {
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Header: http.Header{"X-Vault-Token": {token}}, Body: http.NoBody, RemoteAddr: "127.0.0.1:4000"}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var a struct {
			Data, Errors json.RawMessage
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			return w.Code, w.Body.String()
		}
		return w.Code, string(a.Data) + string(a.Errors)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(u.Path, "/v1/") {
			return
		}
		status, said := ask(target, u)
		if strings.Contains(said, canary) {
			t.Fatalf("%q shows the secret", target)
		}
		path, err := policy.Canonical(u.Path[len("/v1/"):])
		if err != nil {
			if status != 400 {
				t.Errorf("%q has no canonical form and is answered with %d", target, status)
			}
			return
		}
		again, repeated := ask(path, &url.URL{Path: "/v1/" + path, RawQuery: u.RawQuery})
		if status != again || said != repeated {
			t.Errorf("%q: %d %s, canonical %q: %d %s", target, status, said, path, again, repeated)
		}
	})
}
