package gate_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/store"
)

// lobby mounts an auth method at auth/lobby/ whose login answers what the test says.
func (f *fixture) lobby(login *api.Auth) {
	f.t.Helper()
	f.lobbyAt("auth/lobby/", login)
}

// lobbyAt is lobby at another path.
func (f *fixture) lobbyAt(path string, login *api.Auth) {
	f.t.Helper()
	f.engine.login = login
	if err := f.house.Mounts.Enable(context.Background(), namespace.RootID, &mount.Entry{Path: path, Type: "lobby"}); err != nil {
		f.t.Fatal(err)
	}
}

func TestLoginMakesAToken(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"dev"}, TTL: time.Hour, Renewable: true, DisplayName: "lobby-x", Alias: &api.Alias{Name: "x"}})
	first := f.do(api.Write, "auth/lobby/login", "")
	want(t, first, "")
	second := f.do(api.Write, "auth/lobby/login", "")
	want(t, second, "")
	a, b := first.Auth, second.Auth
	if a.EntityID == "" || a.EntityID != b.EntityID || a.ClientToken.Equal(b.ClientToken) {
		t.Errorf("two logins of one alias: entities %q and %q, want one and two tokens", a.EntityID, b.EntityID)
	}
	if !slices.Equal(a.Policies, []string{"default", "dev"}) || a.TTL != time.Hour || !a.Orphan || a.DisplayName != "lobby-x" {
		t.Errorf("the token has %+v", a)
	}
	want(t, f.do(api.Read, "thing/x", a.ClientToken.Reveal()), "denied")
}

// The role that a method says is the token's, to be counted by.
func TestLoginRoleOfTheAnswer(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, LoginRole: "ci"})
	r := f.do(api.Write, "auth/lobby/login", "")
	want(t, r, "")
	if tok, err := f.house.Tokens.Lookup(t.Context(), r.Auth.ClientToken.Reveal(), time.Now()); err != nil || tok.LoginRole != "ci" {
		t.Errorf("the token is of the role %+v, %v", tok, err)
	}
}

func TestLoginIsRefused(t *testing.T) {
	for name, login := range map[string]*api.Auth{
		"root policy":     {TokenPolicies: []string{" ROOT"}, TTL: time.Hour},
		"other addresses": {TTL: time.Hour, BoundCIDRs: []string{"10.0.0.0/8"}},
	} {
		f := newFixture(t)
		f.lobby(login)
		r := f.do(api.Write, "auth/lobby/login", "")
		if r.Err == nil || r.Auth != nil {
			t.Errorf("%s: was let in: %+v", name, r.Auth)
		}
	}
}

// A token does no more from the commit that disables its method, nor do its children;
// one that was disowned stays.
func TestTokensGoWithTheirMethod(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"all"}, TTL: time.Hour})
	if err := f.house.Policies.Write(t.Context(), namespace.RootID, "all", `path "*" { capabilities = ["read", "sudo"] }`, policies.Terms{}); err != nil {
		t.Fatal(err)
	}
	tok := f.do(api.Write, "auth/lobby/login", "").Auth.ClientToken.Reveal()
	want(t, f.do(api.Read, "probe/thing/x", tok), "")
	if _, err := f.house.Mounts.Disable(t.Context(), namespace.RootID, "auth/lobby/"); err != nil {
		t.Fatal(err)
	}
	want(t, f.do(api.Read, "probe/thing/x", tok), "denied")
	f.lobby(&api.Auth{}) // another mount at the same path is not that method
	want(t, f.do(api.Read, "probe/thing/x", tok), "denied")
}

// A token that is bound to its client is used from the address of the login alone.
func TestLoginBindsToTheClient(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, TokenPolicies: []string{"all"}, BoundCIDRs: []string{"127.0.0.0/8"}, BindIP: true})
	if err := f.house.Policies.Write(t.Context(), namespace.RootID, "all", `path "*" { capabilities = ["read"] }`, policies.Terms{}); err != nil {
		t.Fatal(err)
	}
	q := request(api.Write, "auth/lobby/login", "")
	q.Remote = netip.MustParseAddrPort("127.0.0.7:4000")
	in := f.gate.Serve(t.Context(), q)
	want(t, in, "")
	for addr, kind := range map[string]string{"127.0.0.7:1": "", "[::ffff:127.0.0.7]:1": "", "127.0.0.8:1": "denied"} {
		q := request(api.Read, "probe/thing/x", in.Auth.ClientToken.Reveal())
		q.Remote = netip.MustParseAddrPort(addr)
		want(t, f.gate.Serve(t.Context(), q), kind)
	}
}

// What nobody is told of does not stay behind.
func TestLoginThatIsNotAnswered(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour})
	f.sink.breakOn("response")
	if r := f.do(api.Write, "auth/lobby/login", ""); r.Err == nil {
		t.Fatal("was answered though its answer could not be written down")
	}
	es, err := f.house.Data.List(t.Context(), store.Prefix(namespace.RootID+"/token/id/"))
	if err != nil || len(es) != 1 { // the fixture's root token
		t.Errorf("%d tokens are left (%v), want 1", len(es), err)
	}
}

