package cli

import (
	"encoding/json"
	"errors"
	"fmt"
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
	f.StringVar(&x.wrapTTL, "explain-wrap-ttl", "", "`duration` for which its answer is to be wrapped")
	f.Var(&x.headers, "explain-header", "a `name=value` header of the request; may be repeated")
}

func policyExplain() command {
	var x explainFlags
	return command{
		use: "explain [OPERATION PATH [DATA...]]", short: "Say which rule decides about a request, and what would allow it", args: arity{0, -1},
		long: "OPERATION is create, read, update, patch, delete, list or scan. DATA are the request's\n" +
			"parameters.\n\n" +
			"A request that was refused is explained by its request id: by the server that refused it while\n" +
			"it remembers, or with -audit-file from its audit log, which holds no parameters. Of a login, the\n" +
			"log holds what its caller was told, and the server alone the cause.",
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
	case x.auditFile != "":
		out, err = x.fromLog(c)
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
	return ask(c, body)
}

// ask has the server explain.
func ask(c *call, body map[string]any) (*explained, error) {
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
