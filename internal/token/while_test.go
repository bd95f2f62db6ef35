package token

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// between is a store in which something happens just before a commit.
type between struct {
	store.Store
	do func()
}

func (b *between) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return b.Store.Commit(ctx, checks, writes)
}

// What a token keeps is written while it lives or not at all; its renewal is not in
// the way, and a conflict of the writer's own is told as one.
func TestNothingIsKeptForADeadToken(t *testing.T) {
	b := &between{Store: mem.Open()}
	f := newFixtureOn(t, b)
	text := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
	tok, err := f.lookup(text)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, checks ...store.Check) error {
		_, err := f.s.While(tok).Commit(t.Context(), checks, []store.Write{{Key: key, Value: []byte("v")}})
		return err
	}
	b.do = func() {
		if _, _, err := f.write(text, "renew-self", `{}`); err != nil {
			t.Error(err)
		}
	}
	if err := put("root/kept/renewed"); err != nil {
		t.Errorf("beside a renewal: %v", err)
	}
	if err := put("root/kept/conflict", store.Check{Key: "root/kept/renewed", Rev: 0}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("against a check of its own: %v", err)
	}
	b.do = func() {
		if err := f.revoke(text); err != nil {
			t.Error(err)
		}
	}
	if err := put("root/kept/late"); api.KindOf(err) != api.Denied {
		t.Errorf("beside its revocation: %v", err)
	}
	if err := put("root/kept/later"); api.KindOf(err) != api.Denied {
		t.Errorf("after its revocation: %v", err)
	}
	for key, want := range map[string]bool{"root/kept/renewed": true, "root/kept/conflict": false, "root/kept/late": false, "root/kept/later": false} {
		if e, err := b.Get(t.Context(), key); err != nil || e.Exists() != want {
			t.Errorf("%s: there is one: %v, want %v (%v)", key, e.Exists(), want, err)
		}
	}
}

// A token's limits are those of its own namespace, wherever it asks.
func TestLimitsOfAnotherNamespace(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Mount = func(_ context.Context, of *Token) (Limits, error) {
			nsID := of.NamespaceID
			if nsID != RootNamespace {
				t.Errorf("asked for the limits of %s", nsID)
			}
			return Limits{Default: time.Hour, Max: 2 * time.Hour}, nil
		}
	})
	text := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
	got, _, err := f.write(text, "renew-self", `{"increment":"100h"}`, in("ns1"), mountLimits(1000*time.Hour, 1000*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if ttl := got.(*api.Auth).TTL; ttl != 2*time.Hour {
		t.Errorf("renewed for %v, want 2h", ttl)
	}
}

// flawed is a store some of whose entries are damaged.
type flawed struct {
	store.Store
	keys map[string]bool
}

func (d *flawed) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := d.Store.Get(ctx, key)
	if err == nil && e.Exists() && d.keys[key] {
		e.Value, err = nil, store.ErrCorrupt
	}
	return e, err
}

func (d *flawed) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := d.Store.List(ctx, r)
	for i := range es {
		if d.keys[es[i].Key] && !r.KeysOnly {
			es[i].Value, err = nil, store.ErrCorrupt
		}
	}
	return es, err
}

// One damaged row keeps no other token alive: neither its siblings, when their
// parent is revoked, nor those that are visited to be revoked.
func TestDamagedRowKeepsNobodyAlive(t *testing.T) {
	d := &flawed{Store: mem.Open(), keys: map[string]bool{}}
	told := 0
	f := newFixtureOn(t, d, func(c *Config) { c.Damaged = func(error) { told++ } })
	parent := f.child(f.root, `{"policies":["p"]}`)
	children := []string{f.child(parent, `{}`), f.child(parent, `{}`), f.child(parent, `{}`)}
	below := f.child(children[1], `{}`)
	tok, err := f.lookup(children[1])
	if err != nil {
		t.Fatal(err)
	}
	d.keys[tok.key().String()] = true
	seen := 0
	if err := f.s.Each(t.Context(), RootNamespace, func(*Token) error { seen++; return nil }); err != nil || seen != 5 || told != 1 {
		t.Errorf("visited %d of 5 and told %d times of a damaged one: %v", seen, told, err)
	}
	if err := f.revoke(parent); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{parent, children[0], children[1], children[2], below} {
		f.mustBe(text, false)
	}
}

// A token whose entity's row is damaged is passed over, and keeps no token of another alive.
func TestDamagedEntityKeepsNobodyAlive(t *testing.T) {
	told := 0
	f := newFixture(t, func(c *Config) {
		c.Damaged = func(error) { told++ }
		c.Nobodys = func(_ context.Context, t *Token) (bool, error) {
			if t.EntityID == "torn" {
				return false, store.ErrCorrupt
			}
			return true, nil
		}
	})
	of := func(entity string) string {
		return f.issue(Spec{Namespace: RootNamespace, Path: "auth/lobby/login", MountID: "m", Auth: api.Auth{TokenPolicies: []string{"p"}, TTL: time.Hour, EntityID: entity}})
	}
	torn, others := of("torn"), []string{of("a"), of("b"), of("c"), of("d")}
	if err := f.s.endEntities(t.Context(), &schedule.Job{Item: schedule.Item{Namespace: RootNamespace}}); err != nil || told != 1 {
		t.Errorf("told %d times of a damaged one: %v", told, err)
	}
	for _, text := range others {
		f.mustBe(text, false)
	}
	f.mustBe(torn, true)
}
