package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

var rootNS = api.Namespace{ID: namespace.RootID}

func TestDenialsAreTheSame(t *testing.T) {
	f := newFixture(t)
	f.child(rootNS, "team")
	weak := f.holder(namespace.RootID, `path "nothing/here" { capabilities = ["read"] }`)
	expired := f.holder(namespace.RootID, `path "*" { capabilities = ["read"] }`, func(a *api.Auth) { a.TTL = time.Nanosecond })
	foreign := f.holder(f.child(rootNS, "other").ID, `path "*" { capabilities = ["read", "sudo"] }`)
	for who, tok := range map[string]string{"none": "", "bad": "no-such-token", "weak": weak, "expired": expired, "foreign": foreign} {
		for _, where := range []string{"probe/thing/a", "probe/thing/none", "probe/nothing", "probe/sudo", "probe/name/Bad\u017fName",
			"nomount/x", "sys/nothing", "team/probe/thing/a", "team/nomount/x", "ghost/probe/thing/a"} {
			for _, ns := range []string{"", "team", "ghost", "../ghost", "team/ghost"} {
				r := request(api.Read, where, tok)
				r.Namespace = ns
				got := f.gate.Serve(context.Background(), r)
				want(t, got, "denied")
				if got.Err != nil && got.Err.Error() != "permission denied" {
					t.Errorf("%s at %s in %q: %v", who, where, ns, got.Err)
				}
				if len(got.Warnings) > 0 || got.ErrData != nil {
					t.Errorf("%s at %s in %q: says more: %v %s", who, where, ns, got.Warnings, got.ErrData)
				}
			}
		}
	}
	if n := f.engine.calls.Load(); n != 0 {
		t.Errorf("handlers ran %d times", n)
	}
}

func TestWhoMayIsTold(t *testing.T) {
	f := newFixture(t)
	inTeam := f.holder(namespace.RootID, `path "ghost/*" { capabilities = ["read"] }`)
	for path, kind := range map[string]string{"probe/thing/a": "", "probe/nothing": "not found", "nomount/x": "not found", "probe/name/Bad\u017fName": "invalid",
		"probe/odd": "unsupported", "probe/thing//a": "invalid", "": "invalid"} {
		want(t, f.do(api.Read, path, f.root), kind)
	}
	r := request(api.Read, "probe/thing/a", inTeam)
	r.Namespace = "ghost"
	want(t, f.gate.Serve(context.Background(), r), "not found")
	want(t, f.do(api.Read, "probe/thing/a", inTeam), "denied")
}

func TestPublicSudoAndRootOnly(t *testing.T) {
	f := newFixture(t)
	team := f.child(rootNS, "team")
	plain := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] } path "team/probe/*" { capabilities = ["read"] }`)
	strong := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read", "sudo"] }`)
	for _, c := range []struct{ path, token, ns, kind string }{
		{"probe/public", "", "", ""},
		{"probe/public", "garbage", "", ""},
		{"probe/public", "", team.Path, ""},
		{"probe/public/Bad\u017fName", "", "", "invalid"},
		{"probe/sudo", plain, "", "denied"},
		{"probe/sudo", strong, "", ""},
		{"probe/sudo", f.root, "", ""},
		{"probe/rootonly", plain, "", ""},
		{"probe/rootonly", plain, team.Path, "invalid"},
		{"probe/rootonly", strong, team.Path, "denied"},
		{"team/probe/rootonly", f.root, "", "invalid"},
	} {
		r := request(api.Read, c.path, c.token)
		r.Namespace = c.ns
		t.Log(c.path, c.ns)
		want(t, f.gate.Serve(context.Background(), r), c.kind)
	}
}

func TestNamespacesBelowAndNeverBeside(t *testing.T) {
	f := newFixture(t)
	a := f.child(rootNS, "a")
	ab := f.child(a, "b")
	sibling := f.child(rootNS, "ab")
	all := `path "*" { capabilities = ["read"] }`
	tok := f.holder(a.ID, all)
	for _, c := range []struct{ ns, path, kind string }{
		{a.Path, "probe/thing/x", ""}, {ab.Path, "probe/thing/x", ""}, {"", "a/b/probe/thing/x", ""}, {a.Path, "b/probe/thing/x", ""},
		{"", "probe/thing/x", "denied"}, {sibling.Path, "probe/thing/x", "denied"}, {"", "ab/probe/thing/x", "denied"}, {"root", "probe/thing/x", "denied"},
		{"A", "probe/thing/x", "denied"}, {"a/", "probe/thing/x", ""}, {"/a/b/", "probe/thing/x", ""},
	} {
		r := request(api.Read, c.path, tok)
		r.Namespace = c.ns
		t.Log(c.ns, c.path)
		want(t, f.gate.Serve(context.Background(), r), c.kind)
	}
	narrow := f.holder(a.ID, `path "b/probe/thing/x" { capabilities = ["read"] }`)
	r := request(api.Read, "probe/thing/x", narrow)
	r.Namespace = "a/b"
	want(t, f.gate.Serve(context.Background(), r), "")
	r.Namespace, r.Path = "a", "probe/thing/x"
	want(t, f.gate.Serve(context.Background(), r), "denied")
}

