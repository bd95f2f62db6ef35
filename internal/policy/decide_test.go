package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// compile parses sources as policies p0, p1 … and compiles them.
func compile(t testing.TB, sources ...string) *ACL {
	t.Helper()
	var policies []*Policy
	for i, src := range sources {
		p, err := Parse("p"+string(rune('0'+i)), src)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
	return Compile(time.Time{}, policies...)
}

const everything = `["create", "read", "update", "patch", "delete", "list", "scan", "sudo"]`

// TestCapabilities holds what OpenBao 2.6 answered to sys/capabilities, for
// the points on which its documentation can be read in two ways.
func TestCapabilities(t *testing.T) {
	priority := `
		path "kv/+/+/c" { capabilities = ["read"] }
		path "kv/*"     { capabilities = ["update"] }
		path "kv/+/*"   { capabilities = ["delete"] }
		path "kv/+/b/*" { capabilities = ["list"] }`
	legacy := `
		path "kv/w" { policy = "write" }
		path "kv/r" { policy = "read" }
		path "kv/s" { policy = "sudo" }
		path "kv/d" { policy = "deny" capabilities = ["read"] }`
	for _, c := range []struct {
		name, policy, path, want string
	}{
		{"all sorted", `path "kv/foo" { capabilities = ` + everything + ` }`, "kv/foo", "create delete list patch read scan sudo update"},
		{"no glob beats glob", priority, "kv/a/b/c", "read"},
		{"fewer plus segments win", priority, "kv/a/b/d", "update"},
		{"only prefix", priority, "kv/z", "update"},
		{"later wildcard wins", `path "kv/a/+" { capabilities = ["read"] } path "kv/+/b" { capabilities = ["list"] }`, "kv/a/b", "read"},
		{"longer wins", `path "kv/+/a*" { capabilities = ["list"] } path "kv/+/ab*" { capabilities = ["read"] }`, "kv/x/abc", "read"},
		{"longer wins over later in the alphabet", `path "kv/+/b/+" { capabilities = ["list"] } path "kv/+/+/ccc" { capabilities = ["read"] }`, "kv/a/b/ccc", "read"},
		{"plus inside is no wildcard for the order", `path "a+/*" { capabilities = ["list"] } path "a+/b/+/c*" { capabilities = ["read"] }`, "a+/b/x/c", "read"},
		{"plus that begins a segment is a character", `path "kv/+x" { capabilities = ["read"] }`, "kv/+x", "read"},
		{"later in the alphabet wins", `path "kv/+/b/+" { capabilities = ["read"] } path "kv/+/+/c" { capabilities = ["list"] }`, "kv/a/b/c", "read"},
		{"longer prefix wins", `path "kv/a*" { capabilities = ["read"] } path "kv/*" { capabilities = ["list"] }`, "kv/ab", "read"},
		{"exact wins", `path "kv/ab" { capabilities = ["read"] } path "kv/a*" { capabilities = ["list"] }`, "kv/ab", "read"},
		{"legacy write", legacy, "kv/w", "create delete list read update"},
		{"legacy read", legacy, "kv/r", "list read"},
		{"legacy sudo", legacy, "kv/s", "create delete list read sudo update"},
		{"legacy deny", legacy, "kv/d", "deny"},
		{"no capabilities", `path "kv/foo" {}`, "kv/foo", "deny"},
		{"no rule", legacy, "kv/other", "deny"},
		{"stanzas of one path add up", `path "kv/foo" { capabilities = ["read"] } path "kv/foo" { capabilities = ["update"] }`, "kv/foo", "read update"},
		{"deny beats another stanza", `path "kv/foo" { capabilities = ["read"] } path "kv/foo" { capabilities = ["deny"] }`, "kv/foo", "deny"},
		{"exact directory beats a deny below it", `path "kv/a" { capabilities = ["list"] } path "kv/a/*" { capabilities = ["deny"] }`, "kv/a/", "list"},
		{"exact path beats a deny of its kind", `path "kv/a" { capabilities = ["list"] } path "kv/a*" { capabilities = ["deny"] }`, "kv/a", "list"},
		{"deny beats the rest", `path "kv/foo" { capabilities = ["read", "deny", "sudo"] }`, "kv/foo", "deny"},
		{"plus is a whole segment", `path "kv/fo+" { capabilities = ["read"] }`, "kv/foo", "deny"},
		{"plus inside is a character", `path "kv/fo+" { capabilities = ["read"] }`, "kv/fo+", "read"},
		{"plus may be empty", `path "kv/+" { capabilities = ["list"] }`, "kv/", "list"},
		{"star inside is a character", `path "kv/*/b" { capabilities = ["read"] }`, "kv/a/b", "deny"},
		{"leading slash is dropped", `path "/kv/a" { capabilities = ["read"] }`, "kv/a", "read"},
		{"directory falls back to the bare path", `path "kv/a" { capabilities = ["list"] }`, "kv/a/", "list"},
		{"glob does not match its directory", `path "kv/a/*" { capabilities = ["list"] }`, "kv/a", "deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compile(t, c.policy).Capabilities(c.path, time.Time{}, nil)
			if want := strings.Fields(c.want); !slices.Equal(got, want) {
				t.Errorf("capabilities of %s: %v, want %v", c.path, got, want)
			}
		})
	}
	if got := Root().Capabilities("sys/raw", time.Time{}, nil); !slices.Equal(got, []string{"root"}) {
		t.Errorf("root: %v", got)
	}
	if got := (*ACL)(nil).Capabilities("x", time.Time{}, nil); !slices.Equal(got, []string{"deny"}) {
		t.Errorf("no ACL: %v", got)
	}
}

