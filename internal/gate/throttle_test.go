package gate_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
)

// still is a fixture whose clock stands, with some quotas.
func still(t testing.TB, quotas ...string) *fixture {
	f := newFixture(t)
	f.now = time.Now()
	for _, q := range quotas {
		name, body, _ := strings.Cut(q, " ")
		f.quota(name, body)
	}
	return f
}

func (f *fixture) quota(name, body string) {
	f.t.Helper()
	want(f.t, f.gate.Serve(context.Background(), f.body(request(api.Write, "sys/quotas/"+name, f.root), body)), "")
}

// from is a request from an address.
func from(addr string, op api.Op, path, tok string) *gate.Request {
	r := request(op, path, tok)
	r.Remote = netip.AddrPortFrom(netip.MustParseAddr(addr), 4000)
	return r
}

// allows is how many requests of so many are not refused for their rate.
func (f *fixture) allows(n int, r func() *gate.Request) int {
	f.t.Helper()
	let := 0
	for range n {
		got := f.gate.Serve(context.Background(), r())
		if api.KindOf(got.Err) == api.TooMany {
			if !strings.HasSuffix(got.Err.Error(), ": rate limit quota exceeded") {
				f.t.Errorf("says %v", got.Err)
			}
			continue
		}
		let++
	}
	return let
}

func (f *fixture) reads(n int, path, tok string) int {
	f.t.Helper()
	return f.allows(n, func() *gate.Request { return request(api.Read, path, tok) })
}

func TestRateIsByAddress(t *testing.T) {
	f := still(t, `rate-limit/all {"rate":3}`)
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:1::1", "2001:db8:2::1"} {
		if got := f.allows(5, func() *gate.Request { return from(addr, api.Read, "probe/thing/a", f.root) }); got != 3 {
			t.Errorf("%s: %d allowed, want 3", addr, got)
		}
	}
	if got := f.allows(5, func() *gate.Request { return from("2001:db8:1::2", api.Read, "probe/thing/a", f.root) }); got != 0 {
		t.Errorf("another address of one network: %d allowed", got)
	}
	if got := f.allows(5, func() *gate.Request { return from("::ffff:192.0.2.1", api.Read, "probe/thing/a", f.root) }); got != 0 {
		t.Errorf("another spelling of one address: %d allowed", got)
	}
	f.now = f.now.Add(time.Second)
	if got := f.reads(5, "probe/thing/a", f.root); got != 3 {
		t.Errorf("after a second %d allowed, want 3", got)
	}
}

// The most specific quota counts, whatever the order in which they were made.
func TestMostSpecificQuotaCounts(t *testing.T) {
	quotas := []string{`rate-limit/all {"rate":1,"group_by":"none"}`, `rate-limit/team {"rate":2,"path":"team/","group_by":"none"}`,
		`rate-limit/mount {"rate":3,"path":"team/probe","group_by":"none"}`, `rate-limit/glob {"rate":4,"path":"team/probe/thing/*","group_by":"none"}`,
		`rate-limit/longer {"rate":5,"path":"team/probe/thing/X*","group_by":"none"}`, `rate-limit/exact {"rate":6,"path":"team/probe/thing/xy","group_by":"none"}`}
	for turn := range len(quotas) {
		f := newFixture(t)
		f.now = time.Now()
		f.child(f.child(rootNS, "team"), "deep")
		f.child(rootNS, "other")
		for i := range quotas {
			name, body, _ := strings.Cut(quotas[(turn+i)%len(quotas)], " ")
			f.quota(name, body)
		}
		for path, most := range map[string]int{"team/probe/thing/xy": 6, "team/probe/thing/xz": 5, "team/probe/thing/a": 4, "team/probe/nothing": 3,
			"team/nomount": 2, "other/probe/thing/a": 1} {
			if got := f.reads(9, path, f.root); got != most {
				t.Errorf("%s: %d allowed, want %d", path, got, most)
			}
		}
		for _, path := range []string{"probe/thing/a", "team/deep/probe/thing/a", "nomount"} { // what the root namespace's own has left
			if got := f.reads(3, path, f.root); got != 0 {
				t.Errorf("%s: %d allowed, want 0", path, got)
			}
		}
		if got := f.reads(3, "team/probe/thing/XY", f.root); got != 0 {
			t.Errorf("another spelling: %d allowed", got)
		}
	}
}

