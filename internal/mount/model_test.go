package mount

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func testClock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// fixture is mount tables on memory, beside namespaces that a test names.
type fixture struct {
	*Mounts
	store   store.Store
	cache   *store.Cache
	spaces  map[string]bool // folded names
	mu      sync.Mutex
	dropped []string // prefixes of data that is to be deleted
}

func checkKV(options map[string]string) error {
	if v := options["version"]; v != "" && v != "1" && v != "2" {
		return api.Errorf(api.Invalid, "version must be 1 or 2")
	}
	return nil
}

func newFixture() (*fixture, error) {
	f := &fixture{store: mem.Open(), spaces: map[string]bool{}}
	var err error
	if f.cache, err = store.NewCache(context.Background(), f.store); err != nil {
		return nil, err
	}
	f.Mounts = New(f.store, f.cache, Hooks{
		Taken: func(_ *store.Tx, _, path string) (bool, error) {
			first, _, _ := strings.Cut(strings.ToLower(path), "/")
			return f.spaces[first], nil
		},
		Delete: func(_ *store.Tx, prefix string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.dropped = append(f.dropped, prefix)
			return nil
		},
	}, Limits{}, testClock)
	variant := func(map[string]string) []*api.Endpoint { return nil }
	err = f.Install([]api.Engine{{Type: "kv", CheckOptions: checkKV, Variant: variant}, {Type: "system"}, {Type: "cubbyhole"},
		{Type: "token", Auth: true}, {Type: "userpass", Auth: true}})
	return f, errors.Join(err, f.Furnish(context.Background(), "root"))
}

func fixtureFor(t *testing.T) *fixture {
	t.Helper()
	f, err := newFixture()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// model is what a table should be: path to description.
type model map[string]string

// overlaps is the rule in its plainest form.
func overlaps(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	as, bs := strings.Split(strings.TrimSuffix(a, "/"), "/"), strings.Split(strings.TrimSuffix(b, "/"), "/")
	n := min(len(as), len(bs))
	return slices.Equal(as[:n], bs[:n])
}

func (m model) free(path, except string, spaces map[string]bool) bool {
	for p := range m {
		if p != except && overlaps(p, path) {
			return false
		}
	}
	return !spaces[strings.ToLower(strings.Split(path, "/")[0])]
}

var paths = rapid.Custom(func(t *rapid.T) string {
	segs := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "A", "b", "ab", "c"}), 1, 3).Draw(t, "path")
	return rapid.SampledFrom([]string{"", "", "auth/"}).Draw(t, "kind") + strings.Join(segs, "/") + "/"
})

// machine runs random changes against the tables and the model.
type machine struct {
	*fixture
	model
}

func (m *machine) enable(t *rapid.T) {
	path := paths.Draw(t, "path")
	kind := "kv"
	if strings.HasPrefix(path, authPrefix) {
		kind = "userpass"
	}
	m.agree(t, m.free(path, "", m.spaces), m.Enable(t.Context(), "root", &Entry{Path: path, Type: kind, Description: path}))
	if m.free(path, "", m.spaces) {
		m.model[path] = path
	}
}

func (m *machine) disable(t *rapid.T) {
	path := paths.Draw(t, "path")
	before := len(m.dropped)
	e, err := m.Disable(t.Context(), "root", path)
	_, there := m.model[path]
	if err != nil || (e != nil) != there || (len(m.dropped) > before) != there {
		t.Fatalf("disable %s: %v, %v; there: %v", path, e, err, there)
	}
	delete(m.model, path)
}

func (m *machine) move(t *rapid.T) {
	from, to := paths.Draw(t, "from"), paths.Draw(t, "to")
	what, there := m.model[from]
	ok := there && from != to && strings.HasPrefix(from, authPrefix) == strings.HasPrefix(to, authPrefix) && m.free(to, from, m.spaces)
	m.agree(t, ok, m.Move(t.Context(), "root", from, to))
	if ok {
		delete(m.model, from)
		m.model[to] = what
	}
}

func (m *machine) tune(t *rapid.T) {
	path, text := paths.Draw(t, "path"), rapid.StringN(0, 5, -1).Draw(t, "text")
	_, there := m.model[path]
	c := &api.Call{Context: t.Context(), Namespace: api.Namespace{ID: "root"}}
	_, err := m.Mounts.tune(c, path, &TuneRequest{Description: &text})
	m.agree(t, there, err)
	if there {
		m.model[path] = text
	}
}

func (m *machine) space(t *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	if m.spaces[name] {
		delete(m.spaces, name)
		return
	}
	_, err := store.Update(t.Context(), m.store, func(tx *store.Tx) error { return m.Claim(tx, "root", name+"/") })
	free := m.free(name+"/", "", nil)
	m.agree(t, free, err)
	if free {
		m.spaces[name] = true
	}
}

func (m *machine) agree(t *rapid.T, ok bool, err error) {
	if ok != (err == nil) || err != nil && api.KindOf(err) != api.Invalid {
		t.Fatalf("got error %v; the model allows it: %v; mounts %v", err, ok, slices.Sorted(maps.Keys(m.model)))
	}
}

// same compares the table with the model.
func (m *machine) same(t *rapid.T) {
	if _, err := m.cache.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	table, err := m.Table(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	got, ids := model{}, map[string]bool{}
	for _, e := range append(table.Entries(false), table.Entries(true)...) {
		ids[e.ID], ids[e.Accessor] = true, true
		if !e.Builtin {
			got[e.Path] = e.Description
		}
	}
	if !maps.Equal(got, m.model) || len(ids) != 2*(len(got)+len(builtins)) {
		t.Fatalf("the table is %v, the model %v; %d identifiers", got, m.model, len(ids))
	}
	for p := range m.model {
		if e, rest, ok := table.Resolve(p + "x/y"); !ok || e.Path != p || rest != "x/y" {
			t.Fatalf("%s resolves to %+v, %q", p, e, rest)
		}
	}
}

func TestTableAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, err := newFixture()
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.cache.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		m := &machine{f, model{}}
		t.Repeat(map[string]func(*rapid.T){"enable": m.enable, "disable": m.disable, "move": m.move, "tune": m.tune, "space": m.space, "": m.same})
	})
}
