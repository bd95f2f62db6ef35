package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// login makes a token as a method's login does, for an hour.
func (f *fixture) login(mountID string, policies ...string) string {
	f.t.Helper()
	return f.issue(Spec{Namespace: RootNamespace, Path: "auth/lobby/login", MountID: mountID,
		Auth: api.Auth{TokenPolicies: policies, TTL: time.Hour, Renewable: true, Private: []byte("who")}})
}

// A renewal asks the method, which may refuse it or change the terms; where the
// policies are no longer the token's there is none.
func TestRenewalAsksTheMethod(t *testing.T) {
	var says func() (*api.Auth, error)
	asked := 0
	f := newFixture(t, func(c *Config) {
		c.Renewal = func(_ *api.Call, t *Token, _ time.Duration) (*api.Auth, error) {
			if asked++; string(t.Private) != "who" {
				return nil, errors.New("what the method has kept is not there")
			}
			return says()
		}
	})
	text := f.login("m", "dev")
	renew := func() (*api.Auth, error) {
		c, done, err := f.call(text, "renew-self")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		return f.s.RenewSelf(c, &RenewSelfRequest{})
	}
	says = func() (*api.Auth, error) { return nil, api.Errorf(api.Invalid, "the user is gone") }
	_, err := renew()
	f.refuses(api.Invalid, "the user is gone", err)
	says = func() (*api.Auth, error) { return &api.Auth{TokenPolicies: []string{"dev", "ops"}}, nil }
	_, err = renew()
	f.refuses(api.Invalid, "policies have changed, not renewing; log in again", err)
	says = func() (*api.Auth, error) {
		return &api.Auth{TokenPolicies: []string{"dev"}, TTL: 20 * time.Minute}, nil
	}
	if a, err := renew(); err != nil || a.TTL != 20*time.Minute {
		t.Errorf("renewed for %v (%v), want what the method says", a, err)
	}
	says = func() (*api.Auth, error) { return nil, nil }
	if a, err := renew(); err != nil || a.TTL != 20*time.Minute {
		t.Errorf("renewed for %v (%v), want as before", a, err)
	}
	child := f.child(text, `{"policies":["dev"],"ttl":"10m"}`) // is not the login's own
	if c, done, err := f.call(child, "renew-self"); err != nil {
		t.Error(err)
	} else if _, err := f.s.RenewSelf(c, &RenewSelfRequest{}); err != nil {
		t.Error(err)
	} else {
		done()
	}
	if asked != 4 {
		t.Errorf("the method was asked %d times, want 4", asked)
	}
}

// With a method all of its tokens are revoked, with what hangs on them, and no others.
func TestTokensOfAMountAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.now = time.Now()
		gone, child, other := f.login("m", "dev"), "", f.login("n", "dev")
		child = f.child(gone, `{"policies":["dev"],"ttl":"30m"}`)
		parent := f.login("m", "dev")
		disowned := f.child(parent, `{"policies":["dev"],"ttl":"30m"}`, in("ns1"), withSudo)
		if _, _, err := f.write(f.root, "revoke-orphan", `{"token":"`+parent+`"}`); err != nil || !f.alive(disowned) {
			t.Fatalf("a child that is disowned in another namespace: %v", err)
		}
		if _, err := store.Update(t.Context(), f.store, func(tx *store.Tx) error { return f.s.MountRemoved(tx, RootNamespace, "m", 0, time.Minute) }); err != nil {
			t.Fatal(err)
		}
		f.run(f.s.Jobs(), 30*time.Second)
		if f.alive(gone) || f.alive(child) || !f.alive(other) || !f.alive(f.root) {
			t.Errorf("alive: its own %v, a child %v, another's %v, root %v", f.alive(gone), f.alive(child), f.alive(other), f.alive(f.root))
		}
		if f.alive(disowned) {
			t.Error("one that was made in another namespace and disowned is alive")
		}
		late := f.login("m", "dev") // of a request that had begun before
		f.run(f.s.Jobs(), time.Minute)
		if f.alive(late) {
			t.Error("a token that was made just then is alive")
		}
	})
}

// What fails for some tokens keeps no other waiting, here or in a namespace below. That it failed is told, so that it is tried again.
func TestOneTokenThatFailsKeepsNoOther(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.OnRevoke = append(c.OnRevoke, func(context.Context, string, string) error { return store.ErrSealed })
	})
	var texts []string
	for i := range 3 * fewFailures {
		texts = append(texts, f.issue(Spec{Namespace: []string{RootNamespace, "ns1", "ns2"}[i%3], Path: "auth/lobby/login", MountID: "m",
			Auth: api.Auth{TokenPolicies: []string{"dev"}, TTL: time.Hour}}))
	}
	end := func() error {
		return f.s.endAll(t.Context(), RootNamespace, func(t *Token) (bool, error) { return t.MountID == "m", nil })
	}
	err := end()
	if !errors.Is(err, store.ErrSealed) || strings.Count(err.Error(), "sealed") != fewFailures || !strings.HasSuffix(err.Error(), fmt.Sprintf("and %d more", 2*fewFailures)) {
		t.Errorf("of %d failures the job says %v", len(texts), err)
	}
	for _, text := range texts {
		f.mustBe(text, false)
	}
	if err := end(); err != nil {
		t.Errorf("when nothing is left: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.s.endAll(ctx, RootNamespace, func(*Token) (bool, error) { return false, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("when its claim is lost: %v", err)
	}
}