func TestNoSpellingEscapes(t *testing.T) {
	f := still(t, `rate-limit/a {"rate":1,"path":"probe/thing/Xy"}`, `rate-limit/b {"rate":1,"path":"probe/thing/Z*"}`)
	for _, paths := range [][]string{{"probe/thing/xY", "probe/thing/XY", "probe/thing/Xy/"}, {"probe/thing/za", "probe/thing/ZB"}} {
		for i, path := range paths {
			if got := f.reads(3, path, f.root); got != max(1-i, 0) {
				t.Errorf("%s: %d allowed", path, got)
			}
		}
	}
}

func TestInheritedQuotas(t *testing.T) {
	f := still(t)
	f.child(f.child(rootNS, "team"), "deep")
	f.quota("rate-limit/all", `{"rate":1,"inheritable":false}`)
	if got := f.reads(5, "team/probe/thing/a", f.root); got != 5 {
		t.Errorf("what nobody inherits: %d allowed, want 5", got)
	}
	f.quota("rate-limit/team", `{"rate":2,"path":"team","inheritable":true}`)
	if got := f.reads(5, "team/deep/probe/thing/a", f.root); got != 2 {
		t.Errorf("inherited: %d allowed, want 2", got)
	}
	if got := f.reads(5, "team/probe/thing/a", f.root); got != 0 {
		t.Errorf("what children have used up: %d allowed", got)
	}
}

// Who may not do what is asked learns nothing of limits, and uses up nothing of what
// others have; what all strangers have together is limited.
func TestRefusedRequestsAreStrangers(t *testing.T) {
	f := still(t, `rate-limit/probe {"rate":2,"path":"probe","group_by":"none"}`)
	weak := f.holder(namespace.RootID, `path "other/*" { capabilities = ["read"] }`)
	for _, tok := range []string{"", "bad", weak} {
		for range 5 {
			want(t, f.do(api.Read, "probe/thing/a", tok), "denied")
			want(t, f.do(api.Read, "ghost/probe/thing/a", tok), "denied")
		}
	}
	if got := f.reads(5, "probe/thing/a", f.root); got != 2 {
		t.Errorf("%d allowed after strangers, want 2", got)
	}
	f.quota("rate-limit/all", `{"rate":3}`)
	for _, tok := range []string{"", "bad", weak} {
		f.now = f.now.Add(time.Minute)
		if got := f.reads(9, "probe/thing/a", tok); got != 3 {
			t.Errorf("%d of a stranger's requests are heard, want 3", got)
		}
	}
}

func TestLimitedRequestUsesNothingUp(t *testing.T) {
	f := still(t, `rate-limit/all {"rate":1}`)
	once := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.NumUses = 1 })
	f.reads(1, "probe/thing/a", f.root)
	if got := f.reads(5, "probe/thing/a", once); got != 0 {
		t.Fatalf("%d allowed", got)
	}
	calls := f.engine.calls.Load()
	f.now = f.now.Add(2 * time.Second)
	want(t, f.do(api.Read, "probe/thing/a", once), "")
	if f.engine.calls.Load() != calls+1 {
		t.Error("the handler did not run once")
	}
	f.now = f.now.Add(2 * time.Second)
	want(t, f.do(api.Read, "probe/thing/a", once), "denied")
}

