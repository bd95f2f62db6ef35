package wrapping_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/wrapping"
)

const secret = "tr0ub4dor&3"

// TestEveryForm wraps answers of every form and gets the same ones.
func TestEveryForm(t *testing.T) {
	login := &api.Auth{ClientToken: api.NewSecret(secret), Accessor: "acc", Policies: []string{"default", "dev"}, TokenPolicies: []string{"dev"},
		Metadata: map[string]string{"who": "ann"}, TTL: time.Hour, Renewable: true, EntityID: "e", TokenType: "service", Orphan: true, NumUses: 3}
	for name, a := range map[string]*api.Answer{
		"data":         {Data: []byte(`{"password":"` + secret + `","n":12345678901234567890,"x":null}`), LeaseDuration: 768 * time.Hour, MountType: "kv"},
		"no data":      {Data: []byte(`{}`)},
		"a list":       {Data: []byte(`[1,"a"]`)},
		"login":        {Auth: login, Warnings: []string{"one", "two"}, MountType: "token"},
		"document":     {Raw: &api.Raw{ContentType: "text/plain", Body: []byte{0, 1, 0xff}, Status: 200}},
		"warnings":     {Warnings: []string{"only this"}},
		"secret id":    {Data: []byte(`{"secret_id":"` + secret + `","secret_id_accessor":"acc"}`), MountType: "approle"},
		"no secret id": {Data: []byte(`{"secret_id_accessor":"acc"}`), MountType: "kv"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				info := w.wrap(a, time.Minute)
				if want := map[string]string{"login": "acc", "secret id": "acc"}[name]; info.WrappedAccessor != want {
					t.Errorf("wrapped accessor %q", info.WrappedAccessor)
				}
				got, err := w.unwrap(info.Token, false)
				w.must(err)
				if !reflect.DeepEqual(got, a) {
					t.Fatalf("got %+v, want %+v", got, a)
				}
				w.nothing()
			})
		})
	}
}

// TestKeptEncrypted looks for the answer and the token in what the disk would hold.
func TestKeptEncrypted(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		info := w.wrap(&api.Answer{Data: []byte(`{"password":"` + secret + `"}`)}, time.Minute)
		es, err := w.phys.List(t.Context(), store.Range{})
		w.must(err)
		for _, e := range es {
			for _, text := range []string{secret, info.Token.Reveal(), info.Accessor} {
				if strings.Contains(e.Key, text) || bytes.Contains(e.Value, []byte(text)) {
					t.Errorf("%s shows what was wrapped, or its token", e.Key)
				}
			}
		}
	})
}

// TestLookup can be repeated, tells the moment and the place, and uses nothing up.
func TestLookup(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made := time.Now()
		info := w.wrap(small(1), time.Minute)
		time.Sleep(10 * time.Second)
		for range 3 {
			for _, try := range []struct{ caller, named api.Secret }{{info.Token, api.Secret{}}, {api.Secret{}, info.Token}, {api.NewSecret("other"), info.Token}} {
				a, err := w.s.Lookup(w.call(token.RootNamespace, try.caller, 0), &wrapping.TokenRequest{Token: try.named})
				w.must(err)
				if a.CreationPath != "secret/data/app" || !a.CreationTime.Equal(made) || a.CreationTTL.Std() != time.Minute {
					t.Fatalf("%+v", a)
				}
			}
		}
		w.paired()
		_, err := w.unwrap(info.Token, true)
		w.must(err)
	})
}