// limitCase is a request to kv/foo under policies that grant every verb there
// with the conditions given, one policy each.
type limitCase struct {
	name       string
	conditions []string
	req        Request
	want       Reason
}

func (c limitCase) check(t *testing.T) {
	if c.conditions == nil {
		c.conditions = []string{""}
	}
	var sources []string
	for _, cond := range c.conditions {
		sources = append(sources, `path "kv/foo" { capabilities = `+everything+" "+cond+` }`)
	}
	c.req.Path = "kv/foo"
	d := compile(t, sources...).Decide(c.req)
	if d.Reason != c.want || d.Allowed != (c.want == Granted) {
		t.Errorf("%v (allowed %v), want %v", d.Reason, d.Allowed, c.want)
	}
	slices.Reverse(sources)
	if d := compile(t, sources...).Decide(c.req); d.Reason != c.want {
		t.Errorf("with the policies in the other order: %v, want %v", d.Reason, c.want)
	}
}

func post(name string, value any) Request {
	return Request{Op: Update, Params: ParamMap{name: value}}
}

func wrap(seconds int) Request {
	return Request{Op: Read, WrapTTL: time.Duration(seconds) * time.Second}
}

func TestWrappingConditions(t *testing.T) {
	for _, c := range []limitCase{
		{"maximum asks for wrapping", []string{`max_wrapping_ttl = "90s"`}, wrap(0), WrapRequired},
		{"within maximum", []string{`max_wrapping_ttl = "90s"`}, wrap(90), Granted},
		{"over maximum", []string{`max_wrapping_ttl = 90`}, wrap(91), WrapTTLOutOfBounds},
		{"least minimum holds", []string{`min_wrapping_ttl = "10s"`, `min_wrapping_ttl = "20s"`}, wrap(15), Granted},
		{"under least minimum", []string{`min_wrapping_ttl = "10s"`, `min_wrapping_ttl = "20s"`}, wrap(5), WrapTTLOutOfBounds},
		{"least maximum holds", []string{`max_wrapping_ttl = "10s"`, `max_wrapping_ttl = "20s"`}, wrap(15), WrapTTLOutOfBounds},
		{"minimum over maximum once merged", []string{`min_wrapping_ttl = 30`, `max_wrapping_ttl = 20`}, wrap(25), WrapTTLOutOfBounds},
	} {
		t.Run(c.name, c.check)
	}
}

