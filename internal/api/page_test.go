package api

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

// A browser runs what stands in the page and nothing else, so that the hashes must be those of what stands there.
func TestPage(t *testing.T) {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	const document = "<style>{{style}}</style><script>{{script}}</script>"
	const ends = "; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
	for _, c := range []struct {
		got          *Raw
		body, policy string
	}{
		{Page(document, "f({{style}})", "b{}", "connect-src 'self'"), "<style>b{}</style><script>f({{style}})</script>",
			"default-src 'none'; script-src " + hash("f({{style}})") + "; style-src " + hash("b{}") + "; connect-src 'self'" + ends},
		{Page("<script>{{script}}</script>", "f()", ""), "<script>f()</script>", "default-src 'none'; script-src " + hash("f()") + ends},
	} {
		if string(c.got.Body) != c.body || c.got.Policy != c.policy || c.got.ContentType != "text/html; charset=utf-8" {
			t.Errorf("the page is %s with %q of type %s; want %s with %q", c.got.Body, c.got.Policy, c.got.ContentType, c.body, c.policy)
		}
	}
}