// TestNoWrappingToken tries what is not, or no longer, a wrapping token.
func TestNoWrappingToken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ordinary, err := w.tokens.Issue(t.Context(), token.Spec{Namespace: token.RootNamespace, Root: true, Path: "auth/token/root"})
		w.must(err)
		used, old, revoked := w.wrap(small(1), time.Minute), w.wrap(small(2), time.Minute), w.wrap(small(3), time.Hour)
		_, err = w.unwrap(used.Token, false)
		w.must(err)
		_, err = w.tokens.RevokeToken(w.call(token.RootNamespace, api.Secret{}, 0), &token.TokenRequest{Token: revoked.Token})
		w.must(err)
		time.Sleep(time.Minute) // dead at its expiry, whether or not the schedule has come by
		for name, text := range map[string]api.Secret{"ordinary": ordinary.ClientToken, "nonsense": api.NewSecret("nonsense"),
			"used": used.Token, "expired": old.Token, "revoked": revoked.Token, "unknown": api.NewSecret("srs_" + strings.Repeat("0", 49))} {
			for _, presented := range []bool{true, false} {
				for _, c := range []func(*api.Call, *wrapping.TokenRequest) error{
					func(c *api.Call, q *wrapping.TokenRequest) error { _, err := w.s.Unwrap(c, q); return err },
					func(c *api.Call, q *wrapping.TokenRequest) error { _, err := w.s.Rewrap(c, q); return err },
					func(c *api.Call, q *wrapping.TokenRequest) error { _, err := w.s.Lookup(c, q); return err },
				} {
					call, q := w.call(token.RootNamespace, text, 0), &wrapping.TokenRequest{}
					if !presented {
						call, q = w.call(token.RootNamespace, ordinary.ClientToken, 0), &wrapping.TokenRequest{Token: text}
					}
					if err := c(call, q); api.KindOf(err) != api.Invalid || err.Error() != refusal {
						t.Errorf("%s token: %v", name, err)
					}
				}
			}
		}
		if _, err := w.unwrap(api.Secret{}, true); api.KindOf(err) != api.Denied {
			t.Errorf("without any token: %v", err)
		}
	})
}

// TestGoesWithItsToken lets tokens expire and be revoked: no row is left of what
// they stood for.
func TestGoesWithItsToken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.wrap(small(1), time.Minute)
		info, err := w.s.Wrap(w.call("team", api.Secret{}, time.Minute), "kv/x", small(2))
		w.must(err)
		if !strings.HasSuffix(info.Token.Reveal(), ".team") {
			t.Error("the token is not of the namespace of the request")
		}
		_, err = w.tokens.RevokeAccessor(w.call(token.RootNamespace, api.Secret{}, 0), &token.AccessorRequest{Accessor: w.wrap(small(3), time.Hour).Accessor})
		w.must(err)
		if n := len(w.ids("/wrapping/")); n != 2 {
			t.Fatalf("%d answers are left of those whose tokens are alive, want 2", n)
		}
		w.later(2 * time.Minute)
		w.nothing()
	})
}

// TestTooLarge finds the bound, and the largest answer in one commit with its token.
func TestTooLarge(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		sized := func(n int) *api.Answer {
			return &api.Answer{Data: []byte(`"` + strings.Repeat("x", n-len(`{"data":""}`)) + `"`)}
		}
		info := w.wrap(sized(wrapping.MaxAnswer), time.Minute)
		_, err := w.unwrap(info.Token, false)
		w.must(err)
		before := w.rows()
		_, err = w.s.Wrap(w.call(token.RootNamespace, api.Secret{}, time.Minute), "p", sized(wrapping.MaxAnswer+1))
		if api.KindOf(err) != api.TooLarge {
			t.Fatalf("got error %v", err)
		}
		if after := w.rows(); !reflect.DeepEqual(before, after) {
			t.Errorf("an answer that was too large left %v", after)
		}
	})
}

// race counts how many of 64 got the answer by take.
func race(t *testing.T, w *world, text api.Secret, take func(ready *sync.WaitGroup) bool) int {
	t.Helper()
	var got atomic.Int64
	var ready, wg sync.WaitGroup
	ready.Add(64)
	for range 64 {
		wg.Go(func() {
			if take(&ready) {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	return int(got.Load())
}

// TestOneOfManyGetsIt races unwraps, rewraps and revocations of one token.
func TestOneOfManyGetsIt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 20 {
			info := w.wrap(small(i), time.Minute)
			n := race(t, w, info.Token, func(ready *sync.WaitGroup) bool {
				ready.Done()
				ready.Wait()
				a, err := w.unwrap(info.Token, i%2 == 0)
				if err != nil && (api.KindOf(err) != api.Invalid || err.Error() != refusal) {
					t.Errorf("a loser got %v", err)
				}
				return err == nil && string(a.Data) == string(small(i).Data)
			})
			if n != 1 {
				t.Fatalf("%d of 64 got the answer", n)
			}
			w.nothing()
		}
	})
}

// TestRaceIsSeen is the control of TestOneOfManyGetsIt: reading and then removing
// hands the answer to many.
func TestRaceIsSeen(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		info := w.wrap(small(1), time.Minute)
		tok, err := w.tokens.Lookup(t.Context(), info.Token.Reveal(), time.Now())
		w.must(err)
		n := race(t, w, info.Token, func(ready *sync.WaitGroup) bool {
			e, err := w.bar.Get(context.Background(), tok.NamespaceID+"/wrapping/"+tok.ID)
			ready.Done()
			ready.Wait()
			return err == nil && e.Exists() && w.s.Erase(context.Background(), tok.NamespaceID, tok.ID) == nil
		})
		if n < 2 {
			t.Fatalf("%d got the answer where nothing made them one: the race is not seen", n)
		}
	})
}

