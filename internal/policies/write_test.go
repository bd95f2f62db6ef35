package policies

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// start is the moment of fresh's clock.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// at moves the store's clock.
func (f *fixture) at(moment time.Time) { f.now = func() time.Time { return moment } }

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %q", err, says)
	}
}

func TestPoliciesEnd(t *testing.T) {
	f, end := fresh(t), start().Add(time.Hour)
	ctx := t.Context()
	f.must(f.Write(ctx, "root", "p", readA, Terms{Expires: end}))
	f.must(f.Write(ctx, "root", "stays", readA, Terms{}))
	if !f.may("root", "a", "p") {
		t.Error("it grants nothing while it lasts")
	}
	r, err := f.read(ctx, "root", "p")
	f.must(err)
	if d := r.describe(); d.Expiration == nil || !d.Expiration.Equal(end) {
		t.Errorf("%+v", d)
	}
	f.at(end)
	if f.may("root", "a", "p") || !f.may("root", "a", "stays") {
		t.Error("it grants when it has ended")
	}
	if _, err := f.read(ctx, "root", "p"); api.KindOf(err) != api.NotFound {
		t.Errorf("it is read: %v", err)
	}
	names, err := f.Names(ctx, "root")
	f.must(err)
	if has, err := f.Has(ctx, "root", "p"); has || err != nil || slices.Contains(names, "p") || !slices.Contains(names, "stays") {
		t.Errorf("it is listed: %v, %v, %v", has, err, names)
	}
	// What has ended is gone: the next one begins anew and does not end.
	none := 0
	f.must(f.Write(ctx, "root", "p", readA, Terms{CAS: &none}))
	r, err = f.read(ctx, "root", "p")
	f.must(err)
	if names, err := f.Names(ctx, "root"); r.Version != 1 || !r.Expires.IsZero() || err != nil || !slices.Contains(names, "p") {
		t.Errorf("%+v, %v, %v", r, names, err)
	}
}

// A rule that ends before its policy ends then; one that would end later does not.
func TestRulesEndWithTheirPolicy(t *testing.T) {
	f := fresh(t)
	text := `path "a" { capabilities = ["read"] expiration = "2026-01-02T03:30:00Z" }
path "b" { capabilities = ["read"] expiration = "2030-01-01T00:00:00Z" }`
	f.must(f.Write(t.Context(), "root", "p", text, Terms{Expires: start().Add(time.Hour)}))
	for i, want := range [][2]bool{{true, true}, {false, true}, {false, false}} {
		after := time.Duration(i) * 30 * time.Minute
		f.at(start().Add(after))
		if a, b := f.may("root", "a", "p"), f.may("root", "b", "p"); [2]bool{a, b} != want {
			t.Errorf("after %v: %v, %v", after, a, b)
		}
	}
}

func TestPolicyCheckAndSet(t *testing.T) {
	f := fresh(t)
	write := func(cas int, required ...bool) error {
		terms := Terms{CAS: &cas}
		if len(required) > 0 {
			terms.CASRequired = &required[0]
		}
		return f.Write(t.Context(), "root", "p", readA, terms)
	}
	refused(t, write(5), "did not match")
	f.must(write(-1))
	refused(t, write(-1), "set to -1")
	refused(t, write(0), "did not match")
	f.must(write(1, true))
	refused(t, f.Write(t.Context(), "root", "p", readA, Terms{}), "required for this call")
	refused(t, f.Patch(t.Context(), "root", "p", readA, Terms{}), "required for this call")
	f.must(write(2, false))
	f.must(f.Write(t.Context(), "root", "p", readA, Terms{}))
	yes := true
	refused(t, f.Write(t.Context(), "root", "q", readA, Terms{CASRequired: &yes}), "required for this call")
}

func TestPolicyPatch(t *testing.T) {
	f := fresh(t)
	ctx := t.Context()
	refused(t, f.Patch(ctx, "root", "p", readA, Terms{}), "policy not found")
	f.must(f.Write(ctx, "root", "p", readA, Terms{}))
	f.must(f.Patch(ctx, "root", "p", "", Terms{Expires: start().Add(time.Hour)}))
	f.must(f.Patch(ctx, "root", "p", `path "b" { capabilities = ["read"] }`, Terms{}))
	refused(t, f.Patch(ctx, "root", "p", `path {`, Terms{}), "failed to parse")
	r, err := f.read(ctx, "root", "p")
	f.must(err)
	if r.Version != 3 || !strings.Contains(r.Text, `"b"`) || !r.Expires.Equal(start().Add(time.Hour)) {
		t.Errorf("%+v", r)
	}
}

