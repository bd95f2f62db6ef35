package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Page is what a page of the reference is about.
type Page struct {
	Name  string // of the file, without .md
	Title string
	Mount Mount // an example of where the engine is mounted
}

// notice stands on top of each page.
const notice = "<!-- Made from the source by go generate ./...; edit the declarations instead. -->\n\n"

// Pages are the reference pages as Markdown, by file name. The page of the
// system's engine is divided into one for each package that declares endpoints
// under sys/. It returns an error for a page whose engine is not in the table.
func (b *Book) Pages(pages []Page) (map[string][]byte, error) {
	out := map[string][]byte{}
	var index strings.Builder
	index.WriteString(notice + "# Reference\n\nEvery endpoint, by what it belongs to. `Needs` is the capability that a policy must grant.\n\n")
	for _, p := range pages {
		eps := b.endpoints(p.Mount)
		if len(eps) == 0 {
			return nil, fmt.Errorf("page %s: the table has no engine of type %q with endpoints", p.Name, p.Mount.Type)
		}
		for _, part := range divided(p, eps) {
			out[part.Name+".md"] = b.Comments.page(part)
			fmt.Fprintf(&index, "- [%s](%s.md): %d paths\n", part.Title, part.Name, len(places(part.eps)))
		}
	}
	out["README.md"] = []byte(index.String())
	return out, nil
}

// part is one page with its endpoints.
type part struct {
	Page
	eps []*api.Endpoint
}

// divided is a page, or for the system's engine one for each package.
func divided(p Page, eps []*api.Endpoint) []part {
	if p.Mount.Type != "system" {
		return []part{{p, eps}}
	}
	byPackage := map[string][]*api.Endpoint{}
	for _, e := range eps {
		pkg, _, _ := strings.Cut(e.Handler, ".")
		byPackage[pkg] = append(byPackage[pkg], e)
	}
	var out []part
	for _, pkg := range slices.Sorted(maps.Keys(byPackage)) {
		page := Page{Name: p.Name + "-" + pkg, Title: p.Title + ": " + pkg, Mount: p.Mount}
		out = append(out, part{page, byPackage[pkg]})
	}
	return out
}

func (c *Comments) page(p part) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n", notice, p.Title)
	if !p.Mount.Builtin {
		fmt.Fprintf(&b, "\nPaths are shown for a mount at `%s`; yours may lie elsewhere.\n", p.Mount.Path)
	}
	for _, pl := range places(p.eps) {
		fmt.Fprintf(&b, "\n## `/v1/%s%s`\n", p.Mount.Path, pl.pattern)
		for _, e := range pl.ops {
			c.endpointPage(&b, e)
		}
	}
	return []byte(b.String())
}

// verb is the HTTP verb of an operation.
func verb(op api.Op) string {
	switch op {
	case api.Read:
		return "GET"
	case api.Write:
		return "POST"
	}
	return strings.ToUpper(op.String())
}

func (c *Comments) endpointPage(b *strings.Builder, e *api.Endpoint) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\nNeeds: %s.%s\n", verb(e.Op), c.Handler(e), needs(e), remarks(e))
	if rows := c.rows(e.Request); len(rows) > 0 {
		b.WriteString("\n| parameter | in | type | required | default | description |\n|---|---|---|---|---|---|\n")
		for _, r := range rows {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", r.name, inVerb(r.place, e), r.kind, yes(r.required), code(r.defaultText), cell(r))
		}
	}
	c.answerPage(b, e)
}

func (c *Comments) answerPage(b *strings.Builder, e *api.Endpoint) {
	switch e.Answer {
	case api.Nothing:
		b.WriteString("\nAnswers 204.\n")
	case api.Login:
		b.WriteString("\nAnswers a token, in the member `auth` of the envelope.\n")
	case api.Whole:
		b.WriteString("\nAnswers in the form that the answer had when it was made.\n")
	case api.Wrapped:
		b.WriteString("\nAnswers a wrapping token, in the member `wrap_info` of the envelope.\n")
	case api.Document:
		b.WriteString("\nAnswers a document without envelope.\n")
	case api.Data:
		rows := c.rows(e.Response)
		if len(rows) == 0 {
			b.WriteString("\nAnswers an object of free form.\n")
			return
		}
		b.WriteString("\n| answer | type | description |\n|---|---|---|\n")
		for _, r := range rows {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.name, r.kind, cell(r))
		}
	}
}

// remarks are an endpoint's flags in words.
func remarks(e *api.Endpoint) string {
	var out string
	if e.Has(api.RootOnly) {
		out += " Exists in the root namespace only."
	}
	if e.Has(api.Sealed) {
		out += " Answers while the server is sealed, too."
	}
	if e.Has(api.Bare) {
		out += " The answer has no envelope."
	}
	return out
}

// inVerb is where a request carries a field that has no body, or whose body is not for
// fields.
func inVerb(place string, e *api.Endpoint) string {
	if place == "body" && (e.Op != api.Write && e.Op != api.Patch || e.Has(api.Upload)) {
		return "query"
	}
	return place
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell is a row's description as a table takes it.
func cell(r row) string {
	text := strings.NewReplacer("|", `\|`, "\n", " ").Replace(r.doc)
	if r.deprecated {
		text = "Deprecated. " + text
	}
	return text
}
