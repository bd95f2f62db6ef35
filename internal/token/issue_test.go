package token

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

func TestIssueForALogin(t *testing.T) {
	var asked string
	f := newFixture(t, func(c *Config) {
		c.Mount = func(_ context.Context, of *Token) (Limits, error) {
			nsID, path := of.NamespaceID, of.Path
			asked = nsID + " " + path
			return Limits{Max: 3 * time.Hour}, nil
		}
	})
	var warnings []string
	a, err := f.s.Issue(t.Context(), Spec{
		Namespace: "ns1", Path: "auth/userpass/login/alice", Mount: Limits{time.Hour, 2 * time.Hour},
		Auth: api.Auth{TokenPolicies: []string{"Dev", "ops"}, DisplayName: "userpass-alice", EntityID: "e1", Renewable: true, TTL: 5 * time.Hour},
		Warn: func(w string) { warnings = append(warnings, w) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Policies, []string{"default", "dev", "ops"}) || a.TTL != 2*time.Hour || !a.Orphan || a.EntityID != "e1" || len(warnings) != 1 {
		t.Errorf("unexpected answer %+v, warnings %q", a, warnings)
	}
	text := a.ClientToken.Reveal()
	f.now = f.now.Add(time.Hour)
	resp, _, err := f.write(text, "renew-self", `{"increment":"9h"}`)
	if err != nil || resp.(*api.Auth).TTL != 2*time.Hour || asked != "ns1 auth/userpass/login/alice" {
		t.Errorf("renewal by the mount's limits: %v, %v, asked for %q", resp, err, asked)
	}
	short, err := f.s.Issue(t.Context(), Spec{Namespace: RootNamespace, Path: "auth/x/login", Now: f.now, Auth: api.Auth{MaxTTL: time.Minute, NoDefaultPolicy: true}})
	if err != nil || short.TTL != time.Minute || len(short.Policies) != 0 {
		t.Errorf("a role's maximum: %+v, %v", short, err)
	}
	root, err := f.s.Issue(t.Context(), Spec{Namespace: RootNamespace, Path: "auth/token/root", Root: true, Auth: api.Auth{TTL: time.Hour}})
	if err != nil || root.TTL != time.Hour || !slices.Equal(root.Policies, []string{"root"}) {
		t.Errorf("an expiring root token: %+v, %v", root, err)
	}
	if got := f.issue(Spec{Namespace: RootNamespace, Path: "auth/token/root", Root: true, ID: api.NewSecret("dev")}); got != "dev" {
		t.Error("the operator's root token has another text")
	}
	f.mustBe("dev", true)
	_, err = f.s.Issue(t.Context(), Spec{Namespace: "ns1", Root: true, ID: api.NewSecret("dev")})
	f.refuses(api.Invalid, "token IDs can only be manually specified in the root namespace", err)
	_, err = f.s.Issue(t.Context(), Spec{Namespace: RootNamespace, Auth: api.Auth{BoundCIDRs: []string{"x"}}})
	f.refuses(api.Invalid, "bound_cidrs: not an address or a range of addresses", err)
	_, err = f.s.Issue(t.Context(), Spec{Namespace: RootNamespace, Auth: api.Auth{TokenType: Batch, NumUses: 1}})
	f.refuses(api.Invalid, "batch tokens cannot have a use limit, a period or an explicit maximum TTL", err)
}

func TestBoundAddresses(t *testing.T) {
	f := newFixture(t)
	text := f.issue(Spec{Namespace: RootNamespace, Path: "auth/x/login", Auth: api.Auth{BoundCIDRs: []string{"127.0.0.1", "10.0.0.0/8", "fd00::/8"}}})
	for _, bound := range []string{text, f.child(text, `{}`)} {
		tok, err := f.lookup(bound)
		if err != nil {
			t.Fatal(err)
		}
		for addr, want := range map[string]bool{"127.0.0.1": true, "127.0.0.2": false, "10.9.9.9": true, "::ffff:10.9.9.9": true, "11.0.0.1": false, "fd00::1": true, "fe80::1": false} {
			if tok.AllowedFrom(netip.MustParseAddr(addr)) != want {
				t.Errorf("from %s: %v; want %v", addr, !want, want)
			}
		}
		if tok.AllowedFrom(netip.Addr{}) {
			t.Error("allowed from nowhere")
		}
	}
	if root, err := f.lookup(f.root); err != nil || !root.AllowedFrom(netip.Addr{}) {
		t.Errorf("an unbound token is bound: %v", err)
	}
}

// A bound token must have no child that can be used from elsewhere, whatever
// way the child is made.
func TestBoundAddressesAreInherited(t *testing.T) {
	f := newFixture(t)
	for name, body := range map[string]string{
		"plain": `{}`, "orphans": `{"orphan":true}`, "batch": `{"orphan":true,"renewable":false,"token_type":"batch"}`,
		"wider": `{"token_bound_cidrs":["10.0.0.0/7","192.0.2.0/24"]}`, "narrower": `{"token_bound_cidrs":["10.1.0.0/16"]}`, "apart": `{"token_bound_cidrs":["192.0.2.0/24"]}`,
	} {
		if _, _, err := f.write(f.root, "roles/"+name, body); err != nil {
			t.Fatal(err)
		}
	}
	bound := f.issue(Spec{Namespace: RootNamespace, Path: "auth/x/login", Auth: api.Auth{TokenPolicies: []string{"p"}, BoundCIDRs: []string{"127.0.0.1", "10.0.0.0/8"}}})
	own := []string{"127.0.0.1", "10.0.0.0/8"}
	for path, want := range map[string][]string{
		"create": own, "create-orphan": own, "create/plain": own, "create/orphans": own, "create/batch": own,
		"create/wider": {"10.0.0.0/8"}, "create/narrower": {"10.1.0.0/16"},
	} {
		resp, _, err := f.write(bound, path, `{}`)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		tok, err := f.lookup(resp.(*api.Auth).ClientToken.Reveal())
		if err != nil || !slices.Equal(tok.BoundCIDRs, want) || tok.AllowedFrom(netip.MustParseAddr("192.0.2.1")) {
			t.Errorf("%s is bound to %v, %v; want %v", path, tok.BoundCIDRs, err, want)
		}
	}
	_, _, err := f.write(bound, "create/apart", `{}`)
	f.refuses(api.Invalid, "the calling token is bound to addresses of which the role has none", err)
	resp, _, err := f.write(f.root, "create/apart", `{"policies":["p"]}`)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := f.lookup(resp.(*api.Auth).ClientToken.Reveal()); err != nil || !slices.Equal(tok.BoundCIDRs, []string{"192.0.2.0/24"}) {
		t.Errorf("a role's addresses for a token of an unbound caller: %v, %v", tok, err)
	}
}

// TestLeaseIsTTL has the older name of ttl mean the same, unless ttl is there too.
// That rules of policies on the one hold for the other is for the gate to see to.
func TestLeaseIsTTL(t *testing.T) {
	f := newFixture(t)
	short := f.describe(f.child(f.root, `{"policies":["p"],"ttl":"1h"}`))
	lease := f.describe(f.child(f.root, `{"policies":["p"],"lease":"1h"}`))
	both := f.describe(f.child(f.root, `{"policies":["p"],"lease":"2h","ttl":"1h"}`))
	if short.CreationTTL != lease.CreationTTL || both.CreationTTL != short.CreationTTL {
		t.Errorf("with ttl %v, with lease %v, with both %v", short.CreationTTL, lease.CreationTTL, both.CreationTTL)
	}
}

func TestMissingPoliciesAreWarnedOf(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.HasPolicy = func(_ context.Context, _, name string) (bool, error) { return name == "known", nil }
	})
	_, c, err := f.write(f.root, "create", `{"policies":["known","b","default"]}`)
	if err != nil || !slices.Equal(c.Warnings(), []string{`Policy "b" does not exist`}) {
		t.Errorf("warnings %q, %v", c.Warnings(), err)
	}
}

