package compat

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestEnvelope pins the frame of an ordinary answer, the order of its members and its headers.
func TestEnvelope(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		ok(t, c.kv1(mount).Put(t.Context(), "app", map[string]any{"k": "v"}))
		a := c.send(t, "GET", "/v1/"+mount+"/app", "")
		equal(t, "status", a.status, 200)
		equal(t, "content type", a.header.Get("Content-Type"), "application/json")
		equal(t, "cache control", a.header.Get("Cache-Control"), "no-store")
		last := 0
		for _, member := range []string{"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"} {
			place := strings.Index(a.text, `"`+member+`":`)
			if place < last {
				t.Errorf("%s is missing or out of order in %s", member, a.text)
			}
			last = place
		}
		for member, want := range map[string]any{"data": map[string]any{"k": "v"}, "warnings": nil, "auth": nil, "wrap_info": nil} {
			equal(t, member, a.body[member], want)
		}
		for _, bare := range []string{"seal-status", "health", "init", "leader"} {
			if _, framed := c.send(t, "GET", "/v1/sys/"+bare, "").body["request_id"]; framed {
				t.Errorf("sys/%s answers with an envelope", bare)
			}
		}
	})
}

// TestErrorsOnTheWire pins status and text of the errors that people's tools match.
func TestErrorsOnTheWire(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, _ := c.freshKV2(t)
		for _, try := range []struct {
			method, path, body string
			status             int
			text               string
		}{
			{"GET", mount + "/data/none", "", 404, `{"errors":[]}`},
			{"LIST", mount + "/metadata", "", 404, `{"errors":[]}`},
			{"GET", mount + "/metadata?list=true", "", 404, `{"errors":[]}`},
			{"GET", mount + "/metadata?list=maybe", "", 400, `errors`},
			{"GET", "nosuch/x", "", 404, "no handler for route"},
			{"GET", "sys/nosuch", "", 404, "unsupported path"},
			{"PUT", mount + "/data/x", `{bad`, 400, "errors"},
			{"PUT", mount + "/data/x", `[]`, 400, "errors"},
			{"POST", "sys/key-status", `{}`, 405, "errors"},
			{"DELETE", mount + "/data/none", "", 204, ""},
			{"BREW", mount + "/data/none", "", 405, ""},
		} {
			a := c.send(t, try.method, "/v1/"+try.path, try.body)
			equal(t, "status of "+try.method+" "+try.path, a.status, try.status)
			holds(t, "the answer to "+try.method+" "+try.path, a.text, try.text)
			if a.status >= 400 && try.method != "BREW" {
				equal(t, "errors of "+try.path+" are a list", a.body["errors"] != nil, true)
			}
		}
	})
}

// TestDenials pins that no token, a bad one and missing rights look alike.
func TestDenials(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		weak := c.bearer(t, `path "x" { capabilities = ["read"] }`)
		for _, token := range []string{"", "hvs.never-issued", weak.token} {
			for _, path := range []string{"secret/data/app", "sys/mounts", "nosuch/mount"} {
				a := c.send(t, "GET", "/v1/"+path, "", "X-Vault-Token", token)
				equal(t, "status of "+path, a.status, 403)
				holds(t, path, a.text, "permission denied")
				equal(t, path+" challenges", a.header.Get("WWW-Authenticate"), "")
			}
		}
	})
}

func TestTokenHeaders(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		bearer := []string{"Authorization", "Bearer " + rootToken}
		path := "/v1/auth/token/lookup-self"
		equal(t, "status with a bearer", c.send(t, "GET", path, "", append(bearer, "X-Vault-Token", "")...).status, 200)
		equal(t, "status with a good bearer and a bad token", c.send(t, "GET", path, "", append(bearer, "X-Vault-Token", "x")...).status, 403)
		equal(t, "status with the request header", c.send(t, "GET", path, "", "X-Vault-Request", "true").status, 200)
	})
}

