package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConditionsOnFacts(t *testing.T) {
	at := func(s string) time.Time {
		moment, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	full := Request{
		Path: "kv/team/app/key", Op: Read, WrapTTL: time.Minute, Now: at("2026-07-03T09:30:00Z"),
		Facts: &Facts{
			Source: netip.MustParseAddr("::ffff:10.1.2.3"), AuthMethod: "userpass", AuthMount: "auth/people/",
			AuthTime: at("2026-07-03T09:00:00Z"), TokenType: "service", DisplayName: "people-ada", EntityID: "e1",
			Metadata: map[string]string{"team": "x"}, Policies: []string{"default", "dev"}, Namespace: "eng/",
			Headers: map[string]string{"x-device": "laptop"},
		},
	}
	token := Request{Path: "kv/a", Op: List, Now: full.Now, Facts: &Facts{TokenType: "batch"}}
	for _, c := range []struct {
		condition string
		req       Request
		want      truth
	}{
		{"now.getHours('UTC') == 9", full, holds},
		{"now.getHours('Europe/Berlin') == 11", full, holds}, // summer
		{"now.getHours('Europe/Berlin') == 10", Request{Now: at("2026-01-05T09:30:00Z")}, holds},
		{"now.getDayOfWeek('UTC') == 5 && now.getDate('UTC') == 3 && now.getMonth('UTC') == 6", full, holds},
		{"now.getDayOfWeek('Pacific/Auckland') == 0", Request{Now: at("2026-07-04T12:30:00Z")}, holds}, // already Sunday there
		{"now < timestamp('2026-07-04T00:00:00Z')", full, holds},
		{"now.getHours('UTC') == 9", Request{}, broken},
		{"source.within('10.0.0.0/8')", full, holds}, // IPv4 in IPv6 is IPv4
		{"source.within(['192.168.0.0/16', '10.1.0.0/16'])", full, holds},
		{"source.within(['192.168.0.0/16', '2001:db8::/32'])", full, unmet},
		{"source.within('10.0.0.0/8')", token, broken},
		{"source == '10.1.2.3'", full, holds},
		{"auth.method == 'userpass' && auth.mount == 'auth/people/'", full, holds},
		{"auth.method == 'userpass'", token, broken},
		{"auth.age <= duration('30m')", full, holds},
		{"auth.age < duration('30m')", full, unmet},
		{"auth.age < duration('30m')", token, broken},
		{"token.type == 'service' && token.display_name.startsWith('people-')", full, holds},
		{"token.metadata['team'] == 'x' && token.entity_id == 'e1'", full, holds},
		{"token.metadata['team'] == 'x'", token, broken}, // no such key
		{"'team' in token.metadata && token.metadata['team'] == 'x'", token, unmet},
		{"'dev' in token.policies", full, holds},
		{"'dev' in token.policies", token, unmet},
		{"request.namespace == 'eng/'", full, holds},
		{"request.headers['x-device'] == 'laptop'", full, holds},
		{"request.headers['x-device'] == 'laptop'", token, broken},
		{"request.operation == 'read' && request.wrap_ttl == duration('1m')", full, holds},
		{"request.operation == 'list' && request.wrap_ttl == duration('0s')", token, holds},
		{"request.path.endsWith('/key') && request.segments[1] == 'team' && size(request.segments) == 4", full, holds},
		{"request.segments[7] == 'x'", full, broken},
		{"request.segments.exists(s, s.matches('^a.p$'))", full, holds},
		{"source.within('10.0.0.0/8') || true", token, holds}, // what does not matter need not be known
	} {
		compiled, fault := compileCondition(c.condition)
		if fault != nil {
			t.Errorf("%s: %v", c.condition, fault)
			continue
		}
		if got, _, why := compiled.eval(known{&newWeighing(c.req).request}); got != c.want || (why != nil) != (got == broken) {
			t.Errorf("%s: %v (%v), want %v", c.condition, got, why, c.want)
		}
	}
}

func TestConditionFaultsSayLineAndRemedy(t *testing.T) {
	for _, c := range []struct {
		policy string
		line   int
		says   string
	}{
		{`path "a" {` + "\n" + `condition = "auth.methd == 'x'" }`, 2, "auth.method"},
		{`path "a" { condition = "now.getHours() < 8" }`, 1, "time zone"},
		{`path "a" { condition = "now.getHours('Europe/Berlinn') < 8" }`, 1, "IANA"},
		{`path "a" { condition = "now.getHours('Local') < 8" }`, 1, "IANA"},
		{`path "a" { condition = "now.getHours(request.namespace) < 8" }`, 1, "write it out"},
		{`path "a" { condition = "source.within('10.0.0.0')" }`, 1, "10.0.0.0/8"},
		{`path "a" { condition = "source.within('10.1.0.0/8')" }`, 1, "write '10.0.0.0/8'"},
		{`path "a" { condition = "source.within(['::ffff:10.0.0.0/104'])" }`, 1, "as IPv4"},
		{`path "a" { condition = "source.within(token.policies)" }`, 1, "write it out"},
		{`path "a" { condition = "source" }`, 1, "true or false"},
		{`path "a" { condition = " " }`, 1, "empty"},
		{`path "a" { condition = ["true"] }`, 1, "condition ="},
		{`path "a" { condition = "true &&" }`, 1, "CEL"},
		{`path "a" { condition = "auth.age < 5" }`, 1, "one type"},
		{`path "a" { condition = "source.matches('(')" }`, 1, "not valid"},
		{`path "a" { condition = "duration('1 hour') < auth.age" }`, 1, "not valid"},
		{`path "a" { condition = "request.segments.all(a, request.segments.all(b, a == b))" }`, 1, "not valid"},
		{`path "a" { condition = "` + strings.Repeat("x", maxConditionBytes+1) + `" }`, 1, "longer"},
		{"path \"a\" {\n  condition = <<-EOT\n    true &&\n    source.inside('x')\n  EOT\n}", 4, "not valid"},
		{`{"path": {"a": {` + "\n" + `"condition": "nope"}}}`, 2, "conditions know"},
	} {
		_, err := Parse("p", c.policy)
		pe := (*ParseError)(nil)
		if !errors.As(err, &pe) {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		if f := pe.Faults[0]; f.Line != c.line || !strings.Contains(f.String(), c.says) || f.Remedy == "" {
			t.Errorf("%.80s: %v, want line %d and %q", c.policy, f, c.line, c.says)
		}
	}
}

func TestConditionsAreBounded(t *testing.T) {
	one := `path "a" { condition = "true" }` + "\n"
	if _, err := Parse("p", strings.Repeat(one, maxConditions)); err != nil {
		t.Error(err)
	}
	_, err := Parse("p", strings.Repeat(one, maxConditions+3))
	if pe := (*ParseError)(nil); !errors.As(err, &pe) || len(pe.Faults) != 1 || pe.Faults[0].Line != maxConditions+1 {
		t.Errorf("%v", err)
	}
	costly := "request.segments.exists(s, (request.path + '" + strings.Repeat("x", 3000) + "').contains(s + request.path))"
	if _, fault := compileCondition(costly); fault == nil || !strings.Contains(fault.Problem, "too long") {
		t.Errorf("a costly condition: %v", fault)
	}
	// What is more than was reckoned with when it was written runs out of steps.
	long, fault := compileCondition("request.segments.exists(s, s == 'nowhere')")
	if fault != nil {
		t.Fatal(fault)
	}
	req := Request{Path: strings.Repeat("a/", 200_000), Facts: &Facts{}}
	if got, _, why := long.eval(known{&req}); got != broken {
		t.Errorf("unbounded work: %v, %v", got, why)
	}
}

// conditional is an ACL of a broad rule that reads, a narrower one and, in a
// policy of its own, another.
func TestConditionalRulesComeAndGo(t *testing.T) {
	met, unmet, broken := Facts{TokenType: "service"}, Facts{TokenType: "batch"}, Facts{}
	const cond = `condition = "token.type == 'service'"`
	const broad = `path "kv/*" { capabilities = ["read"] }`
	for _, c := range []struct {
		name, narrow       string
		path               string
		whenMet, when, why Reason // met, unmet, broken
	}{
		{"a grant", `path "kv/a/*" { capabilities = ["update"] ` + cond + ` }`, "kv/a/b", NotGranted, Granted, ConditionFailed},
		{"a deny", `path "kv/a/*" { capabilities = ["deny"] ` + cond + ` }`, "kv/a/b", Denied, Granted, ConditionFailed},
		{"a deny in another case", `path "kv/a/*" { capabilities = ["deny"] ` + cond + ` }`, "kv/A/b", Denied, Granted, ConditionFailed},
		{"a grant in another case", `path "kv/a/*" { capabilities = ["update"] ` + cond + ` }`, "kv/A/b", Granted, Granted, Granted},
		{"a deny beside a grant, in another case", `path "kv/a/*" { capabilities = ["deny"] ` + cond + ` }` + "\n" + `path "kv/a/*" { capabilities = ["update"] }`, "kv/A/b", Denied, Granted, ConditionFailed},
		{"a deny beside a grant", `path "kv/a/*" { capabilities = ["deny"] ` + cond + ` }` + "\n" + `path "kv/a/*" { capabilities = ["read"] }`, "kv/a/b", Denied, Granted, ConditionFailed},
		{"a grant beside a deny", `path "kv/a/*" { capabilities = ["read"] ` + cond + ` }` + "\n" + `path "kv/a/*" { capabilities = ["deny"] }`, "kv/a/b", Denied, Denied, Denied},
		{"a broken rule under a more exact one", `path "kv/a/*" { capabilities = ["deny"] ` + cond + ` }` + "\n" + `path "kv/a/b" { capabilities = ["read"] }`, "kv/a/b", Granted, Granted, Granted},
		{"limits", `path "kv/*" { capabilities = ["read"] min_wrapping_ttl = "1m" ` + cond + ` }`, "kv/a/b", WrapRequired, Granted, ConditionFailed},
	} {
		acl := compile(t, broad, c.narrow)
		for facts, want := range map[*Facts]Reason{&met: c.whenMet, &unmet: c.when, &broken: c.why} {
			if d := acl.Decide(Request{Path: c.path, Op: Read, Facts: facts}); d.Reason != want || d.Allowed != (want == Granted) {
				t.Errorf("%s, %+v: %v, want %v", c.name, facts.TokenType, d.Reason, want)
			}
		}
	}
}

func TestConditionalListings(t *testing.T) {
	acl := compile(t, `path "kv/a" { capabilities = ["list"] condition = "token.type == 'service'" }`, `path "kv/*" { capabilities = ["list"] pagination_limit = 5 }`)
	for kind, limit := range map[string]int{"service": 0, "batch": 5} {
		if d := acl.Decide(Request{Path: "kv/a/", Op: List, Facts: &Facts{TokenType: kind}}); !d.Allowed || d.PageLimit != limit {
			t.Errorf("%s: %+v", kind, d)
		}
	}
}

func TestCapabilitiesWithConditions(t *testing.T) {
	acl := compile(t, `path "kv/a" { capabilities = ["read", "delete", "sudo"] condition = "request.operation == 'read' && token.type == 'service'" }`, `path "kv/*" { capabilities = ["delete"] }`)
	for kind, want := range map[string]string{"service": "delete,read,sudo", "batch": "delete", "": "delete"} {
		if got := strings.Join(acl.Capabilities("kv/a", time.Time{}, &Facts{TokenType: kind}), ","); got != want {
			t.Errorf("%q: %s, want %s", kind, got, want)
		}
	}
	if !acl.Conditional() || !compile(t, `path "x" { capabilities = ["read"] condition = "false" }`).Reaches("x/") || compile(t, `path "x" {}`).Conditional() {
		t.Error("what may be granted under a condition is not reached")
	}
}

// Times are written in either form; anything else would be a rule that never
// ends, or never was.
func TestExpirationForms(t *testing.T) {
	for text, want := range map[string]int64{`"2030-03-17T17:46:40Z"`: 1900000000, `"2030-03-17T18:46:40+01:00"`: 1900000000, `1900000000`: 1900000000,
		`"2030-03-17"`: 0, `"soon"`: 0, `0`: 0, `-5`: 0, `1.5`: 0, `true`: 0, `99999999999999`: 0} {
		p, err := Parse("p", `path "a" { expiration = `+text+` }`)
		if (err == nil) != (want != 0) || err == nil && p.Rules[0].Expiration.Unix() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"now.getHours('UTC') < 8", "source.within(['10.0.0.0/8'])", "request.segments.exists(s, s == 'a')", "token.metadata.team == 'x'", "has(token.metadata.a)", "[1,2].all(x, x > 0)", "((((", "'a'.matches('(a*)*')"} {
		f.Add(s)
	}
	req := Request{Path: "kv/a", Op: Read, Now: time.Unix(1e9, 0), Facts: &Facts{TokenType: "service", Source: netip.MustParseAddr("::1")}}
	f.Fuzz(func(t *testing.T, text string) {
		compiled, fault := compileCondition(text)
		if fault != nil {
			if fault.Line < 1 || fault.Problem == "" || fault.Remedy == "" {
				t.Fatalf("%+v", fault)
			}
			return
		}
		first, _, why := compiled.eval(known{&req})
		if again, _, _ := compiled.eval(known{&req}); again != first || (why != nil) != (first == broken) {
			t.Fatalf("%v, then %v (%v)", first, again, why)
		}
	})
}

// nested is a policy of as many rules as may have a condition, each for what the one
// before is for and less; the first has none and grants.
func nested(t *testing.T, condition string) (acl *ACL, path string) {
	t.Helper()
	b := strings.Builder{}
	b.WriteString("path \"kv/*\" { capabilities = [\"read\"] }\n")
	for i := range maxConditions {
		fmt.Fprintf(&b, "path \"kv/a%s*\" { capabilities = [\"deny\"] condition = \"%s && %d >= 0\" }\n", strings.Repeat("a", i), condition, i)
	}
	p, err := Parse("p", b.String())
	if err != nil {
		t.Fatal(err)
	}
	return Compile(time.Unix(1e9, 0), p), "kv/" + strings.Repeat("a", maxConditions) + strings.Repeat("/abcdeabcdeabcdeabcde", 60)
}

// TestConditionsOfOneRequestAreBounded has hundreds of conditions, each as costly as
// one may be, stand before a rule that grants: together they may take what a few may,
// also for a list of thousands of names. What is not weighed denies. Controls: as
// many conditions of the usual size are all weighed, and so are those of the next request.
func TestConditionsOfOneRequestAreBounded(t *testing.T) {
	acl, path := nested(t, "!request.segments.all(s, s.matches('^(a|b|c|d|e)*x?y?z?.*$') || s.contains('q'))")
	facts := &Facts{TokenType: "service"}
	req := Request{Path: path, Op: Read, Now: time.Unix(1e9, 0), Facts: facts}
	for _, f := range []*Facts{facts, facts.Anew()} {
		req.Facts = f
		if d := acl.Decide(req); d.Reason != ConditionFailed || f.left.n > 0 || f.left.n < -maxCost {
			t.Errorf("%v, and %d steps are left", d.Reason, f.left.n)
		}
	}
	names := acl.Sight(Request{Path: "kv/", Now: req.Now, Facts: facts})
	for range 1000 {
		if names.Sees(path) {
			t.Fatal("a name is seen, though a condition that denies was not weighed")
		}
	}
	if facts.left.n < -maxCost {
		t.Errorf("the conditions took %d steps too many", -facts.left.n)
	}
	usual, path := nested(t, "token.type == 'batch'")
	req = Request{Path: path, Op: Read, Now: time.Unix(1e9, 0), Facts: &Facts{TokenType: "service"}}
	if d := usual.Decide(req); d.Reason != Granted {
		t.Errorf("with conditions of the usual size: %v", d.Reason)
	}
	if !usual.Sight(Request{Path: "kv/", Now: req.Now, Facts: req.Facts}).Sees(path) {
		t.Error("with conditions of the usual size a name is not seen")
	}
	if facts.Anew().left.begun || (*Facts)(nil).Anew() != nil {
		t.Error("facts made anew are not")
	}
}