func TestBoundAddresses(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.BoundCIDRs, a.NumUses = []string{"10.0.0.0/8"}, 1 })
	for _, c := range []struct{ from, kind string }{{"127.0.0.1:1", "denied"}, {"11.0.0.1:1", "denied"}, {"[::1]:1", "denied"}, {"[::ffff:10.1.2.3]:1", ""}} {
		r := request(api.Read, "probe/thing/x", tok)
		r.Remote = netip.MustParseAddrPort(c.from)
		t.Log(c.from)
		want(t, f.gate.Serve(context.Background(), r), c.kind) // a refused address costs no use
	}
	r := request(api.Read, "probe/thing/x", f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.BoundCIDRs = []string{"127.0.0.1"} }))
	r.Remote = netip.AddrPort{}
	want(t, f.gate.Serve(context.Background(), r), "denied") // a door that does not know the address
}

func TestUsesAreExact(t *testing.T) {
	f := newFixture(t)
	for range 40 {
		raceForUses(t, f)
	}
}

// What hangs on a used-up token stays until the last of the requests that have
// counted is done, and is gone before that one is answered.
func TestUsedUpTokenStaysForItsOtherRequests(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.NumUses = 2 })
	rows := func() int {
		es, err := f.house.Data.List(context.Background(), store.Range{KeysOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return len(es)
	}
	before, entered, leave := rows(), make(chan struct{}), make(chan struct{})
	f.engine.read = func(*api.Call) (*answer, error) {
		f.engine.read = nil
		close(entered)
		<-leave
		return &answer{}, nil
	}
	slow := make(chan *gate.Response)
	go func() { slow <- f.do(api.Read, "probe/thing/x", tok) }()
	<-entered
	want(t, f.do(api.Read, "probe/thing/x", tok), "")
	want(t, f.do(api.Read, "probe/thing/x", tok), "denied")
	if n := rows(); n < before {
		t.Errorf("%d rows of %d are left while the first request is under way", n, before)
	}
	close(leave)
	want(t, <-slow, "")
	if n := rows(); n >= before {
		t.Errorf("%d rows of %d are left after all requests", n, before)
	}
}

// raceForUses has many ask with a token of few uses at once.
func raceForUses(t *testing.T, f *fixture) {
	const uses, racers = 5, 64
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.NumUses = uses })
	before := f.engine.calls.Load()
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			switch r := f.do(api.Read, "probe/thing/x", tok); {
			case r.Err == nil:
				won.Add(1)
			case api.KindOf(r.Err) == api.Denied:
				lost.Add(1)
			default:
				t.Error(r.Err)
			}
		})
	}
	all.Wait()
	if calls := f.engine.calls.Load() - before; won.Load() != uses || lost.Load() != racers-uses || calls != uses {
		t.Errorf("%d won, %d lost, %d calls", won.Load(), lost.Load(), calls)
	}
	want(t, f.do(api.Read, "probe/thing/x", tok), "denied")
}