func TestAllowedParameters(t *testing.T) {
	for _, c := range []limitCase{
		{"not listed", []string{`allowed_parameters = { "a" = [] }`}, post("b", "1"), ParameterNotAllowed},
		{"not listed, though another policy has no list", []string{`allowed_parameters = { "a" = [] }`, ``}, post("b", "1"), ParameterNotAllowed},
		{"listed in another policy", []string{`allowed_parameters = { "a" = [] }`, `allowed_parameters = { "b" = [] }`}, post("b", "1"), Granted},
		{"any value in another policy", []string{`allowed_parameters = { "a" = ["x"] }`, `allowed_parameters = { "a" = [] }`}, post("a", "1"), Granted},
		{"values add up", []string{`allowed_parameters = { "a" = ["x"] }`, `allowed_parameters = { "a" = ["y"] }`}, post("a", "y"), Granted},
		{"no names listed", []string{`allowed_parameters = {}`}, post("b", "1"), Granted},
		{"the rest allowed", []string{`allowed_parameters = { "a" = ["x"], "*" = [] }`}, post("b", "1"), Granted},
		{"the rest allowed, not the value", []string{`allowed_parameters = { "a" = ["x"], "*" = [] }`}, post("a", "y"), ParameterNotAllowed},
		{"name with case", []string{`allowed_parameters = { "A" = ["x"] }`}, post("A", "x"), Granted},
		{"name in another case", []string{`allowed_parameters = { "a" = ["x"] }`}, post("A", "x"), ParameterNotAllowed},
		{"name in another case, any value", []string{`allowed_parameters = { "a" = [] }`}, post("A", "x"), ParameterNotAllowed},
		{"names that differ by case", []string{`allowed_parameters = { "a" = ["x"], "A" = ["y"] }`}, post("A", "x"), ParameterNotAllowed},
		{"value with case", []string{`allowed_parameters = { "a" = ["x"] }`}, post("a", "X"), ParameterNotAllowed},
		{"prefix", []string{`allowed_parameters = { "a" = ["x*"] }`}, post("a", "xy"), Granted},
		{"suffix", []string{`allowed_parameters = { "a" = ["*x"] }`}, post("a", "yx"), Granted},
		{"within", []string{`allowed_parameters = { "a" = ["*x*"] }`}, post("a", "yxy"), Granted},
		{"lone star is a value", []string{`allowed_parameters = { "a" = ["*"] }`}, post("a", "y"), ParameterNotAllowed},
		{"glob over commas", []string{`allowed_parameters = { "a" = ["x*"] }`}, post("a", "xy,root"), ParameterNotAllowed},
		{"glob over its own commas", []string{`allowed_parameters = { "a" = ["x,*"] }`}, post("a", "x,root"), Granted},
		{"number", []string{`allowed_parameters = { "a" = [5] }`}, post("a", json.Number("5")), Granted},
		{"number in another spelling", []string{`allowed_parameters = { "a" = [5] }`}, post("a", json.Number("5.0")), ParameterNotAllowed},
		{"text in another spelling", []string{`allowed_parameters = { "a" = ["5"] }`}, post("a", "05"), ParameterNotAllowed},
		{"numbers in a list, another spelling", []string{`allowed_parameters = { "a" = [[5]] }`}, post("a", []any{json.Number("5.0")}), ParameterNotAllowed},
		{"large number", []string{`allowed_parameters = { "a" = [12345678901234567890] }`}, post("a", json.Number("12345678901234567890")), Granted},
		{"next to a large number", []string{`allowed_parameters = { "a" = [12345678901234567890] }`}, post("a", json.Number("12345678901234567891")), ParameterNotAllowed},
		{"duration in another spelling", []string{`allowed_parameters = { "a" = ["1h"] }`}, post("a", "60m"), ParameterNotAllowed},
		{"truth in another spelling", []string{`allowed_parameters = { "a" = [true] }`}, post("a", "1"), ParameterNotAllowed},
		{"number as text", []string{`allowed_parameters = { "a" = [5] }`}, post("a", "5"), Granted},
		{"list as a whole", []string{`allowed_parameters = { "a" = [["x", "y"]] }`}, post("a", []any{"x", "y"}), Granted},
		{"list is not its text", []string{`allowed_parameters = { "a" = [["x"]] }`}, post("a", `["x"]`), ParameterNotAllowed},
		{"list is not its parts", []string{`allowed_parameters = { "a" = ["x"] }`}, post("a", []string{"x"}), ParameterNotAllowed},
		{"unknown kind", []string{`allowed_parameters = { "a" = ["x"] }`}, post("a", map[string]any{}), ParameterNotAllowed},
		{"null", []string{`allowed_parameters = { "a" = ["x"] }`}, post("a", nil), ParameterNotAllowed},
	} {
		t.Run(c.name, c.check)
	}
}

