// Package blackbox tests whole servers over real HTTP from the outside, as
// somebody who means harm would: the door's reading of requests, the advisories
// that the present surface can express, equality of stores, and leaks.
package blackbox

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

const root = servertest.Root

// furnished is a server with kv1/ (version 1) and one secret in each of kv1/
// and secret/.
func furnished(t testing.TB, options ...servertest.Option) *servertest.Server {
	t.Helper()
	s := servertest.Start(t, options...)
	s.Want(t, 204, "POST", "sys/mounts/kv1", root, `{"type":"kv"}`)
	s.Want(t, 204, "POST", "kv1/a", root, `{"k":"v"}`)
	s.Want(t, 200, "POST", "secret/data/a", root, `{"data":{"k":"v"}}`)
	engines, err := server.Engines()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range engines {
		if e.Auth && e.Type != "token" {
			s.Want(t, 204, "POST", "sys/auth/"+e.Type, root, `{"type":"`+e.Type+`"}`)
		}
	}
	return s
}

func TestVerbs(t *testing.T) {
	s := furnished(t)
	const merge = "application/merge-patch+json"
	for _, c := range []struct {
		method, path, body, content string
		status                      int
		holds                       string
	}{
		{"LIST", "kv1", "", "", 200, `"keys":["a"]`},
		{"LIST", "kv1/", "", "", 200, `"keys":["a"]`},
		{"SCAN", "kv1/", "", "", 200, `"keys":["a"]`},
		{"GET", "kv1?list=true", "", "", 200, `"keys":["a"]`},
		{"GET", "kv1/?list=1", "", "", 200, `"keys":["a"]`},
		{"GET", "kv1/?scan=true", "", "", 200, `"keys":["a"]`},
		{"GET", "kv1/?list=false", "", "", 404, `{"errors":[]}`},
		{"GET", "kv1?list=maybe", "", "", 400, "list"},
		{"GET", "kv1?list=true&list=false", "", "", 400, "list"},
		{"GET", "kv1?list=true&list=true", "", "", 200, `"keys"`},
		{"GET", "kv1?scan=true&list=true", "", "", 400, "list and scan"},
		{"GET", "kv1/a?list=", "", "", 200, `"k":"v"`},
		{"GET", "kv1/none?foo=1", "", "", 404, `{"errors":[]}`},
		{"GET", "secret/data/none?foo=1", "", "", 404, `{"errors":[]}`},
		{"GET", "kv1/a?a=%zz", "", "", 400, "query"},
		{"HEAD", "kv1/a", "", "", 405, ""},
		{"HEAD", "sys/health", "", "", 200, ""},
		{"OPTIONS", "kv1/a", "", "", 405, `{"errors":[]}`},
		{"TRACE", "kv1/a", "", "", 405, `{"errors":[]}`},
		{"get", "kv1/a", "", "", 405, `{"errors":[]}`},
		{"PUT", "kv1/b", `{"k":"1"}`, "", 204, ""},
		{"POST", "kv1/b", `{"k":"2"}`, "text/plain", 204, ""},
		{"DELETE", "kv1/b", "", "", 204, ""},
		{"DELETE", "kv1/none", "", "", 204, ""},
		{"PATCH", "secret/data/a", `{"data":{"x":"y"}}`, "", 415, merge},
		{"PATCH", "secret/data/a", `{"data":{"x":"y"}}`, "application/json", 415, merge},
		{"PATCH", "secret/data/a", `{"data":{"x":"y"}}`, merge, 200, `"version":2`},
		{"PATCH", "secret/data/a", `{"data":{"x":"z"}}`, merge + "; charset=utf-8", 200, `"version":3`},
		{"PATCH", "kv1/a", `{"x":"y"}`, merge, 405, "unsupported operation; this path takes read, write, delete, list"},
	} {
		a := s.Do(t, c.method, c.path, root, c.body, "Content-Type", c.content)
		if a.Status != c.status || !strings.Contains(a.Text(), c.holds) {
			t.Errorf("%s %s %q: %d %s", c.method, c.path, c.content, a.Status, a.Body)
		}
	}
}

