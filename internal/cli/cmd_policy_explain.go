package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/internal/policy"
)

// explained is what the server says of a decision, or what is found offline.
type explained struct {
	policy.Explanation
	RequestID string   `json:"request_id,omitempty"`
	Time      string   `json:"time,omitempty"`
	Namespace string   `json:"namespace"`
	Policies  []string `json:"policies"`
	Accessor  string   `json:"accessor,omitempty"`
	Cause     string   `json:"cause,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// explainFlags say what is to be explained.
type explainFlags struct {
	requestID, auditFile, dir   string
	token, accessor, source, at string
	policies                    []string
	wrapTTL                     string
	headers                     keyValues
}

func (x *explainFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&x.requestID, "request-id", "", "a refused request, by the `id` in its answer")
	f.StringVar(&x.auditFile, "audit-file", "", "find the request in this audit `file`")
	f.StringVar(&x.dir, "policies", "", "with -audit-file: judge by the policies in this `directory` (NAME.hcl), without a server")
	f.StringVar(&x.token, "token", "", "the `token` whose policies are meant; your own when nothing is said")
	f.StringVar(&x.accessor, "accessor", "", "the `accessor` of that token")
	f.StringSliceVar(&x.policies, "policy", nil, "`name` of a policy that is meant; may be repeated")
	f.StringVar(&x.source, "source", "", "the `address` that the request comes from")
	f.StringVar(&x.at, "at", "", "the `time` at which it comes, as 2026-01-05T09:00:00Z")
	f.StringVar(&x.wrapTTL, "explain-wrap-ttl", "", "for how `long` its answer is to be wrapped")
	f.Var(&x.headers, "explain-header", "a `name=value` header of the request; may be repeated")
}

func policyExplain() command {
	var x explainFlags
	return command{
		use: "explain [OPERATION PATH [DATA...]]", short: "Say which rule decides about a request, and what would allow it", args: arity{0, -1},
		long: "OPERATION is create, read, update, patch, delete, list or scan. DATA are the request's\n" +
			"parameters.\n\n" +
			"A request that was refused is explained by its request id: by the server that refused it while\n" +
			"it remembers, or with -audit-file from its audit log. The log does not hold parameters.",
		example: `
			policy explain read secret/data/db
			policy explain -policy=ci -source=10.1.2.3 update auth/token/create ttl=1h
			policy explain -request-id=5f0c2b6e-8c1f-4a3e-9d55-0b1f6e7a9c10
			policy explain -audit-file=audit.log -policies=policies -request-id=5f0c2b6e-8c1f-4a3e-9d55-0b1f6e7a9c10`,
		flags: x.flags,
		run:   func(c *call) error { return x.run(c) },
	}
}

func (x *explainFlags) run(c *call) error {
	out := &explained{}
	var err error
	switch {
	case x.requestID == "" && len(c.args) < 2:
		return usagef("give OPERATION and PATH, or -request-id")
	case x.requestID != "" && len(c.args) > 0:
		return usagef("with -request-id, give no OPERATION and PATH")
	case x.requestID == "" && (x.auditFile != "" || x.dir != ""), x.auditFile == "" && x.dir != "":
		return usagef("-policies goes with -audit-file, and that with -request-id")
	case x.dir != "":
		out, err = x.offline()
	default:
		out, err = x.online(c)
	}
	if err != nil {
		return err
	}
	m, err := toMap(out)
	if err != nil {
		return err
	}
	return c.show(out, m, func() error { return c.println(strings.TrimRight(out.text(), "\n")) })
}

// online asks the server.
func (x *explainFlags) online(c *call) (*explained, error) {
	body, err := x.body(c)
	if err != nil {
		return nil, err
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := cl.Write(c.ctx, "sys/policies/explain", body)
	if err != nil {
		return nil, failed(err, "explaining")
	}
	raw, err := json.Marshal(s.Data)
	if err != nil {
		return nil, err
	}
	out := &explained{}
	return out, json.Unmarshal(raw, out)
}

func (x *explainFlags) body(c *call) (map[string]any, error) {
	if x.auditFile != "" {
		seen, err := findAudited(x.auditFile, x.requestID)
		if err != nil {
			return nil, err
		}
		return map[string]any{"operation": seen.Request.Operation, "path": seen.Request.Namespace.Path + seen.Request.Path, "policies": seen.Auth.Policies,
			"source": seen.Request.RemoteAddress, "at": seen.Time, "wrap_ttl": seen.Request.WrapTTL}, nil
	}
	body := map[string]any{}
	for name, value := range map[string]string{"request_id": x.requestID, "token": x.token, "accessor": x.accessor,
		"source": x.source, "at": x.at, "wrap_ttl": x.wrapTTL} {
		if value != "" {
			body[name] = value
		}
	}
	if len(x.policies) > 0 {
		body["policies"] = x.policies
	}
	if len(x.headers) > 0 {
		body["headers"] = x.headers
	}
	if len(c.args) > 0 {
		data, err := parsePairs(c.input(), c.args[2:])
		if err != nil {
			return nil, err
		}
		body["operation"], body["path"], body["parameters"] = c.args[0], strings.TrimPrefix(c.args[1], "/"), data
	}
	return body, nil
}

// audited is what an audit line holds of a request that matters here.
type audited struct {
	Time string `json:"time"`
	Type string `json:"type"`
	Auth struct {
		Policies    []string          `json:"policies"`
		DisplayName string            `json:"display_name"`
		EntityID    string            `json:"entity_id"`
		Metadata    map[string]string `json:"metadata"`
		TokenType   string            `json:"token_type"`
		Issued      string            `json:"token_issue_time"`
	} `json:"auth"`
	Request struct {
		ID            string `json:"id"`
		Operation     string `json:"operation"`
		Path          string `json:"path"`
		RemoteAddress string `json:"remote_address"`
		WrapTTL       int64  `json:"wrap_ttl"`
		Namespace     struct {
			Path string `json:"path"`
		} `json:"namespace"`
	} `json:"request"`
}

// findAudited finds a request in an audit file, whose lines may be long.
func findAudited(file, id string) (found *audited, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := bufio.NewReader(f)
	for {
		line, rerr := r.ReadBytes('\n')
		if bytes.Contains(line, []byte(id)) {
			at := bytes.IndexByte(line, '{') // a device may put a prefix before
			a := &audited{}
			if at >= 0 && json.Unmarshal(line[at:], a) == nil && a.Type == "request" && a.Request.ID == id {
				return a, nil
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return nil, &exit{exitLocal, fmt.Sprintf("No request %s is in %s", id, file), "ask for the file of the node that answered, and of that day"}
		case rerr != nil:
			return nil, rerr
		}
	}
}

// offline judges a request of an audit file by policies in a directory.
func (x *explainFlags) offline() (*explained, error) {
	seen, err := findAudited(x.auditFile, x.requestID)
	if err != nil {
		return nil, err
	}
	op, ok := policy.Operation(seen.Request.Operation)
	if !ok {
		return nil, usagef("the operation %q is not decided by policies", seen.Request.Operation)
	}
	out := &explained{RequestID: x.requestID, Time: seen.Time, Namespace: seen.Request.Namespace.Path, Policies: seen.Auth.Policies}
	req := policy.Request{Path: seen.Request.Namespace.Path + seen.Request.Path, Op: op, WrapTTL: time.Duration(seen.Request.WrapTTL) * time.Second, Facts: seen.facts()}
	if req.Now, err = time.Parse(time.RFC3339Nano, seen.Time); err != nil {
		return nil, fmt.Errorf("the time of the audit line: %w", err)
	}
	acl, missing, err := x.compile(seen.Auth.Policies, req.Now)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		out.Notes = append(out.Notes, fmt.Sprintf("there is no %s: what the policy grants is left out", filepath.Join(x.dir, name+".hcl")))
	}
	out.Notes = append(out.Notes, "parameters are not in the audit log: rules about them are judged as if there were none")
	out.Explanation = *acl.Explain(req, false)
	return out, nil
}

// compile reads policies from the directory, and names those that are not there.
func (x *explainFlags) compile(names []string, now time.Time) (*policy.ACL, []string, error) {
	var parsed []*policy.Policy
	var missing []string
	for _, name := range names {
		if name == "root" {
			return policy.Root(), nil, nil
		}
		if _, err := policy.CanonicalName(name); err != nil || strings.ContainsAny(name, `/\`) {
			missing = append(missing, "…")
			continue
		}
		raw, err := os.ReadFile(filepath.Join(x.dir, name+".hcl"))
		if errors.Is(err, os.ErrNotExist) {
			missing = append(missing, name)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		p, err := policy.Parse(name, string(raw))
		if err != nil {
			return nil, nil, err
		}
		parsed = append(parsed, p)
	}
	return policy.Compile(now, parsed...), missing, nil
}

func (a *audited) facts() *policy.Facts {
	f := &policy.Facts{TokenType: a.Auth.TokenType, DisplayName: a.Auth.DisplayName, EntityID: a.Auth.EntityID, Metadata: a.Auth.Metadata,
		Policies: a.Auth.Policies, Namespace: a.Request.Namespace.Path}
	if f.TokenType == "default" {
		f.TokenType = "service"
	}
	if addr, err := netip.ParseAddr(a.Request.RemoteAddress); err == nil {
		f.Source = addr
	}
	if at, err := time.Parse(time.RFC3339, a.Auth.Issued); err == nil {
		f.AuthTime = at
	}
	return f
}

// text is for people.
func (x *explained) text() string {
	var b strings.Builder
	if len(x.Policies) > 0 {
		fmt.Fprintf(&b, "Policies: %s\n", strings.Join(x.Policies, ", "))
	}
	if x.Cause != "" {
		fmt.Fprintf(&b, "Refused because %s\n", x.Cause)
	}
	b.WriteString(explanationText(&x.Explanation))
	for _, n := range x.Notes {
		fmt.Fprintf(&b, "Note: %s\n", n)
	}
	return b.String()
}

// explanationText lays an explanation out: the verdict, the rules, the steps,
// and what would change it.
func explanationText(x *policy.Explanation) string {
	var b strings.Builder
	verdict := "Denied"
	if x.Allowed {
		verdict = "Allowed"
	}
	fmt.Fprintf(&b, "%s: %s %s: %s\n", verdict, x.Operation, x.Path, x.Reason)
	if len(x.Rules) > 0 {
		rows := make([][]string, 0, len(x.Rules))
		for _, r := range x.Rules {
			rows = append(rows, []string{fmt.Sprintf("%s:%d", r.Policy, r.Line), r.Path, strings.Join(r.Capabilities, ","), r.Verdict})
		}
		fmt.Fprintf(&b, "\n%s\n\n", table([]string{"Rule", "Path", "Capabilities", "Verdict"}, rows))
	}
	for _, s := range x.Steps {
		mark := "ok"
		if !s.Passed {
			mark = "FAILED"
		}
		fmt.Fprintf(&b, "%s: %s: %s\n", s.Name, mark, s.Detail)
	}
	if x.WouldAllow != "" {
		fmt.Fprintf(&b, "\nThe smallest rule that would allow it:\n%s\n", x.WouldAllow)
	}
	for _, a := range x.Advice {
		fmt.Fprintf(&b, "Or: %s\n", a)
	}
	return printable(b.String())
}
