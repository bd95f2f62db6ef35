package identity_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// made is a token as far as its entity goes.
type made struct {
	entity string
	epoch  int
	alive  bool
}

// Whatever entities become of which, revoking all tokens of one ends those that were made before for it and for all that have become it, and no others.
func TestRevokedTokensOfEntities(t *testing.T) {
	for seed := range uint64(40) {
		w, r := newWorld(t), rand.New(rand.NewPCG(seed, 1))
		var all []string
		var tokens []*made
		into := map[string]string{} // what entities have become
		is := func(id string) string {
			for into[id] != "" {
				id = into[id]
			}
			return id
		}
		for range 6 {
			all = append(all, w.write("entity", `{}`))
		}
		for range 60 {
			a, b := all[r.IntN(len(all))], all[r.IntN(len(all))]
			switch n := r.IntN(10); {
			case n < 5: // a login, or a child of a token that was made for what is another by now
				tokens = append(tokens, &made{is(a), w.person("root", is(a)).Epoch(), true})
				if parent := tokens[r.IntN(len(tokens))]; parent.alive {
					child := *parent
					tokens = append(tokens, &child)
				}
			case n < 8:
				w.now = w.now.Add(time.Duration(r.IntN(9)-4) * time.Hour) // another node's clock
				w.do(api.Write, "entity/id/"+is(a)+"/revoke-tokens", "")
				for _, m := range tokens {
					m.alive = m.alive && is(m.entity) != is(a)
				}
			case is(a) != is(b):
				w.do(api.Write, "entity/merge", mergeOf(is(b), is(a)))
				into[is(a)] = is(b)
			}
		}
		for i, m := range tokens {
			if ended := w.person("root", m.entity).Ended(m.epoch); ended == m.alive {
				t.Fatalf("seed %d: token %d of %s: ended %v, want %v", seed, i, m.entity, ended, !m.alive)
			}
		}
	}
}

// Who is not there, or has become another, has no tokens to revoke: nobody is to take a slip for the end of a token. What they have become is told.
func TestRevokedTokensOfNobody(t *testing.T) {
	w := newWorld(t)
	ann, bob, _, _ := w.two()
	w.do(api.Write, "entity/merge", mergeOf(bob, ann))
	for _, id := range []string{ann, api.NewUUID(), "ann"} {
		w.refused("entity/id/"+id+"/revoke-tokens", "", "id: invalid entity id")
	}
	eve := w.write("entity", `{}`)
	w.do(api.Write, "entity/merge", mergeOf(eve, bob))
	for _, id := range []string{ann, bob} {
		_, err := w.try("root", api.Write, "entity/id/"+id+"/revoke-tokens", "")
		var told *api.Error
		if !errors.As(err, &told) || !strings.Contains(told.Hint, eve) {
			t.Errorf("of one that has become another the hint does not say which: %+v", told)
		}
	}
	w.do(api.Delete, "entity/id/"+eve, "")
	w.refused("entity/id/"+ann+"/revoke-tokens", "", "id: invalid entity id: no entity of this namespace has it")
	if _, err := w.try("team", api.Write, "entity/id/"+w.write("entity", `{}`)+"/revoke-tokens", ""); api.KindOf(err) != api.Invalid {
		t.Errorf("of another namespace: %v", err)
	}
}

// Whether the tokens of an entity count no more is told by its row and those of what it has become, though a row of its groups is damaged.
func TestEndedWhereAGroupIsDamaged(t *testing.T) {
	w := newWorld(t)
	ann, bob, _, _ := w.two()
	group := w.write("group", `{"name":"red","member_entity_ids":`+list(bob)+`}`)
	epoch := func(id string) int { return w.person("root", id).Epoch() }
	w.do(api.Write, "entity/id/"+ann+"/revoke-tokens", "")
	anns, bobs := epoch(ann), epoch(bob)
	w.do(api.Write, "entity/merge", mergeOf(bob, ann))
	must(store.Update(t.Context(), w.store, func(tx *store.Tx) error {
		tx.Put("root/identity/group/"+group, []byte("{"))
		return nil
	}))(t)
	w.fresh(w.ids)
	if _, err := w.ids.Person(t.Context(), "root", bob); !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("who is in a damaged group: %v", err)
	}
	is := func(when, id string, epoch int, want bool) {
		t.Helper()
		if ended, err := w.ids.Ended(t.Context(), "root", id, epoch); err != nil || ended != want {
			t.Errorf("%s: %v (%v), want %v", when, ended, err, want)
		}
	}
	is("of one that has become another", ann, anns, false)
	is("before its last order", ann, anns-1, true)
	is("of the one that it has become", bob, bobs, false)
	w.do(api.Write, "entity/id/"+bob+"/revoke-tokens", "")
	is("after an order on what it has become", ann, anns, true)
	is("after an order", bob, bobs, true)
	is("of nobody", api.NewUUID(), anns, true)
}
