package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseBothLanguages(t *testing.T) {
	hcl := `
# A comment.
name = "ignored"
path "kv/foo" {
  comment             = "why"
  capabilities        = ["create", "read"]
  allowed_parameters  = { "A" = ["x", 5, true], "*" = [] }
  denied_parameters   = { "b" = [] }
  required_parameters = ["C", "c"]
  min_wrapping_ttl    = "1m"
  max_wrapping_ttl    = 90
  expiration          = "2030-01-01T00:00:00Z"
}
path "kv/*" {
  capabilities     = ["list"]
  pagination_limit = 10
  list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}"
}`
	json := `{
 "name": "ignored",

 "path": {
 "kv/foo": {
  "comment": "why", "capabilities": ["create", "read"],
  "allowed_parameters": {"A": ["x", 5, true], "*": []},
  "denied_parameters": {"b": []}, "required_parameters": ["C", "c"],
  "min_wrapping_ttl": "1m", "max_wrapping_ttl": 90, "expiration": "2030-01-01T00:00:00Z"},

  "kv/*": {"capabilities": ["list"], "pagination_limit": 10, "list_scan_response_keys_filter_path": "{{ .path }}{{ .key }}"}}}`
	lit := func(s string) literal { return newLiteral(s, false) }
	want := &Policy{Name: "p", Rules: []*Rule{
		{Policy: "p", Path: "kv/foo", Capabilities: Create | Read, Expiration: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), limits: limits{
			minWrap: time.Minute, maxWrap: 90 * time.Second, required: []string{"C", "c"},
			allowed: map[string][]literal{"A": {lit("x"), lit("5"), lit("true")}, "*": nil},
			denied:  map[string][]literal{"b": nil},
		}},
		{Policy: "p", Path: "kv/*", Capabilities: List, limits: limits{pageLimit: 10, filters: []string{"{{ .path }}{{ .key }}"}}},
	}}
	for _, c := range []struct {
		src   string
		lines [2]int
	}{{hcl, [2]int{4, 14}}, {json, [2]int{5, 11}}} {
		want.Rules[0].Line, want.Rules[1].Line = c.lines[0], c.lines[1]
		got, err := Parse("p", c.src)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngives\n%+v\n%+v", c.src, *got.Rules[0], *got.Rules[1])
		}
	}
}