// TestUnwrapOrRewrap races both on one token: the answer is in one place.
func TestUnwrapOrRewrap(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 10 {
			info := w.wrap(small(i), time.Minute)
			var turn atomic.Int64
			var moved sync.Map
			n := race(t, w, info.Token, func(ready *sync.WaitGroup) bool {
				ready.Done()
				ready.Wait()
				if turn.Add(1)%2 == 0 {
					_, err := w.unwrap(info.Token, false)
					return err == nil
				}
				next, err := w.s.Rewrap(w.call(token.RootNamespace, info.Token, 0), &wrapping.TokenRequest{})
				if err == nil {
					moved.Store(next.Token.Reveal(), true)
				}
				return err == nil
			})
			if n != 1 {
				t.Fatalf("%d of 64 got the answer", n)
			}
			moved.Range(func(text, _ any) bool {
				_, err := w.unwrap(api.NewSecret(text.(string)), false)
				w.must(err)
				return true
			})
			w.nothing()
		}
	})
}

// TestRewrap moves an answer to a new token, with its creation path.
func TestRewrap(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		info := w.wrap(&api.Answer{Auth: &api.Auth{ClientToken: api.NewSecret(secret), Accessor: "acc"}}, time.Minute)
		time.Sleep(40 * time.Second)
		next, err := w.s.Rewrap(w.call(token.RootNamespace, info.Token, 0), &wrapping.TokenRequest{})
		w.must(err)
		if next.CreationPath != "secret/data/app" || next.TTL != time.Minute || next.WrappedAccessor != "acc" || !next.CreationTime.Equal(time.Now()) {
			t.Errorf("%+v", next)
		}
		_, err = w.unwrap(info.Token, false)
		w.refuses(err)
		w.paired()
		time.Sleep(40 * time.Second) // beyond the life of the first token
		last, err := w.s.Rewrap(w.call(token.RootNamespace, api.Secret{}, 5*time.Second), &wrapping.TokenRequest{Token: next.Token})
		w.must(err)
		if last.TTL != 5*time.Second {
			t.Errorf("asked for 5s, got %v", last.TTL)
		}
		a, err := w.unwrap(last.Token, false)
		w.must(err)
		if a.Auth.ClientToken.Reveal() != secret {
			t.Error("the answer has changed")
		}
		w.nothing()
	})
}

// TestKilledAtEachCommit ends a node before and after each commit of an operation.
// The next one finds each answer with its token, at most one caller has had the
// answer, and nothing stays for ever.
func TestKilledAtEachCommit(t *testing.T) {
	operations := map[string]func(w *world, text api.Secret) (got bool, err error){
		"wrap": func(w *world, _ api.Secret) (bool, error) {
			_, err := w.s.Wrap(w.call(token.RootNamespace, api.Secret{}, time.Minute), "p", small(2))
			return false, err
		},
		"unwrap": func(w *world, text api.Secret) (bool, error) {
			_, err := w.unwrap(text, false)
			return err == nil, err
		},
		"rewrap": func(w *world, text api.Secret) (bool, error) {
			_, err := w.s.Rewrap(w.call(token.RootNamespace, text, 0), &wrapping.TokenRequest{})
			return false, err
		},
		"revoke": func(w *world, text api.Secret) (bool, error) {
			_, err := w.tokens.RevokeToken(w.call(token.RootNamespace, api.Secret{}, 0), &token.TokenRequest{Token: text})
			return false, err
		},
	}
	for name, do := range operations {
		for _, after := range []bool{false, true} {
			for due := 0; ; due++ {
				killed := false
				t.Run(fmt.Sprintf("%s/%d/after=%v", name, due, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { killed = killAt(t, do, due, after, name == "revoke") })
				})
				if !killed {
					break
				}
			}
		}
	}
}

