package reference

import (
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// wide is where lines of help end.
const wide = 78

// text is the help of a place, for people at a terminal.
func (c *Comments) text(m Mount, p *place) string {
	var b strings.Builder
	for i, e := range p.ops {
		if i > 0 {
			b.WriteByte('\n')
		}
		c.endpointText(&b, m, e)
	}
	return b.String()
}

// overview lists the endpoints of a mount, each with what it does.
func (c *Comments) overview(m Mount, all []place) string {
	var b strings.Builder
	for i := range all {
		for _, e := range all[i].ops {
			fmt.Fprintf(&b, "%s %s%s\n%s\n\n", strings.ToUpper(opVerb(e.Op)), m.Path, e.Pattern, indented(summary(c.Handler(e)), "    "))
		}
	}
	return b.String()
}

func (c *Comments) endpointText(b *strings.Builder, m Mount, e *api.Endpoint) {
	fmt.Fprintf(b, "%s %s%s\n\n%s\n", strings.ToUpper(opVerb(e.Op)), m.Path, e.Pattern, indented(c.Handler(e), "    "))
	fmt.Fprintf(b, "\n    Needs: %s\n", needs(e))
	fieldsText(b, "PARAMETERS", c.rows(e.Request))
	if e.Answer == api.Data {
		fieldsText(b, "ANSWER", c.rows(e.Response))
	}
}

func fieldsText(b *strings.Builder, title string, rows []row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n", title)
	for _, r := range rows {
		fmt.Fprintf(b, "\n    %s (%s)%s\n", r.name, r.kind, r.marks())
		if r.doc != "" {
			b.WriteString(indented(r.doc, "        ") + "\n")
		}
	}
}

// indented is a text of paragraphs, folded into lines.
func indented(text, indent string) string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if lines != nil {
			lines = append(lines, "")
		}
		line := indent
		for word := range strings.FieldsSeq(paragraph) {
			if line != indent && len(line)+1+len(word) > wide {
				lines, line = append(lines, line), indent
			}
			if line != indent {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// needs says which capability a policy must grant.
func needs(e *api.Endpoint) string {
	if e.Has(api.Public) {
		return "no token"
	}
	if e.Has(api.Open) {
		return "no token; a token's policies decide what is shown"
	}
	need := e.Op.String()
	if e.Op == api.Write && e.CanCreate() {
		need = "create for what is new, update for what exists"
	}
	if e.Has(api.Sudo) {
		need += ", and sudo"
	}
	return need
}

// row is one field as the pages and help list it.
type row struct {
	name, kind, place, defaultText, doc string
	required, deprecated                bool
}

// marks are what is special about a field.
func (r *row) marks() string {
	var out string
	if r.required {
		out += " required"
	}
	if r.defaultText != "" {
		out += " default: " + r.defaultText
	}
	if r.deprecated {
		out += " deprecated"
	}
	return out
}

// rows are a type's fields, those of nested objects behind their own.
func (c *Comments) rows(s *api.Schema) []row {
	var out []row
	for i := range s.Fields {
		f := &s.Fields[i]
		r := row{name: f.Name, kind: f.Kind.String(), place: placeOf(f), defaultText: f.Default, doc: c.Field(s, f), required: f.Required, deprecated: f.Deprecated}
		if f.Whole {
			r.name, r.place = "*", "the whole body"
		}
		out = append(out, r)
		if f.Nested == nil {
			continue
		}
		for _, n := range c.rows(f.Nested) {
			n.name = f.Name + within(f.Kind) + n.name
			out = append(out, n)
		}
	}
	return out
}

// within joins the name of an object's field to the object's.
func within(k api.FieldKind) string {
	switch k {
	case api.KindStructs:
		return "[]."
	case api.KindByName:
		return ".NAME."
	}
	return "."
}

func placeOf(f *api.Field) string {
	if f.InPath {
		return "path"
	}
	return "body"
}