// Nor does what was wrapped, in either form, with the token that stands for it.
func TestWrappedAnswerThatIsNotSent(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour})
	for _, path := range []string{"auth/lobby/login", "probe/thing/x"} {
		for _, jwt := range []bool{false, true} {
			r := request(api.Write, path, "")
			if path != "auth/lobby/login" {
				r = request(api.Read, path, f.root)
			}
			r.WrapTTL, r.WrapJWT = time.Minute, jwt
			f.sink.breakOn("")
			if control := f.gate.Serve(t.Context(), r); control.Wrap == nil || f.left(namespace.RootID+"/wrapping/") != 1 {
				t.Fatalf("%s: %v", path, control.Err)
			} else if err := f.house.Wrapping.Withdraw(&api.Call{Context: t.Context(), Now: time.Now(), Namespace: namespace.Root().API()}, control.Wrap); err != nil {
				t.Fatal(err)
			}
			tokens := f.left(namespace.RootID + "/token/id/")
			f.sink.breakOn("response")
			if got := f.gate.Serve(t.Context(), r); got.Err == nil || got.Wrap != nil {
				t.Fatalf("%s: was answered though its answer could not be written down", path)
			}
			if n, kept := f.left(namespace.RootID+"/token/id/"), f.left(namespace.RootID+"/wrapping/"); n != tokens || kept != 0 {
				t.Errorf("%s: %d tokens are left, want %d, and %d answers", path, n, tokens, kept)
			}
		}
	}
}

// left is how many rows there are below a prefix.
func (f *fixture) left(prefix string) int {
	f.t.Helper()
	es, err := f.house.Data.List(f.t.Context(), store.Prefix(prefix))
	if err != nil {
		f.t.Fatal(err)
	}
	return len(es)
}

// An address is judged as the client's, however it is written.
func TestLoginFromAMappedAddress(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, BoundCIDRs: []string{"127.0.0.0/8"}})
	q := request(api.Write, "auth/lobby/login", "")
	q.Remote = netip.MustParseAddrPort("[::ffff:127.0.0.1]:4000")
	want(t, f.gate.Serve(t.Context(), q), "")
}

// A token that is bound to the address of its login is of no use from another.
func TestLoginBindsToItsAddress(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"all"}, TTL: time.Hour, BindIP: true})
	if err := f.house.Policies.Write(t.Context(), namespace.RootID, "all", `path "*" { capabilities = ["read"] }`, policies.Terms{}); err != nil {
		t.Fatal(err)
	}
	q := request(api.Write, "auth/lobby/login", "")
	q.Remote = netip.MustParseAddrPort("[::ffff:10.1.2.3]:4000")
	r := f.gate.Serve(t.Context(), q)
	want(t, r, "")
	for addr, outcome := range map[string]string{"10.1.2.3:1": "", "10.1.2.4:1": "denied"} {
		q := request(api.Read, "probe/thing/x", r.Auth.ClientToken.Reveal())
		q.Remote = netip.MustParseAddrPort(addr)
		want(t, f.gate.Serve(t.Context(), q), outcome)
	}
	q = request(api.Write, "auth/lobby/login", "")
	q.Remote = netip.AddrPort{}
	want(t, f.gate.Serve(t.Context(), q), "denied")
}

// A method that has been moved is still the one whose conditions its tokens meet, and what
// has taken its place is not.
func TestTokensKeepTheirMethod(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TokenPolicies: []string{"moved", "taken"}, TTL: time.Hour})
	for name, at := range map[string]string{"moved": "auth/hall/", "taken": "auth/lobby/"} {
		text := fmt.Sprintf("path \"probe/thing/%s\" {\n capabilities = [\"read\"]\n condition = %q\n}", name, "auth.mount == '"+at+"'")
		if err := f.house.Policies.Write(t.Context(), namespace.RootID, name, text, policies.Terms{}); err != nil {
			t.Fatal(err)
		}
	}
	tok := f.do(api.Write, "auth/lobby/login", "").Auth.ClientToken.Reveal()
	want(t, f.do(api.Read, "probe/thing/taken", tok), "")
	if err := f.house.Mounts.Move(t.Context(), namespace.RootID, "auth/lobby/", "auth/hall/"); err != nil {
		t.Fatal(err)
	}
	f.lobby(&api.Auth{})
	want(t, f.do(api.Read, "probe/thing/moved", tok), "")
	want(t, f.do(api.Read, "probe/thing/taken", tok), "denied")
}

// put writes a row behind everybody's back.
func (f *fixture) put(key, value string) {
	f.t.Helper()
	if _, err := f.house.Data.Commit(f.t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}}); err != nil {
		f.t.Fatal(err)
	}
}