func TestBodies(t *testing.T) {
	s := furnished(t)
	const form = "application/x-www-form-urlencoded"
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for name, c := range map[string]struct {
		body, content string
		status        int
	}{
		"json": {`{"a":"b"}`, "", 204}, "json labelled a form": {`{"a":"b"}`, form, 204}, "form": {"a=b&c=d", form, 204},
		"form twice the same": {"a=b&a=b", form, 204}, "form twice": {"a=b&a=c", form, 400}, "form malformed": {"a=%zz", form, 400}, "form not UTF-8": {"a=%ff", form, 400},
		"empty": {"", "", 400}, "null": {"null", "", 400}, "array": {"[]", "", 400}, "array as form": {"[]", form, 400}, "text": {`"x"`, "", 400}, "number": {"1", "", 400},
		"duplicate": {`{"a":1,"a":2}`, "", 400}, "duplicate by escape": {`{"a":1,"\u0061":2}`, "", 400}, "duplicate deep": {`{"a":{"b":1,"b":2}}`, "", 400},
		"not UTF-8": {"{\"a\":\"\xff\"}", "", 400}, "lone surrogate": {`{"a":"\ud800"}`, "", 400}, "trailing": {`{"a":1} {}`, "", 400}, "unfinished": {`{"a":`, "", 400},
		"BOM": {"\ufeff{}", "", 400}, "huge number": {`{"a":1e999999}`, "", 204}, "deep": {deep(60), "", 204}, "too deep": {deep(1_000_000), "", 400}, "wide": {wide(9_000), "", 204}, "too wide": {wide(11_000), "", 400},
		"values": {`{"a":[` + strings.Repeat("0,", 40_000) + `0]}`, "", 204}, "too many values": {`{"a":[` + strings.Repeat("0,", 60_000) + `0]}`, "", 400},
	} {
		if a := s.Do(t, "POST", "kv1/body", root, c.body, "Content-Type", c.content); a.Status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.Status, a.Body[:min(len(a.Body), 200)], c.status)
		}
	}
}

func TestBodySizes(t *testing.T) {
	s := furnished(t)
	of := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	const most, anonymous = 32 << 20, 64 << 10
	for _, c := range []struct {
		what, token string
		size        int
		status      int
	}{
		{"none", "", anonymous, 403}, {"none", "", anonymous + 1, 413}, {"bogus", "bogus", anonymous, 403}, {"bogus", "bogus", anonymous + 1, 413},
		{"good", root, anonymous + 1, 204}, {"good, too much", root, most + 1, 413},
	} {
		a := s.Do(t, "POST", "kv1/size", c.token, of(c.size))
		if a.Status != c.status {
			t.Errorf("%s, %d bytes: %d %s, want %d", c.what, c.size, a.Status, a.Body, c.status)
		}
	}
	chunked := func(token string, n int) *servertest.Answer {
		var b bytes.Buffer
		fmt.Fprintf(&b, "POST /v1/kv1/chunked HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", token)
		fmt.Fprintf(&b, "%x\r\n%s\r\n0\r\n\r\n", n, of(n))
		return s.Raw(t, "POST", b.Bytes())
	}
	for _, c := range []struct {
		token  string
		size   int
		status int
	}{{root, 100, 204}, {root, anonymous + 1, 204}, {"bogus", anonymous, 403}, {"bogus", anonymous + 1, 413}} {
		if a := chunked(c.token, c.size); a.Status != c.status {
			t.Errorf("chunked, %q, %d: %d, want %d", c.token, c.size, a.Status, c.status)
		}
	}
	short := s.Raw(t, "POST", []byte("POST /v1/kv1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: "+root+"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"))
	if short.Status < 400 {
		t.Errorf("two lengths: %d", short.Status)
	}
}