// A token whose name comes back must not be caught in the old one's revocation.
func TestCustomTokenWaitsForItsPredecessor(t *testing.T) {
	fail := true
	f := newFixture(t, func(c *Config) {
		c.OnRevoke = []func(context.Context, string, string) error{func(context.Context, string, string) error {
			if fail {
				return errors.New("the cubbyhole is out of reach")
			}
			return nil
		}}
	})
	f.child(f.child(f.root, `{"id":"mine"}`), `{}`)
	if err := f.revoke("mine"); err == nil {
		t.Fatal("a revocation was answered before it was done")
	}
	f.mustBe("mine", false)
	_, _, err := f.write(f.root, "create", `{"id":"mine"}`)
	f.refuses(api.Invalid, "cannot create a token with a duplicate ID", err)
}

func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.Now = time.Now })
		f.now = time.Now()
		keep := f.child(f.root, `{"policies":["p"],"ttl":"900h"}`)
		lost := f.create(f.root, `{"policies":["p"],"ttl":"1h"}`)
		tok, err := f.lookup(lost.ClientToken.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		// Meddling: the due-time is gone, and an accessor leads nowhere.
		_, err = store.Update(t.Context(), f.store, func(tx *store.Tx) error {
			schedule.Remove(tx, schedule.Item{Namespace: RootNamespace, At: tok.Due, Kind: kindExpire, ID: tok.ID})
			tx.Put(accessorKey(RootNamespace, "stray"), []byte(`{"accessor":"a","token":"none"}`))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		f.run(f.s.Jobs(), 2*time.Hour)
		if len(f.rows(tok.ID)) == 0 {
			t.Fatal("the control was revoked without its due-time")
		}
		if _, _, err := f.write(f.root, "tidy", ""); err != nil {
			t.Fatal(err)
		}
		f.run(f.s.Jobs(), time.Minute)
		if rows := append(f.rows(tok.ID), f.rows("stray")...); len(rows) != 0 {
			t.Errorf("rows left: %v", rows)
		}
		f.mustBe(keep, true)
	})
}

