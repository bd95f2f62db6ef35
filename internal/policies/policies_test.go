package policies

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

const readA = `path "a" { capabilities = ["read"] }`

type fixture struct {
	*Store
	t     *testing.T
	cache *store.Cache
}

func fresh(t *testing.T) *fixture {
	t.Helper()
	st := mem.Open()
	cache, err := store.NewCache(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{New(st, cache, func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }), t, cache}
	for _, ns := range []string{"root", "ns1"} {
		f.must(f.Furnish(t.Context(), ns))
	}
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// may reports whether policies of a namespace let a path be read.
func (f *fixture) may(nsID, path string, names ...string) bool {
	f.t.Helper()
	_, err := f.cache.Fresh(f.t.Context())
	f.must(err)
	acl, err := f.ACL(f.t.Context(), nsID, names)
	f.must(err)
	return acl.Decide(policy.Request{Path: path, Op: policy.Read}).Allowed
}

func TestRefusals(t *testing.T) {
	f := fresh(t)
	for _, try := range []struct {
		name, text string
		kind       api.Kind
	}{
		{"root", readA, api.Invalid},
		{"a", "", api.Invalid},
		{"a", "  \n", api.Invalid},
		{"a", `path "a" { capabilities = ["fly"] }`, api.Invalid},
		{"a", "{{{", api.Invalid},
		{"a", readA + strings.Repeat(" ", maxPolicyBytes), api.TooLarge},
	} {
		if err := f.Write(t.Context(), "root", try.name, try.text, Terms{}); err == nil || api.KindOf(err) != try.kind {
			t.Errorf("%s %.20q: %v", try.name, try.text, err)
		}
	}
	for _, name := range []string{"root", "default"} {
		for _, ns := range []string{"root", "ns1"} {
			if err := f.Delete(t.Context(), ns, name); api.KindOf(err) != api.Invalid {
				t.Errorf("delete %s in %s: %v", name, ns, err)
			}
		}
	}
	f.must(f.Delete(t.Context(), "root", "absent"))
}

// The policy root is the root namespace's alone: elsewhere the name means nothing.
func TestRootIsOfTheRootNamespace(t *testing.T) {
	f := fresh(t)
	if !f.may("root", "anything", "root") || f.may("ns1", "anything", "root") {
		t.Fatal("root reaches as far as it must not, or not as far as it must")
	}
	if has, err := f.Has(t.Context(), "ns1", "root"); has || err != nil {
		t.Fatal(has, err)
	}
	if _, err := f.read(t.Context(), "ns1", "root"); api.KindOf(err) != api.NotFound {
		t.Fatal(err)
	}
}

func TestChangesCountAtOnce(t *testing.T) {
	f := fresh(t)
	if f.may("root", "a", "p", "q") {
		t.Fatal("no policy allows it yet")
	}
	f.must(f.Write(t.Context(), "root", "q", base64.StdEncoding.EncodeToString([]byte(readA)), Terms{}))
	if !f.may("root", "a", "p", "q") || f.may("ns1", "a", "p", "q") {
		t.Fatal("a new policy does not count, or counts in another namespace")
	}
	f.must(f.Write(t.Context(), "root", "p", `path "a" { capabilities = ["deny"] }`, Terms{}))
	if f.may("root", "a", "p", "q") {
		t.Fatal("a deny does not count")
	}
	f.must(f.Delete(t.Context(), "root", "p"))
	if !f.may("root", "a", "p", "q") {
		t.Fatal("a deleted policy counts")
	}
}

func TestVersionsCountEveryWrite(t *testing.T) {
	f := fresh(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := f.Write(t.Context(), "root", "p", readA, Terms{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r, err := f.read(t.Context(), "root", "p")
	if err != nil || r.Version != 10 || r.Text != readA {
		t.Fatalf("%+v, %v", r, err)
	}
}

// Furnish does not undo what people made of the default policy.
func TestFurnishKeepsDefault(t *testing.T) {
	f := fresh(t)
	f.must(f.Write(t.Context(), "root", "default", readA, Terms{}))
	f.must(f.Furnish(t.Context(), "root"))
	if !f.may("root", "a", "default") {
		t.Fatal("the default policy is as it was made")
	}
}

// damagedStore is a store of which no row can be read.
type damagedStore struct{ store.Store }

func (damagedStore) Get(context.Context, string) (store.Entry, error) {
	return store.Entry{}, store.ErrCorrupt
}

// A server starts although its default policy is damaged.
func TestDamagedDefaultKeepsNobodyFromStarting(t *testing.T) {
	f := fresh(t)
	f.store = damagedStore{f.store}
	if err := f.Furnish(t.Context(), "root"); err != nil {
		t.Error(err)
	}
}

func TestDefaultPolicyParses(t *testing.T) {
	f := fresh(t)
	if !f.may("root", "auth/token/lookup-self", "default") || f.may("root", "sys/mounts", "default") {
		t.Fatal("the default policy does not allow what it should, or more")
	}
}

func TestPages(t *testing.T) {
	f := fresh(t)
	for _, n := range []string{"a", "b", "c"} {
		f.must(f.Write(t.Context(), "root", n, readA, Terms{}))
	}
	c := &api.Call{Context: t.Context(), Namespace: api.Namespace{ID: "root"}}
	for _, try := range []struct {
		q    PageRequest
		want []string
	}{
		{PageRequest{}, []string{"a", "b", "c", "default", "root"}},
		{PageRequest{After: "a", Limit: 2}, []string{"b", "c"}},
		{PageRequest{After: "default", Limit: -1}, []string{"root"}},
		{PageRequest{After: "z"}, []string{}},
	} {
		got, err := f.list(c, &try.q)
		f.must(err)
		detailed, err := f.listDetailed(c, &try.q)
		f.must(err)
		if !slices.Equal(got.Keys, try.want) || !slices.Equal(detailed.Keys, try.want) {
			t.Errorf("%+v: %v and %v", try.q, got.Keys, detailed.Keys)
		}
		for name := range detailed.Info {
			if !slices.Contains(try.want, name) {
				t.Errorf("%+v: the details of %s, which is on another page", try.q, name)
			}
		}
	}
}

// No two lists of names share a compiled set (CVE-2026-105820).
func TestSetsAreTheirNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.String()).Draw(t, "names")
		if got := setOf(Part{Namespace: "ns", Names: names}).parts()[0].Names; !slices.Equal(got, names) {
			t.Fatalf("%q became %q", names, got)
		}
	})
}
