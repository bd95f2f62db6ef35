package policy

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	f.Add(`path "kv/+/x*" { capabilities = ["read"] allowed_parameters = { "a" = ["b*", 5, 1.5, 0x1f, true] } }`)
	f.Add(`{"path": {"kv/{{identity.entity.id}}/*": {"policy": "write", "max_wrapping_ttl": "1d"}}}`)
	f.Add("path \"a\" {\n comment = <<-EOT\n  x\n  EOT\n}")
	f.Add(`path "${"a"}" {}`)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Parse("p", src)
		if err != nil {
			pe := (*ParseError)(nil)
			if !errors.As(err, &pe) || len(pe.Faults) == 0 || pe.Faults[0].Line < 1 {
				t.Fatalf("untyped or empty error: %v", err)
			}
			return
		}
		acl := Compile(time.Time{}, p)
		for _, r := range p.Rules {
			if r.Templated() {
				continue
			}
			d := acl.Decide(Request{Path: strings.TrimSuffix(r.Path, "*"), Op: Read})
			if d.Reason == NoRule || d.Reason == BadOperation {
				t.Fatalf("the rule %q does not match its own path: %v", r.Path, d.Reason)
			}
			if d.Allowed && r.Capabilities&Deny != 0 && d.Rules[0] == r {
				t.Fatalf("a deny allows: %q", r.Path)
			}
		}
		p.Expand(func(s string) (string, bool) { return s, true })
	})
}

// FuzzExpand fills a template with any value: a rule reaches no further than with a name
// of one plain word, and what it denies is denied whatever the value is.
func FuzzExpand(f *testing.F) {
	for _, v := range []string{"ann", "*", "+", "a/b", "..", "", "{{identity.entity.id}}", "\u212a", " a"} {
		f.Add("kv/", "/x*", v)
	}
	f.Add("kv/+/a-", "-b", "c")
	f.Fuzz(func(t *testing.T, before, after, value string) {
		for _, grants := range []string{"read", "deny"} {
			p, err := Parse("p", `{"path":{`+strconv.Quote(before+"{{identity.entity.name}}"+after)+`:{"capabilities":["`+grants+`"]}}}`)
			if err != nil || !p.Rules[0].Templated() || strings.ContainsAny(before+after, "{}") {
				return
			}
			filled := p.Expand(func(string) (string, bool) { return value, true })
			plain := p.Expand(func(string) (string, bool) { return "x", true })
			if len(plain.Rules) != 1 {
				return
			}
			checkFilled(t, p.Rules[0], plain.Rules[0].Path, filled, value)
		}
	})
}

// checkFilled compares a policy that was filled in with its rule, and with the path that
// this has for somebody with a plain name.
func checkFilled(t *testing.T, r *Rule, plain string, filled *Policy, value string) {
	before, _, _ := strings.Cut(r.Path, "{{")
	shape := func(path string) [3]int {
		return [3]int{strings.Count(path, "/"), strings.Count(path, "*"), strings.Count(path, "+")}
	}
	for _, got := range filled.Rules {
		if got.Path == before+"*" && r.Capabilities&Deny != 0 {
			continue
		}
		if shape(got.Path) != shape(plain) || !strings.Contains(got.Path, value) || value == "" {
			t.Fatalf("%q with %q is %q", r.Path, value, got.Path)
		}
	}
	if r.Capabilities&Deny == 0 {
		return
	}
	if len(filled.Rules) != 1 {
		t.Fatalf("%q with %q denies nothing", r.Path, value)
	}
	segments := strings.Split(strings.TrimSuffix(strings.Replace(plain, before+"x", before+value, 1), "*"), "/")
	for i, s := range segments {
		if s == "+" {
			segments[i] = "y"
		}
	}
	path := strings.Join(segments, "/")
	if _, err := Canonical(path); err != nil {
		return // nobody can ask for it
	}
	if d := Compile(time.Time{}, filled).Decide(Request{Path: path, Op: Read}); d.Rules == nil || d.Allowed {
		t.Fatalf("%q with %q does not deny %q", r.Path, value, path)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"kv/a", "kv/a/", "kv/../a", `a\..\b`, "\u212a", "a/\u3000b", "a//", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if path, err := Canonical(s); err == nil {
			checkCanonical(t, s, path)
		}
		name, err := CanonicalName(s)
		if err != nil {
			return
		}
		if again, err := CanonicalName(name); err != nil || again != name {
			t.Fatalf("%q: %q is not stable: %q, %v", s, name, again, err)
		}
		if strings.ToLower(name) != name || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
			t.Fatalf("%q: %q is not folded", s, name)
		}
		if up, err := CanonicalName(strings.ToUpper(name)); err == nil && up != name {
			t.Fatalf("%q and its upper case are two names: %q", name, up)
		}
	})
}

func checkCanonical(t *testing.T, s, path string) {
	if path != s {
		t.Fatalf("%q was rewritten to %q", s, path)
	}
	if again, err := Canonical(path); err != nil || again != path {
		t.Fatalf("%q is not stable", path)
	}
	if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) || len(path) > MaxPathBytes {
		t.Fatalf("%q", path)
	}
	for _, seg := range strings.Split(strings.TrimSuffix(path, "/"), "/") {
		if seg == "" || seg == "." || seg == ".." || strings.TrimSpace(seg) != seg {
			t.Fatalf("%q has the segment %q", path, seg)
		}
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("kv/+/b*", "kv/a/*", "kv/a/bc", true)
	f.Add("+/+", "+/*", "a/b/", false)
	f.Add("KV/\u212a", "kv/k", "kv/K", true)
	f.Fuzz(func(t *testing.T, allow, deny, path string, listing bool) {
		acl := Compile(time.Time{}, &Policy{Name: "p", Rules: []*Rule{
			{Path: allow, Capabilities: verbs}, {Path: deny, Capabilities: Deny},
		}})
		op := Read
		if listing {
			op = List
		}
		d := acl.Decide(Request{Path: path, Op: op})
		if d.Allowed != (d.Reason == Granted) || d.Allowed && len(d.Rules) != 1 {
			t.Fatalf("%+v", d)
		}
		if !listing {
			return
		}
		bare := strings.TrimSuffix(path, "/")
		if other := acl.Decide(Request{Path: bare + "/", Op: op}); bare+"/" == path && other.Reason != d.Reason {
			t.Fatalf("%v and %v", d.Reason, other.Reason)
		}
		if other := acl.Decide(Request{Path: bare, Op: op}); !strings.HasSuffix(bare, "/") && other.Reason != d.Reason {
			t.Fatalf("with the slash %v, without it %v", d.Reason, other.Reason)
		}
	})
}

// TestFoldIsOneSpelling holds for every rune: all its case variants fold to
// one, which folds to itself.
func TestFoldIsOneSpelling(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		low := foldRune(r)
		if foldRune(low) != low {
			t.Errorf("%U folds to %U, which folds to %U", r, low, foldRune(low))
		}
		for _, v := range []rune{unicode.SimpleFold(r), unicode.ToLower(r), unicode.ToUpper(r), unicode.ToTitle(r)} {
			if foldRune(v) != low {
				t.Errorf("%U folds to %U, its variant %U to %U", r, low, v, foldRune(v))
			}
		}
	}
}