// Tidying ends the tokens of entities that are no more, those in the namespace that is tidied, and no others.
func TestTidyEndsTokensOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := map[string]bool{"gone": true}
		f := newFixture(t, func(c *Config) {
			c.Now = time.Now
			c.Nobodys = func(_ context.Context, t *Token) (bool, error) {
				if t.EntityID == "" {
					return false, errors.New("asked about a token of no entity")
				}
				return gone[t.EntityNamespace()+"/"+t.EntityID] || t.EntityNamespace() == RootNamespace && gone[t.EntityID], nil
			}
		})
		f.now = time.Now()
		of := func(ns, entity string) string {
			return f.issue(Spec{Namespace: ns, Path: "auth/m/login", MountID: "m", Now: f.now, Auth: api.Auth{TokenPolicies: []string{"p"}, TTL: 900 * time.Hour, EntityID: entity}})
		}
		gones, theirs, nobodys, elsewhere := of(RootNamespace, "gone"), of(RootNamespace, "there"), of(RootNamespace, ""), of("ns1", "gone")
		child := f.child(gones, `{"policies":["p"]}`)
		f.mustBe(child, true)
		if _, _, err := f.write(f.root, "tidy", ""); err != nil {
			t.Fatal(err)
		}
		f.run(f.s.Jobs(), time.Minute)
		for _, tok := range []string{gones, child} {
			f.mustBe(tok, false)
		}
		for _, tok := range []string{theirs, nobodys, elsewhere, f.root} {
			f.mustBe(tok, true)
		}
	})
}

func TestGlobsDoNotMeanRoot(t *testing.T) {
	r := &Role{AllowedPoliciesGlob: []string{"*", "r*", "root"}}
	if r.allows("root", true) || !r.allows("roots", true) {
		t.Error("a glob allows the root policy, or nothing")
	}
}