func TestPageLimits(t *testing.T) {
	f := newFixture(t)
	f.engine.keys = []string{"a", "b", "c", "d"}
	tok := f.holder(namespace.RootID, `path "probe/page" { capabilities = ["list"] pagination_limit = 2 } path "probe/unpaged" { capabilities = ["list"] pagination_limit = 2 }`)
	for body, got := range map[string]int{`{}`: 2, `{"limit":0}`: 2, `{"limit":1}`: 1, `{"limit":"1"}`: 1, `{"limit":2}`: 2, `{"limit":""}`: 2, `{"limit":null}`: -1, `{"limit":"max"}`: 2, `{"LIMIT":9}`: -1,
		`{"limit":3}`: -1, `{"limit":-1}`: -1, `{"limit":"-1"}`: -1, `{"limit":9223372036854775808}`: -1, `{"limit":"NaN"}`: -1, `{"limit":[1]}`: -1, `{"limit":" 3"}`: -1, `{"limit":"\u0033"}`: -1, `{"limit":1e1}`: -1} {
		r := f.gate.Serve(context.Background(), f.body(request(api.List, "probe/page", tok), body))
		if got < 0 {
			want(t, r, "denied")
			continue
		}
		want(t, r, "")
		var keys api.Keys
		if err := json.Unmarshal(r.Data, &keys); err != nil || len(keys.Keys) != got {
			t.Errorf("%s: %d keys (%v), want %d", body, len(keys.Keys), err, got)
		}
	}
	want(t, f.do(api.List, "probe/unpaged", tok), "denied") // it cannot be held to a page
	r := f.gate.Serve(context.Background(), f.body(request(api.List, "probe/page", tok), `{"zzz":1}`))
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "[zzz]") {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

func TestKeysAreFiltered(t *testing.T) {
	f := newFixture(t)
	f.engine.keys = []string{"mine", "theirs", "dir/", "other/"}
	tok := f.holder(namespace.RootID, `
		path "probe/page" { capabilities = ["list"] list_scan_response_keys_filter_path = "probe/thing/{{ .key }}" }
		path "probe/odd" { capabilities = ["list"] list_scan_response_keys_filter_path = "probe/thing/{{ .key }}" }
		path "probe/thing/mine" { capabilities = ["read"] }
		path "probe/thing/dir/" { capabilities = ["list"] }`)
	r := f.do(api.List, "probe/page", tok)
	want(t, r, "")
	if string(r.Data) != `{"keys":["mine","dir/"]}` {
		t.Errorf("shown: %s", r.Data)
	}
	want(t, f.do(api.List, "probe/odd", tok), "denied") // what cannot be filtered is not shown
	f.engine.keys = []string{"theirs"}
	want(t, f.do(api.List, "probe/page", tok), "not found")
}

func TestCreateIsNotUpdate(t *testing.T) {
	f := newFixture(t)
	creator := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["create"] }`)
	updater := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["update"] }`)
	put := func(tok string) *gate.Response {
		return f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", tok), `{"value":"v"}`))
	}
	want(t, put(updater), "denied")
	want(t, put(creator), "")
	want(t, put(creator), "denied")
	want(t, put(updater), "")
}

// Who may do both or neither is answered without looking: no time tells them
// whether there is something.
func TestExistenceIsLookedUpOnlyWhereItDecides(t *testing.T) {
	f := newFixture(t)
	looked := 0
	f.engine.exist = func(*api.Call) (bool, error) { looked++; return true, nil }
	for capabilities, looks := range map[string]int{`"create", "update"`: 0, `"read"`: 0, `"create"`: 1, `"update"`: 1} {
		tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = [`+capabilities+`] }`)
		looked = 0
		f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", tok), `{"value":"v"}`))
		if looked != looks {
			t.Errorf("%s: looked %d times, want %d", capabilities, looked, looks)
		}
	}
}

func TestUnknownParametersAreTold(t *testing.T) {
	f := newFixture(t)
	r := f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", f.root), `{"value":"v","zeta":1,"alpha":2}`))
	if len(r.Warnings) != 1 || r.Warnings[0] != "Endpoint ignored these unrecognized parameters: [alpha zeta]" {
		t.Errorf("warnings: %q", r.Warnings)
	}
	r = f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", f.root), `{"vaule":"canary"}`))
	if len(r.Warnings) != 2 || r.Warnings[1] != "did you mean value in place of vaule?" {
		t.Errorf("warnings: %q", r.Warnings)
	}
	r = f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", f.root), `{"value":"v","vaule":"canary"}`))
	if len(r.Warnings) != 1 {
		t.Errorf("what is given already is asked about: %q", r.Warnings)
	}
	f.engine.read = func(*api.Call) (*answer, error) { return nil, api.ErrNotFound() }
	r = f.gate.Serve(context.Background(), f.body(request(api.Read, "probe/thing/x", f.root), `{"zeta":1}`))
	if want(t, r, "not found"); len(r.Warnings) != 0 {
		t.Errorf("a failure warns too: %q", r.Warnings)
	}
	f.engine.read = func(*api.Call) (*answer, error) {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing key", Hint: "give one"}
	}
	r = f.gate.Serve(context.Background(), f.body(request(api.Read, "probe/thing/x", f.root), `{"kye":"canary"}`))
	if want(t, r, "invalid"); r.Err.Error() != "missing key; give one; did you mean key in place of kye?" {
		t.Errorf("told: %v", r.Err)
	}
	r = f.gate.Serve(context.Background(), f.body(request(api.Read, "probe/thing/x", "nobody"), `{"kye":"canary"}`))
	if want(t, r, "denied"); strings.Contains(r.Err.Error(), "mean") {
		t.Errorf("a stranger is told: %v", r.Err)
	}
}

func TestPanicsAreContained(t *testing.T) {
	const secret = "canary-in-a-panic"
	f := newFixture(t)
	f.engine.read = func(*api.Call) (*answer, error) { panic(secret) }
	f.engine.exist = func(*api.Call) (bool, error) { var m map[string]int; m[secret] = 1; return true, nil }
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read", "update"] }`, func(a *api.Auth) { a.NumUses = 3 })
	for _, op := range []api.Op{api.Read, api.Write} {
		r := f.gate.Serve(context.Background(), f.body(request(op, "probe/thing/x", tok), `{"value":"v"}`))
		if want(t, r, "internal"); r.RequestID == "" {
			t.Error("no request id")
		}
	}
	f.engine.read, f.engine.exist = nil, nil
	want(t, f.do(api.Read, "probe/thing/x", tok), "") // nothing is still held
	if log := f.log.String(); !strings.Contains(log, "00000000-0000-4000-8000-000000000000") || strings.Contains(log, secret) {
		t.Errorf("log: %s", log)
	}
}

