package cases

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const example = `
policies:
  - file: dir/ci.hcl
  - name: day
    text: |
      path "kv/*" {
        capabilities = ["read"]
        condition = "now.getHours('UTC') < 12 && source.within('10.0.0.0/8') && auth.age < duration('1h') && auth.method == 'userpass' && request.headers['x-device'] == 'a' && token.metadata['team'] == 'x' && request.namespace == 'eng/'"
      }
cases:
  - {name: reads its own, policies: [ci], path: secret/data/ci/db, operation: read, expect: allow, rule: "ci:1"}
  - {policies: [ci], path: secret/data/other, operation: read, expect: deny}
  - {path: auth/token/create, operation: update, parameters: {policies: [admin], num: 5}, expect: deny}
  - {path: auth/token/create, operation: update, parameters: {num: 5}, expect: allow}
  - {path: sys/raw, operation: read, expect: allow}
  - {path: sys/raw, operation: read, sudo: true, expect: deny}
  - {path: wrapped, operation: read, wrap_ttl: 5m, expect: allow}
  - {path: wrapped, operation: read, expect: deny}
  - &met
    path: kv/a
    operation: read
    at: 2026-01-05T09:00:00Z
    source: 10.1.2.3
    headers: {X-Device: a}
    namespace: eng/
    token: {type: service, metadata: {team: x}}
    auth: {method: userpass, mount: auth/userpass/, age: 10m}
    expect: allow
  - {path: kv/a, operation: read, expect: deny}
`

const ci = `path "secret/data/ci/*" { capabilities = ["read"] }
path "auth/token/create" {
  capabilities = ["update"]
  denied_parameters = { "policies" = ["admin"] }
  allowed_parameters = { "num" = [5], "policies" = [] }
}
path "sys/raw" { capabilities = ["read"] }
path "wrapped" { capabilities = ["read"] min_wrapping_ttl = "1m" }
`

func load(t *testing.T, text string) []Result {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := f.Load(func(name string) ([]byte, error) {
		if name != "dir/ci.hcl" {
			return nil, errors.New("no such file")
		}
		return []byte(ci), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f.Run(policies, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
}

func TestCases(t *testing.T) {
	for _, r := range load(t, example) {
		if !r.Passed || r.Got != r.Expected || r.Problem != "" || r.Explanation != nil {
			t.Errorf("%+v", r)
		}
	}
	swapped := strings.NewReplacer("expect: allow", "expect: deny", "expect: deny", "expect: allow").Replace(example)
	for _, r := range load(t, swapped) {
		if r.Passed || r.Got == r.Expected || r.Problem == "" || r.Explanation == nil {
			t.Errorf("what must fail: %+v", r)
		}
	}
	for text, says := range map[string]string{
		strings.Replace(example, `"ci:1"`, `"ci:2"`, 1):                   "rule ci:2 did not decide",
		strings.Replace(example, "policies: [ci]", "policies: [gone]", 1): `no policy "gone"`,
	} {
		if r := load(t, text)[0]; r.Passed || !strings.Contains(r.Problem, says) {
			t.Errorf("%+v, want %q", r, says)
		}
	}
}

func TestCaseFaults(t *testing.T) {
	const one = "cases: [{path: a, operation: read, expect: allow}]"
	for text, says := range map[string]string{
		"":                "no cases",
		"cases: [":        "cannot be read",
		"cases: 5":        "must be an object with a list of cases",
		`path "x" {}`:     "must be an object with a list of cases",
		one + "\nmore: 1": "unknown field",
		"cases: [{operation: read, expect: allow}]":                          "case 1 (read ): path: missing",
		"cases: [{path: a, operation: fly, expect: allow}]":                  "operation: must be",
		"cases: [{path: a, operation: sudo, expect: allow}]":                 "operation: must be",
		"cases: [{path: a, operation: read}]":                                "expect: must be",
		"cases: [{path: a//b, operation: read, expect: allow}]":              "empty segment",
		"cases: [{path: a, operation: read, expect: allow, source: x}]":      "source:",
		"cases: [{path: a, operation: read, expect: allow, wrap_ttl: soon}]": "duration",
		"cases: [{path: a, operation: read, expect: allow, path: b}]":        "already",
		strings.Repeat(" ", MaxBytes+1):                                      "split it",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80q: %v, want %q", text, err, says)
		}
	}
	for text, says := range map[string]string{
		"policies: [{name: a}]":                                                        "give a file",
		"policies: [{file: x, text: y}]":                                               "give a file",
		"policies: [{file: gone}]":                                                     "no such file",
		`policies: [{name: a, text: "path {"}]`:                                        "line 1",
		`policies: [{name: a, text: " x = 1"}, {name: a, text: "x"}]`:                  "unknown key",
		`policies: [{name: a, text: "name = \"a\""}, {name: a, text: "name = \"a\""}]`: "there already",
	} {
		f, err := Parse([]byte(text + "\n" + one))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(func(string) ([]byte, error) { return nil, errors.New("no such file") }); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"cases":[{"path":"a","operation":"list","expect":"deny","auth":{"age":60}}]}`))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		policies, err := file.Load(func(string) ([]byte, error) { return []byte(ci), nil })
		if err != nil {
			return
		}
		for _, r := range file.Run(policies, time.Unix(1e9, 0)) {
			if r.Passed == (r.Problem != "") {
				t.Fatalf("%+v", r)
			}
		}
	})
}
