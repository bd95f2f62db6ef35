package oidc_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// damage makes a row one that says nothing, until it is put back.
func (w *world) damage(key string) (putBack func()) {
	w.t.Helper()
	e := must(w.store.Get(w.t.Context(), key))(w.t)
	if !e.Exists() {
		w.t.Fatalf("there is no %s", key)
	}
	put := func(v []byte) {
		must(w.store.Commit(w.t.Context(), nil, []store.Write{{Key: key, Value: v}}))(w.t)
	}
	put([]byte("{"))
	return func() { put(e.Value) }
}

// Whether a token counts is not known while the row of the key is damaged that it may have been signed with. Of others it is.
func TestTokenOfADamagedKey(t *testing.T) {
	w := newWorld(t)
	w.ann("")
	for _, name := range []string{"a", "b"} {
		w.write("oidc/key/"+name, `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
		w.write("oidc/role/"+name, `{"key": %q}`, name)
	}
	a, b := w.token("a"), w.token("b")
	putBack := w.damage("root/oidc/key/a")
	if v, err := w.try("root", api.Write, "oidc/introspect", `{"token":"`+a+`"}`); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a token of the damaged key is answered with %v, %v", v, err)
	}
	if !w.active(b, "") {
		t.Error("a token of another key does not count")
	}
	if raw := must(w.send(w.call("root"), api.Read, "oidc/.well-known/keys", ""))(t).(*api.Raw); raw.Keep != 0 {
		t.Errorf("keys without the damaged one may be kept for %v", raw.Keep)
	}
	w.verified("oidc/.well-known/keys", b)
	putBack()
	if raw := must(w.send(w.call("root"), api.Read, "oidc/.well-known/keys", ""))(t).(*api.Raw); !w.active(a, "") || raw.Keep == 0 {
		t.Errorf("once it is put back the token counts: %v; keys may be kept for %v", w.active(a, ""), raw.Keep)
	}
	w.verified("oidc/.well-known/keys", a)
}

// A key stays published though the row is damaged of who uses it.
func TestKeyOfDamagedUsers(t *testing.T) {
	w := newWorld(t)
	w.ann("")
	w.write("oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	w.write("oidc/role/r", `{"key": "k"}`)
	w.write("oidc/client/c", `{"key": "k", "redirect_uris": "https://app.example.com/", "assignments": "allow_all"}`)
	text := w.token("r")
	for row, path := range map[string]string{"role/r": "oidc/.well-known/keys", "client/c": "oidc/provider/default/.well-known/keys"} {
		putBack := w.damage("root/oidc/" + row)
		w.verified(path, text)
		putBack()
	}
}

// Lists name what is damaged.
func TestListsOfDamagedSettings(t *testing.T) {
	w := newWorld(t)
	w.write("oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	for _, name := range []string{"a", "b"} {
		w.write("oidc/client/"+name, `{"key": "k"}`)
		w.write("oidc/provider/"+name, `{}`)
	}
	w.write("oidc/provider/default", `{}`)
	for what, want := range map[string][]string{"client": {"a", "b"}, "provider": {"a", "b", "default"}} {
		for _, damaged := range want {
			putBack := w.damage("root/oidc/" + what + "/" + damaged)
			got := must(w.send(w.call("root"), api.List, "oidc/"+what, ""))(t).(*api.Keys)
			if _, told := got.Info[damaged]; told || !slices.Equal(got.Keys, want) {
				t.Errorf("with %s damaged the %ss are %v", damaged, what, got.Keys)
			}
			putBack()
		}
	}
}
