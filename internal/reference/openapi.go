package reference

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// document is an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0),
// with the extensions x-vault-* that clients of the Vault API look for.
type document struct {
	OpenAPI    string                `json:"openapi"`
	Info       info                  `json:"info"`
	Servers    []link                `json:"servers"`
	Security   []map[string][]string `json:"security"`
	Paths      map[string]*item      `json:"paths"`
	Components components            `json:"components"`
}

type info struct {
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Version     string  `json:"version"`
	License     license `json:"license"`
}

type license struct {
	Name       string `json:"name"`
	Identifier string `json:"identifier"`
}

type link struct {
	URL string `json:"url"`
}

type components struct {
	Schemas  map[string]*schema         `json:"schemas"`
	Security map[string]*securityScheme `json:"securitySchemes"`
}

type securityScheme struct {
	Type string `json:"type"`
	In   string `json:"in"`
	Name string `json:"name"`
}

// item is a path's operations.
type item struct {
	Parameters      []*parameter `json:"parameters,omitempty"`
	Sudo            bool         `json:"x-vault-sudo,omitempty"`
	Unauthenticated bool         `json:"x-vault-unauthenticated,omitempty"`
	CreateSupported bool         `json:"x-vault-createSupported,omitempty"`
	Get             *operation   `json:"get,omitempty"`
	Post            *operation   `json:"post,omitempty"`
	Patch           *operation   `json:"patch,omitempty"`
	Delete          *operation   `json:"delete,omitempty"`
}

type operation struct {
	Summary     string                 `json:"summary"`
	Description string                 `json:"description,omitempty"`
	ID          string                 `json:"operationId"`
	Tags        []string               `json:"tags"`
	Security    *[]map[string][]string `json:"security,omitempty"` // empty list: needs no token
	Parameters  []*parameter           `json:"parameters,omitempty"`
	Body        *body                  `json:"requestBody,omitempty"`
	Responses   map[string]*response   `json:"responses"`
}

type parameter struct {
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	In          string  `json:"in"`
	Required    bool    `json:"required,omitempty"`
	Deprecated  bool    `json:"deprecated,omitempty"`
	Schema      *schema `json:"schema"`
}

type body struct {
	Required bool              `json:"required"`
	Content  map[string]*media `json:"content"`
}

type media struct {
	Schema *schema `json:"schema"`
}

type response struct {
	Description string            `json:"description"`
	Content     map[string]*media `json:"content,omitempty"`
}

const (
	jsonType  = "application/json"
	patchType = "application/merge-patch+json"
	tokenName = "token"
)

// about says what readers of the document must know before its paths.
const about = "The HTTP API of Strongroom. Paths lie below /v1. The schemas of answers describe the member data of the envelope " +
	"that most answers come in. A parameter of format seconds is answered as a number and may be given as a number or as text such as 90s, 1h30m or 30d."

// apiVersion is the version of this description of the API.
const apiVersion = "1.0.0"

func newDocument() *document {
	return &document{
		OpenAPI:  "3.1.0",
		Info:     info{Title: "Strongroom API", Description: about, Version: apiVersion, License: license{"Mozilla Public License 2.0", "MPL-2.0"}},
		Servers:  []link{{"/v1"}},
		Security: []map[string][]string{{tokenName: {}}},
		Paths:    map[string]*item{},
		Components: components{Schemas: map[string]*schema{},
			Security: map[string]*securityScheme{tokenName: {Type: "apiKey", In: "header", Name: "X-Vault-Token"}}},
	}
}

// writer adds one mount's endpoints to a document.
type writer struct {
	doc      *document
	comments *Comments
	prefix   string     // of paths, with a leading and a trailing slash
	shared   *parameter // the mount's path, where the document leaves it open
	name     string     // begins each operationId
	suffix   string     // ends each operationId
	tag      string
}

func (w *writer) mount(eps []*api.Endpoint) {
	for _, p := range places(eps) {
		w.place(&p)
	}
}

func (w *writer) place(p *place) {
	it := &item{Sudo: p.any(flagged(api.Sudo)), Unauthenticated: p.any(flagged(api.Public | api.Open)), CreateSupported: p.any((*api.Endpoint).CanCreate)}
	it.Parameters = w.pathParameters(p.ops[0])
	it.Get = w.get(p)
	if e := p.op(api.Write); e != nil {
		it.Post = w.operation(e)
		it.Post.Body = w.body(e, it.Post.ID, jsonType)
		if e.Has(api.Upload) { // its body is no JSON
			it.Post.Parameters = w.queryParameters(nil, e)
		}
	}
	if e := p.op(api.Patch); e != nil {
		it.Patch = w.operation(e)
		it.Patch.Body = w.body(e, it.Patch.ID, patchType)
	}
	if e := p.op(api.Delete); e != nil {
		it.Delete = w.operation(e)
		it.Delete.Parameters = w.queryParameters(nil, e)
	}
	w.doc.Paths[strings.TrimSuffix(w.prefix+template(p.pattern), "/")] = it
}

