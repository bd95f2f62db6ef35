package reference

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/strongroom/strongroom/internal/api"
)

//go:embed comments.json
var commentsFile string

// Comments are the comments of declarations, lifted from the source.
type Comments struct {
	Types    map[string]TypeComment `json:"types"`    // by package and type, such as token.Role
	Handlers map[string]string      `json:"handlers"` // by package, type and method, such as token.Store.Renew
}

// TypeComment is what a request or response type says of itself.
type TypeComment struct {
	Doc    string            `json:"doc,omitempty"`
	Fields map[string]string `json:"fields,omitempty"` // by Go field name
}

// Embedded are the comments of the source that this program was built from.
func Embedded() (*Comments, error) {
	var c Comments
	if err := json.Unmarshal([]byte(commentsFile), &c); err != nil {
		return nil, fmt.Errorf("reading the embedded comments: %w", err)
	}
	return &c, nil
}

// Field is what a field's comment says; empty when it has none.
func (c *Comments) Field(s *api.Schema, f *api.Field) string { return c.Types[s.Name].Fields[f.Doc] }

// Handler is what an endpoint's handler says it does, without its name; the
// name itself in words when it says nothing.
func (c *Comments) Handler(e *api.Endpoint) string {
	name := e.Handler[strings.LastIndexByte(e.Handler, '.')+1:]
	doc := c.Handlers[e.Handler]
	if rest, ok := strings.CutPrefix(doc, name+" "); ok {
		return capital(rest)
	}
	if doc != "" {
		return doc
	}
	return capital(words(name)) + "."
}

// summary is the first sentence of a text, without its stop.
func summary(text string) string {
	line, _, _ := strings.Cut(text, "\n\n")
	first, _, _ := strings.Cut(line, ". ")
	return strings.TrimSuffix(first, ".")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// words takes a name in camel case apart: renewSelf is renew self.
func words(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
