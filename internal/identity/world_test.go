package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// world is identities over a store in memory, for the namespaces root, team below it
// and squad below that, with the mounts door, hall and, of names in lower case, desk.
type world struct {
	t      testing.TB
	store  store.Store
	ids    *identity.Store
	router *api.Router
	now    time.Time
}

var errGone = errors.New("the namespace is gone")

// mounts are the auth methods of every namespace, by accessor.
var mounts = map[string]identity.Mount{
	"auth_door_1": {Path: "auth/door/", Type: "door"},
	"auth_hall_1": {Path: "auth/hall/", Type: "hall"},
	"auth_desk_1": {Path: "auth/desk/", Type: "desk", Spell: func(_ context.Context, name string) (string, error) { return strings.ToLower(name), nil }},
}

var above = map[string][]string{"root": {"root"}, "team": {"team", "root"}, "squad": {"squad", "team", "root"}}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: mem.Open(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.ids = w.node()
	w.router = w.routes(w.ids)
	return w
}

// node is one more node on the store.
func (w *world) node() *identity.Store {
	w.t.Helper()
	cache := must(store.NewCache(context.Background(), w.store))(w.t)
	w.t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return identity.New(identity.Config{Store: w.store, Cache: cache, Now: func() time.Time { return w.now },
		Mount: func(_ context.Context, _, accessor string) (identity.Mount, bool, error) {
			m, ok := mounts[accessor]
			return m, ok, nil
		},
		Lineage: func(_ context.Context, nsID string) ([]string, error) { return above[nsID], nil },
		Gone:    func(err error) bool { return errors.Is(err, errGone) }})
}

func (w *world) routes(s *identity.Store) *api.Router {
	eps := must(api.Bind(s, identity.Routes()))(w.t)
	return must(api.NewRouter(eps))(w.t)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) call(ns, accessor string) *api.Call {
	return &api.Call{Context: context.Background(), Namespace: api.Namespace{ID: ns}, Mount: api.Mount{Accessor: accessor}, Now: w.now}
}

// try sends a request in a namespace and answers what it was answered, as JSON.
func (w *world) try(ns string, op api.Op, path, body string) (map[string]any, error) {
	w.t.Helper()
	return w.send(w.call(ns, ""), op, path, body)
}

// warned sends a write and answers its answer and what it was warned of.
func (w *world) warned(path, body string) (answer map[string]any, warnings string) {
	w.t.Helper()
	c := w.call("root", "")
	answer = must(w.send(c, api.Write, path, body))(w.t)
	return answer, strings.Join(c.Warnings(), "\n")
}

func (w *world) send(c *api.Call, op api.Op, path, body string) (map[string]any, error) {
	w.t.Helper()
	m, err := w.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	if body == "" {
		body = "{}"
	}
	req, unknown, err := m.Endpoint.Decode(&m, must(api.ParseBody([]byte(body)))(w.t))
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		w.t.Fatalf("%s: unknown parameters %v", path, unknown)
	}
	v, err := m.Endpoint.Invoke(c, req)
	if err != nil || v == nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(must(json.Marshal(v))(w.t), &out); err != nil {
		w.t.Fatal(err)
	}
	return out, nil
}

func (w *world) do(op api.Op, path, body string) map[string]any {
	w.t.Helper()
	return must(w.try("root", op, path, body))(w.t)
}

// write is do for a write, and its answer's id.
func (w *world) write(path, body string) string {
	w.t.Helper()
	id, _ := w.do(api.Write, path, body)["id"].(string)
	return id
}

// refused fails the test unless a write is refused with a text.
func (w *world) refused(path, body, text string) {
	w.t.Helper()
	v, err := w.try("root", api.Write, path, body)
	if k := api.KindOf(err); err == nil || k != api.Invalid && k != api.TooLarge || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s %s: got %v, %v; want a refusal with %q", path, body, v, err, text)
	}
}

// login lets somebody in, and answers who it is.
func (w *world) login(accessor, name string, groups ...string) *identity.Person {
	w.t.Helper()
	p, err := w.enter(w.ids, "root", accessor, name, groups...)
	return must(p, err)(w.t)
}

func (w *world) enter(s *identity.Store, ns, accessor, name string, groups ...string) (*identity.Person, error) {
	w.fresh(s)
	return s.Admit(w.call(ns, accessor), said(name, groups...))
}

// said is what an auth method says of somebody.
func said(name string, groups ...string) *api.Auth {
	return &api.Auth{Alias: &api.Alias{Name: name}, GroupAliases: groups, TTL: time.Hour}
}

// fresh is what a request does first.
func (w *world) fresh(s *identity.Store) {
	w.t.Helper()
	must(s.Cache.Fresh(context.Background()))(w.t)
}

// aliasOf is the identifier of an entity's first alias.
func (w *world) aliasOf(id string) string {
	w.t.Helper()
	return w.do(api.Read, "entity/id/"+id, "")["aliases"].([]any)[0].(map[string]any)["id"].(string)
}

// person is an entity as its tokens have it.
func (w *world) person(ns, id string) *identity.Person {
	w.t.Helper()
	w.fresh(w.ids)
	return must(w.ids.Person(context.Background(), ns, id))(w.t)
}

// has fails the test unless a person has just these policies in a namespace.
func (w *world) has(ns, id string, want ...string) {
	w.t.Helper()
	p := w.person("root", id)
	if p == nil {
		w.t.Errorf("there is no such entity, want policies %v", want)
		return
	}
	if got := p.Policies[ns]; !slices.Equal(got, want) {
		w.t.Errorf("policies in %s are %v, want %v", ns, got, want)
	}
}

// rows counts the rows with a prefix.
func (w *world) rows(prefix string) int {
	w.t.Helper()
	return must(store.Count(context.Background(), w.store, prefix, nil))(w.t)
}

// work does everything that is scheduled, and answers how much that was.
func (w *world) work(s *identity.Store) int {
	w.t.Helper()
	done := 0
	for _, ns := range []string{"root", "team", "squad"} {
		for _, e := range must(w.store.List(context.Background(), store.Prefix(ns+"/due/")))(w.t) {
			parts := strings.Split(e.Key, "/")
			var row struct{ Data []byte }
			if err := json.Unmarshal(e.Value, &row); err != nil {
				w.t.Fatal(err)
			}
			job := &schedule.Job{Item: schedule.Item{Namespace: ns, Kind: parts[3], ID: parts[4], Data: row.Data}}
			if err := s.Jobs()[job.Kind](context.Background(), job); err != nil {
				w.t.Fatal(err)
			}
			must(w.store.Commit(context.Background(), nil, []store.Write{{Key: e.Key, Delete: true}}))(w.t)
			done++
		}
	}
	return done
}
