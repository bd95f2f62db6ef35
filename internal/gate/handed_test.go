package gate_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
)

// TestCVE_2026_4525_EnginesNeverSeeTheToken checks what a handler of a mounted
// engine is handed.
func TestCVE_2026_4525_EnginesNeverSeeTheToken(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read", "sudo"] }`)
	var got api.Call
	f.engine.read = func(c *api.Call) (*answer, error) { got = *c; return nil, nil }
	r := request(api.Read, "probe/thing/x", tok)
	r.Headers = http.Header{"X-Vault-Token": {tok}, "Authorization": {"Bearer " + tok}}
	want(t, f.gate.Serve(context.Background(), r), "")
	c := got.Caller
	if !c.Token.Empty() || strings.Contains(c.Accessor+c.DisplayName+strings.Join(c.Policies, ""), tok) {
		t.Error("the handler has the token")
	}
	if c.TokenID == "" || c.Accessor == "" || !c.Sudo || c.Root || c.Namespace.ID != namespace.RootID || got.Path != "thing/x" || got.Mount.Path != "probe/" || got.RequestID == "" || got.Now.IsZero() {
		t.Errorf("the handler was handed %+v of %+v", c, got.Mount)
	}
}

// TestMountsShareNoStore checks that one mount's handler reaches nothing of
// another's, also when a mount is made anew under the same path.
func TestMountsShareNoStore(t *testing.T) {
	f := newFixture(t)
	f.mount(namespace.RootID, "other/")
	put := func(path string) {
		want(t, f.gate.Serve(context.Background(), f.body(request(api.Write, path, f.root), `{"value":"v"}`)), "")
	}
	put("probe/thing/x")
	var exists bool
	f.engine.read = func(c *api.Call) (*answer, error) {
		e, err := c.Store.Get(c, "x")
		exists = e.Exists()
		return nil, err
	}
	for path, there := range map[string]bool{"probe/thing/x": true, "other/thing/x": false} {
		want(t, f.do(api.Read, path, f.root), "")
		if exists != there {
			t.Errorf("%s: %v", path, exists)
		}
	}
}

// TestExpiryIsExact checks the moment from which a token is dead.
func TestExpiryIsExact(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, `path "probe/*" { capabilities = ["read"] }`, func(a *api.Auth) { a.TTL = time.Hour })
	found, err := f.house.Tokens.Lookup(context.Background(), tok, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for after, kind := range map[time.Duration]string{-time.Nanosecond: "", 0: "denied", time.Second: "denied"} {
		f.now = found.ExpireTime.Add(after)
		want(t, f.do(api.Read, "probe/thing/x", tok), kind)
	}
}
