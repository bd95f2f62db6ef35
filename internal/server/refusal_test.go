package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// TestLoginsEndWithTheirMount has no token renewed whose auth method is gone, or is not known to
// be there.
func TestLoginsEndWithTheirMount(t *testing.T) {
	w := startFor(t, Config{InMemory: true, DevRoot: api.NewSecret("root")})
	c := &api.Call{Context: t.Context(), Now: time.Now(), Namespace: namespace.Root().API()}
	gone := &token.Token{MountNamespace: namespace.RootID, MountID: "gone", Login: true, Policies: []string{"default"}}
	if auth, err := w.house.Load().renewLogin(c, gone, time.Hour); auth != nil || api.KindOf(err) != api.Denied {
		t.Errorf("renewed beyond its auth method: %v %v", auth, err)
	}
}

// TestTokensKeepToADamagedMount has the row of auth/token/ damaged: what is about a token is
// refused by what is known of that mount, also when it is asked for in another namespace, and
// its limits are not guessed.
func TestTokensKeepToADamagedMount(t *testing.T) {
	w, c, root, _ := furnished(t)
	w.wants(200, "", root, "POST", "sys/namespaces/child", "")
	w.wants(200, `"display_name"`, root, "GET", "child/auth/token/lookup-self", "")
	if _, err := w.house.Load().limits(t.Context(), &token.Token{NamespaceID: namespace.RootID, Path: "auth/token/create"}); err != nil {
		t.Fatal(err)
	}
	const row = "root/mount/at/auth/token/"
	w = w.restartedOn(c, "d/"+row)
	defer func() { w.end() }()
	w.wants(500, row, root, "GET", "child/auth/token/lookup-self", "")
	_, err := w.house.Load().limits(t.Context(), &token.Token{NamespaceID: namespace.RootID, Path: "auth/token/create"})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("the limits of a mount whose row is damaged: %v", err)
	}
}

// TestResumingNeedsSudo has the leases of a restored store let go by nobody who has no sudo.
func TestResumingNeedsSudo(t *testing.T) {
	w := startFor(t, Config{InMemory: true, DevRoot: api.NewSecret("root")})
	for name, want := range map[string]int{`"delete"`: 403, `"delete", "sudo"`: 200} {
		w.wants(204, "", "root", "PUT", "sys/policies/acl/resumer", `{"policy":`+quoted(`path "sys/leases/quarantine" { capabilities = [`+name+`] }`)+`}`)
		out := w.wants(200, "", "root", "POST", "auth/token/create", `{"policies":["resumer"]}`)
		tok, _ := out["auth"].(map[string]any)["client_token"].(string)
		w.wants(want, "", tok, "DELETE", "sys/leases/quarantine", "")
	}
}

// TestDisownedTokensGoWithTheirMethod disables an auth method of which a token has made another
// in a namespace below, and was revoked without it: no row of that one is left.
func TestDisownedTokensGoWithTheirMethod(t *testing.T) {
	w, _, root, _ := furnished(t)
	defer w.end()
	w.wants(200, "", root, "POST", "sys/namespaces/child", "")
	w.wants(200, "", root, "POST", "child/sys/namespaces/below", "")
	w.wants(204, "", root, "PUT", "sys/policies/acl/reader", `{"policy":"path \"child/below/auth/token/create\" { capabilities = [\"update\", \"sudo\"] }"}`)
	tokenOf := func(out map[string]any) string {
		text, _ := out["auth"].(map[string]any)["client_token"].(string)
		return text
	}
	parent := tokenOf(w.wants(200, "", "", "POST", "auth/door/login", ""))
	w.wants(200, "", parent, "POST", "child/below/auth/token/create", `{"policies":["default"]}`)
	w.wants(204, "", root, "POST", "auth/token/revoke-orphan", `{"token":"`+parent+`"}`)
	if n := w.tokensBelow(); n != 1 {
		t.Fatalf("%d rows of tokens below the root namespace, want 1", n)
	}
	w.wants(204, "", root, "DELETE", "sys/auth/door", "")
	for range 200 {
		if w.tokensBelow() == 0 {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Error("the row of a token that was disowned is left after its auth method was disabled")
}

// tokensBelow is how many rows of tokens there are in namespaces below the root.
func (w *world) tokensBelow() (n int) {
	for _, key := range w.keys() {
		if strings.Contains(key, "/token/id/") && !strings.HasPrefix(key, "d/root/") {
			n++
		}
	}
	return n
}
