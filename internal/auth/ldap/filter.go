package ldap

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxFilter bounds a filter's template, in bytes.
const maxFilter = 4 << 10

// Fields of templates.
const (
	fieldAttr = "UserAttr" // the parameter userattr
	fieldName = "Username" // the name of who logs in
	fieldDN   = "UserDN"   // the distinguished name of who logs in
)

// template is a filter (RFC 4515) with places for values. It is no program: a place
// is {{.NAME}} and nothing else.
type template []piece

// piece is a text, or the place of a field.
type piece struct{ text, field string }

var place = regexp.MustCompile(`\{\{\s*\.([A-Za-z]+)\s*\}\}`)

var (
	errPlace  = errors.New("only {{.UserAttr}}, {{.Username}} and, of groups, {{.UserDN}} stand for something")
	errFilter = errors.New("is not a filter in parentheses, such as (uid={{.Username}})")
	errWhere  = errors.New("a name can stand for a value alone, not for an attribute or a rule")
	errSize   = errors.New("is too long")
)

// parseTemplate takes a template apart. What it makes is a filter for whatever values.
func parseTemplate(text, attr string, fields ...string) (template, error) {
	if len(text) > maxFilter {
		return nil, errSize
	}
	var t template
	at := 0
	for _, m := range place.FindAllStringSubmatchIndex(text, -1) {
		field := text[m[2]:m[3]]
		if !slices.Contains(fields, field) {
			return nil, errPlace
		}
		t = append(t, piece{text: text[at:m[0]]}, piece{field: field})
		at = m[1]
	}
	t = append(t, piece{text: text[at:]})
	for _, p := range t {
		if strings.Contains(p.text, "{{") || strings.Contains(p.text, "}}") {
			return nil, errPlace
		}
	}
	_, err := t.compared(attr)
	return t, err
}

// expand puts values into the places, each as the text that it is (RFC 4515, section 3).
func (t template) expand(attr, name, dn string) string {
	var b strings.Builder
	for _, p := range t {
		switch p.field {
		case fieldAttr:
			b.WriteString(attr)
		case fieldName:
			b.WriteString(ldap.EscapeFilter(name))
		case fieldDN:
			b.WriteString(ldap.EscapeFilter(dn))
		default:
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// mark stands for a name, to see where names come to stand.
const mark = "namef3a1c85e"

// compared are the attributes that the filter demands to equal the name, as they come.
func (t template) compared(attr string) ([]string, error) {
	p, err := ldap.CompileFilter(t.expand(attr, mark, mark))
	if err != nil {
		return nil, errFilter
	}
	var out []string
	err = inspect(p, &out)
	return out, err
}

// inspect looks through a compiled filter (RFC 4511, section 4.5.1).
func inspect(p *ber.Packet, equal *[]string) error {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr:
		for _, c := range p.Children {
			if err := inspect(c, equal); err != nil {
				return err
			}
		}
		return nil
	case ldap.FilterNot:
		var denied []string // what a name must not be tells nothing of who it is
		return inspect(p.Children[0], &denied)
	case ldap.FilterPresent:
		return noMark(p.Data.String())
	case ldap.FilterExtensibleMatch:
		return inspectExtensible(p)
	}
	attr := text(p.Children[0])
	if p.Tag == ldap.FilterEqualityMatch && text(p.Children[1]) == mark && !slices.Contains(*equal, attr) {
		*equal = append(*equal, attr)
	}
	return noMark(attr)
}

func inspectExtensible(p *ber.Packet) error {
	for _, c := range p.Children {
		if c.Tag == ldap.MatchingRuleAssertionMatchValue || c.Tag == ldap.MatchingRuleAssertionDNAttributes {
			continue
		}
		if err := noMark(text(c)); err != nil {
			return err
		}
	}
	return nil
}

func noMark(s string) error {
	if strings.Contains(s, mark) {
		return errWhere
	}
	return nil
}

// text is what a packet holds.
func text(p *ber.Packet) string {
	if s, ok := p.Value.(string); ok {
		return s
	}
	return p.Data.String()
}