// TestParseForms reads the other ways to write one and the same rule.
func TestParseForms(t *testing.T) {
	for _, src := range []string{
		`path "kv/a" { capabilities = ["read"] }`,
		`path = { "kv/a" = { capabilities = ["read"] } }`,
		`path { "kv/a" { capabilities = ["read",] } }`,
		"path \"kv/a\" {\r\n capabilities = [\"read\"] // x\r\n}",
		"path \"kv/a\" {\n comment = <<EOT\nhello\nEOT\n capabilities = [\"read\"]\n}",
		`"path" "kv/a" { "capabilities" = ["read"] /* y */ }`,
		` {"path": {"kv/a": {"capabilities": ["read"]}}}`,
		`{"path": [{"kv/a": [{"capabilities": ["read"]}]}]}`,
	} {
		p, err := Parse("p", src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if len(p.Rules) != 1 || p.Rules[0].Path != "kv/a" || p.Rules[0].Capabilities != Read {
			t.Errorf("%s: %+v", src, p.Rules)
		}
	}
	for _, src := range []string{"", "# nothing", "{}", " \n"} {
		if p, err := Parse("p", src); err != nil || len(p.Rules) != 0 {
			t.Errorf("%q: %v, %v", src, p, err)
		}
	}
}

func TestParseFaults(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`path "a" { capabilites = ["read"] }`, `line 1: path "a": unknown key "capabilites"`},
		{"path \"a\" {\n capabilities = [\"raed\"]\n}", `line 2: path "a": unknown capability "raed"`},
		{`"` + strings.Repeat("long", 40) + `" = 1`, strings.Repeat("long", 20) + "…"},
		{`rule "a" {}`, `line 1: unknown key "rule"`},
		{"path \"a\" {\n policy = \"admin\" }", `line 2: path "a": unknown policy "admin"`},
		{"path \"a\" {\n capabilities = [\"read\"]\n capabilities = [\"list\"]\n}", `line 3: the key "capabilities" was already set on line 2`},
		{`{"path": {"a": {}, "a": {}}}`, `the path "a" was already set on line 1`},
		{"name = \"x\"\nname = \"y\"", "line 2: name is set twice"},
		{`name = 5`, "name is a number"},
		{`path "a" { capabilities = "read" }`, "capabilities is a string"},
		{`path "a" { capabilities = [1] }`, "capabilities holds a number"},
		{`path = 5`, "path is a number"},
		{`path = [5]`, "path is a list"},
		{`path "a" { allowed_parameters = { "x" = "y" } }`, `"x" is a string, not a list`},
		{`path "a" { allowed_parameters = ["x"] }`, `allowed_parameters is a list`},
		{`path "a" { allowed_parameters = { "x" = [{ y = 1 }] } }`, "has a value that is a block"},
		{`{"path": {"a": {"allowed_parameters": {"x": [null]}}}}`, "has a value that is null"},
		{`path "a" { denied_parameters = { "x" = [], "X" = [] } }`, `names "X" twice`},
		{`path "a" { denied_parameters = { "*" = ["x"] } }`, `"*" has a list of values`},
		{`path "a" { min_wrapping_ttl = "soon" }`, "min_wrapping_ttl is not a duration"},
		{`path "a" { min_wrapping_ttl = -5 }`, "min_wrapping_ttl is not a duration"},
		{`path "a" { min_wrapping_ttl = [5] }`, "min_wrapping_ttl is not a duration"},
		{"path \"a\" {\n min_wrapping_ttl = 5\n max_wrapping_ttl = 4\n}", "max_wrapping_ttl is less than min_wrapping_ttl"},
		{`path "a" { pagination_limit = -1 }`, "pagination_limit is not a count"},
		{`path "a" { expiration = "tomorrow" }`, "expiration is not a time"},
		{`path "a" { comment = 5 }`, "comment is a number"},
		{`path "a" { list_scan_response_keys_filter_path = "{{ .key }}" }`, "without list or scan"},
		{`path "a" { list_scan_response_keys_filter_path = "x" capabilities = ["list"] }`, "does not use .key"},
		{`path "a" { control_group = {} }`, "would grant more than it says"},
		{`path "a+*" {}`, `"+*" has no meaning`},
		{`path "" {}`, "can never match"},
		{`path "a//b" {}`, "can never match"},
		{`path "a/../b" {}`, "can never match"},
		{`path "a/{{identity.entity.id" {}`, "the template is not valid"},
		{`path "a/identity.entity.id}}" {}`, "the template is not valid"},
		{`path "a/{{env.HOME}}" {}`, "the template is not valid"},
		{`path "a/../{{identity.entity.id}}" {}`, "the template is not valid"},
		{"path \"a\" {\n capabilities = [\"read\"\n}", "this is not valid HCL"},
		{"path \"a\" {\n x = \"unclosed\n}", "line 2: this is not valid HCL"},
		{"{\"path\":\n {\"a\": }}", "line 2: this is not valid JSON"},
		{`{} {}`, "this is not valid JSON"},
		{strings.Repeat("a [", 20), "nest too deep"},
		{strings.Repeat(`{"a":`, 20), "nest too deep"},
		{"path \"a\" {\n allowed_parameters = " + strings.Repeat("[", 1<<19), "nest too deep"},
		{strings.Repeat(" ", MaxSourceBytes+1), "longer than"},
	} {
		_, err := Parse("p", c.src)
		pe := (*ParseError)(nil)
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v\nwant %s", c.src, err, c.want)
			continue
		}
		for _, f := range pe.Faults {
			if f.Line < 1 || f.Problem == "" || f.Remedy == "" {
				t.Errorf("%.60s: incomplete fault %+v", c.src, f)
			}
		}
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, err := Parse("p", "path \"a\" {\n x = 1\n capabilities = [\"y\"]\n}\nz = 2\npath \"b//c\" {}")
	pe := (*ParseError)(nil)
	if !errors.As(err, &pe) || len(pe.Faults) != 4 {
		t.Fatalf("%v", err)
	}
	for i, line := range []int{2, 3, 5, 6} {
		if pe.Faults[i].Line != line {
			t.Errorf("fault %d is on line %d, want %d", i, pe.Faults[i].Line, line)
		}
	}
	_, err = Parse("p", strings.Repeat("x = 1\n", 1000))
	if !errors.As(err, &pe) || len(pe.Faults) != maxFaults {
		t.Errorf("%d faults", len(pe.Faults))
	}
}

func TestParseErrorsHoldNoParameterValue(t *testing.T) {
	for _, src := range []string{
		`path "a" { allowed_parameters = { "x" = ["hunter2" "hunter2"] } }`,
		`path "a" { allowed_parameters = { "x" = "hunter2" } }`,
		`path "a" { allowed_parameters = { "x" = ["hunter2", {}] } }`,
		`path "a" { allowed_parameters = { "x" = [ ] "hunter2" } }`,
		`path "a" { denied_parameters = { "*" = ["hunter2"] } }`,
		"path \"a\" { denied_parameters = { \"x\" = [\"hunter2\n",
		`{"path": {"a": {"denied_parameters": {"x": "hunter2"}}}}`,
		`{"path": {"a": {"denied_parameters": {"x": ["hunter2" "hunter2"`,
		`path "a" { min_wrapping_ttl = "hunter2" }`,
	} {
		if _, err := Parse("p", src); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "90": 90 * time.Second, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "500ms": 500 * time.Millisecond, " 5 ": 5 * time.Second,
	} {
		if got, ok := parseDuration(in); !ok || got != want {
			t.Errorf("%q: %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "-1", "-1s", "x", "1w", "9223372036854775807", "d", "NaNd", "1e9d", "1d-1h", "9999999h9999999h"} {
		if got, ok := parseDuration(in); ok {
			t.Errorf("%q: %v", in, got)
		}
	}
}