func TestDeniedParameters(t *testing.T) {
	for _, c := range []limitCase{
		{"denied", []string{`denied_parameters = { "a" = ["x"] }`}, post("a", "x"), ParameterDenied},
		{"denied beats allowed", []string{`denied_parameters = { "a" = ["x"] } allowed_parameters = { "a" = ["x"] }`}, post("a", "x"), ParameterDenied},
		{"denied in one of two", []string{`denied_parameters = { "a" = ["x"] }`, ``}, post("a", "x"), ParameterDenied},
		{"another value", []string{`denied_parameters = { "a" = ["x"] }`}, post("a", "y"), Granted},
		{"another name", []string{`denied_parameters = { "a" = ["x"] }`}, post("b", "x"), Granted},
		{"any value denied", []string{`denied_parameters = { "a" = [] }`}, post("a", nil), ParameterDenied},
		{"any value denied in another policy", []string{`denied_parameters = { "a" = ["x"] }`, `denied_parameters = { "a" = [] }`}, post("a", "y"), ParameterDenied},
		{"all denied", []string{`denied_parameters = { "*" = [] }`}, post("a", "y"), ParameterDenied},
		{"all denied, none given", []string{`denied_parameters = { "*" = [] }`}, Request{Op: Update}, Granted},
		{"false", []string{`denied_parameters = { "a" = [false] }`}, post("a", false), ParameterDenied},
		{"false as text", []string{`denied_parameters = { "a" = [false] }`}, post("a", "F"), ParameterDenied},
		{"false as a number", []string{`denied_parameters = { "a" = [false] }`}, post("a", 0), ParameterDenied},
		{"true is not false", []string{`denied_parameters = { "a" = [false] }`}, post("a", "true"), Granted},
		{"in a list", []string{`denied_parameters = { "a" = ["x"] }`}, post("a", []any{"y", "x"}), ParameterDenied},
		{"in a list of strings", []string{`denied_parameters = { "a" = ["x"] }`}, post("a", []string{"y", "x"}), ParameterDenied},
		{"in a comma list", []string{`denied_parameters = { "a" = ["x*"] }`}, post("a", "y, xz"), ParameterDenied},
		{"a whole list", []string{`denied_parameters = { "a" = [["x", "y"]] }`}, post("a", []string{"x", "y"}), ParameterDenied},
		{"part of a whole list", []string{`denied_parameters = { "a" = [["x", "y"]] }`}, post("a", []string{"x"}), Granted},
	} {
		t.Run(c.name, c.check)
	}
}

// TestDeniedValuesInOtherSpellings pins what lenient decoding takes for one value.
func TestDeniedValuesInOtherSpellings(t *testing.T) {
	for _, c := range []struct {
		listed string
		given  []any
		want   Reason
	}{
		{`"1000"`, []any{"1e3", "1000.0", "01000", "+1000", " 1000 ", "0x3e8", "16m40s", "2,1e3", json.Number("1e3"), json.Number("1000.0"), 1000, 1e3, []any{"1e3"}}, ParameterDenied},
		{`1e3`, []any{"1000", json.Number("1000"), "+1E3"}, ParameterDenied},
		{`"01000"`, []any{"1000", "512"}, ParameterDenied},
		{`"1000"`, []any{"1001", "1e4", "-1000", "1000x", "", nil, "NaN", "Inf"}, Granted},
		{`"NaN"`, []any{"1", "Inf"}, Granted},
		{`"1h"`, []any{"3600", json.Number("3600"), 3600, "60m", "60M", "3600.0", "3.6e3", "+1h", "0.5h30m"}, ParameterDenied},
		{`"3600"`, []any{"1h", "60m"}, ParameterDenied},
		{`"2d"`, []any{"48h", "172800", "2.0d", "1d24h"}, ParameterDenied},
		{`"1h"`, []any{"61m", "3601", "-1h", "h", "d", "1dx"}, Granted},
		{`"true"`, []any{true, "True", 1, "1", "t", json.Number("1")}, ParameterDenied},
		{`"1"`, []any{true, "t", "TRUE"}, ParameterDenied},
		{`false`, []any{"0", "f", json.Number("0")}, ParameterDenied},
		{`true`, []any{false, "0", "f", "truth"}, Granted},
	} {
		for _, given := range c.given {
			limitCase{"", []string{`denied_parameters = { "a" = [` + c.listed + `] }`}, post("a", given), c.want}.check(t)
		}
	}
}