func TestLoginsAreLimitedByRole(t *testing.T) {
	f := newFixture(t)
	f.now = time.Now()
	f.lobby(&api.Auth{TTL: time.Hour})
	f.quota("rate-limit/a", `{"rate":2,"path":"auth/lobby","role":"a"}`)
	f.quota("rate-limit/lobby", `{"rate":4,"path":"auth/lobby/","group_by":"none"}`)
	by := func(role string) func() *gate.Request {
		return func() *gate.Request {
			return f.body(request(api.Write, "auth/lobby/enter", ""), fmt.Sprintf(`{"role":%q}`, role))
		}
	}
	if got := f.allows(9, by("a")); got != 2 {
		t.Errorf("of the role: %d, want 2", got)
	}
	if got := f.allows(9, by("A")); got != 0 {
		t.Errorf("of the role in another spelling: %d, want 0", got)
	}
	if got := f.allows(9, by("b")); got != 4 {
		t.Errorf("of another role: %d, want 4", got)
	}
	if got := f.engine.entered.Load(); got != 6 {
		t.Errorf("the login ran %d times, want 6", got)
	}
	for body, says := range map[string]string{`{"rate":1,"path":"probe","role":"a"}`: "auth method", `{"rate":1,"path":"auth/token","role":"a"}`: "name none",
		`{"rate":1,"role":"a"}`: "auth method", `{"rate":1,"path":"auth/lobby/enter","role":"a"}`: "auth method"} {
		got := f.gate.Serve(t.Context(), f.body(request(api.Write, "sys/quotas/rate-limit/x", f.root), body))
		if want(t, got, "invalid"); !strings.Contains(got.Err.Error(), says) {
			t.Errorf("%s: %v", body, got.Err)
		}
	}
}

func TestRateByIdentity(t *testing.T) {
	f := newFixture(t)
	f.now = time.Now()
	read := `path "probe/*" { capabilities = ["read"] }`
	if err := f.house.Policies.Write(t.Context(), namespace.RootID, "reads", read, policies.Terms{}); err != nil {
		t.Fatal(err)
	}
	f.lobby(nil)
	holders := map[string]string{"": f.holder(namespace.RootID, read)}
	for _, id := range []string{"e1", "e2"} {
		f.engine.login = &api.Auth{TTL: time.Hour, TokenPolicies: []string{"reads"}, Alias: &api.Alias{Name: id}}
		holders[id] = f.do(api.Write, "auth/lobby/login", "").Auth.ClientToken.Reveal()
	}
	for group, most := range map[string][]int{"entity_then_ip": {3, 3, 2, 2}, "entity_then_none": {3, 3, 2, 0}} {
		f.quota("rate-limit/all", fmt.Sprintf(`{"rate":3,"secondary_rate":2,"group_by":%q,"path":"probe"}`, group))
		for i, c := range []struct{ who, addr string }{{"e1", "192.0.2.1"}, {"e2", "192.0.2.1"}, {"", "192.0.2.1"}, {"", "192.0.2.2"}} {
			got := f.allows(9, func() *gate.Request { return from(c.addr, api.Read, "probe/thing/a", holders[c.who]) })
			if got != most[i] {
				t.Errorf("%s: %q from %s: %d allowed, want %d", group, c.who, c.addr, got, most[i])
			}
		}
		if got := f.allows(9, func() *gate.Request { return from("192.0.2.9", api.Read, "probe/thing/a", holders["e1"]) }); got != 0 {
			t.Errorf("%s: one identity from elsewhere: %d allowed", group, got)
		}
	}
}

// Whoever may undo a limit can, whatever it is.
func TestNobodyIsLockedOut(t *testing.T) {
	f := still(t, `rate-limit/all {"rate":0.000001,"group_by":"none","block_interval":"1h"}`)
	f.reads(9, "probe/thing/a", "")
	if got := f.reads(9, "probe/thing/a", f.root); got != 0 {
		t.Fatalf("%d allowed", got)
	}
	if got := f.reads(9, "sys/quotas/rate-limit/all", "bad"); got != 0 {
		t.Errorf("strangers: %d heard", got)
	}
	want(t, f.do(api.Read, "sys/quotas/rate-limit/all", f.root), "")
	want(t, f.do(api.Delete, "sys/quotas/rate-limit/all", f.root), "")
	want(t, f.do(api.Read, "probe/thing/a", f.root), "")
}

