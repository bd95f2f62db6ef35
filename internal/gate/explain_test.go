package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/token"
)

// explain asks as a caller in a namespace.
func (f *fixture) explain(tok, ns, body string) (*gate.Explained, *gate.Response) {
	f.t.Helper()
	r := f.body(request(api.Write, "sys/policies/explain", tok), body)
	r.Namespace = ns
	resp := f.gate.Serve(context.Background(), r)
	out := &gate.Explained{}
	if resp.Err == nil {
		if err := json.Unmarshal(resp.Data, out); err != nil {
			f.t.Fatal(err)
		}
	}
	return out, resp
}

// refused makes a request that is refused, and gives its identifier.
func (f *fixture) refused(n int, op api.Op, path, tok string, change ...func(*gate.Request)) string {
	f.t.Helper()
	r := request(op, path, tok)
	r.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	for _, c := range change {
		c(r)
	}
	want(f.t, f.gate.Serve(context.Background(), r), "denied")
	return r.ID
}

func TestRefusalsExplainThemselves(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "probe/thing/*" { capabilities = ["update"] denied_parameters = { "key" = [] } }
path "probe/sudo" { capabilities = ["read"] }
path "probe/unpaged" { capabilities = ["list"] pagination_limit = 1 }
path "probe/thing/day" { capabilities = ["read"] condition = "source.within('10.0.0.0/8')" }`)
	ask := func(id string) *gate.Explained {
		x, resp := f.explain(f.root, "", fmt.Sprintf(`{"request_id":%q}`, id))
		want(t, resp, "")
		return x
	}
	x := ask(f.refused(1, api.Read, "probe/thing/a", tok))
	if x.Allowed || x.Operation != "read" || x.Path != "probe/thing/a" || len(x.Rules) != 1 || x.Rules[0].Line != 1 || x.Cause != "" || x.Accessor == "" || !strings.Contains(x.WouldAllow, `path "probe/thing/a"`) {
		t.Errorf("%+v", x)
	}
	id := f.refused(2, api.Write, "probe/thing/a", tok, func(r *gate.Request) { f.body(r, `{"key":"a-secret-value"}`) })
	if x = ask(id); x.Parameter != "key" || x.Operation != "update" || strings.Contains(fmt.Sprintf("%+v", x), "a-secret-value") {
		t.Errorf("%+v", x)
	}
	if x = ask(f.refused(3, api.Read, "probe/thing/day", tok)); !strings.Contains(strings.Join(x.Advice, ""), "meet the condition") {
		t.Errorf("%+v", x)
	}
	if x = ask(f.refused(4, api.Read, "probe/sudo", tok)); !strings.Contains(x.Reason, "root-protected") || !strings.Contains(x.WouldAllow, `"sudo"`) {
		t.Errorf("%+v", x)
	}
	if x = ask(f.refused(5, api.List, "probe/unpaged", tok)); !strings.Contains(x.Cause, "this list has none") {
		t.Errorf("%+v", x)
	}
	if x = ask(f.refused(6, api.Read, "probe/thing/a", "")); x.Cause != "no token was shown" || len(x.Rules) != 0 {
		t.Errorf("%+v", x)
	}
	if x = ask(f.refused(7, api.Read, "probe/thing/a", "srs_nobody")); !strings.Contains(x.Cause, "unknown") {
		t.Errorf("%+v", x)
	}
	f.engine.read = func(*api.Call) (*answer, error) { return nil, api.ErrDenied() }
	if x = ask(f.refused(8, api.Read, "probe/thing/a", f.root)); !strings.Contains(x.Cause, "the endpoint refused") {
		t.Errorf("%+v", x)
	}
	_, resp := f.explain(f.root, "", `{"request_id":"00000000-0000-4000-8000-999999999999"}`)
	want(t, resp, "not found")
}

// What is remembered is bounded, and strangers do not push out what is known of
// callers.
func TestRefusalsAreBounded(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "x" {}`)
	first, last := f.refused(1, api.Read, "probe/thing/a", tok), ""
	for n := range 2000 {
		last = f.refused(10+n, api.Read, "probe/thing/a", "")
	}
	for id, kind := range map[string]string{first: "", last: ""} {
		_, resp := f.explain(f.root, "", fmt.Sprintf(`{"request_id":%q}`, id))
		want(t, resp, kind)
	}
	for n := range 1024 {
		last = f.refused(5000+n, api.Read, "probe/thing/a", tok)
	}
	for id, kind := range map[string]string{first: "not found", last: ""} {
		_, resp := f.explain(f.root, "", fmt.Sprintf(`{"request_id":%q}`, id))
		want(t, resp, kind)
	}
}