func TestOtherConditions(t *testing.T) {
	for _, c := range []limitCase{
		{"required", []string{`required_parameters = ["a"]`}, post("a", "x"), Granted},
		{"required, in another case", []string{`required_parameters = ["a"]`}, post("A", "x"), ParameterMissing},
		{"required in another case", []string{`required_parameters = ["A"]`}, post("a", "x"), ParameterMissing},
		{"required and null", []string{`required_parameters = ["a"]`}, post("a", nil), ParameterMissing},
		{"required and empty", []string{`required_parameters = ["a"]`}, post("a", ""), ParameterMissing},
		{"required and blank", []string{`required_parameters = ["a"]`}, post("a", " \u200b"), ParameterMissing},
		{"required and zero", []string{`required_parameters = ["a"]`}, post("a", json.Number("0")), ParameterMissing},
		{"required and zero as a text", []string{`required_parameters = ["a"]`}, post("a", "-0"), ParameterMissing},
		{"required and no time", []string{`required_parameters = ["a"]`}, post("a", "0h0m"), ParameterMissing},
		{"required and one", []string{`required_parameters = ["a"]`}, post("a", json.Number("1")), Granted},
		{"required and an empty list", []string{`required_parameters = ["a"]`}, post("a", []any{}), ParameterMissing},
		{"required and an empty object", []string{`required_parameters = ["a"]`}, post("a", map[string]any{}), ParameterMissing},
		{"required and false", []string{`required_parameters = ["a"]`}, post("a", false), Granted},
		{"required of two", []string{`required_parameters = ["a"]`, `required_parameters = ["b"]`}, post("a", "x"), ParameterMissing},
		{"required for read", []string{`required_parameters = ["a"]`}, Request{Op: Read}, ParameterMissing},
		{"not required for delete", []string{`required_parameters = ["a"]`}, Request{Op: Delete}, Granted},
		{"not required for list", []string{`required_parameters = ["a"]`}, Request{Op: List}, Granted},
		{"two operations", nil, Request{Op: Read | List}, BadOperation},
		{"no operation", nil, Request{}, BadOperation},
		{"sudo is no operation", nil, Request{Op: Sudo}, BadOperation},
		{"unknown operation", nil, Request{Op: 1 << 12}, BadOperation},
	} {
		t.Run(c.name, c.check)
	}
}

