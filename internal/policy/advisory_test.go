package policy

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// Each test is named after the advisory, about Vault or OpenBao, whose cause
// it shows to be absent.

var allVerbs = []Capabilities{Create, Read, Update, Patch, Delete, List, Scan}

// mustRefuse fails if any verb is allowed on the path.
func mustRefuse(t *testing.T, acl *ACL, path string) {
	t.Helper()
	for _, op := range allVerbs {
		if d := acl.Decide(Request{Path: path, Op: op}); d.Allowed {
			t.Errorf("%v on %q is allowed", op, path)
		}
	}
}

func mustAllow(t *testing.T, acl *ACL, path string) {
	t.Helper()
	for _, op := range allVerbs {
		if d := acl.Decide(Request{Path: path, Op: op}); !d.Allowed {
			t.Errorf("%v on %q: %v", op, path, d.Reason)
		}
	}
}

func TestCVE_2026_89322(t *testing.T) {
	acl := compile(t,
		`path "auth/userpass/users/*" { capabilities = `+everything+` }`,
		`path "auth/userpass/users/kris" { capabilities = ["deny"] }
		 path "auth/userpass/users/Lena" { capabilities = ["deny"] }
		 path "auth/token/role/Ops*" { capabilities = ["deny"] }
		 path "auth/token/*" { capabilities = `+everything+` }`)
	for _, name := range []string{"kris", "KRIS", "Kris", "kRiS", "\u212aris", "kri\u017f", "kr\u0130s", "kr\u0131s", "lena", "LENA", "Lena"} {
		mustRefuse(t, acl, "auth/userpass/users/"+name)
		mustRefuse(t, acl, "auth/userpass/users/"+name+"/")
	}
	mustRefuse(t, acl, "auth/token/role/opsX")
	mustAllow(t, acl, "auth/userpass/users/krista")
	mustAllow(t, acl, "auth/token/rol/opsX")

	t.Run("a rule spelled as the request is still decides", func(t *testing.T) {
		acl := compile(t, `
			path "kv/Foo" { capabilities = ["deny"] }
			path "kv/foo" { capabilities = `+everything+` }`)
		mustAllow(t, acl, "kv/foo")
		mustRefuse(t, acl, "kv/Foo")
		mustRefuse(t, acl, "kv/FOO")
	})
}

