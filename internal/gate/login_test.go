package gate_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
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
	f.engine.login = login
	if err := f.house.Mounts.Enable(context.Background(), namespace.RootID, &mount.Entry{Path: "auth/lobby/", Type: "lobby"}); err != nil {
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
	if !slices.Equal(a.Policies, []string{"default", "dev"}) || a.TTL != time.Hour || !a.Orphan {
		t.Errorf("the token has %+v", a)
	}
	want(t, f.do(api.Read, "thing/x", a.ClientToken.Reveal()), "denied")
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

// An address is judged as the client's, however it is written.
func TestLoginFromAMappedAddress(t *testing.T) {
	f := newFixture(t)
	f.lobby(&api.Auth{TTL: time.Hour, BoundCIDRs: []string{"127.0.0.0/8"}})
	q := request(api.Write, "auth/lobby/login", "")
	q.Remote = netip.MustParseAddrPort("[::ffff:127.0.0.1]:4000")
	want(t, f.gate.Serve(t.Context(), q), "")
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
