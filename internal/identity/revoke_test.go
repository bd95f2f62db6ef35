package identity_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
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

// Who is not there, or has become another, has no tokens to revoke: nobody is to take a slip for the end of a token.
func TestRevokedTokensOfNobody(t *testing.T) {
	w := newWorld(t)
	ann, bob, _, _ := w.two()
	w.do(api.Write, "entity/merge", mergeOf(bob, ann))
	for _, id := range []string{ann, api.NewUUID(), "ann"} {
		w.refused("entity/id/"+id+"/revoke-tokens", "", "id: invalid entity id")
	}
	if _, err := w.try("team", api.Write, "entity/id/"+bob+"/revoke-tokens", ""); api.KindOf(err) != api.Invalid {
		t.Errorf("of another namespace: %v", err)
	}
}