// What is remembered does not grow with the request.
func TestRefusalsHoldLittle(t *testing.T) {
	f := newFixture(t)
	f.house.ConditionHeaders = []string{"X-Device"}
	tok := f.holder(namespace.RootID, `path "probe/thing/*" { capabilities = ["update"] allowed_parameters = { "a" = [] } condition = "request.operation == 'update'" }`)
	huge := strings.Repeat("x", 1<<20)
	id := f.refused(1, api.Write, "probe/thing/a", tok, func(r *gate.Request) {
		f.body(r, fmt.Sprintf(`{%q:1}`, huge))
		r.Headers = map[string][]string{"X-Device": {huge}}
	})
	x, resp := f.explain(f.root, "", fmt.Sprintf(`{"request_id":%q}`, id))
	want(t, resp, "")
	if len(x.Parameter) > 300 || len(resp.Data) > 8<<10 {
		t.Errorf("%d bytes of a name, %d of an answer", len(x.Parameter), len(resp.Data))
	}
}

// Who may ask in a namespace learns nothing of what lies outside it.
func TestExplainStaysInItsNamespace(t *testing.T) {
	f := newFixture(t)
	eng := f.child(api.Namespace{ID: namespace.RootID}, "eng")
	const asks = `path "sys/policies/explain" { capabilities = ["update"] }`
	inside, above := f.holder(eng.ID, asks), f.holder(namespace.RootID, asks)
	byRoot := f.refused(1, api.Read, "probe/thing/a", above, func(r *gate.Request) { r.Namespace = "eng" })
	byEng := f.refused(2, api.Read, "probe/thing/a", inside, func(r *gate.Request) { r.Namespace = "eng" })
	stranger := f.refused(3, api.Read, "probe/thing/a", "")
	for id, kind := range map[string]string{byRoot: "not found", byEng: "", stranger: "not found"} {
		_, resp := f.explain(inside, "eng", fmt.Sprintf(`{"request_id":%q}`, id))
		want(t, resp, kind)
		_, resp = f.explain(above, "", fmt.Sprintf(`{"request_id":%q}`, id))
		want(t, resp, "")
	}
	_, resp := f.explain(inside, "eng", fmt.Sprintf(`{"path":"probe/thing/a","operation":"read","token":%q}`, above))
	want(t, resp, "invalid")
	x, resp := f.explain(above, "", fmt.Sprintf(`{"path":"eng/probe/thing/a","operation":"read","token":%q}`, inside))
	want(t, resp, "")
	if x.Path != "probe/thing/a" || x.Namespace != "eng/" {
		t.Errorf("%+v", x)
	}
	_, resp = f.explain(above, "", fmt.Sprintf(`{"path":"probe/thing/a","operation":"read","token":%q}`, inside))
	want(t, resp, "invalid")
	// Whoever comes from above may ask about itself, and about nobody else up there.
	const asksThere = `path "eng/sys/policies/explain" { capabilities = ["update"] }`
	guest := f.holder(namespace.RootID, asksThere)
	batch := f.holder(namespace.RootID, asksThere, func(a *api.Auth) { a.TokenType, a.TTL = token.Batch, time.Hour })
	other := f.holder(namespace.RootID, asksThere, func(a *api.Auth) { a.TokenType, a.TTL = token.Batch, time.Hour })
	x, resp = f.explain(guest, "eng", `{"path":"probe/thing/a","operation":"read"}`)
	want(t, resp, "")
	for tok, who := range map[string]string{guest: fmt.Sprintf(`"accessor":%q`, x.Accessor), batch: fmt.Sprintf(`"token":%q`, batch)} {
		x, resp = f.explain(tok, "eng", `{"path":"probe/thing/a","operation":"read",`+who+`}`)
		if want(t, resp, ""); x.Allowed || x.Namespace != "eng/" {
			t.Errorf("%+v", x)
		}
	}
	_, resp = f.explain(batch, "eng", fmt.Sprintf(`{"path":"probe/thing/a","operation":"read","token":%q}`, other))
	want(t, resp, "invalid")
	x, resp = f.explain(f.root, "eng", `{"path":"probe/thing/a","operation":"read"}`)
	if want(t, resp, ""); !x.Allowed {
		t.Errorf("%+v", x)
	}
	_, resp = f.explain(guest, "eng", fmt.Sprintf(`{"path":"probe/thing/a","operation":"read","token":%q}`, above))
	want(t, resp, "invalid")
}