// get is the GET of a place: a read, a list, a recursive list, or any of them
// by the parameters list and scan.
func (w *writer) get(p *place) *operation {
	read, list, scan := p.op(api.Read), p.op(api.List), p.op(api.Scan)
	first := read
	for _, e := range []*api.Endpoint{list, scan} {
		if first == nil {
			first = e
		}
	}
	if first == nil {
		return nil
	}
	op := w.operation(first)
	for _, e := range []*api.Endpoint{read, list, scan} {
		op.Parameters = w.queryParameters(op.Parameters, e)
	}
	if scan != nil {
		op.Parameters = append(op.Parameters, choice("scan", "Return a recursive list if `true`.", read == nil && list == nil))
	}
	if list != nil {
		op.Parameters = append(op.Parameters, choice("list", "Return a list if `true`.", read == nil && scan == nil))
	}
	return op
}

// choice is a query parameter that turns a read into a list.
func choice(name, text string, required bool) *parameter {
	p := &parameter{Name: name, Description: text, In: "query", Required: required, Schema: &schema{Type: "string"}}
	if required {
		p.Description, p.Schema.Enum = "Must be `true`.", []string{"true"}
	}
	return p
}

func (w *writer) operation(e *api.Endpoint) *operation {
	text := w.comments.Handler(e)
	op := &operation{Summary: summary(text), ID: w.id(e), Tags: []string{w.tag}}
	if rest := strings.TrimSuffix(text, "."); rest != op.Summary {
		op.Description = text
	}
	if e.Has(api.Public | api.Open) {
		op.Security = &[]map[string][]string{}
	}
	op.Responses = w.responses(e, op.ID)
	return op
}

// opVerb begins the names of an operation.
func opVerb(op api.Op) string {
	if op == api.Write {
		return "write"
	}
	return op.String()
}

// id names an operation: unique within the document, and the same whenever the
// document is made.
func (w *writer) id(e *api.Endpoint) string {
	parts := append([]string{w.name, opVerb(e.Op)}, strings.FieldsFunc(e.Pattern, func(r rune) bool { return strings.ContainsRune("/{}._", r) })...)
	if w.suffix != "" {
		parts = append(parts, w.suffix)
	}
	return strings.Join(parts, "-")
}

func (w *writer) pathParameters(e *api.Endpoint) []*parameter {
	var out []*parameter
	for i := range e.Request.Fields {
		if f := &e.Request.Fields[i]; f.InPath {
			out = append(out, w.parameter(e, f, "path"))
		}
	}
	if w.shared != nil {
		out = append(out, w.shared)
	}
	return out
}

// queryParameters adds those of an endpoint, which may be nil, to known ones.
// A secret does not belong into a query, where proxies write it down.
func (w *writer) queryParameters(known []*parameter, e *api.Endpoint) []*parameter {
	if e == nil {
		return known
	}
	for i := range e.Request.Fields {
		f := &e.Request.Fields[i]
		if f.InPath || f.Whole || f.Kind == api.KindSecret || has(known, f.Name) {
			continue
		}
		known = append(known, w.parameter(e, f, "query"))
	}
	return known
}

func has(params []*parameter, name string) bool {
	for _, p := range params {
		if p.Name == name {
			return true
		}
	}
	return false
}

func (w *writer) parameter(e *api.Endpoint, f *api.Field, in string) *parameter {
	s := w.comments.schemaOf(e.Request, f)
	p := &parameter{Name: f.Name, In: in, Required: f.Required, Description: s.Description, Deprecated: s.Deprecated, Schema: s}
	s.Description, s.Deprecated = "", false
	return p
}

// body is an endpoint's request body; nil when it takes none.
func (w *writer) body(e *api.Endpoint, id, contentType string) *body {
	if e.Has(api.Upload) {
		return &body{Required: true, Content: map[string]*media{"application/octet-stream": {&schema{Type: "string", Format: "binary"}}}}
	}
	s := w.comments.object(e.Request, func(f *api.Field) bool { return !f.InPath })
	if len(e.Request.Fields) == 0 || len(s.Properties) == 0 && s.Additional == nil {
		return nil
	}
	return &body{Required: true, Content: map[string]*media{contentType: w.define(typeNameOf(id)+"Request", s)}}
}

// define puts a schema among the components and refers to it.
func (w *writer) define(name string, s *schema) *media {
	w.doc.Components.Schemas[name] = s
	return &media{&schema{Ref: "#/components/schemas/" + name}}
}

func (w *writer) responses(e *api.Endpoint, id string) map[string]*response {
	switch e.Answer {
	case api.Nothing:
		return map[string]*response{"204": {Description: "Done; there is nothing to say."}}
	case api.Data:
		s := w.comments.object(e.Response, nil)
		return map[string]*response{"200": {Description: "OK", Content: map[string]*media{jsonType: w.define(typeNameOf(id)+"Response", s)}}}
	case api.Login:
		return map[string]*response{"200": {Description: "A token, in the member auth of the envelope."}}
	case api.Wrapped:
		return map[string]*response{"200": {Description: "A wrapping token, in the member wrap_info of the envelope."}}
	}
	return map[string]*response{"200": {Description: "OK"}}
}

// typeNameOf is an operationId in camel case.
func typeNameOf(id string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(id, func(r rune) bool { return r == '-' || r == '_' || r == '/' }) {
		b.WriteString(capital(part))
	}
	return b.String()
}