// scanning counts how often all tokens of a namespace are gone through.
type scanning struct {
	store.Store
	scans atomic.Int64
}

func (s *scanning) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	if r.Start == store.Prefix(rowKey{RootNamespace, ""}.String()).Start {
		s.scans.Add(1)
	}
	return s.Store.List(ctx, r)
}

// Orders on many entities share the work, which ends the tokens of each, of its namespace and no other. One that is given while that is under
// way is not forgotten, and that of a request that was under way ends too.
func TestTokensOfEntitiesAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended sync.Map // entities, by identifier
		during := func(entity string) {}
		st := &scanning{Store: mem.Open()}
		f := newFixtureOn(t, st, func(c *Config) {
			c.Now = time.Now
			c.Nobodys = func(_ context.Context, t *Token) (bool, error) {
				_, gone := ended.Load(t.EntityID)
				during(t.EntityID)
				return gone, nil
			}
		})
		f.now = time.Now()
		of := func(ns, entity string) string {
			return f.issue(Spec{Namespace: ns, Path: "auth/lobby/login", MountID: "m", Auth: api.Auth{TokenPolicies: []string{"dev"}, TTL: 100 * time.Hour, EntityID: entity}})
		}
		order := func(entity string) {
			ended.Store(entity, true)
			if _, err := store.Update(context.Background(), f.store, func(tx *store.Tx) error { return f.s.EntitiesEnded(tx, RootNamespace, 0, time.Minute) }); err != nil {
				t.Error(err)
			}
		}
		var texts []string
		for i := range 100 {
			texts = append(texts, of(RootNamespace, fmt.Sprint("e", i)))
		}
		below := f.child(texts[0], `{"policies":["dev"]}`, in("ns1"), withSudo)
		others, elsewhere := of(RootNamespace, "other"), of("ns1", "e1")
		late := of(RootNamespace, "late")
		during = func(entity string) {
			if _, gone := ended.Load("late"); entity == "late" && !gone {
				order("late") // of which the job has just heard that it counts
			}
		}
		go func() {
			for i := range texts {
				order(fmt.Sprint("e", i))
				time.Sleep(10 * time.Millisecond)
			}
		}()
		f.run(f.s.Jobs(), 30*time.Second)
		for _, text := range append(texts, below, late) {
			f.mustBe(text, false)
		}
		f.mustBe(others, true)
		f.mustBe(elsewhere, true)
		if n := st.scans.Load(); n > 2 {
			t.Errorf("all tokens were gone through %d times", n)
		}
		just := of(RootNamespace, "e7") // of a request that had begun before
		f.run(f.s.Jobs(), time.Minute)
		f.mustBe(just, false)
	})
}

// What is the method's own business is told to nobody.
func TestWhatAMethodKeepsIsNotTold(t *testing.T) {
	f := newFixture(t)
	text := f.login("m", "dev")
	tok, err := f.lookup(text)
	if err != nil || string(tok.Private) != "who" {
		t.Fatalf("%v", err)
	}
	if a := tok.auth(text); a.Private != nil || a.Alias != nil {
		t.Errorf("the answer has %q", a.Private)
	}
}

// A child is of its parent's method and entity, wherever it is made; a batch token takes
// nothing of the method's along.
func TestChildrenAreOfTheirParentsMethod(t *testing.T) {
	f := newFixture(t)
	text := f.issue(Spec{Namespace: RootNamespace, Path: "auth/lobby/login", MountID: "m",
		Auth: api.Auth{TokenPolicies: []string{"dev"}, TTL: time.Hour, EntityID: "e"}})
	for _, opts := range [][]option{nil, {in("ns1"), withSudo}} {
		child, err := f.lookup(f.child(text, `{"policies":["dev"],"ttl":"10m"}`, opts...))
		if err != nil {
			t.Fatal(err)
		}
		if child.MountID != "m" || child.MountNamespace != RootNamespace || child.Login || child.EntityID != "e" || child.EntityNamespace() != RootNamespace {
			t.Errorf("in %s: %+v", child.NamespaceID, child)
		}
	}
	batch, err := f.lookup(f.issue(Spec{Namespace: RootNamespace, Path: "auth/lobby/login", MountID: "m",
		Auth: api.Auth{TTL: time.Hour, TokenType: Batch, Private: []byte("who")}}))
	if err != nil || batch.Private != nil || batch.MountID != "m" {
		t.Errorf("a batch token: %+v, %v", batch, err)
	}
}

// A token of a login keeps by which alias that was, also when it is renewed; what is made by it, and a batch token, which is not renewed, do not.
func TestAliasOfTheLogin(t *testing.T) {
	f := newFixture(t)
	sp := Spec{Namespace: RootNamespace, Path: "auth/lobby/login", MountID: "m", Auth: api.Auth{TokenPolicies: []string{"dev"}, TTL: time.Hour, Renewable: true, EntityID: "e", Alias: &api.Alias{Name: "ann"}}}
	text := f.issue(sp)
	if _, _, err := f.write(text, "renew-self", `{}`); err != nil {
		t.Fatal(err)
	}
	child := f.child(text, `{"policies":["dev"]}`)
	sp.Auth.TokenType = Batch
	for which, c := range map[string]struct{ text, want string }{"its own": {text, "ann"}, "a child": {child, ""}, "a batch token": {f.issue(sp), ""}} {
		if got, err := f.lookup(c.text); err != nil || got.Alias != c.want {
			t.Errorf("%s: %+v, %v", which, got, err)
		}
	}
}