func TestAuditComesFirst(t *testing.T) {
	f := newFixture(t)
	put := func() *gate.Response {
		return f.gate.Serve(context.Background(), f.body(request(api.Write, "probe/thing/x", f.root), `{"value":"v"}`))
	}
	f.sink.breakOn("request")
	r := put()
	want(t, r, "unavailable")
	if !strings.Contains(r.Err.Error(), "tap/") {
		t.Errorf("the sink is not named: %v", r.Err)
	}
	if f.engine.calls.Load() != 0 {
		t.Error("it was acted on without being written down")
	}
	f.sink.fail.Store(nil)
	want(t, f.do(api.Read, "probe/thing/x", f.root), "")
}

func TestAnswerIsWithheld(t *testing.T) {
	f := newFixture(t)
	f.sink.breakOn("response")
	r := f.do(api.Read, "probe/thing/x", f.root)
	want(t, r, "unavailable")
	if f.engine.calls.Load() != 1 || r.ErrData != nil {
		t.Errorf("calls %d, data %s", f.engine.calls.Load(), r.ErrData)
	}
	f.engine.read = func(c *api.Call) (*answer, error) {
		return nil, &api.Error{Kind: api.NotFound, Data: &answer{"hidden"}}
	}
	if r = f.do(api.Read, "probe/thing/x", f.root); r.ErrData != nil {
		t.Errorf("a failure's data went out: %s", r.ErrData)
	}
	f.engine.read = nil
	f.sink.fail.Store(nil) // service returns by itself
	want(t, f.do(api.Read, "probe/thing/x", f.root), "")
}

func TestSealingMeetsRequestsInFlight(t *testing.T) {
	f := newFixture(t)
	in, out := make(chan struct{}), make(chan struct{})
	f.engine.read = func(*api.Call) (*answer, error) {
		close(in)
		<-out
		return &answer{"too late"}, nil
	}
	done := make(chan *gate.Response)
	go func() { done <- f.do(api.Read, "probe/thing/x", f.root) }()
	<-in
	f.gate.Open(nil)
	if err := f.devices.Close(); err != nil {
		t.Fatal(err)
	}
	close(out)
	want(t, <-done, "unavailable") // what can no longer be written down is not answered
	want(t, f.do(api.Read, "probe/thing/x", f.root), "unavailable")
}