func TestDecisionExplains(t *testing.T) {
	acl := compile(t, `
path "kv/foo" {
  capabilities = ["read"]
}
path "kv/*" {
  capabilities = ["list"]
  list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}"
  pagination_limit = 10
}`, `path "kv/foo" { capabilities = ["sudo"] }
path "kv/*" {
  capabilities = ["scan"]
  list_scan_response_keys_filter_path = "x/{{ .key }}"
  pagination_limit = 5
}`)
	d := acl.Decide(Request{Path: "kv/foo", Op: Read})
	if !d.Allowed || !d.Sudo || d.Root || d.Capabilities != Read|Sudo {
		t.Errorf("%+v", d)
	}
	if len(d.Rules) != 2 || d.Rules[0].Policy != "p0" || d.Rules[0].Line != 2 || d.Rules[1].Policy != "p1" || d.Rules[1].Line != 1 {
		t.Errorf("rules %+v", d.Rules)
	}
	if d := acl.Decide(Request{Path: "kv/foo", Op: Delete}); d.Allowed || d.Reason != NotGranted || len(d.Rules) != 2 {
		t.Errorf("%+v", d)
	}
	d = acl.Decide(Request{Path: "kv/", Op: Scan})
	if d.PageLimit != 5 || !slices.Equal(d.Filters, []string{"{{ .path }}{{ .key }}", "x/{{ .key }}"}) {
		t.Errorf("page %d, filters %v", d.PageLimit, d.Filters)
	}
	denies := compile(t, `path "kv/*" { capabilities = ["read"] }`, `path "kv/Foo" { capabilities = ["deny", "read"] }`, `path "kv/foo" { capabilities = ["deny"] }`)
	d = denies.Decide(Request{Path: "kv/FOO", Op: Read})
	if d.Reason != Denied || d.Capabilities != Deny || len(d.Rules) != 2 || d.Rules[0].Capabilities != Deny {
		t.Errorf("folded deny: %+v", d)
	}
	root := Root().Decide(Request{Path: "sys/raw/x", Op: Delete})
	if !root.Allowed || !root.Sudo || !root.Root || root.Reason != RootGranted {
		t.Errorf("root: %+v", root)
	}
	if d := (*ACL)(nil).Decide(Request{Path: "x", Op: Read}); d.Allowed || d.Reason != NoRule {
		t.Errorf("no ACL: %+v", d)
	}
}

func TestReasonsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for r := range ConditionFailed + 1 {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d: %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if got := (ConditionFailed + 1).String(); got != "unknown reason" {
		t.Error(got)
	}
}

func TestExpiration(t *testing.T) {
	p, err := Parse("p", `
path "kv/a" {
  capabilities = ["read"]
  expiration = "2030-01-01T00:00:00Z"
}
path "kv/b" {
  capabilities = ["read"]
  expiration = "2031-01-01T00:00:00+01:00"
}`)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	read := func(acl *ACL, path string, now time.Time) Reason {
		return acl.Decide(Request{Path: path, Op: Read, Now: now}).Reason
	}
	before := Compile(end.Add(-time.Second), p)
	if !before.Expires().Equal(end) {
		t.Errorf("expires %v", before.Expires())
	}
	if r := read(before, "kv/a", end.Add(-1)); r != Granted {
		t.Errorf("before the end: %v", r)
	}
	if r := read(before, "kv/b", end); r != Stale {
		t.Errorf("compiled before the end, asked at it: %v", r)
	}
	slices.Reverse(p.Rules)
	if e := Compile(end.Add(-time.Second), p).Expires(); !e.Equal(end) {
		t.Errorf("in the other order, expires %v", e)
	}
	after := Compile(end, p)
	if r := read(after, "kv/a", end); r != NoRule {
		t.Errorf("after the end: %v", r)
	}
	if r := read(after, "kv/b", end); r != Granted {
		t.Errorf("the rule that goes on: %v", r)
	}
	if e := Compile(end.AddDate(5, 0, 0), p).Expires(); !e.IsZero() {
		t.Errorf("nothing left to end, yet expires %v", e)
	}
}

func TestReaches(t *testing.T) {
	for _, c := range []struct {
		path, mount string
		want        bool
	}{
		{"kv/data/a", "kv/", true},
		{"kv/", "kv/", true},
		{"kv", "kv/", true},
		{"kv2/a", "kv/", false},
		{"k*", "kv/", true},
		{"*", "kv/", true},
		{"kv/+/a", "kv/", true},
		{"+/a", "kv/", true},
		{"+/+/x", "team/kv/", true},
		{"team/x", "team/kv/", false},
		{"team", "team/kv/", false},
		{"team/k*", "team/kv/", true},
		{"team/+", "team/kv/", true},
	} {
		acl := compile(t, `path "`+c.path+`" { capabilities = ["read"] }`)
		if got := acl.Reaches(c.mount); got != c.want {
			t.Errorf("%q reaches %q: %v", c.path, c.mount, got)
		}
	}
	if compile(t, `path "kv/*" { capabilities = ["deny"] }`, `path "kv/a" {}`).Reaches("kv/") {
		t.Error("what grants nothing reaches")
	}
	if (*ACL)(nil).Reaches("kv/") || !Root().Reaches("kv/") {
		t.Error("no ACL reaches, or root does not")
	}
}