// killAt reports whether the operation had so many commits.
func killAt(t *testing.T, do func(*world, api.Secret) (bool, error), due int, after, leaves bool) bool {
	disk := &storetest.Mortal{Store: mem.Open()}
	w := newWorld(t, disk)
	text := w.wrap(small(1), time.Minute).Token
	disk.Doom(due, after)
	got, err := do(w, text)
	if !disk.Dead() {
		w.must(err)
		return false
	}
	if err == nil || !errors.Is(err, storetest.ErrKilled) {
		t.Errorf("killed, and it said %v", err)
	}
	disk.Revive()
	next := newWorld(t, disk)
	if !leaves { // a revocation that is cut short is the schedule's to finish
		next.paired()
	}
	if _, err := next.unwrap(text, false); err == nil && got {
		t.Error("the answer was handed out twice")
	} else if err != nil {
		next.refuses(err)
	}
	next.later(5 * time.Minute)
	next.nothing()
	return true
}

// TestModel compares random sequences with a map of what is wrapped.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &model{world: newWorld(t, mem.Open()), t: t, r: r, kept: map[string]kept{}}
			for i := range rapid.IntRange(1, 20).Draw(r, "steps") {
				m.step(i)
			}
			m.later(3 * time.Minute)
			m.nothing()
		})
	})
}

// kept is an answer that is wrapped until end.
type kept struct {
	n   int
	end time.Time
}

// model is what is wrapped, by token, next to a store.
type model struct {
	*world
	t     *testing.T
	r     *rapid.T
	kept  map[string]kept // by token
	texts []string        // of all tokens, dead ones too
}

func (m *model) add(i *api.WrapInfo, n int) {
	m.kept[i.Token.Reveal()] = kept{n, time.Now().Add(i.TTL)}
	m.texts = append(m.texts, i.Token.Reveal())
}

func (m *model) seconds(most int) time.Duration {
	return time.Duration(rapid.IntRange(1, most).Draw(m.r, "seconds")) * time.Second
}

// step does one thing to the store and to the model.
func (m *model) step(i int) {
	step := rapid.SampledFrom([]string{"wrap", "unwrap", "rewrap", "revoke", "wait"}).Draw(m.r, "step")
	switch {
	case step == "wrap" || len(m.texts) == 0:
		m.add(m.wrap(small(i), m.seconds(90)), i)
		return
	case step == "wait":
		time.Sleep(m.seconds(60))
		return
	}
	text := rapid.SampledFrom(m.texts).Draw(m.r, "token")
	was, ok := m.kept[text]
	ok = ok && time.Now().Before(was.end)
	delete(m.kept, text)
	shown := api.NewSecret(text)
	var err error
	switch step {
	case "unwrap":
		err = m.take(shown, was.n)
	case "rewrap":
		err = m.move(shown, was.n)
	case "revoke":
		_, err = m.tokens.RevokeToken(m.call(token.RootNamespace, api.Secret{}, 0), &token.TokenRequest{Token: shown})
		m.must(err)
		return
	}
	if ok != (err == nil) {
		m.t.Fatalf("%s of a token that is alive: %v, answered %v", step, ok, err)
	}
	if err != nil {
		m.refuses(err)
	}
}

func (m *model) take(text api.Secret, n int) error {
	a, err := m.unwrap(text, false)
	if err == nil && string(a.Data) != string(small(n).Data) {
		m.t.Fatalf("got %s", a.Data)
	}
	return err
}

func (m *model) move(text api.Secret, n int) error {
	next, err := m.s.Rewrap(m.call(token.RootNamespace, text, 0), &wrapping.TokenRequest{})
	if err == nil {
		m.add(next, n)
	}
	return err
}