func TestExemptPaths(t *testing.T) {
	f := newFixture(t)
	f.now = time.Now()
	f.child(rootNS, "team")
	f.quota("config", `{"rate_limit_exempt_paths":["/probe/thing/"],"absolute_rate_limit_exempt_paths":["team/probe/page"]}`)
	f.quota("rate-limit/all", `{"rate":1,"group_by":"none"}`)
	for path, most := range map[string]int{"probe/thing/a": 5, "probe/thing/b/c": 5, "team/probe/THING/a": 5, "team/probe/page": 5} {
		if got := f.reads(5, path, f.root); got != most {
			t.Errorf("%s: %d allowed, want %d", path, got, most)
		}
	}
	f.reads(1, "probe/public", f.root)
	for _, path := range []string{"probe/page", "probe/things", "team/probe/public"} {
		if got := f.reads(5, path, f.root); got != 0 {
			t.Errorf("%s: %d allowed, want 0", path, got)
		}
	}
}

// A refusal is written down where that is asked for, and only there.
func TestLimitedRequestsInTheAuditLog(t *testing.T) {
	f := still(t, `rate-limit/all {"rate":1}`)
	var lines bytes.Buffer
	tap := func(line []byte) error { lines.Write(line); return nil }
	f.reads(1, "probe/thing/a", f.root)
	f.sink.fail.Store(&tap)
	f.reads(3, "probe/thing/a", f.root)
	if lines.Len() > 0 {
		t.Errorf("written down unasked: %s", lines.String())
	}
	f.quota("config", `{"enable_rate_limit_audit_logging":true}`)
	lines.Reset()
	f.reads(3, "probe/thing/a", f.root)
	if n := strings.Count(lines.String(), "rate limit quota exceeded"); n != 6 { // requests and answers
		t.Errorf("%d entries tell of it, want 6: %s", n, lines.String())
	}
	f.sink.breakOn("request")
	want(t, f.do(api.Read, "probe/thing/a", f.root), "unavailable")
}

func TestAllowanceIsToldWhereAsked(t *testing.T) {
	f := still(t, `rate-limit/all {"rate":2,"interval":10}`)
	if got := f.do(api.Read, "probe/thing/a", f.root); got.Allowance != nil {
		t.Errorf("told unasked: %+v", got.Allowance)
	}
	f.quota("config", `{"enable_rate_limit_response_headers":true}`)
	for i, w := range []gate.Allowance{{Limit: 2, Remaining: 0, Reset: 5}, {Limit: 2, Remaining: 0, Reset: 5}} {
		got := f.do(api.Read, "probe/thing/a", f.root)
		if got.Allowance == nil || *got.Allowance != w {
			t.Errorf("%d: %+v, want %+v", i, got.Allowance, w)
		}
	}
}

// A quota follows its mount, and goes with it.
func TestQuotaFollowsItsMount(t *testing.T) {
	f := still(t, `rate-limit/probe {"rate":2,"path":"probe/thing/*"}`)
	ctx := t.Context()
	if err := f.house.Mounts.Move(ctx, namespace.RootID, "probe/", "moved/"); err != nil {
		t.Fatal(err)
	}
	f.mount(namespace.RootID, "probe/")
	if got := f.reads(5, "moved/thing/a", f.root); got != 2 {
		t.Errorf("moved: %d allowed, want 2", got)
	}
	if got := f.reads(5, "probe/thing/a", f.root); got != 5 {
		t.Errorf("at its old place: %d allowed, want 5", got)
	}
	got := f.do(api.Read, "sys/quotas/rate-limit/probe", f.root)
	if !strings.Contains(string(got.Data), `"path":"moved/thing/*"`) {
		t.Errorf("%s", got.Data)
	}
	if _, err := f.house.Mounts.Disable(ctx, namespace.RootID, "moved/"); err != nil {
		t.Fatal(err)
	}
	want(t, f.do(api.Read, "sys/quotas/rate-limit/probe", f.root), "not found")
	want(t, f.do(api.List, "sys/quotas/rate-limit", f.root), "not found")
	if err := f.house.Mounts.Enable(ctx, namespace.RootID, &mount.Entry{Path: "moved/", Type: "probe"}); err != nil {
		t.Fatal(err)
	}
	if got := f.reads(5, "moved/thing/a", f.root); got != 5 {
		t.Errorf("another mount at its place: %d allowed, want 5", got)
	}
	if err := f.house.Quotas.Tidy(ctx); err != nil {
		t.Fatal(err)
	}
	if e, err := f.house.Data.Get(ctx, "root/quota/rate-limit/probe"); err != nil || e.Exists() {
		t.Errorf("its row is still there (%v)", err)
	}
}

