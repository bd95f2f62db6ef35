// Package cases owns files of test cases for policies: what they look like, and
// running them without a server.
//
// A file is YAML or JSON:
//
//	policies:
//	  - file: ci.hcl            # named ci; relative to this file
//	  - name: night             # or its text
//	    text: path "kv/*" { capabilities = ["deny"] }
//	cases:
//	  - name: CI reads its own
//	    policies: [ci]          # all, when absent
//	    path: secret/data/ci/db
//	    operation: read
//	    expect: allow
//	    rule: "ci:3"            # policy and line that must decide; optional
//	  - name: not with another policy attached
//	    path: auth/token/create
//	    operation: update
//	    parameters: {policies: [admin]}
//	    at: 2026-01-05T09:00:00Z
//	    source: 10.1.2.3
//	    headers: {x-device: laptop}
//	    wrap_ttl: 5m
//	    token: {type: service, display_name: ada, entity_id: "", metadata: {team: x}}
//	    auth: {method: userpass, mount: auth/userpass/, age: 10m}
//	    namespace: eng/
//	    sudo: true              # the endpoint is root-protected
//	    expect: deny
package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/internal/policy"
)

// Bounds of a file of cases.
const (
	MaxBytes = 4 << 20 // of the file
	maxCases = 10_000
)

// File is a file of cases.
type File struct {
	Policies []Source `json:"policies"`
	Cases    []Case   `json:"cases"`
}