// A token does no more once its entity is disabled or gone, nobody logs in as it, and no
// entity gives the root policy or is known by a row that says nothing.
func TestTokensGoWithTheirEntity(t *testing.T) {
	for name, c := range map[string]struct{ row, token, login string }{
		"as it was":    {`{"id":"ID","name":"x","policies":["all"]}`, "", ""},
		"disabled":     {`{"id":"ID","name":"x","policies":["all"],"disabled":true}`, "denied", "denied"},
		"root":         {`{"id":"ID","name":"x","policies":["ROOT"," root","root"]}`, "denied", ""},
		"says nothing": {`null`, "damaged", "damaged"},
		"gone":         {"", "denied", "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "x"}})
			if err := f.house.Policies.Write(t.Context(), namespace.RootID, "all", `path "probe/*" { capabilities = ["read"] }`, policies.Terms{}); err != nil {
				t.Fatal(err)
			}
			a := f.do(api.Write, "auth/lobby/login", "").Auth
			key := namespace.RootID + "/identity/entity/" + a.EntityID
			if f.put(key, strings.ReplaceAll(c.row, "ID", a.EntityID)); c.row == "" {
				if _, err := f.house.Data.Commit(t.Context(), nil, []store.Write{{Key: key, Delete: true}}); err != nil {
					t.Fatal(err)
				}
			}
			tok := a.ClientToken.Reveal()
			want(t, f.do(api.Read, "probe/thing/x", tok), c.token)
			want(t, f.do(api.Write, "auth/lobby/login", ""), c.login)
			_, known := f.gate.Client(t.Context(), a.ClientToken, netip.MustParseAddr("127.0.0.1"))
			if known != (c.token == "" || name == "root") {
				t.Errorf("counts as a client: %v", known)
			}
		})
	}
}

func TestLoginWithoutAName(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{}})
	want(t, f.do(api.Write, "auth/lobby/login", ""), "internal")
}

// Where a row of a mount is damaged a token of a method that is not found is told that, and
// not which.
func TestDeadTokensLearnNothingOfDamage(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour})
	tok := f.do(api.Write, "auth/lobby/login", "").Auth.ClientToken.Reveal()
	f.mount(namespace.RootID, "verysecret/")
	if _, err := f.house.Mounts.Disable(t.Context(), namespace.RootID, "auth/lobby/"); err != nil {
		t.Fatal(err)
	}
	f.put("root/mount/at/verysecret/", "{")
	r := f.do(api.Read, "nothing/x", tok)
	want(t, r, "damaged")
	if strings.Contains(r.Err.Error(), "verysecret") {
		t.Errorf("told %v", r.Err)
	}
}

// A namespace whose row is damaged is told of to those who may ask in it; to others it is as one that
// does not exist.
func TestDamagedNamespaceIsNotTold(t *testing.T) {
	f := newFixture(t)
	f.child(f.house.Namespaces.Root().API(), "hidden")
	es, err := f.house.Data.List(t.Context(), store.Prefix("root/ns/root/hidden"))
	if err != nil || len(es) != 1 {
		t.Fatalf("%d rows, %v", len(es), err)
	}
	f.put(es[0].Key, "{")
	weak := f.holder(namespace.RootID, `path "x" { capabilities = ["read"] }`)
	for _, tok := range []string{"", "wrong", weak} {
		for _, path := range []string{"hidden/probe/thing/x", "absent/probe/thing/x"} {
			want(t, f.do(api.Read, path, tok), "denied")
			q := request(api.Read, "probe/thing/x", tok)
			q.Namespace = strings.TrimSuffix(path, "/probe/thing/x")
			want(t, f.gate.Serve(t.Context(), q), "denied")
		}
	}
	want(t, f.do(api.Read, "hidden/probe/thing/x", f.root), "damaged")
}

// CVE-2026-46405: a login and a failure in one answer are a failure, of which no token and
// nobody is left.
func TestCVE_2026_46405_LoginThatFails(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "ann"}})
	for _, path := range []string{"auth/lobby/login", "auth/lobby/enter"} {
		f.engine.fails = api.ErrDenied()
		tokens, persons := f.left(namespace.RootID+"/token/id/"), f.left(namespace.RootID+"/identity/entity/")
		if r := f.do(api.Write, path, ""); r.Err == nil || r.Auth != nil || len(r.Data) > 0 {
			t.Errorf("%s: %v, %+v, %s", path, r.Err, r.Auth, r.Data)
		}
		if a, b := f.left(namespace.RootID+"/token/id/"), f.left(namespace.RootID+"/identity/entity/"); a != tokens || b != persons {
			t.Errorf("%s: tokens %d, then %d; rows of identities %d, then %d", path, tokens, a, persons, b)
		}
		f.engine.fails = nil
		want(t, f.do(api.Write, path, ""), "")
		if f.left(namespace.RootID+"/token/id/") != tokens+1 {
			t.Errorf("%s: control: a login that succeeds makes a token", path)
		}
	}
}