func TestExplainWhatIf(t *testing.T) {
	f := newFixture(t)
	f.house.ConditionHeaders = []string{"X-Device"}
	ctx := context.Background()
	if err := f.house.Policies.Write(ctx, namespace.RootID, "day", `path "probe/thing/*" { capabilities = ["create", "read"]
 condition = "now.getHours('UTC') < 12 && source.within('10.0.0.0/8') && request.headers['x-device'] == 'a'" }`, policies.Terms{}); err != nil {
		t.Fatal(err)
	}
	const base = `"path":"probe/thing/a","policies":["Day"],"headers":{"x-device":"a"},"source":"10.1.1.1","at":"2026-01-01T08:00:00Z"`
	for body, allowed := range map[string]bool{
		`{` + base + `,"operation":"read"}`:                                                 true,
		`{` + base + `,"operation":"create"}`:                                               true,
		`{` + base + `,"operation":"update"}`:                                               false,
		`{` + strings.Replace(base, "08:00", "18:00", 1) + `,"operation":"read"}`:           false,
		`{` + strings.Replace(base, `"10.1.1.1"`, `"11.1.1.1"`, 1) + `,"operation":"read"}`: false,
	} {
		x, resp := f.explain(f.root, "", body)
		want(t, resp, "")
		if x.Allowed != allowed {
			t.Errorf("%s: %+v", body, x)
		}
	}
	// Whether there is something already is not told.
	for range 2 {
		x, resp := f.explain(f.root, "", `{`+base+`,"operation":"write"}`)
		if want(t, resp, ""); x.Allowed || len(x.Notes) != 1 || !strings.Contains(x.Notes[0], "ask about create") {
			t.Errorf("%+v", x)
		}
		want(t, f.gate.Serve(ctx, f.body(request(api.Write, "probe/thing/a", f.root), `{"value":"v"}`)), "")
	}
	own := f.holder(namespace.RootID, `path "sys/policies/explain" { capabilities = ["update"] }`, func(a *api.Auth) { a.TTL = time.Hour })
	x, resp := f.explain(own, "", `{"path":"sys/policies/explain","operation":"update"}`)
	want(t, resp, "")
	if !x.Allowed || x.Accessor == "" {
		t.Errorf("its own policies: %+v", x)
	}
	x, _ = f.explain(f.root, "", `{"path":"probe/public","operation":"read","policies":["day"]}`)
	if len(x.Notes) != 1 || !strings.Contains(x.Notes[0], "needs no policy") {
		t.Errorf("%+v", x)
	}
	for body, says := range map[string]string{
		`{"operation":"read"}`:                                               "path: missing",
		`{"path":"a","operation":"fly"}`:                                     "operation: unknown",
		`{"path":"a","operation":"read","entity":"e"}`:                       "entity: not supported",
		`{"path":"a","operation":"read","policies":["p"],"accessor":"x"}`:    "name one of",
		`{"path":"a","operation":"read","accessor":"nobody"}`:                "invalid accessor",
		`{"path":"a","operation":"read","token":"nobody"}`:                   "invalid token",
		`{"path":"a/../b","operation":"read"}`:                               "canonical",
		`{"path":"a","operation":"read","source":"here"}`:                    "source:",
		`{"path":"a","operation":"read","policies":["` + "\u212a" + `ing"]}`: "policies:",
	} {
		_, resp := f.explain(f.root, "", body)
		if want(t, resp, "invalid"); resp.Err != nil && !strings.Contains(resp.Err.Error(), says) {
			t.Errorf("%s: %v, want %q", body, resp.Err, says)
		}
	}
	nobody := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`)
	_, resp = f.explain(nobody, "", `{"path":"a","operation":"read"}`)
	want(t, resp, "denied")
}