// TestPathsAreCanonical pins that a path spelt differently is never served as something its policy does not cover.
func TestPathsAreCanonical(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, kv := c.freshKV2(t)
		must(kv.Put(t.Context(), "hidden", map[string]any{"n": "treasure"}))(t)
		reader := c.bearer(t, `path "`+mount+`/data/app/*" { capabilities = ["read"] }`)
		for _, path := range []string{
			"/data/app/../hidden", "/data/app/%2e%2e/hidden", "/data/app/..%2fhidden", "/data//hidden", "/data/./hidden",
			"/data/app/%252e%252e/hidden", "/data/app/..;/hidden", "/data/hidden/", "/data/app/\\..\\hidden",
		} {
			req := must(http.NewRequestWithContext(t.Context(), "GET", c.server.URL, nil))(t)
			req.URL.Opaque = "/v1/" + mount + path
			req.Header.Set("X-Vault-Token", reader.token)
			resp := must(noRedirects.Do(req))(t)
			ok(t, resp.Body.Close())
			if !slices.Contains([]int{301, 307, 308, 400, 403, 404}, resp.StatusCode) {
				t.Errorf("%s answered %d", path, resp.StatusCode)
			}
		}
	})
}

func TestLeniency(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		a := c.send(t, "POST", "/v1/auth/token/create", `{"policies":"default","ttl":60,"num_uses":"3","renewable":"false"}`)
		equal(t, "status", a.status, 200)
		equal(t, "policies from a comma list", at(a.body, "auth.policies"), []any{"default"})
		equal(t, "lease seconds from a number", at(a.body, "auth.lease_duration"), 60)
		equal(t, "renewable from text", at(a.body, "auth.renewable"), false)
		equal(t, "uses from text", at(a.body, "auth.num_uses"), 3)
		a = c.send(t, "POST", "/v1/auth/token/create", `{"policies":["default"],"ttl":"60s","surprise":1}`)
		holds(t, "the answer to an unknown field", a.text, "Endpoint ignored these unrecognized parameters: [surprise]")
		mount := c.mounted(t, "kv", nil)
		a = c.send(t, "POST", "/v1/"+mount+"/form", "user=ann&n=1", "Content-Type", "application/x-www-form-urlencoded")
		equal(t, "status of a form", a.status, 204)
		equal(t, "data of a form", must(c.kv1(mount).Get(t.Context(), "form"))(t).Data, map[string]any{"user": "ann", "n": "1"})
	})
}

func TestBodyLimit(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		big := `{"k":"` + strings.Repeat("x", 33<<20) + `"}`
		equal(t, "status", c.send(t, "POST", "/v1/"+mount+"/big", big).status, 413)
	})
}

func TestLogical(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		must(c.logical.WriteBytes(mount+"/app", []byte(`{"n":12345678901234567890,"f":1.50}`)))(t)
		s := must(c.logical.ReadWithData(mount+"/app", map[string][]string{"unused": {"1"}}))(t)
		equal(t, "a number beyond 64 bits", s.Data["n"], "12345678901234567890")
		raw := must(c.logical.ReadRaw(mount + "/app"))(t)
		equal(t, "status", closeBody(t, raw), 200)
		must(c.logical.DeleteWithData(mount+"/app", map[string][]string{"unused": {"1"}}))(t)
		s, err := c.logical.Read(mount + "/app")
		absent(t, "what was deleted", s, err)
		_, err = c.logical.Write("sys/tools/nosuch", map[string]any{"a": 1})
		refused(t, err, 404, "unsupported path")
	})
}

func TestCubbyhole(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		ann := c.bearer(t, `path "x" { capabilities = ["read"] }`)
		bob := c.bearer(t, `path "x" { capabilities = ["read"] }`)
		must(ann.logical.Write("cubbyhole/mine", map[string]any{"k": "v"}))(t)
		equal(t, "own data", must(ann.logical.Read("cubbyhole/mine"))(t).Data, map[string]any{"k": "v"})
		equal(t, "own list", keys(t, must(ann.logical.List("cubbyhole"))(t)), []string{"mine"})
		s, err := bob.logical.Read("cubbyhole/mine")
		absent(t, "another's cubbyhole", s, err)
		must(ann.logical.Delete("cubbyhole/mine"))(t)
		s, err = ann.logical.Read("cubbyhole/mine")
		absent(t, "what was deleted", s, err)
	})
}

