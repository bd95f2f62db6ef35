package api

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Page is a document in HTML that runs its one script and shows its style, which may be empty, and nothing else: a browser
// keeps to that by their hashes (Content Security Policy Level 3, section 2.3.1), and nobody else frames it. The document says
// {{script}} and {{style}} where they stand. The directives in allow are what it may do beyond that.
func Page(document, script, style string, allow ...string) *Raw {
	policy := []string{"default-src 'none'", "script-src " + hashOf(script)}
	if style != "" {
		policy = append(policy, "style-src "+hashOf(style))
	}
	policy = append(append(policy, allow...), "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'")
	return &Raw{ContentType: "text/html; charset=utf-8", Policy: strings.Join(policy, "; "),
		Body: []byte(strings.NewReplacer("{{script}}", script, "{{style}}", style).Replace(document))}
}

// hashOf names a text in a page's policy.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
