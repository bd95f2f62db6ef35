package policy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestExplanationsAreTrue holds for random policies and requests: what is
// explained is what is decided, the rules that decided are shown, a step fails
// if and only if the request is refused, and the rule that would allow does,
// and takes nothing away.
func TestExplanationsAreTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []oracleRule
		var policies []*Policy
		for i := range rapid.IntRange(1, 3).Draw(t, "policies") {
			name := "p" + strconv.Itoa(i)
			var own []oracleRule
			for range rapid.IntRange(1, 5).Draw(t, "rules") {
				own = append(own, drawRule(t, name))
			}
			p, err := Parse(name, source(own))
			if err != nil {
				t.Fatal(err)
			}
			rules, policies = append(rules, own...), append(policies, p)
		}
		acl := Compile(time.Time{}, policies...)
		for range 10 {
			req := drawRequest(t, rules).request()
			checkExplanation(t, acl, policies, req)
		}
	})
}

func checkExplanation(t *rapid.T, acl *ACL, policies []*Policy, req Request) {
	d := acl.Decide(req)
	x := acl.ExplainDecision(req, d, false) // of several parameters at fault, each may be named
	if x.Allowed != d.Allowed || x.Reason != d.Reason.String() {
		t.Fatalf("%+v explained as %+v", d, x)
	}
	for _, r := range d.Rules {
		if !slices.ContainsFunc(x.Rules, func(w Weighed) bool { return w.rule == r && strings.HasPrefix(w.Verdict, "it decides") }) {
			t.Fatalf("%s line %d decided, and is not shown: %+v", r.Policy, r.Line, x.Rules)
		}
	}
	failed := slices.ContainsFunc(x.Steps, func(s Step) bool { return !s.Passed })
	if failed == d.Allowed || d.Allowed && (x.WouldAllow != "" || x.Advice != nil) {
		t.Fatalf("%+v: %+v", d, x)
	}
	if x.WouldAllow == "" {
		if !d.Allowed && len(x.Advice) == 0 {
			t.Fatalf("no way is shown: %+v", x)
		}
		return
	}
	added, err := Parse("added", x.WouldAllow)
	if err != nil {
		t.Fatalf("%v\n%s", err, x.WouldAllow)
	}
	after := Compile(req.Now, append(slices.Clip(policies), added)...)
	if !after.Decide(req).Allowed {
		t.Fatalf("%+v is not allowed by %s: %v", req, x.WouldAllow, after.Decide(req).Reason)
	}
	had, has := acl.Decide(req).Capabilities&^Deny, after.Decide(req).Capabilities
	if had&^has != 0 {
		t.Fatalf("%s takes %v away", x.WouldAllow, had&^has)
	}
}

func TestExplain(t *testing.T) {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		policies []string
		req      Request
		sudo     bool
		reason   string
		allow    string // what would_allow says, in words
		advice   string // what one piece of advice says
	}{
		{"nothing matches", []string{`path "a" { capabilities = ["read"] }`}, Request{Path: "kv/x", Op: Read}, false,
			"no rule matches the path", `path "kv/x" { capabilities = ["read"] }`, ""},
		{"a list", nil, Request{Path: "kv", Op: List}, false, "no rule matches", `path "kv/" { capabilities = ["list"] }`, ""},
		{"not granted by a pattern", []string{`path "kv/*" { capabilities = ["read"] }`}, Request{Path: "kv/x", Op: Delete}, false,
			"does not grant", `path "kv/x" { capabilities = ["delete", "read"] }`, ""},
		{"not granted by the path itself", []string{`path "kv/x" { capabilities = ["read"] }`}, Request{Path: "kv/x", Op: Delete}, false,
			"does not grant", `path "kv/x" { capabilities = ["delete"] }`, ""},
		{"a broad deny", []string{`path "kv/*" { capabilities = ["deny"] }`}, Request{Path: "kv/x", Op: Read}, false,
			"denies the path", `path "kv/x" { capabilities = ["read"] }`, "remove the deny at p0 line 1"},
		{"an exact deny", []string{`path "kv/x" { capabilities = ["deny"] }`}, Request{Path: "kv/x", Op: Read}, false,
			"denies the path", "", "no rule that is added"},
		{"a false condition", []string{`path "kv/x" { capabilities = ["read"] condition = "request.operation == 'list'" }`}, Request{Path: "kv/x", Op: Read}, false,
			"no rule matches", `path "kv/x" { capabilities = ["read"] }`, "meet the condition of p0 line 1"},
		{"a condition that cannot be told", []string{`path "kv/x" { capabilities = ["read"] condition = "source == '::1'" }`}, Request{Path: "kv/x", Op: Read}, false,
			"could not be told", "", "make the condition of p0 line 1"},
		{"expired", []string{`path "kv/x" { capabilities = ["read"] expiration = "2020-01-01T00:00:00Z" }`}, Request{Path: "kv/x", Op: Read, Now: at}, false,
			"no rule matches", `path "kv/x" { capabilities = ["read"] }`, "renew the expiration of the rule at p0 line 1"},
		{"wrapping", []string{`path "kv/x" { capabilities = ["read"] min_wrapping_ttl = "1m" }`}, Request{Path: "kv/x", Op: Read}, false,
			"requires a wrapped answer", "", "TTL that p0 line 1 allows"},
		{"a parameter", []string{`path "kv/*" { capabilities = ["update"] denied_parameters = { "ttl" = [] } }`}, Request{Path: "kv/x", Op: Update, Params: ParamMap{"ttl": "9"}}, false,
			"a parameter or its value is denied", `path "kv/x" { capabilities = ["update"] }`, `leave the parameter "ttl" out`},
		{"sudo", []string{`path "sys/*" { capabilities = ["read"] }`}, Request{Path: "sys/raw", Op: Read}, true,
			"does not grant sudo", `path "sys/raw" { capabilities = ["read", "sudo"] }`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parsed []*Policy
			for i, src := range c.policies {
				p, err := Parse("p"+strconv.Itoa(i), src)
				if err != nil {
					t.Fatal(err)
				}
				parsed = append(parsed, p)
			}
			x := Compile(at, parsed...).Explain(c.req, c.sudo)
			allow := strings.TrimSpace(regexp.MustCompile(`\s+`).ReplaceAllString(x.WouldAllow, " "))
			if x.Allowed || !strings.Contains(x.Reason, c.reason) || allow != c.allow || !strings.Contains(strings.Join(x.Advice, "\n"), c.advice) {
				t.Errorf("%+v", x)
			}
		})
	}
}

// A decision that was taken on parameters is explained without them.
func TestExplainWithoutParameters(t *testing.T) {
	acl := compile(t, `path "kv/x" { capabilities = ["update"] allowed_parameters = { "a" = ["b"] } }`)
	req := Request{Path: "kv/x", Op: Update, Params: ParamMap{"a": "the value"}}
	d := acl.Decide(req)
	req.Params = nil
	x := acl.ExplainDecision(req, d, false)
	if x.Allowed || x.Parameter != "a" || x.WouldAllow != "" || !strings.Contains(strings.Join(x.Advice, ""), `parameter "a"`) || x.Steps[len(x.Steps)-1].Name != "allowed_parameters" {
		t.Errorf("%+v", x)
	}
}

func TestExplainRootAndNobody(t *testing.T) {
	if x := Root().Explain(Request{Path: "a", Op: Read}, true); !x.Allowed || x.Reason != "granted by the root policy" {
		t.Errorf("%+v", x)
	}
	if x := (*ACL)(nil).Explain(Request{Path: "a", Op: Read}, false); x.Allowed {
		t.Errorf("%+v", x)
	}
}