func TestWrapping(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		ok(t, c.kv1(mount).Put(t.Context(), "app", map[string]any{"k": "v"}))
		a := c.send(t, "GET", "/v1/"+mount+"/app", "", "X-Vault-Wrap-TTL", "60")
		equal(t, "data", a.body["data"], nil)
		equal(t, "seconds", at(a.body, "wrap_info.ttl"), 60)
		equal(t, "creation path", at(a.body, "wrap_info.creation_path"), mount+"/app")
		token, isText := at(a.body, "wrap_info.token").(string)
		equal(t, "token is text", isText, true)
		look := must(c.as(t, "").logical.Write("sys/wrapping/lookup", map[string]any{"token": token}))(t)
		equal(t, "path by lookup", look.Data["creation_path"], mount+"/app")
		equal(t, "unwrapped", must(c.logical.Unwrap(token))(t).Data, map[string]any{"k": "v"})
		_, err := c.logical.Unwrap(token)
		refused(t, err, 400, "wrapping token is not valid or does not exist")
		for _, ttl := range []string{"soon", "-5s"} {
			equal(t, "status for "+ttl, c.send(t, "GET", "/v1/"+mount+"/app", "", "X-Vault-Wrap-TTL", ttl).status, 400)
		}
	})
}

// TestWrappingJWT has the clients ask for the wrapping token in JWT form, by their
// header, and hand it back both ways.
func TestWrappingJWT(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		ok(t, c.kv1(mount).Put(t.Context(), "app", map[string]any{"k": "v"}))
		asking := c.as(t, c.token)
		asking.head.AddHeader("X-Vault-Wrap-TTL", "60")
		asking.head.AddHeader("X-Vault-Wrap-Format", "jwt")
		wrap := func() string {
			s := must(asking.logical.Read(mount + "/app"))(t)
			equal(t, "parts of the token", strings.Count(s.WrapInfo.Token, "."), 2)
			equal(t, "creation path", s.WrapInfo.CreationPath, mount+"/app")
			return s.WrapInfo.Token
		}
		token := wrap()
		look := must(c.as(t, "").logical.Write("sys/wrapping/lookup", map[string]any{"token": token}))(t)
		equal(t, "path by lookup", look.Data["creation_path"], mount+"/app")
		next := must(c.logical.Write("sys/wrapping/rewrap", map[string]any{"token": token}))(t)
		_, err := c.logical.Unwrap(token)
		refused(t, err, 400, "wrapping token is not valid or does not exist")
		equal(t, "exchanged", must(c.logical.Unwrap(next.WrapInfo.Token))(t).Data, map[string]any{"k": "v"})
		equal(t, "named", must(c.logical.Unwrap(wrap()))(t).Data, map[string]any{"k": "v"})
		token = wrap()
		equal(t, "shown", must(c.as(t, token).logical.Unwrap(""))(t).Data, map[string]any{"k": "v"})
		_, err = c.as(t, token).logical.Unwrap("")
		refused(t, err, 400, "wrapping token is not valid or does not exist")
		_, err = c.as(t, wrap()).logical.Read(mount + "/app")
		refused(t, err, 403, "permission denied")
	})
}

// TestWrappedToken pins the wrapped answer of a login-like call, as scripts hand tokens on.
func TestWrappedToken(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		a := c.send(t, "POST", "/v1/auth/token/create", `{"policies":["default"],"ttl":"60s"}`, "X-Vault-Wrap-TTL", "1m")
		token, isText := at(a.body, "wrap_info.token").(string)
		equal(t, "token is text", isText, true)
		inner := must(c.as(t, token).logical.Unwrap(""))(t)
		equal(t, "accessor named outside", at(a.body, "wrap_info.wrapped_accessor"), inner.Auth.Accessor)
		c.as(t, inner.Auth.ClientToken).alive(t, "unwrapped", true)
	})
}