func TestCVE_2026_3605(t *testing.T) {
	for _, path := range []string{
		".", "..", "kv/.", "kv/..", "kv/./x", "kv/../x", "./kv", "../kv", "kv/x/..", "kv/../", `kv/..\x`, `kv/x\..`, `kv/x\.\y`,
		"kv//x", "/kv", "kv//", "//", "/", "kv/x ", "kv/ x", "kv/x /y", "kv/\u00a0x", "kv/x\x00", "kv/x\n", "kv/\x7f", "kv/a\u0080b", "kv/\u0085x",
		"kv/\xc0\xae\xc0\xae/x", "kv/\xff", "", strings.Repeat("a", MaxPathBytes+1),
	} {
		if got, err := Canonical(path); err == nil {
			t.Errorf("%q is canonical as %q", path, got)
		}
	}
	// What is not refused is itself, and is decided as itself.
	for _, path := range []string{"kv/%2e%2e/x", "kv/x;y", "kv/x.", "kv/...", "kv/.x", "kv/x..y", `kv/dom\user`, "kv/a b", "kv/é", "kv/\ufffd", "kv/x/"} {
		if got, err := Canonical(path); err != nil || got != path {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
}

func TestGHSA_xp3c_3jw3_4vcr(t *testing.T) {
	for _, deny := range []string{"kv/private*", "kv/private/*", "kv/+", "kv/private", "kv/private/", "kv/+/", "KV/PRIVATE", "kv/Private/*"} {
		acl := compile(t, `path "kv*" { capabilities = `+everything+` }`, `path "`+deny+`" { capabilities = ["deny"] }`)
		for _, path := range []string{"kv/private", "kv/private/"} {
			for _, op := range []Capabilities{List, Scan} {
				if d := acl.Decide(Request{Path: path, Op: op}); d.Allowed {
					t.Errorf("deny on %q: %v of %q is allowed", deny, op, path)
				}
			}
		}
		if d := acl.Decide(Request{Path: "kv/private/", Op: Delete}); d.Allowed {
			t.Errorf("deny on %q: delete of the directory is allowed", deny)
		}
	}
	t.Run("a less specific deny does not win", func(t *testing.T) {
		acl := compile(t, `path "kv/*" { capabilities = ["deny"] } path "kv/open/*" { capabilities = ["list"] }`)
		for _, path := range []string{"kv/open", "kv/open/"} {
			if d := acl.Decide(Request{Path: path, Op: List}); !d.Allowed {
				t.Errorf("%q: %v", path, d.Reason)
			}
		}
	})
}

func TestGHSA_59w7_v8rr_pr4p(t *testing.T) {
	p, err := Parse("home", `
		path "kv/{{identity.entity.name}}/*" { capabilities = `+everything+` }
		path "kv/team-{{ identity.entity.metadata.team }}" { capabilities = ["read"] }`)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Templated() || p.Expand(func(string) (string, bool) { return "x", true }).Templated() {
		t.Error("the policy is not templated, or still is once expanded")
	}
	with := func(name string) *ACL {
		return Compile(time.Time{}, p.Expand(func(template string) (string, bool) {
			return name, template == "identity.entity.name"
		}))
	}
	mustAllow(t, with("ann"), "kv/ann/x")
	mustRefuse(t, with("ann"), "kv/team-ann")
	for _, name := range []string{"", "+", "*", "a*", "ann/..", "ann/x", "a+b", ".", "..", "{{", "ann}}", " ", "ann ", "a\x00", "ann\n"} {
		acl := with(name)
		if len(acl.rules.all) != 0 {
			t.Errorf("the value %q gives the rule %q", name, acl.rules.all[0].pattern.text)
		}
	}
	two, err := Parse("two", `path "{{identity.entity.name}}/{{identity.entity.id}}" { capabilities = ["read"] }`)
	if err != nil {
		t.Fatal(err)
	}
	filled := two.Expand(func(template string) (string, bool) {
		return map[string]string{"identity.entity.name": "*", "identity.entity.id": "x"}[template], true
	})
	if len(filled.Rules) != 0 {
		t.Errorf("the first of two values gives %q", filled.Rules[0].Path)
	}
	unexpanded := Compile(time.Time{}, p)
	mustRefuse(t, unexpanded, "kv/{{identity.entity.name}}/x")
	mustRefuse(t, unexpanded, "kv/ann/x")

	t.Run("a name does not remove a deny", func(t *testing.T) {
		deny, err := Parse("deny", `path "kv/{{identity.entity.name}}/x" { capabilities = ["deny"] }`)
		if err != nil {
			t.Fatal(err)
		}
		all, err := Parse("all", `path "kv/*" { capabilities = `+everything+` }`)
		if err != nil {
			t.Fatal(err)
		}
		filled := deny.Expand(func(string) (string, bool) { return "+", true })
		mustRefuse(t, Compile(time.Time{}, all, filled), "kv/+/x")
		mustRefuse(t, Compile(time.Time{}, filled, all), "kv/a/x")
	})
}

func TestCVE_2026_105820(t *testing.T) {
	for _, name := range []string{"../p", "a/../../root", "./p", "p/", "/p", "a//b", "", " ", "a\x00", "a\u200bb", strings.Repeat("a", MaxNameBytes+1)} {
		if got, err := CanonicalName(name); err == nil {
			t.Errorf("%q is the name %q", name, got)
		}
	}
	if got, err := CanonicalName(" Dev-ReadOnly/É "); err != nil || got != "dev-readonly/é" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestVault_2_1_2_PolicyNameInParameters(t *testing.T) {
	acl := compile(t, `
		path "auth/token/create" {
			capabilities      = ["update"]
			denied_parameters = { "policies" = ["root", "admin-*"] }
		}`)
	for _, value := range []any{
		"root", " Root", "ROOT ", "root\u200b", "ro\u00adot", "a,root", "a, ROOT", []any{"a", "Root"}, []string{"\troot"},
		[]any{[]any{"root"}}, "ADMIN-x", "admin-", "a,Admin-1",
	} {
		for _, name := range []string{"policies", "Policies", "policie\u017f"} {
			d := acl.Decide(Request{Path: "auth/token/create", Op: Update, Params: ParamMap{name: value}})
			if d.Allowed || d.Reason != ParameterDenied {
				t.Errorf("%s = %q: %v", name, value, d.Reason)
			}
		}
	}
	if d := acl.Decide(Request{Path: "auth/token/create", Op: Update, Params: ParamMap{"policies": "rooted"}}); !d.Allowed {
		t.Errorf("control: %v", d.Reason)
	}
}

func TestCVE_2025_5999(t *testing.T) {
	for _, name := range []string{
		"root", "ROOT", "Root", "rOOt", " root", "root ", "\troot\n", "root\u200b", "\ufeffroot", "ro ot", "r\u00adoot",
		"\uff52\uff4f\uff4f\uff54", "\uff32OOT", "root\x00", "\u2060root", "r\u200doot", "root\u00a0", "root\u3000",
	} {
		if !IsRoot(name) {
			t.Errorf("%q is not taken for root", name)
		}
		if folded, err := CanonicalName(name); err == nil && folded == "root" && !IsRoot(folded) {
			t.Errorf("%q folds past IsRoot", name)
		}
		p, err := Parse(name, `path "*" { capabilities = `+everything+` }`)
		if err != nil {
			t.Fatal(err)
		}
		acl := Compile(time.Time{}, p)
		if acl.IsRoot() {
			t.Errorf("%q compiles to root", name)
		}
		mustRefuse(t, acl, "kv/x")
	}
	for _, name := range []string{"roots", "r00t", "my-root", "", "chroot"} {
		if IsRoot(name) {
			t.Errorf("%q is taken for root", name)
		}
	}
	if _, err := Parse("p", `path "kv/x" { capabilities = ["root"] }`); err == nil {
		t.Error("root is a capability that can be written")
	}
}

func TestGH_3518_PaginationLimit(t *testing.T) {
	acl := compile(t, `path "kv/*" { capabilities = ["list", "scan"] pagination_limit = 100 }`)
	for _, limit := range []any{-1, "-1", math.MaxInt64, "9223372036854775808", "NaN", math.NaN(), math.Inf(1), 101, "101", "1e3", []any{"1", "1000"}, []string{"1"}, nil, true} {
		d := acl.Decide(Request{Path: "kv/", Op: List, Params: ParamMap{"limit": limit}})
		if d.Allowed || d.Reason != PageTooLarge {
			t.Errorf("limit %v: %v", limit, d.Reason)
		}
	}
	for _, limit := range []any{0, "0", "", "max", 1, "100", 100.0} {
		d := acl.Decide(Request{Path: "kv/", Op: Scan, Params: ParamMap{"limit": limit}})
		if !d.Allowed || d.PageLimit != 100 {
			t.Errorf("limit %v: %v, page limit %d", limit, d.Reason, d.PageLimit)
		}
	}
	required := compile(t, `path "kv/*" {
		capabilities = ["list"]
		pagination_limit = 100
		required_parameters = ["limit"]
	}`)
	if d := required.Decide(Request{Path: "kv/", Op: List}); d.Reason != ParameterMissing {
		t.Errorf("no limit: %v", d.Reason)
	}
}

func TestGHSA_rh46_vc3j_w2w3(t *testing.T) {
	acl := compile(t, `path "*" { capabilities = `+everything+` }`)
	for op := range math.MaxUint16 + 1 {
		c := Capabilities(op)
		verb := c&(c-1) == 0 && c >= Create && c <= Scan
		for _, a := range []*ACL{acl, Root()} {
			if d := a.Decide(Request{Path: "x", Op: c}); d.Allowed != verb {
				t.Fatalf("operation %#x: allowed %v", op, d.Allowed)
			}
		}
	}
}

func TestCanonicalErrorsAreTyped(t *testing.T) {
	for path, want := range map[string]error{
		"": ErrPathEmpty, strings.Repeat("a", MaxPathBytes+1): ErrPathTooLong, "a/\xff": ErrPathEncoding, "a/\x01": ErrPathControl,
		"a//b": ErrPathSegment, "a/..": ErrPathDots, "a/ b": ErrPathSpace,
	} {
		_, err := Canonical(path)
		pe := (*PathError)(nil)
		if !errors.Is(err, want) || !errors.As(err, &pe) {
			t.Errorf("%.20q: %v, want %v", path, err, want)
		}
	}
	if _, err := CanonicalName("\u212aing"); !errors.Is(err, ErrName) {
		t.Errorf("the Kelvin sign: %v", err)
	}
	for _, name := range []string{"mi\u017fo", "\u0130", "\u0131", "\u03c2", "a\u00a0b"} {
		if got, err := CanonicalName(name); err == nil {
			t.Errorf("%q is the name %q", name, got)
		}
	}
}

// CVE-2024-45041, CVE-2026-42875 and others: functions of templates read what is elsewhere, or carried it out through names that
// are looked up. A template names something of the caller's identity, and calls nothing.
// Control: without the prefix "identity." in templateWellFormed it fails.
func TestCVE_2024_45041_TemplatesCallNothing(t *testing.T) {
	for _, inner := range []string{`lookup "v1" "Secret" "b" "x"`, `getHostByName "x.example"`, "env.HOME", `secret "kv/a"`, `file "/etc/passwd"`, "include `x`", "identity", ".identity.entity.id",
		`print identity.entity.id`, "- identity.entity.id -", "$x", "", "range .", "{identity.entity.id}"} {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(inner)
		if _, err := Parse("p", `path "kv/{{`+quoted+`}}" { capabilities = ["read"] }`); err == nil {
			t.Errorf("{{%s}} is a template", inner)
		}
	}
	p, err := Parse("p", `path "kv/{{identity.entity.id | upper}}" { capabilities = ["read"] }`)
	if err != nil {
		return
	}
	out := p.Expand(func(template string) (string, bool) { return "x", template == "identity.entity.id" })
	if len(out.Rules) != 0 {
		t.Errorf("a function is called: %q", out.Rules[0].Path)
	}
}
