package identity

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// What is no identifier never becomes part of a key, whatever asks for it.
func TestNoKeyOfWhatIsNoIdentifier(t *testing.T) {
	never := func(key string) (store.Entry, error) {
		t.Errorf("%.80q was read", key)
		return store.Entry{}, nil
	}
	for _, id := range []string{"", "x", "../x", "a/b", strings.Repeat("a", 35), strings.Repeat("a", 37), strings.Repeat("A", 36), strings.Repeat("/", 36), strings.Repeat("a", 1<<20)} {
		a, err1 := aliasBy(never, "root", id)
		g, err2 := groupIn(never, "root", id)
		by, err3 := groupBy(never, "root", id)
		there, err4 := exists(never, key{"root", id}, ofEntity)
		if err := errors.Join(err1, err2, err3, err4); a != nil || g != nil || by != nil || there || err != nil {
			t.Errorf("%.80q names something: %v", id, err)
		}
		if e, err := (&merge{ns: "root"}).entity(never, id, "invalid"); e != nil || api.KindOf(err) != api.Invalid {
			t.Errorf("%.80q is merged: %v", id, err)
		}
	}
}

// A row that is damaged is an error. It is not taken for nothing, in whose place somebody new would come.
func TestDamagedRows(t *testing.T) {
	for _, value := range []string{"", "{", "{}", `{"name":"ann"}`, `null`, `[]`} {
		read := func(string) (store.Entry, error) { return store.Entry{Rev: 1, Value: []byte(value)}, nil }
		_, err1 := get[aliasRow](read, "x")
		_, err2 := get[Entity](read, "x")
		_, err3 := get[placeRow](read, "x")
		_, err4 := get[nameRow](read, "x")
		_, err5 := get[Group](read, "x")
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%q, row %d: %v", value, i, err)
			}
		}
	}
}

// The aliases of an entity are those whose rows say so: a row that is another's by now gives it nothing.
func TestAliasOfAnother(t *testing.T) {
	s := mem.Open()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	ann, bob := api.NewUUID(), api.NewUUID()
	_, err := store.Update(t.Context(), s, func(tx *store.Tx) error {
		a := aliasRow{ID: api.NewUUID(), EntityID: bob, Accessor: "door", Name: "ann", Metadata: map[string]string{"team": "red"}}
		return errors.Join(put(tx, a.key("root"), a), put(tx, key{"root", ann}.entity(), Entity{ID: ann, Aliases: []AliasRef{a.ref()}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := (&Store{Config: Config{Store: s}}).loadPerson(t.Context(), s, key{"root", ann})
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	if v, ok := p.Value("root", "identity.entity.aliases.door.metadata.team"); ok {
		t.Errorf("the alias of another says %q of the entity", v)
	}
}

// An entity that becomes another does not get more aliases than one can have.
func TestAliasesOfMergedEntities(t *testing.T) {
	many := func(from, n int) (out []AliasRef) {
		for i := range n {
			out = append(out, AliasRef{ID: api.NewUUID(), Accessor: fmt.Sprintf("mount_%d", from+i), Name: "ann"})
		}
		return out
	}
	for n, want := range map[int]bool{maxAliases: true, maxAliases + 1: false} {
		to := &Entity{ID: "to", Aliases: many(0, maxAliases/2)}
		if _, err := (&merge{alone: true}).join(to, &Entity{ID: "from", Aliases: many(100, n-maxAliases/2)}); (err == nil) != want {
			t.Errorf("%d aliases: %v", n, err)
		}
	}
}

// crowdIn puts an entity of home into so many groups, by namespace, and gives what the walk finds of them.
func crowdIn(t *testing.T, in map[string]int) (found map[string]int, p *Person, err error) {
	t.Helper()
	s := mem.Open()
	defer func() { err = errors.Join(err, s.Close()) }()
	ann := key{"home", api.NewUUID()}
	var writes []store.Write
	for ns, n := range in {
		for range n {
			g := key{ns, api.NewUUID()}
			writes = append(writes, store.Write{Key: ann.in() + ns + "/" + g.id}, store.Write{Key: g.group(), Value: []byte(`{"id":"` + g.id + `","name":"g","type":"internal"}`)})
		}
	}
	for part := range slices.Chunk(writes, 100) {
		if _, err := s.Commit(t.Context(), nil, part); err != nil {
			t.Fatal(err)
		}
	}
	w := newWalk(&Store{}, s, "home")
	groups, err := w.groups(t.Context(), &Entity{ID: ann.id})
	found = map[string]int{}
	for _, m := range groups {
		found[m.namespace]++
	}
	return found, &Person{Entity: &Entity{}, namespace: "home", crowd: w.crowd}, err
}

// Who is in more groups of a namespace than are read has none of them and may do nothing there, and elsewhere all that they had.
func TestCrowds(t *testing.T) {
	many := map[string]int{"b": maxForeign, "c": maxForeign, "d": maxForeign, "e": maxForeign, "f": 1, "home": 1}
	for what, c := range map[string]struct {
		in, found map[string]int
		crowded   bool // in the namespace b
		fails     bool
	}{
		"the most of its own":  {in: map[string]int{"home": maxGroups}, found: map[string]int{"home": maxGroups}},
		"one more of its own":  {in: map[string]int{"home": maxGroups + 1}, fails: true},
		"the most of another":  {in: map[string]int{"home": 2, "b": maxForeign}, found: map[string]int{"home": 2, "b": maxForeign}},
		"one more of another":  {in: map[string]int{"home": 2, "b": maxForeign + 1, "c": 3}, found: map[string]int{"home": 2, "c": 3}, crowded: true},
		"too many of all":      {in: many, found: map[string]int{"home": 1}, crowded: true},
		"many more than these": {in: map[string]int{"home": 3, "b": 3 * maxGroups}, found: map[string]int{"home": 3}, crowded: true},
	} {
		found, p, err := crowdIn(t, c.in)
		if c.fails {
			if err == nil {
				t.Errorf("%s: there are %v", what, found)
			}
			continue
		}
		crowded, err2 := p.Crowded(func() ([]string, error) { return []string{"b", "home", "root"}, nil })
		if err := errors.Join(err, err2); err != nil || !maps.Equal(found, c.found) || crowded != c.crowded || p.Partial() != c.crowded {
			t.Errorf("%s: found %v, crowded %v, partial %v, %v", what, found, crowded, p.Partial(), err)
		}
		if crowded, err := p.Crowded(func() ([]string, error) { return []string{"home", "root"}, nil }); crowded || err != nil {
			t.Errorf("%s: is crowded at home, %v", what, err)
		}
	}
}
