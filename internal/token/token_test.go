package token

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

func TestRootTokenAnswersAsClientsExpect(t *testing.T) {
	f := newFixture(t)
	a := f.describe(f.root)
	if a.ExpireTime != nil || a.TTL != 0 || a.CreationTTL != 0 || a.Renewable || !a.Orphan || a.Type != Service ||
		!slices.Equal(a.Policies, []string{"root"}) || string(a.ID) != f.root || a.NumUses != 0 || a.NamespacePath != "" {
		t.Fatalf("unexpected answer %+v", a)
	}
	f.now = f.now.AddDate(100, 0, 0)
	f.mustBe(f.root, true)
	_, _, err := f.write(f.root, "renew-self", "")
	f.refuses(api.Invalid, "lease is not renewable", err)
}

func TestCreateAndLookup(t *testing.T) {
	f := newFixture(t)
	a := f.create(f.root, `{"policies":["a","B "],"ttl":"1h","meta":{"k":"v"},"num_uses":3,"display_name":"x y/z"}`)
	if !slices.Equal(a.Policies, []string{"a", "b", "default"}) || a.TTL != time.Hour || !a.Renewable || a.Orphan || a.NumUses != 3 {
		t.Fatalf("unexpected answer %+v", a)
	}
	text := a.ClientToken.Reveal()
	l := f.describe(text)
	want := f.now.Add(time.Hour)
	if l.DisplayName != "token-x-y-z" || l.NumUses != 2 || l.Path != "auth/token/create" || !l.ExpireTime.Equal(want) ||
		l.TTL.Std() != time.Hour || l.CreationTTL.Std() != time.Hour || l.Meta["k"] != "v" || l.Accessor != a.Accessor || string(l.ID) != text {
		t.Fatalf("unexpected answer %+v", l)
	}
	f.now = f.now.Add(time.Hour - time.Millisecond)
	f.mustBe(text, true)
	f.now = f.now.Add(time.Millisecond)
	f.mustBe(text, false)
}

func TestLookupByAccessorHidesTheToken(t *testing.T) {
	f := newFixture(t)
	a := f.create(f.root, `{"policies":["p"]}`)
	resp, _, err := f.write(f.root, "lookup-accessor", `{"accessor":"`+a.Accessor+`"}`)
	if err != nil {
		t.Fatal(err)
	}
	if l := resp.(*LookupAnswer); l.ID != "" || l.Accessor != a.Accessor {
		t.Fatalf("unexpected answer %+v", l)
	}
	keys, _, err := f.do(f.root, api.List, "accessors", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := keys.(*api.Keys).Keys; len(got) != 2 || !slices.Contains(got, a.Accessor) {
		t.Fatalf("accessors are %v", got)
	}
}

// What is stored must not let anybody find the tokens.
func TestStoreHoldsNoTokenOrAccessorInKeys(t *testing.T) {
	f := newFixture(t)
	a := f.create(f.root, `{"policies":["p"]}`)
	text := a.ClientToken.Reveal()
	es, err := f.store.List(context.Background(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if len(es) < 5 {
		t.Fatalf("only %d rows", len(es))
	}
	for _, e := range es {
		if strings.Contains(e.Key, text[4:20]) || bytes.Contains(e.Value, []byte(text[4:20])) || strings.Contains(e.Key, a.Accessor) {
			t.Errorf("row %s holds a token or accessor", e.Key)
		}
	}
}

func TestUnknownTokens(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		path, body, message string
		kind                api.Kind
	}{
		{"lookup", `{"token":"nope"}`, "bad token", api.Denied},
		{"lookup-accessor", `{"accessor":"nope"}`, "invalid accessor", api.Invalid},
		{"lookup-accessor", `{}`, "missing accessor", api.Invalid},
		{"renew", `{"token":"nope"}`, "token not found", api.Invalid},
		{"renew", `{}`, "missing token ID", api.Invalid},
		{"renew-accessor", `{"accessor":"nope"}`, "invalid accessor", api.Invalid},
		{"revoke", `{}`, "missing token ID", api.Invalid},
		{"revoke-orphan", `{"token":"nope"}`, "token to revoke not found", api.Invalid},
		{"revoke-orphan", `{}`, "missing token ID", api.Invalid},
		{"revoke-accessor", `{}`, "missing accessor", api.Invalid},
	} {
		_, _, err := f.write(f.root, c.path, c.body)
		f.refuses(c.kind, c.message, err)
	}
	if resp, _, err := f.write(f.root, "revoke", `{"token":"nope"}`); resp != nil || err != nil {
		t.Errorf("revoking an unknown token: %v, %v", resp, err)
	}
	resp, c, err := f.write(f.root, "revoke-accessor", `{"accessor":"nope"}`)
	if resp != nil || err != nil || !slices.Equal(c.Warnings(), []string{"No token found with this accessor"}) {
		t.Errorf("revoking an unknown accessor: %v, %v, %v", resp, err, c.Warnings())
	}
}
