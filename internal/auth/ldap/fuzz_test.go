package ldap

import (
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// leaves are the values in a filter, and form is what is around them.
func leaves(p *ber.Packet, form *strings.Builder) (values []string) {
	if len(p.Children) == 0 {
		return []string{p.Data.String()}
	}
	form.WriteByte('(')
	form.WriteByte(byte(p.Tag))
	for _, c := range p.Children {
		values = append(values, leaves(c, form)...)
	}
	form.WriteByte(')')
	return values
}

// A template that is taken makes one filter of any name: what the name is changes
// values alone, and those hold the name as it is.
func FuzzFilter(f *testing.F) {
	for _, t := range []string{"({{.UserAttr}}={{.Username}})", "(&(objectClass=person)(|(uid={{ .Username }})(mail={{.Username}}@x)))", "(member:1.2.840.113556.1.4.1941:={{.UserDN}})", "(!(uid=*{{.Username}}*))", "({{.Username}}=x)", "(uid=\\{{.Username}})", "(&)"} {
		for _, n := range []string{"alice", "*", "x)(uid=*", "\\2a", "\x00", "é", "2a"} {
			f.Add(t, n)
		}
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		tmpl, err := parseTemplate(text, "uid", fieldAttr, fieldName, fieldDN)
		if err != nil {
			return
		}
		var forms [2]strings.Builder
		var values [2][]string
		for i, n := range []string{mark, name} {
			p, err := ldap.CompileFilter(tmpl.expand("uid", n, n))
			if err != nil {
				t.Fatalf("%q with %q: %v", text, n, err)
			}
			values[i] = leaves(p, &forms[i])
		}
		if name == "" {
			return
		}
		if forms[0].String() != forms[1].String() || len(values[0]) != len(values[1]) {
			t.Fatalf("%q with %q is another filter than with a name", text, name)
		}
		for i, v := range values[0] {
			if got := values[1][i]; got != strings.ReplaceAll(v, mark, name) {
				t.Fatalf("%q with %q: holds %q where a name gives %q", text, name, got, v)
			}
		}
	})
}

// What is typed is refused or has one spelling, and two that are spelled alike count as one.
func FuzzNames(f *testing.F) {
	for _, s := range append(spellings(), "José", "Jose\u0301", "ß", "ſ", "\xff", "K", "Σς", "İ") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		name, err := spell(typed)
		if err != nil {
			return
		}
		if again, err := spell(name); err != nil || again != name {
			t.Fatalf("%q is spelled %q, and that %q (%v)", typed, name, again, err)
		}
		if name != tidy(name) || strings.ContainsAny(name, "\x00\n") {
			t.Fatalf("%q is spelled %q", typed, name)
		}
		want := fold(name)
		for _, other := range []string{strings.ToUpper(name), strings.ToLower(name), want} {
			if fold(other) != want {
				t.Fatalf("%q counts as %q, and %q as %q", name, want, other, fold(other))
			}
		}
	})
}

// What a directory answers for an identifier does no harm.
func FuzzSecurityID(f *testing.F) {
	f.Add([]byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0})
	f.Add([]byte{1, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		sid := securityID(b)
		if sid == "" {
			return
		}
		if strings.Trim(sid, "S-0123456789") != "" || strings.Count(sid, "-") != 2+int(b[1]) {
			t.Errorf("%x is %q", b, sid)
		}
	})
}