func TestCancelledRequests(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := f.gate.Serve(ctx, request(api.Read, "probe/thing/x", f.root))
	if r.Err != nil && api.KindOf(r.Err) != api.Unavailable {
		t.Errorf("given up before: %v", r.Err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	f.engine.read = func(c *api.Call) (*answer, error) {
		cancel()
		return nil, errors.Join(errors.New("store"), c.Err())
	}
	want(t, f.gate.Serve(ctx, request(api.Read, "probe/thing/x", f.root)), "unavailable")
	if strings.Contains(f.log.String(), "request failed") {
		t.Errorf("a client that is gone is logged as a failure: %s", f.log.String())
	}
}

func TestNextRequestSeesTheChange(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	for range 50 {
		tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`)
		want(t, f.do(api.Read, "probe/thing/x", tok), "")
		found, err := f.house.Tokens.Lookup(ctx, tok, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		name := found.Policies[0]
		for _, step := range []struct{ text, kind string }{{`path "x" { capabilities = ["read"] }`, "denied"}, {`path "probe/*" { capabilities = ["read"] }`, ""}} {
			if err := f.house.Policies.Write(ctx, namespace.RootID, name, step.text, policies.Terms{}); err != nil {
				t.Fatal(err)
			}
			want(t, f.do(api.Read, "probe/thing/x", tok), step.kind)
		}
		if err := f.house.Tokens.Revoke(ctx, namespace.RootID, found.ID); err != nil {
			t.Fatal(err)
		}
		want(t, f.do(api.Read, "probe/thing/x", tok), "denied")
	}
}

func TestHelpIsNotWrapped(t *testing.T) {
	f := newFixture(t)
	r := request(api.Read, "probe/thing/x", f.root)
	r.WrapTTL, r.Help = time.Minute, true
	want(t, f.gate.Serve(context.Background(), r), "invalid")
	if f.engine.calls.Load() != 0 {
		t.Error("the handler ran")
	}
}

func TestWrappedAnswersAreNotInTheClear(t *testing.T) {
	f := newFixture(t)
	wrapped := func() *gate.Response {
		r := request(api.Read, "probe/thing/x", f.root)
		r.WrapTTL = time.Minute
		return f.gate.Serve(context.Background(), r)
	}
	r := wrapped()
	if want(t, r, ""); r.Wrap == nil || r.Data != nil || r.Raw != nil || r.Auth != nil || len(r.Warnings) != 0 {
		t.Errorf("answered %s beside %v", r.Data, r.Wrap)
	}
	f.engine.read = func(*api.Call) (*answer, error) { return nil, api.ErrNotFound() }
	if r = wrapped(); r.Wrap != nil {
		t.Error("a failure is wrapped")
	}
	want(t, r, "not found")
	f.engine.read = nil
	f.sink.breakOn("response")
	if r = wrapped(); r.Wrap != nil {
		t.Error("the wrapping token went out without being written down")
	}
	want(t, r, "unavailable")
}

// TestClient names who has a token that may be used: an accessor each, and of
// tokens without one the address.
func TestClient(t *testing.T) {
	f := newFixture(t)
	here, there := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("11.1.1.1")
	bound := f.token(namespace.RootID, token.Spec{Auth: api.Auth{TTL: time.Hour, BoundCIDRs: []string{"10.0.0.0/8"}}})
	r := request(api.Read, "probe/thing/x", f.root)
	r.WrapTTL = time.Minute
	wrapping := f.gate.Serve(context.Background(), r).Wrap.Token.Reveal()
	for _, c := range []struct {
		text string
		from netip.Addr
		want bool
	}{{"", here, false}, {"bogus", here, false}, {f.root, there, true}, {wrapping, here, false}, {bound, here, true}, {bound, there, false}} {
		who, got := f.gate.Client(context.Background(), api.NewSecret(c.text), c.from)
		if got != c.want || got != (who != "") {
			t.Errorf("%q from %v: %q, %v", c.text, c.from, who, got)
		}
	}
	batch := f.token(namespace.RootID, token.Spec{Auth: api.Auth{TTL: time.Hour, TokenType: token.Batch}})
	for from, want := range map[string]string{"10.1.1.1": "10.1.1.1/32", "::ffff:10.1.1.1": "10.1.1.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if who, known := f.gate.Client(context.Background(), api.NewSecret(batch), netip.MustParseAddr(from)); who != want || !known {
			t.Errorf("a batch token from %s is %q, %v", from, who, known)
		}
	}
	f.gate.Open(nil)
	if _, known := f.gate.Client(context.Background(), api.NewSecret(f.root), here); known {
		t.Error("a sealed gate knows a token")
	}
}

// TestHandlerSeesTheJudgedPath holds the path that the policy judged against
// the one that the handler was given, for spellings of all kinds.
func TestHandlerSeesTheJudgedPath(t *testing.T) {
	f := newFixture(t)
	var seen string
	f.engine.read = func(c *api.Call) (*answer, error) { seen = c.Mount.Path + c.Path; return nil, nil }
	for _, path := range []string{"probe/thing/a", "probe/thing/a/", "probe/thing/A", "probe/thing/%2e%2e/b", "probe/thing/a;b", `probe/thing/a\b`, "probe/thing/é"} {
		seen = ""
		tok := f.holder(namespace.RootID, `path "`+strings.ReplaceAll(path, `\`, `\\`)+`" { capabilities = ["read"] }`)
		if want(t, f.do(api.Read, path, tok), ""); seen != path {
			t.Errorf("judged %q, handled %q", path, seen)
		}
		if c, err := policy.Canonical(path); err != nil || c != path {
			t.Errorf("%q is not canonical", path)
		}
	}
}