func TestQuotaMistakes(t *testing.T) {
	f := still(t, `rate-limit/a {"rate":1,"path":"probe"}`)
	f.child(rootNS, "team")
	for body, says := range map[string]string{
		`{}`: "rate:", `{"rate":-1}`: "rate:", `{"rate":1e300}`: "rate:", `{"rate":"x"}`: "rate", `{"rate":1,"interval":"1ms"}`: "interval:",
		`{"rate":1,"interval":-5}`: "interval:", `{"rate":1,"block_interval":-1}`: "block_interval:", `{"rate":1,"group_by":"x"}`: "group_by:",
		`{"rate":1,"secondary_rate":1}`: "secondary_rate:", `{"rate":1,"path":"nomount/x"}`: "path:", `{"rate":1,"path":"probe//x"}`: "path:",
		`{"rate":1,"path":"team/../probe"}`: "path:", `{"rate":1,"path":"pro*"}`: "path:", `{"rate":1,"path":"*"}`: "path:", `{"rate":1,"path":"probe*"}`: "path:",
		`{"rate":1,"path":"probe/*/x"}`: "path:", `{"rate":1,"path":"probe","inheritable":true}`: "inheritable:", `{"rate":1,"path":"probe/"}`: `name "a"`,
		`{"rate":1,"path":"/probe/*"}`: `name "a"`,
	} {
		got := f.gate.Serve(t.Context(), f.body(request(api.Write, "sys/quotas/rate-limit/x", f.root), body))
		if want(t, got, "invalid"); got.Err != nil && !strings.Contains(got.Err.Error(), says) {
			t.Errorf("%s: %v", body, got.Err)
		}
	}
	for _, body := range []string{`{"rate_limit_exempt_paths":["a//b"]}`, `{"rate_limit_exempt_paths":["a/*"]}`, `{"absolute_rate_limit_exempt_paths":["../a"]}`} {
		want(t, f.gate.Serve(t.Context(), f.body(request(api.Write, "sys/quotas/config", f.root), body)), "invalid")
	}
	r := request(api.Read, "sys/quotas/config", f.root)
	r.Namespace = "team"
	want(t, f.gate.Serve(t.Context(), r), "invalid")
}

func BenchmarkServe(b *testing.B) {
	for name, quotas := range map[string][]string{"no quota": nil, "one quota": {`rate-limit/all {"rate":1e9}`}, "of a path": {`rate-limit/x {"rate":1e9,"path":"probe/thing/*"}`}} {
		b.Run(name, func(b *testing.B) {
			f := still(b, quotas...)
			for b.Loop() {
				f.do(api.Read, "probe/thing/a", f.root)
			}
		})
	}
}

// BenchmarkPlan is what a request pays where there is no limit.
func BenchmarkPlan(b *testing.B) {
	f := still(b)
	for b.Loop() {
		if p, err := f.house.Quotas.Plan(context.Background()); err != nil || p.Limits() {
			b.Fatal("there is a limit")
		}
	}
}