func TestPolicyTermsThatAreRefused(t *testing.T) {
	f := fresh(t)
	hour, zero, less := api.Duration(time.Hour), api.Duration(0), api.Duration(-1)
	later := api.Time{Time: start().Add(time.Hour)}
	for says, q := range map[string]TermsRequest{
		"cannot supply both": {TTL: &hour, Expiration: later}, "already elapsed": {TTL: &zero},
		"must not be negative": {TTL: &less}, "never hold slashes": {Slashes: true}, "never hold slashes or wildcards": {Wildcards: true},
	} {
		terms, err := q.terms(start())
		if err == nil {
			err = f.Write(t.Context(), "root", "p", readA, terms)
		}
		refused(t, err, says)
	}
	refused(t, f.Write(t.Context(), "root", "default", readA, Terms{Expires: later.Time}), "cannot expire")
}

func call(f *fixture) *api.Call {
	return &api.Call{Context: context.Background(), Namespace: api.Namespace{ID: "root"}, Now: f.now()}
}

func TestPasswordPolicies(t *testing.T) {
	f := fresh(t)
	c, name := call(f), &NameRequest{Name: "pw"}
	const text = "length = 16\nrule \"charset\" { charset = \"abc\" min-chars = 1 }"
	for _, get := range []func() error{
		func() error { _, err := f.readPassword(c, name); return err }, func() error { _, err := f.generate(c, name); return err },
	} {
		if err := get(); api.KindOf(err) != api.NotFound {
			t.Errorf("before it is written: %v", err)
		}
	}
	write := func(text string) error {
		_, err := f.writePassword(c, &PasswordWriteRequest{Name: "pw", Policy: text})
		return err
	}
	refused(t, write(""), "missing policy")
	refused(t, write("length = 4\nrule \"charset\" { charset = \"abc\" min-chars = 5 }"), "raise length")
	f.must(write(text))
	got, err := f.readPassword(c, name)
	f.must(err)
	one, err := f.generate(c, name)
	f.must(err)
	two, err := f.generate(c, name)
	f.must(err)
	if got.Policy != text || len(one.Password) != 16 || strings.Trim(string(one.Password), "abc") != "" || one.Password == two.Password {
		t.Errorf("%q: %q, %q", got.Policy, string(one.Password), string(two.Password))
	}
	names, err := f.listPasswords(c, &PageRequest{})
	f.must(err)
	other := call(f)
	other.Namespace.ID = "ns1"
	elsewhere, err := f.listPasswords(other, &PageRequest{})
	f.must(err)
	acl, err := f.Names(c, "root")
	f.must(err)
	if !slices.Equal(names.Keys, []string{"pw"}) || len(elsewhere.Keys) != 0 || slices.Contains(acl, "pw") {
		t.Errorf("%v, elsewhere %v, among policies %v", names.Keys, elsewhere.Keys, acl)
	}
	if _, err := f.removePassword(c, name); err != nil {
		t.Error(err)
	}
	if _, err := f.readPassword(c, name); api.KindOf(err) != api.NotFound {
		t.Errorf("after it was deleted: %v", err)
	}
}

func TestDetailedPoliciesBelow(t *testing.T) {
	f := fresh(t)
	for _, n := range []string{"x/y", "x/z", "xx"} {
		f.must(f.Write(t.Context(), "root", n, readA, Terms{}))
	}
	keys, err := f.listDetailedBelow(call(f), &BelowRequest{Prefix: "x"})
	f.must(err)
	if !slices.Equal(keys.Keys, []string{"x/y", "x/z"}) || len(keys.Info) != 2 {
		t.Errorf("%+v", keys)
	}
	all, err := f.listDetailed(call(f), &PageRequest{})
	f.must(err)
	if !slices.Contains(all.Keys, "root") || all.Info["root"] == nil || len(all.Keys) != 5 {
		t.Errorf("%+v", all.Keys)
	}
}