func TestTokens(t *testing.T) {
	s := furnished(t)
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"X-Vault-Token", root}, 200},
		{[]string{"x-vault-token", root}, 200},
		{[]string{"Authorization", "Bearer " + root}, 200},
		{[]string{"Authorization", "Bearer  " + root + " "}, 200},
		{[]string{"Authorization", "bearer " + root}, 403},
		{[]string{"Authorization", "BEARER " + root}, 403},
		{[]string{"Authorization", "Bearer" + root}, 403},
		{[]string{"Authorization", root}, 403},
		{[]string{"Authorization", "Basic eDp5", "Authorization", "Bearer " + root}, 200},
		{[]string{"Authorization", "Bearer bad", "Authorization", "Bearer " + root}, 403},
		{[]string{"X-Vault-Token", "bad", "Authorization", "Bearer " + root}, 403},
		{[]string{"X-Vault-Token", root, "Authorization", "Bearer bad"}, 200},
		{[]string{"X-Vault-Token", "", "Authorization", "Bearer " + root}, 200},
		{[]string{"X-Vault-Token", "bad", "X-Vault-Token", root}, 403},
		{[]string{"X-Vault-Token", root + "\u00a0"}, 403},
		{[]string{"X-Vault-Token", strings.ToUpper(root)}, 403},
		{[]string{"X-Vault-Token", strings.Repeat("x", 20_000)}, 403},
		{[]string{"Cookie", "token=" + root}, 403},
		{nil, 403},
	} {
		if a := s.Do(t, "GET", "kv1/a", "", "", c.headers...); a.Status != c.status {
			t.Errorf("%.80q: %d, want %d", c.headers, a.Status, c.status)
		}
	}
	s.Want(t, 403, "GET", "kv1/a?token="+root+"&X-Vault-Token="+root, "", "")
}

func TestNamespaceHeader(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "sys/namespaces/ns1", root, `{}`)
	s.Want(t, 204, "POST", "sys/mounts/kv1", root, `{"type":"kv"}`, "X-Vault-Namespace", "ns1")
	s.Want(t, 204, "POST", "kv1/n", root, `{"k":"n"}`, "X-Vault-Namespace", "ns1")
	for _, c := range []struct {
		namespace, path string
		status          int
		value           string
	}{
		{"", "kv1/a", 200, "v"}, {"root", "kv1/a", 200, "v"}, {"/", "kv1/a", 200, "v"}, {"root/", "kv1/a", 200, "v"},
		{"ns1", "kv1/n", 200, "n"}, {"/ns1/", "kv1/n", 200, "n"}, {"ns1/", "kv1/n", 200, "n"}, {"", "ns1/kv1/n", 200, "n"}, {"root", "ns1/kv1/n", 200, "n"},
		{"NS1", "kv1/n", 404, ""}, {"nope", "kv1/n", 404, ""}, {"ROOT", "kv1/a", 404, ""}, {"ns1/../", "kv1/a", 404, ""}, {"ns1/root", "kv1/n", 404, ""},
		{"ns1", "kv1/a", 404, ""}, {"ns1", "../kv1/a", 400, ""}, {"", "root/kv1/a", 404, ""},
	} {
		a := s.Do(t, "GET", c.path, root, "", "X-Vault-Namespace", c.namespace)
		if a.Status != c.status && !(a.Status == 403 && c.status == 404) || a.String("data", "k") != c.value {
			t.Errorf("%q %s: %d %s, want %d", c.namespace, c.path, a.Status, a.Body, c.status)
		}
		if got := a.Header.Get("X-Vault-Namespace"); got != c.namespace {
			t.Errorf("%q is echoed as %q", c.namespace, got)
		}
	}
}

func TestHeadersAndEnvelope(t *testing.T) {
	s := furnished(t)
	for path, status := range map[string]int{"kv1/a": 200, "kv1/none": 404, "kv1//a": 400, "sys/health": 200} {
		a := s.Want(t, status, "GET", path, root, "")
		for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Strict-Transport-Security": "max-age=31536000; includeSubDomains"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		if a.Header.Get("Server") != "" || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: headers %v", path, a.Header)
		}
	}
	if a := s.Want(t, 204, "POST", "kv1/b", root, `{"k":"v"}`); a.Header.Get("Content-Type") != "application/json" || len(a.Body) > 0 {
		t.Errorf("204: %v %q", a.Header, a.Body)
	}
	a := s.Want(t, 200, "GET", "kv1/a", root, "")
	want := `{"request_id":"` + a.String("request_id") + `","lease_id":"","renewable":false,"lease_duration":2764800,"data":{"k":"v"},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}` + "\n"
	if a.Text() != want || len(a.String("request_id")) != 36 {
		t.Errorf("envelope:\n got %s\nwant %s", a.Body, want)
	}
	a = s.Want(t, 200, "POST", "auth/token/create", root, `{"ttl":"1h"}`)
	last := -1
	for _, name := range []string{`"data":null`, `"auth":{`, "client_token", "accessor", `"policies"`, "token_policies", `"metadata"`, `"lease_duration":3600`, `"renewable":true`, "entity_id", "token_type", "orphan", "mfa_requirement", "num_uses"} {
		at := strings.Index(a.Text()[max(last, 0):], name)
		if at < 0 {
			t.Fatalf("%s is absent or out of order in %s", name, strings.ReplaceAll(a.Text(), a.String("auth", "client_token"), "…"))
		}
		last = max(last, 0) + at
	}
}

