package mount

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

func (f *fixture) on(t *testing.T, path, kind string) error {
	t.Helper()
	return f.Enable(t.Context(), "root", &Entry{Path: path, Type: kind})
}

// call runs an endpoint through its declaration.
func (f *fixture) call(t *testing.T, op api.Op, path, body string, change ...func(*api.Call)) (any, *api.Call, error) {
	t.Helper()
	eps, err := api.Bind(f.Mounts, Routes())
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(eps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Match(op, path)
	if err != nil {
		return nil, nil, err
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.cache.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &api.Call{Context: t.Context(), Namespace: api.Namespace{ID: "root"}}
	for _, fn := range change {
		fn(c)
	}
	resp, err := m.Endpoint.Invoke(c, req)
	return resp, c, err
}

func TestPaths(t *testing.T) {
	f := fixtureFor(t)
	for path, ok := range map[string]bool{
		"a/": true, "b/c/": true, "with space/": true, "ünï/": true, "tune/": true, "auth/userpass/": true,
		"/": false, "auth//": false, "a b /": false, " a/": false, "x//y/": false, "x/../y/": false, "./": false, `x\..\y/`: false,
		"x\x00/": false, "x\xff/": false, "x\n/": false, "x*/": false, "+/": false, "{{x}}/": false, "x/tune/": false,
		"sys/": false, "sys/x/": false, "SYS/": false, "ſys/": false, "cubbyhole/x/": false, "Cubbyhole/": false, "identity/": false,
		"Identity/x/": false, "audit/x/": false, "Audit/": false, "Auth/": false, "AUTH/x/": false, "root/": false,
		"auth/token/": false, "auth/Token/": false, "auth/token/x/": false, "auth/to\u212aen/": false, strings.Repeat("p", 512) + "/": false,
	} {
		kind := "kv"
		if strings.HasPrefix(path, authPrefix) {
			kind = "userpass"
		}
		err := f.on(t, path, kind)
		if (err == nil) != ok || err != nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestTypes(t *testing.T) {
	f := fixtureFor(t)
	for kind, path := range map[string]string{"": "p/", "nosuch": "p/", "userpass": "p/", "kv": "auth/p/", "system": "p/", "cubbyhole": "p/", "token": "auth/p/"} {
		if err := f.on(t, path, kind); api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", kind, err)
		}
	}
	for kind, version := range map[string]string{"kv": "", "kv-v1": "1", "generic": "1", "kv-v2": "2"} {
		e := &Entry{Path: "m-" + kind + "/", Type: kind}
		if err := f.Enable(t.Context(), "root", e); err != nil || e.Type != "kv" || e.Options["version"] != version {
			t.Errorf("%s: %+v, %v", kind, e, err)
		}
	}
}

func TestSettings(t *testing.T) {
	f := fixtureFor(t)
	if err := f.on(t, "kv/", "kv-v2"); err != nil {
		t.Fatal(err)
	}
	for body, ok := range map[string]bool{
		`{"default_lease_ttl":"1h","max_lease_ttl":"2h"}`: true, `{"default_lease_ttl":60}`: true, `{"default_lease_ttl":"system","max_lease_ttl":"system"}`: true,
		`{"default_lease_ttl":"3h","max_lease_ttl":"2h"}`: false, `{"default_lease_ttl":"-1h"}`: false, `{"max_lease_ttl":-1}`: false,
		`{"default_lease_ttl":"9000h"}`: false, `{"max_lease_ttl":"never"}`: false, `{"listing_visibility":"maybe"}`: false,
		`{"listing_visibility":"unauth"}`: true, `{"token_type":"batch"}`: false, `{"options":{"version":"1"}}`: false,
		`{"options":{"version":""}}`: false, `{"options":{"version":"3"}}`: false, `{"options":{"version":"2"}}`: true,
		`{"description":"` + strings.Repeat("d", 70<<10) + `"}`: false,
	} {
		_, _, err := f.call(t, api.Write, "mounts/kv/tune", body)
		if (err == nil) != ok || err != nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%.60s: %v", body, err)
		}
	}
}

func TestTTLs(t *testing.T) {
	f := fixtureFor(t)
	if err := f.on(t, "kv/", "kv"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.call(t, api.Write, "mounts/kv/tune", `{"max_lease_ttl":"2h"}`); err != nil {
		t.Fatal(err)
	}
	resp, _, err := f.call(t, api.Read, "mounts/kv/tune", ``)
	if err != nil {
		t.Fatal(err)
	}
	// The system's default is cut to what the mount allows.
	if got := resp.(*Tuned); got.DefaultTTL.Std() != 2*time.Hour || got.MaxTTL.Std() != 2*time.Hour {
		t.Fatalf("%+v", got)
	}
}

// What every namespace has stays as it is.
func TestBuiltins(t *testing.T) {
	f := fixtureFor(t)
	sudo := func(c *api.Call) { c.Caller.Sudo = true }
	for _, try := range []struct {
		op         api.Op
		path, body string
		ok         bool
	}{
		{api.Delete, "mounts/sys", ``, false},
		{api.Delete, "mounts/cubbyhole", ``, false},
		{api.Delete, "auth/token", ``, false},
		{api.Write, "mounts/sys/tune", `{"description":"x"}`, false},
		{api.Write, "mounts/cubbyhole/tune", `{"default_lease_ttl":"1h"}`, false},
		{api.Write, "auth/token/tune", `{"token_type":"batch"}`, false},
		{api.Write, "auth/token/tune", `{"options":{"version":"2"}}`, false},
		{api.Write, "auth/token/tune", `{"description":"x","max_lease_ttl":"9h"}`, true},
		{api.Write, "remount", `{"from":"sys","to":"x"}`, false},
		{api.Write, "remount", `{"from":"auth/token","to":"auth/x"}`, false},
		{api.Write, "remount", `{"from":"cubbyhole","to":"x"}`, false},
	} {
		_, _, err := f.call(t, try.op, try.path, try.body, sudo)
		if (err == nil) != try.ok || err != nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%s %s: %v", try.op, try.path, err)
		}
	}
}

// Furnish adds what is missing and leaves the rest as it is.
func TestFurnishAgain(t *testing.T) {
	f := fixtureFor(t)
	rows := func() string {
		es, err := f.store.List(t.Context(), store.Prefix(tablePrefix("root")))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, e := range es {
			all.Write(e.Value)
		}
		return all.String()
	}
	first := rows()
	if err := f.Furnish(t.Context(), "root"); err != nil || rows() != first {
		t.Fatalf("%v; it was %s and is %s", err, first, rows())
	}
	if _, err := f.store.Commit(t.Context(), nil, []store.Write{{Key: rowKey("root", "cubbyhole/"), Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Furnish(t.Context(), "root"); err != nil || strings.Count(rows(), `"builtin":true`) != len(builtins) {
		t.Fatalf("%v; %s", err, rows())
	}
}

// The endpoints of secret engines, which need no sudo, are no way to auth
// methods.
func TestSecretEndpointsLeaveAuthAlone(t *testing.T) {
	f := fixtureFor(t)
	if err := f.on(t, "auth/users/", "userpass"); err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		op         api.Op
		path, body string
		kind       api.Kind
	}{
		{api.Write, "mounts/auth/more", `{"type":"userpass"}`, api.Invalid},
		{api.Delete, "mounts/auth/users", ``, api.Invalid},
		{api.Read, "mounts/auth/other", ``, api.Invalid},
		{api.Write, "mounts/auth/users/tune", `{"description":"x"}`, api.Denied},
		{api.Write, "mounts", `{"type":"kv"}`, api.Unsupported},
		{api.Write, "auth", `{"type":"userpass"}`, api.Unsupported},
	} {
		if _, _, err := f.call(t, try.op, try.path, try.body); err == nil || api.KindOf(err) != try.kind {
			t.Errorf("%s %s: %v", try.op, try.path, err)
		}
	}
	_, _, err := f.call(t, api.Write, "mounts/auth/users/tune", `{"description":"x"}`, func(c *api.Call) { c.Caller.Sudo = true })
	if err != nil {
		t.Fatal(err)
	}
	// Terraform's provider reads auth methods here.
	resp, _, err := f.call(t, api.Read, "mounts/auth/users", ``)
	if err != nil {
		t.Fatal(err)
	}
	if info := resp.(*Info); info.Type != "userpass" || info.Description != "x" {
		t.Fatalf("%+v", info)
	}
}

func TestMoveKeepsTheData(t *testing.T) {
	f := fixtureFor(t)
	e := &Entry{Path: "from/", Type: "kv"}
	if err := f.Enable(t.Context(), "root", e); err != nil {
		t.Fatal(err)
	}
	resp, _, err := f.call(t, api.Write, "remount", `{"from":"/from/","to":"to/deep"}`)
	if err != nil {
		t.Fatal(err)
	}
	status, _, err := f.call(t, api.Read, "remount/status/"+resp.(*Migration).ID, ``)
	if err != nil {
		t.Fatal(err)
	}
	if got := status.(*MigrationStatus).Info; got != (MigrationInfo{"from/", "to/deep/", "success"}) {
		t.Fatalf("%+v", got)
	}
	table, err := f.Table(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	if moved := table.Get("to/deep/"); moved == nil || moved.Prefix("root") != e.Prefix("root") || moved.Accessor != e.Accessor || table.Get("from/") != nil {
		t.Fatalf("%+v", moved)
	}
}

func TestRaceOfOverlappingPaths(t *testing.T) {
	for range 50 {
		f := fixtureFor(t)
		errs := make([]error, 3)
		var wg sync.WaitGroup
		for i, p := range []string{"a/", "a/b/", "A/b/c/"} {
			wg.Go(func() { errs[i] = f.Enable(t.Context(), "root", &Entry{Path: p, Type: "kv"}) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if api.KindOf(err) != api.Invalid {
				t.Fatalf("the loser got %v", err)
			}
		}
		if won != 1 {
			t.Fatalf("%d mounts overlap: %v", won, errs)
		}
	}
}

// A mount disabled and enabled again meanwhile is not taken for the old one.
func TestDisableDropsTheDataItRemoves(t *testing.T) {
	for range 50 {
		f := fixtureFor(t)
		if err := f.on(t, "a/", "kv"); err != nil {
			t.Fatal(err)
		}
		gone := make([]*Entry, 2)
		var wg sync.WaitGroup
		for i := range gone {
			wg.Go(func() {
				var err error
				if gone[i], err = f.Disable(t.Context(), "root", "a/"); err != nil {
					t.Error(err)
				}
				if err := f.Enable(t.Context(), "root", &Entry{Path: "a/", Type: "kv"}); err != nil && api.KindOf(err) != api.Invalid {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if gone[0] != nil && gone[1] != nil && gone[0].ID == gone[1].ID {
			t.Fatal("one mount was removed twice")
		}
	}
}

func TestOnlyOneMountsDataIsAPrefix(t *testing.T) {
	for prefix, want := range map[string]bool{
		(&Entry{ID: "a1"}).Prefix("root"): true, "abcDEF/m/a1/": true,
		"": false, "/": false, "root/": false, "root/m": false, "root/m/": false, "root/m//": false, "root/m/a1": false, "root/m/a1/x/": false,
		"/m/a1/": false, "root/x/m/a1/": false, "root/ns/": false, "root/due/1/": false, (&Entry{}).Prefix("root"): false, (&Entry{ID: "a1"}).Prefix(""): false,
	} {
		if got := IsPrefix(prefix); got != want {
			t.Errorf("%q: %v", prefix, got)
		}
	}
}

func TestUpkeepIsForMountsThatNeedIt(t *testing.T) {
	f := fixtureFor(t)
	kept := ""
	f.engines["tidy"] = api.Engine{Type: "tidy", Upkeep: func(ctx context.Context, s store.Store, now time.Time) error {
		e, err := s.Get(ctx, "x")
		kept = string(e.Value)
		return err
	}}
	f.routers["tidy@"] = f.routers["kv@"]
	for path, kind := range map[string]string{"kv/": "kv", "t/": "tidy"} {
		if err := f.on(t, path, kind); err != nil {
			t.Fatal(err)
		}
	}
	table, err := f.load(t.Context(), f.store, "root")
	if err != nil {
		t.Fatal(err)
	}
	e := table.Get("t/")
	if _, err := f.store.Commit(t.Context(), nil, []store.Write{{Key: e.Prefix("root") + "x", Value: []byte("mine")}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "none", table.Get("kv/").ID} {
		if err := f.Upkeep(t.Context(), "root", id); err != nil || kept != "" {
			t.Errorf("%q: %v, %q", id, err, kept)
		}
	}
	if err := f.Upkeep(t.Context(), "root", e.ID); err != nil || kept != "mine" {
		t.Errorf("%v, %q", err, kept)
	}
}
