package token

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// again is a login whose role says that it may be answered with the token of the one before.
func again() Spec {
	return Spec{Namespace: "ns1", Path: "auth/ci/login", MountID: "m1", Role: "ci", Reuse: true, Auth: api.Auth{
		TokenPolicies: []string{"dev"}, TTL: time.Hour, MaxTTL: 24 * time.Hour, ExplicitMaxTTL: 48 * time.Hour, Renewable: true, DisplayName: "ci-x",
		EntityID: "e1", Alias: &api.Alias{Name: "x"}, Metadata: map[string]string{"a": "1", "b": "2"}, BoundCIDRs: []string{"10.0.0.0/8"}, Private: []byte("p"),
	}}
}

// texts are the texts that are kept.
func (f *fixture) texts() []string { return f.rows("/token/reuse/") }

func (f *fixture) enter(sp Spec) *api.Auth {
	f.t.Helper()
	sp.Now = f.now
	a, err := f.s.Issue(f.t.Context(), sp)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *fixture) end(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// put writes a row behind everybody's back.
func (f *fixture) put(key, value string) {
	f.t.Helper()
	_, err := f.store.Commit(f.t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	f.end(err)
}

func (f *fixture) drop(key string) {
	f.t.Helper()
	_, err := f.store.Commit(f.t.Context(), nil, []store.Write{{Key: key, Delete: true}})
	f.end(err)
}

// kill revokes a token of ns1.
func (f *fixture) kill(a *api.Auth) {
	f.t.Helper()
	_, _, err := f.write(f.root, "revoke", `{"token":"`+a.ClientToken.Reveal()+`"}`, in("ns1"))
	f.end(err)
	f.mustBe(a.ClientToken.Reveal(), false)
}

func job(kind, id string) *schedule.Job {
	return &schedule.Job{Item: schedule.Item{Namespace: "ns1", Kind: kind, ID: id}}
}

// A login that is repeated gets the token of the one before with the time that this has left, and
// leaves nothing more behind, however often.
func TestReuse(t *testing.T) {
	f := newFixture(t)
	first := f.enter(again())
	if first.Reused || first.TTL != time.Hour {
		t.Fatalf("the first login: %+v", first)
	}
	before := len(f.keys())
	f.now = f.now.Add(time.Minute)
	for range 10_000 {
		a := f.enter(again())
		if !a.ClientToken.Equal(first.ClientToken) || !a.Reused || a.Accessor != first.Accessor || a.TTL != 59*time.Minute || a.EntityID != "e1" || !slices.Equal(a.Policies, first.Policies) {
			t.Fatalf("another token: %+v", a)
		}
	}
	if n := len(f.keys()); n != before {
		t.Errorf("%d rows, then %d", before, n)
	}
	f.mustBe(first.ClientToken.Reveal(), true)
	off := again()
	off.Reuse = false
	for range 100 {
		f.enter(off)
	}
	if n := len(f.keys()); n != before+300 {
		t.Errorf("control: logins whose role does not say so left %d rows, want 300", n-before)
	}
}

// Any difference from the login before makes a new token.
func TestReuseOnlyOfAlike(t *testing.T) {
	counter := &marks{}
	f := newFixture(t, func(c *Config) { c.Counter = counter })
	for name, change := range map[string]func(*Spec){
		"namespace":         func(sp *Spec) { sp.Namespace = "ns2" },
		"path":              func(sp *Spec) { sp.Path = "auth/moved/login" },
		"mount":             func(sp *Spec) { sp.MountID = "m2" },
		"role":              func(sp *Spec) { sp.Role = "cd" },
		"role does not say": func(sp *Spec) { sp.Reuse = false },
		"policies":          func(sp *Spec) { sp.Auth.TokenPolicies = []string{"dev", "more"} },
		"fewer policies":    func(sp *Spec) { sp.Auth.TokenPolicies = nil },
		"default policy":    func(sp *Spec) { sp.Auth.NoDefaultPolicy = true },
		"entity":            func(sp *Spec) { sp.Auth.EntityID = "e2" },
		"no entity":         func(sp *Spec) { sp.Auth.EntityID = "" },
		"alias":             func(sp *Spec) { sp.Auth.Alias = &api.Alias{Name: "y"} },
		"no alias":          func(sp *Spec) { sp.Auth.Alias = nil },
		"name":              func(sp *Spec) { sp.Auth.DisplayName = "ci-y" },
		"metadata":          func(sp *Spec) { sp.Auth.Metadata = map[string]string{"a": "1", "b": "3"} },
		"less metadata":     func(sp *Spec) { sp.Auth.Metadata = map[string]string{"a": "1"} },
		"addresses":         func(sp *Spec) { sp.Auth.BoundCIDRs = []string{"10.0.0.0/9"} },
		"any address":       func(sp *Spec) { sp.Auth.BoundCIDRs = nil },
		"ttl":               func(sp *Spec) { sp.Auth.TTL = 2 * time.Hour },
		"shorter ttl":       func(sp *Spec) { sp.Auth.TTL = time.Minute },
		"max ttl":           func(sp *Spec) { sp.Auth.MaxTTL = 23 * time.Hour },
		"mount's max ttl":   func(sp *Spec) { sp.Mount.Max = 30 * time.Minute },
		"explicit max ttl":  func(sp *Spec) { sp.Auth.ExplicitMaxTTL = 47 * time.Hour },
		"period":            func(sp *Spec) { sp.Auth.Period = time.Hour },
		"not renewable":     func(sp *Spec) { sp.Auth.Renewable = false },
		"renewal":           func(sp *Spec) { sp.Auth.Private = []byte("q") },
		"uses":              func(sp *Spec) { sp.Auth.NumUses = 5 },
		"batch":             func(sp *Spec) { sp.Auth.TokenType, sp.Auth.ExplicitMaxTTL = Batch, 0 },
		"no login":          func(sp *Spec) { sp.MountID = "" },
		"quota":             func(*Spec) { counter.now = "other" },
	} {
		counter.now = "one"
		first := f.enter(again())
		if a := f.enter(again()); !a.ClientToken.Equal(first.ClientToken) {
			t.Fatalf("%s: control: the same login gets another token", name)
		}
		sp := again()
		change(&sp)
		if a := f.enter(sp); a.ClientToken.Equal(first.ClientToken) || a.Reused {
			t.Errorf("%s: the token of another login", name)
		}
		never := slices.Contains([]string{"role does not say", "no entity", "uses", "batch", "no login"}, name)
		if a, b := f.enter(sp), f.enter(sp); never == a.ClientToken.Equal(b.ClientToken) {
			t.Errorf("%s: two such logins get the same token: %v", name, a.ClientToken.Equal(b.ClientToken))
		}
	}
}

// marks counts everything by one mark.
type marks struct{ now string }

func (*marks) Admit(context.Context, Counted) error                          { return nil }
func (m *marks) Charge(*store.Tx, Counted) (string, error)                   { return m.now, nil }
func (*marks) Credit(*store.Tx, ...string) error                             { return nil }
func (m *marks) Counts(_ context.Context, _ Counted, s string) (bool, error) { return s == m.now, nil }
func (m *marks) Move(*store.Tx, Counted, string) (string, error)             { return m.now, nil }

// What has become of a token since decides whether it is handed out again.
func TestReuseOfWhatIsLeft(t *testing.T) {
	// change is what happens to the first token; same is whether the next login gets it; kept, whether
	// the row of its text stands before that login.
	for name, c := range map[string]struct {
		change     func(f *fixture, a *api.Auth)
		same, kept bool
	}{
		"half its time is left":    {func(f *fixture, _ *api.Auth) { f.now = f.now.Add(30 * time.Minute) }, true, true},
		"less is left":             {func(f *fixture, _ *api.Auth) { f.now = f.now.Add(30*time.Minute + 1) }, false, true},
		"expired, not cleared yet": {func(f *fixture, _ *api.Auth) { f.now = f.now.Add(time.Hour) }, false, true},
		"revoked":                  {func(f *fixture, a *api.Auth) { f.kill(a) }, false, false},
		"revoked by accessor": {func(f *fixture, a *api.Auth) {
			_, _, err := f.write(f.root, "revoke-accessor", `{"accessor":"`+a.Accessor+`"}`, in("ns1"))
			f.end(err)
		}, false, false},
		"renewed": {func(f *fixture, a *api.Auth) {
			f.now = f.now.Add(40 * time.Minute)
			_, _, err := f.write(a.ClientToken.Reveal(), "renew-self", `{}`)
			f.end(err)
		}, true, true},
		"renewed by other terms": {func(f *fixture, a *api.Auth) {
			f.s.Renewal = func(*api.Call, *Token, time.Duration) (*api.Auth, error) {
				said := again().Auth
				said.Period = 2 * time.Hour
				return &said, nil
			}
			_, _, err := f.write(a.ClientToken.Reveal(), "renew-self", `{}`)
			f.end(err)
		}, false, true},
		"its method is gone": {func(f *fixture, _ *api.Auth) {
			f.end(f.s.endMount(f.t.Context(), job(kindMount, "m1")))
		}, false, false},
		"the text's row is damaged":  {func(f *fixture, _ *api.Auth) { f.put(f.texts()[0], "{") }, false, true},
		"the text's row says naught": {func(f *fixture, _ *api.Auth) { f.put(f.texts()[0], "null") }, false, true},
		"the token's row is damaged": {func(f *fixture, _ *api.Auth) { f.put(f.rows("ns1/token/id/")[0], "{") }, false, true},
		"tidied":                     {func(f *fixture, _ *api.Auth) { f.end(f.s.tidy(f.t.Context(), job(kindTidy, "rows"))) }, true, true},
		"the token's row is gone": {func(f *fixture, _ *api.Auth) {
			f.drop(f.rows("ns1/token/id/")[0])
			f.end(f.s.tidy(f.t.Context(), job(kindTidy, "rows")))
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			first := f.enter(again())
			c.change(f, first)
			if kept := len(f.texts()) == 1; kept != c.kept {
				t.Errorf("its text is kept: %v, want %v", kept, c.kept)
			}
			second := f.enter(again())
			if second.ClientToken.Equal(first.ClientToken) != c.same || second.Reused != c.same {
				t.Fatalf("the next login gets the same: %v, want %v", second.ClientToken.Equal(first.ClientToken), c.same)
			}
			f.mustBe(second.ClientToken.Reveal(), true)
			if third := f.enter(again()); !third.ClientToken.Equal(second.ClientToken) {
				t.Error("the one after gets a third token")
			}
			if len(f.texts()) != 1 {
				t.Errorf("%d texts are kept, want 1", len(f.texts()))
			}
		})
	}
}

// One that has expired is not, however short its life.
func TestReuseOfAShortLife(t *testing.T) {
	f := newFixture(t)
	sp := again()
	sp.Auth.TTL = 1
	first := f.enter(sp)
	if a := f.enter(sp); !a.ClientToken.Equal(first.ClientToken) {
		t.Error("control: while it lives it is not handed out")
	}
	f.now = f.now.Add(1)
	if a := f.enter(sp); a.ClientToken.Equal(first.ClientToken) {
		t.Error("an expired token was handed out")
	}
}

// The end of a token whose place another has taken leaves that one's text.
func TestReuseOfTheLaterOne(t *testing.T) {
	f := newFixture(t)
	first := f.enter(again())
	f.now = f.now.Add(45 * time.Minute)
	second := f.enter(again())
	f.kill(first)
	if a := f.enter(again()); !a.ClientToken.Equal(second.ClientToken) {
		t.Error("the later token is not handed out any more")
	}
	f.kill(second)
	if n := len(f.texts()); n != 0 {
		t.Errorf("%d texts are kept of tokens that are dead", n)
	}
}

// Nothing but the row of its text holds a token, and that is not named by who logs in.
func TestReuseIsKeptInOneRow(t *testing.T) {
	f := newFixture(t)
	text := f.enter(again()).ClientToken.Reveal()
	es, err := f.store.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if strings.Contains(e.Key, text) || strings.Contains(e.Key, "ci") || strings.Contains(string(e.Value), text) != strings.HasPrefix(e.Key, "ns1/token/reuse/") {
			t.Errorf("%s: %s", e.Key, e.Value)
		}
	}
}

// Of logins at once, by several nodes, one makes a token, which all get, and which lives; also when
// it is revoked between the look and the commit.
func TestReuseAtOnce(t *testing.T) {
	data := mem.New(mem.Options{})
	nodes := []*fixture{newFixtureOn(t, data.Open()), newFixtureOn(t, data.Open()), newFixtureOn(t, data.Open())}
	for range 50 {
		got := make([]*api.Auth, 64)
		var work sync.WaitGroup
		for i := range got {
			work.Go(func() {
				a, err := nodes[i%3].s.Issue(context.Background(), again())
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = a
			})
		}
		work.Wait()
		if t.Failed() {
			return
		}
		for _, a := range got {
			if !a.ClientToken.Equal(got[0].ClientToken) {
				t.Fatal("two logins at once got two tokens")
			}
		}
		nodes[1].mustBe(got[0].ClientToken.Reveal(), true)
		f := nodes[2]
		f.kill(got[0])
	}
	if n := len(nodes[0].rows("ns1/token/")); n != 0 {
		t.Errorf("%d rows are left: %v", n, nodes[0].rows("ns1/token/"))
	}
}

// What another login has made just before the commit is handed out, and not what was
// revoked just before it.
func TestReuseBeforeTheCommit(t *testing.T) {
	b := &between{Store: mem.Open()}
	f := newFixtureOn(t, b)
	var other *api.Auth
	b.do = func() { other = f.enter(again()) }
	if a := f.enter(again()); !a.Reused || !a.ClientToken.Equal(other.ClientToken) {
		t.Error("a login did not get what another had made meanwhile")
	}
	f.kill(other)
	b.do = func() {
		other = f.enter(again())
		f.kill(other)
	}
	a := f.enter(again())
	if a.ClientToken.Equal(other.ClientToken) {
		t.Error("a login got a token that had been revoked")
	}
	f.mustBe(a.ClientToken.Reveal(), true)
}