func TestWrapping(t *testing.T) {
	s := furnished(t)
	for _, ttl := range []string{"garbage", "-5", "-1s", "1e", "NaN", "1h1", "99999999999999999999"} {
		s.Want(t, 400, "GET", "kv1/a", root, "", "X-Vault-Wrap-TTL", ttl)
	}
	s.Want(t, 204, "POST", "kv1/wrapped", root, `{"k":"`+canary+`"}`)
	for _, ttl := range []string{"60", "60s", "1m"} {
		a := s.Want(t, 200, "GET", "kv1/wrapped", root, "", "X-Vault-Wrap-TTL", ttl)
		if strings.Contains(a.Text(), canary) || a.Field("data") != nil || a.Field("wrap_info", "ttl") != 60.0 {
			t.Errorf("%s: %s", ttl, a.Body)
		}
		token := a.String("wrap_info", "token")
		if b := s.Want(t, 200, "POST", "sys/wrapping/unwrap", token, ""); b.String("data", "k") != canary {
			t.Errorf("unwrapped: %s", b.Body)
		}
		s.Want(t, 400, "POST", "sys/wrapping/unwrap", token, "")
		s.Want(t, 403, "GET", "kv1/wrapped", token, "")
	}
	for _, ttl := range []string{"60", "60s", "1", "0.5"} {
		for _, path := range []string{"kv1/a", "auth/token/lookup-self"} {
			a := s.Want(t, 200, "GET", path, root, "", "X-Vault-Wrap-TTL", ttl)
			if !strings.Contains(a.Text(), `"data":null,"wrap_info":{`) {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
		for _, path := range []string{"sys/health", "sys/seal-status", "sys/init", "kv1/a?help=1"} {
			a := s.Want(t, 400, "GET", path, root, "", "X-Vault-Wrap-TTL", ttl)
			if !strings.Contains(a.Text(), "cannot be wrapped") {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
	}
	// What has no answer has nothing to wrap.
	s.Want(t, 204, "POST", "kv1/wrapped", root, `{"k":"v"}`, "X-Vault-Wrap-TTL", "60")
	s.Want(t, 200, "GET", "kv1/wrapped", root, "")
	s.Want(t, 200, "GET", "kv1/a", root, "", "X-Vault-Wrap-TTL", "0")
}

func TestDenialsAreTheSameOnTheWire(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "sys/namespaces/team", root, `{}`)
	weak := s.Policy(t, "", "weak", `path "x" { capabilities = ["read"] }`)
	var first *servertest.Answer
	for _, token := range []string{"", "bogus", weak, "srs_F7agCisB0W9myJctpDL6ss6SYs9IYrZ5JGGlvkR4mGH1hOUa6"} {
		for _, path := range []string{"kv1/a", "kv1/none", "secret/data/a", "nomount/x", "sys/nothing", "sys/mounts", "sys/policies/acl/no%C5%BFe", "team/kv1/a", "ghost/kv1/a"} {
			for _, ns := range []string{"", "team", "ghost"} {
				a := s.Want(t, 403, "GET", path, token, "", "X-Vault-Namespace", ns)
				for _, h := range []string{"Date", "X-Request-Id", "X-Vault-Namespace"} {
					a.Header.Del(h)
				}
				if first == nil {
					first = a
				}
				if a.Text() != first.Text() || fmt.Sprint(a.Header) != fmt.Sprint(first.Header) {
					t.Errorf("%s in %q: %v %s differs from %v %s", path, ns, a.Header, a.Body, first.Header, first.Body)
				}
			}
		}
	}
}