// Source is a policy: a file, or a name and a text.
type Source struct {
	File string `json:"file"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// Case is a request and what must become of it.
type Case struct {
	Name       string            `json:"name"`
	Policies   []string          `json:"policies"`
	Path       string            `json:"path"`
	Operation  string            `json:"operation"`
	Parameters map[string]any    `json:"parameters"`
	WrapTTL    Span              `json:"wrap_ttl"`
	At         time.Time         `json:"at"`
	Source     string            `json:"source"`
	Headers    map[string]string `json:"headers"`
	Token      Token             `json:"token"`
	Auth       Auth              `json:"auth"`
	Namespace  string            `json:"namespace"`
	Sudo       bool              `json:"sudo"`
	Expect     string            `json:"expect"`
	Rule       string            `json:"rule"`
}

// Token is the token that a case's request shows.
type Token struct {
	Type        string            `json:"type"`
	DisplayName string            `json:"display_name"`
	EntityID    string            `json:"entity_id"`
	Metadata    map[string]string `json:"metadata"`
}

// Auth is how a case's token was issued.
type Auth struct {
	Method string `json:"method"`
	Mount  string `json:"mount"`
	Age    *Span  `json:"age"`
}

// Span is a duration, written as 90s, 5m, 1h or a number of seconds.
type Span time.Duration

// UnmarshalJSON reads either form.
func (s *Span) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		*s = Span(d)
		return nil
	}
	if d, err := time.ParseDuration(text + "s"); err == nil && d >= 0 {
		*s = Span(d)
		return nil
	}
	return errors.New("not a duration such as 90s, 5m or 1h")
}

// Parse reads a file of cases. An unknown key is an error, since it would test
// nothing.
func Parse(data []byte) (file *File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the file cannot be parsed")
		}
	}()
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("the file is longer than %d bytes: split it", MaxBytes)
	}
	f := &File{}
	if err := yaml.UnmarshalStrict(data, f); err != nil {
		if strings.Contains(err.Error(), "into Go ") { // of no use to who writes cases
			return nil, errors.New("the file cannot be read: it must be an object with a list of cases, as YAML or JSON, as strongroom policy test -help shows")
		}
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	switch {
	case len(f.Cases) == 0:
		return nil, errors.New(`there are no cases: write "cases:" with a list of them`)
	case len(f.Cases) > maxCases:
		return nil, fmt.Errorf("there are more than %d cases: split the file", maxCases)
	}
	for i := range f.Cases {
		if err := f.Cases[i].check(); err != nil {
			return nil, fmt.Errorf("case %d (%s): %w", i+1, f.Cases[i].title(), err)
		}
	}
	return f, nil
}

func (c *Case) title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Operation + " " + c.Path
}

func (c *Case) check() error {
	switch {
	case c.Path == "":
		return errors.New("path: missing")
	case c.Expect != "allow" && c.Expect != "deny":
		return errors.New("expect: must be allow or deny")
	}
	if _, ok := policy.Operation(c.Operation); !ok {
		return errors.New("operation: must be create, read, update, patch, delete, list or scan")
	}
	if _, err := policy.Canonical(c.Path); err != nil {
		return err
	}
	if c.Source != "" {
		if _, err := netip.ParseAddr(c.Source); err != nil {
			return errors.New("source: must be an address such as 10.1.2.3")
		}
	}
	return nil
}

// Load parses the file's policies. The function reads a policy's file.
func (f *File) Load(read func(name string) ([]byte, error)) (map[string]*policy.Policy, error) {
	out := map[string]*policy.Policy{}
	for i, s := range f.Policies {
		name, text := s.Name, s.Text
		switch {
		case s.File == "" && (name == "" || text == ""), s.File != "" && text != "":
			return nil, fmt.Errorf("policy %d: give a file, or a name and a text", i+1)
		case s.File != "":
			raw, err := read(s.File)
			if err != nil {
				return nil, err
			}
			if text = string(raw); name == "" {
				name = strings.TrimSuffix(path.Base(s.File), path.Ext(s.File))
			}
		}
		if out[name] != nil {
			return nil, fmt.Errorf("policy %d: %q is there already", i+1, name)
		}
		p, err := policy.Parse(name, text)
		if err != nil {
			return nil, err
		}
		out[name] = p
	}
	return out, nil
}

// Result is what became of a case.
type Result struct {
	Name        string              `json:"name"`
	Passed      bool                `json:"passed"`
	Expected    string              `json:"expected"`
	Got         string              `json:"got"`
	Problem     string              `json:"problem,omitempty"`
	Explanation *policy.Explanation `json:"explanation,omitempty"` // of a case that failed
}

// Run decides every case. A case without a time is at now.
func (f *File) Run(policies map[string]*policy.Policy, now time.Time) []Result {
	out := make([]Result, 0, len(f.Cases))
	for i := range f.Cases {
		out = append(out, f.Cases[i].run(policies, now))
	}
	return out
}

func (c *Case) run(policies map[string]*policy.Policy, now time.Time) Result {
	r := Result{Name: c.title(), Expected: c.Expect}
	var used []*policy.Policy
	if c.Policies == nil {
		used = slices.Collect(maps.Values(policies))
	}
	for _, name := range c.Policies {
		if policies[name] == nil {
			r.Problem = fmt.Sprintf("there is no policy %q", name)
			return r
		}
		used = append(used, policies[name])
	}
	req := c.request(now, slices.Sorted(maps.Keys(policies)))
	acl := policy.Compile(req.Now, used...)
	d := acl.Decide(req)
	r.Got = "deny"
	if d.Allowed && (d.Sudo || !c.Sudo) {
		r.Got = "allow"
	}
	switch {
	case r.Got != r.Expected:
		r.Problem = d.Reason.String()
	case c.Rule != "" && !decidedBy(d.Rules, c.Rule):
		r.Problem = fmt.Sprintf("rule %s did not decide", c.Rule)
	default:
		r.Passed = true
		return r
	}
	r.Explanation = acl.ExplainDecision(req, d, c.Sudo)
	return r
}

func decidedBy(rules []*policy.Rule, want string) bool {
	for _, r := range rules {
		if fmt.Sprintf("%s:%d", r.Policy, r.Line) == want {
			return true
		}
	}
	return false
}

// request is what the case describes; all are the names of the file's policies.
func (c *Case) request(now time.Time, all []string) policy.Request {
	op, _ := policy.Operation(c.Operation) // checked by Parse
	r := policy.Request{Path: c.Path, Op: op, Params: policy.ParamMap(c.params()), WrapTTL: time.Duration(c.WrapTTL), Now: now}
	if !c.At.IsZero() {
		r.Now = c.At
	}
	if c.Policies != nil {
		all = c.Policies
	}
	r.Facts = &policy.Facts{AuthMethod: c.Auth.Method, AuthMount: c.Auth.Mount, TokenType: c.Token.Type, DisplayName: c.Token.DisplayName,
		EntityID: c.Token.EntityID, Metadata: c.Token.Metadata, Policies: all, Namespace: c.Namespace, Headers: map[string]string{}}
	if addr, err := netip.ParseAddr(c.Source); err == nil {
		r.Facts.Source = addr
	}
	if c.Auth.Age != nil {
		r.Facts.AuthTime = r.Now.Add(-time.Duration(*c.Auth.Age))
	}
	for name, value := range c.Headers {
		r.Facts.Headers[strings.ToLower(name)] = value
	}
	return r
}

// params are the parameters with numbers as they are written, which is how a
// server hands them to the policies.
func (c *Case) params() map[string]any {
	out := make(map[string]any, len(c.Parameters))
	for name, value := range c.Parameters {
		if n, ok := value.(float64); ok {
			value = json.Number(strconv.FormatFloat(n, 'f', -1, 64))
		}
		out[name] = value
	}
	return out
}
