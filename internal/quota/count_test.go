package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/token"
)

type noKeys struct{}

func (noKeys) AddNamespaceBelow(context.Context, string, string) error { return nil }
func (noKeys) DropNamespace(context.Context, string) error             { return nil }

// world is nodes on one store that count things: rows that hold their marks.
type world struct {
	t     *testing.T
	data  store.Store
	nodes []*Store
	calls []*api.Call // of each node, in the root namespace
	ns    map[string]string
	made  int
}

func newWorld(t *testing.T, nodes int) *world {
	data := mem.New(mem.Options{})
	w := &world{t: t, data: data.Open(), ns: map[string]string{"": namespace.RootID}}
	for range nodes {
		w.node(data.Open())
	}
	n := w.nodes[0]
	for _, path := range []string{"team/", "team/deep/"} {
		parent, name := w.ns[strings.TrimSuffix(path[:strings.LastIndex(path[:len(path)-1], "/")+1], "")], strings.TrimSuffix(path[strings.LastIndex(path[:len(path)-1], "/")+1:], "/")
		made, err := n.Namespaces.Create(t.Context(), api.Namespace{ID: parent}, name, nil)
		w.ok(err)
		w.ns[path] = made.ID
	}
	for _, id := range w.ns {
		for _, path := range []string{"a/", "b/", "auth/in/"} {
			w.ok(n.Mounts.Enable(t.Context(), id, &mount.Entry{Path: path, Type: "thing"}))
		}
	}
	return w
}

func (w *world) node(s store.Store) {
	cache, err := store.NewCache(w.t.Context(), s)
	w.ok(err)
	now := func() time.Time { return start }
	n := New(Config{Store: s, Cache: cache, Now: now, Log: slog.New(slog.DiscardHandler)})
	n.Namespaces = namespace.New(s, cache, noKeys{}, namespace.Hooks{
		Claim:   func(tx *store.Tx, parent, path string) error { return n.Mounts.Claim(tx, parent, path) },
		Furnish: func(ctx context.Context, id string) error { return n.Mounts.Furnish(ctx, id) },
		Delete:  func(*store.Tx, string) error { return nil },
	}, now)
	n.Mounts = mount.New(s, cache, mount.Hooks{Taken: n.Namespaces.Taken, Delete: func(*store.Tx, string) error { return nil }}, mount.Limits{}, now)
	eps, err := api.Bind(n, []api.Route[*Store]{api.Handle(api.Write, "enter", (*Store).enterBy), api.Handle(api.Read, "role/{name}", (*Store).showRole)})
	w.ok(err)
	w.ok(n.Mounts.Install([]api.Engine{{Type: "system"}, {Type: "token", Auth: true}, {Type: "cubbyhole"}, {Type: "thing"}, {Type: "thing", Auth: true, Endpoints: eps}}))
	w.ok(n.Mounts.Furnish(w.t.Context(), namespace.RootID))
	w.nodes = append(w.nodes, n)
	w.calls = append(w.calls, &api.Call{Context: w.t.Context(), Now: start, Namespace: api.Namespace{ID: namespace.RootID}})
	w.t.Cleanup(func() { w.ok(errors.Join(cache.Close(), s.Close())) })
}

// loginBy is a login by a role.
type loginBy struct {
	Role string `json:"role"`
}

func (l *loginBy) LoginRole(*api.Call) (string, error) { return l.Role, nil }

func (s *Store) enterBy(*api.Call, *loginBy) (*api.None, error) { return nil, nil }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// fresh is a node that has caught up.
func (w *world) fresh(i int) *Store {
	w.t.Helper()
	n := w.nodes[i%len(w.nodes)]
	_, err := n.Cache.Fresh(w.t.Context())
	w.ok(err)
	return n
}

const things = "root/thing/"

// thing is a row that is counted: what it is as text, and its mark.
func (w *world) what(text string) token.Counted {
	ns, path, _ := strings.Cut(text, "|")
	path, role, _ := strings.Cut(path, "|")
	role, entity, _ := strings.Cut(role, "|")
	return token.Counted{NamespaceID: w.ns[ns], Path: path, Role: role, EntityID: entity}
}

func (w *world) make(n *Store, id int, text string, exempt bool) error {
	what := w.what(text)
	what.Exempt = exempt
	_, err := store.Update(w.t.Context(), n.Store, func(tx *store.Tx) error {
		mark, err := n.Charge(tx, what)
		tx.Put(fmt.Sprint(things, id), []byte(mark+" "+text))
		return err
	})
	return err
}

func (w *world) end(n *Store, keys ...string) {
	w.t.Helper()
	_, err := store.Update(w.t.Context(), n.Store, func(tx *store.Tx) error {
		var marks []string
		for _, k := range keys {
			e, err := tx.Get(k)
			if err != nil {
				return err
			}
			if !e.Exists() {
				continue
			}
			mark, _, _ := strings.Cut(string(e.Value), " ")
			marks = append(marks, mark)
			tx.Delete(k)
		}
		return n.Credit(tx, marks...)
	})
	w.ok(err)
}

// Recount implements Kept for the root namespace, where all things lie.
func (w *world) recounter(n *Store) kept {
	return func(ctx context.Context, nsID string) error {
		if nsID != namespace.RootID {
			return nil
		}
		for key := range w.rows() {
			_, err := store.Update(ctx, n.Store, func(tx *store.Tx) error {
				e, err := tx.Get(key)
				if err != nil || !e.Exists() {
					return err
				}
				mark, text, _ := strings.Cut(string(e.Value), " ")
				if mark, err = n.Move(tx, w.what(text), mark); err == nil {
					tx.Put(key, []byte(mark+" "+text))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

type kept func(context.Context, string) error

func (k kept) Recount(ctx context.Context, nsID string) error { return k(ctx, nsID) }

// rows are the things that there are, by key.
func (w *world) rows() map[string]string {
	es, err := w.data.List(context.Background(), store.Prefix(things))
	w.ok(err)
	out := map[string]string{}
	for _, e := range es {
		out[e.Key] = string(e.Value)
	}
	return out
}

// check compares what quotas say with the things that there are. settled says that
// everything has been counted anew since the last change.
func (w *world) check(settled bool) {
	w.t.Helper()
	n, marks := w.fresh(0), map[string]int64{}
	for _, v := range w.rows() {
		mark, text, _ := strings.Cut(v, " ")
		marks[mark]++
		if !settled {
			continue
		}
		if right, err := n.Counts(w.t.Context(), w.what(text), mark); err != nil || !right {
			w.t.Errorf("%s is counted by %q (%v)", text, mark, err)
		}
	}
	p, err := n.Plan(w.t.Context())
	w.ok(err)
	for _, q := range w.all(p) {
		for _, entity := range []string{"", "e1", "e2"} {
			left, err := n.left(w.t.Context(), q, entity)
			w.ok(err)
			if is := marks[q.mark(token.Counted{EntityID: entity})]; q.Max-left != is {
				w.t.Fatalf("%s says that %q has %d; it has %d", q.Name, entity, q.Max-left, is)
			}
		}
	}
	if settled {
		w.swept(p, marks)
	}
}

// swept looks that no row counts for nobody.
func (w *world) swept(p *Plan, marks map[string]int64) {
	w.t.Helper()
	es, err := w.data.List(w.t.Context(), store.Prefix(eachPrefix))
	w.ok(err)
	for _, e := range es {
		if n, err := number(e); err != nil || n == 0 || n != marks[strings.TrimPrefix(e.Key, eachPrefix)] {
			w.t.Fatalf("%s is %s (%v)", e.Key, e.Value, err)
		}
	}
}

func (w *world) all(p *Plan) (out []*Count) {
	p.counts.all(func(q *Count) { out = append(out, q) })
	return out
}

var texts = []string{"|a/x", "|a/y/z", "|b/x", "|auth/in/enter|ci", "|auth/in/enter", "|auth/token/create", "team/|a/x", "team/|sys/wrapping/wrap", "team/deep/|b/x",
	"|a/x||e1", "|a/x||e2", "|a/y/z||e1", "|auth/in/enter|ci|e1", "|auth/token/create||e2", "team/|a/x||e1", "team/deep/|b/x||e2"}

// Whatever is made, ended, resized, removed and counted anew, in whatever order, what
// a quota says is what there is, and it never lets in more than it may, nor fewer.
func TestCountIsExact(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t, 2)
		settled := true
		for range 250 {
			n := w.fresh(r.IntN(2))
			c := w.calls[slices.Index(w.nodes, n)]
			switch k := r.IntN(20); {
			case k < 10:
				w.makeOne(n, r)
			case k < 15:
				var keys []string
				for key := range w.rows() {
					if r.IntN(4) == 0 && len(keys) < 20 {
						keys = append(keys, key)
					}
				}
				w.end(n, keys...)
			case k < 18:
				path := []string{"", "team", "a", "a/x", "a/y*", "team/deep", "auth/in"}[r.IntN(7)]
				q := &CountRequest{NameRequest{api.Name("q" + strings.ReplaceAll(path, "/", "-"))}, PlaceFields{Path: path}, int64(1 + r.IntN(30)), []string{byNone, byEntityThenNone}[r.IntN(2)]}
				if q.GroupBy == byEntityThenNone {
					q.Max = 1 + q.Max/6
				}
				if q.Name = api.Name(strings.TrimSuffix(string(q.Name), "*")); path == "auth/in" && r.IntN(2) == 0 {
					q.Name, q.Role = "role", "ci"
				}
				_, err := n.writeCount(c, q)
				w.ok(err)
				settled = false
			case k == 18 && r.IntN(3) == 0:
				w.ok(n.Afresh(t.Context()))
				settled = len(w.rows()) == 0
			case k == 18:
				keys, err := n.listCounts(c, nil)
				w.ok(err)
				if len(keys.Keys) > 0 {
					_, err := n.deleteCount(c, &NameRequest{api.Name(keys.Keys[r.IntN(len(keys.Keys))])})
					w.ok(err)
					settled = false
				}
			default:
				w.ok(n.Recount(t.Context(), w.recounter(n)))
				settled = true
			}
			w.check(settled)
		}
	}
}

// makeOne makes a thing, and looks whether it should have been made.
func (w *world) makeOne(n *Store, r *rand.Rand) {
	w.t.Helper()
	text, exempt := texts[r.IntN(len(texts))], r.IntN(8) == 0
	p, err := n.Plan(w.t.Context())
	w.ok(err)
	q, err := n.counter(w.t.Context(), p, w.what(text))
	w.ok(err)
	may := true
	if q != nil {
		left, err := n.left(w.t.Context(), q, w.what(text).EntityID)
		w.ok(err)
		may = left > 0 || exempt
	}
	w.made++
	err = w.make(n, w.made, text, exempt)
	if (err == nil) != may || err != nil && api.KindOf(err) != api.TooMany {
		w.t.Fatalf("%s (exempt %v): may be made %v: %v", text, exempt, may, err)
	}
}

// Many at once, through several nodes, take exactly what there is.
func TestCountIsExactUnderContention(t *testing.T) {
	w := newWorld(t, 3)
	_, err := w.nodes[0].writeCount(w.calls[0], &CountRequest{NameRequest{"all"}, PlaceFields{}, 40, byNone})
	w.ok(err)
	for round := range 3 {
		var work sync.WaitGroup
		var mu sync.Mutex
		let := 0
		for g := range 9 {
			n := w.fresh(g)
			work.Go(func() {
				for i := range 8 {
					err := w.make(n, round*1000+g*100+i, "|a/x", false)
					mu.Lock()
					if err == nil {
						let++
					} else if api.KindOf(err) != api.TooMany {
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		work.Wait()
		if let != 40 {
			t.Fatalf("%d were made, want 40", let)
		}
		w.check(true)
		keys := slices.Collect(maps.Keys(w.rows()))
		for g := range 4 {
			work.Go(func() { w.end(w.nodes[g%3], keys[g*10:g*10+10]...) })
		}
		work.Wait()
		w.check(true)
	}
}

// So they do where each identity's are counted, of one and of several.
func TestCountOfEachIsExactUnderContention(t *testing.T) {
	w := newWorld(t, 3)
	_, err := w.nodes[0].writeCount(w.calls[0], &CountRequest{NameRequest{"all"}, PlaceFields{}, 20, byEntityThenNone})
	w.ok(err)
	let := map[string]*atomic.Int64{"": {}, "e1": {}, "e2": {}}
	var work sync.WaitGroup
	for g := range 64 {
		n, entity := w.fresh(g), []string{"e1", "e1", "e1", "e2", ""}[g%5]
		work.Go(func() {
			for i := range 2 {
				err := w.make(n, g*100+i, "|a/x||"+entity, false)
				if err == nil {
					let[entity].Add(1)
				} else if api.KindOf(err) != api.TooMany {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	for entity, n := range let {
		if n.Load() != 20 {
			t.Errorf("%q got %d, want 20", entity, n.Load())
		}
	}
	w.check(true)
	keys := slices.Collect(maps.Keys(w.rows()))
	for g := range 6 {
		work.Go(func() { w.end(w.nodes[g%3], keys[g*10:g*10+10]...) })
	}
	work.Wait()
	w.check(true)
	if es, err := w.data.List(t.Context(), store.Prefix(eachPrefix)); err != nil || len(es) != 0 {
		t.Errorf("%d rows count nothing (%v)", len(es), err)
	}
}

// What still counts, because a bound has changed while all was counted anew, is not cleared away.
func TestCountThatIsStillNeeded(t *testing.T) {
	w := newWorld(t, 1)
	n, by := w.fresh(0), func(group string) {
		_, err := w.nodes[0].writeCount(w.calls[0], &CountRequest{NameRequest{"all"}, PlaceFields{}, 20, group})
		w.ok(err)
		w.fresh(0)
	}
	meanwhile := func(group string) kept {
		return func(context.Context, string) error { by(group); return nil }
	}
	by(byEntityThenNone)
	w.ok(w.make(n, 1, "|a/x||e1", false))
	w.ok(n.Recount(t.Context(), meanwhile(byNone)))
	by(byEntityThenNone)
	w.check(false)
	by(byNone)
	if err := n.Recount(t.Context(), meanwhile(byEntityThenNone)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("counts that are needed were cleared away: %v", err)
	}
	w.check(false)
	by(byNone)
	w.ok(n.Recount(t.Context(), w.recounter(n)))
	w.check(true)
}

// Where there is no bound, nothing is written for it.
func TestNothingIsWrittenWithoutABound(t *testing.T) {
	w := newWorld(t, 1)
	n := w.fresh(0)
	_, err := store.Update(t.Context(), n.Store, func(tx *store.Tx) error {
		mark, err := n.Charge(tx, w.what("|a/x"))
		if mark != "" || tx.Len() != 0 {
			t.Errorf("mark %q, %d writes", mark, tx.Len())
		}
		return errors.Join(err, n.Credit(tx, ""))
	})
	w.ok(err)
}

// What is made while a bound is made is counted by it, in the commit.
func TestBoundThatIsMadeMeanwhile(t *testing.T) {
	w := newWorld(t, 2)
	n, attempts := w.fresh(0), 0
	_, err := store.Update(t.Context(), n.Store, func(tx *store.Tx) error {
		mark, err := n.Charge(tx, w.what("|a/x"))
		if attempts++; attempts == 1 {
			_, werr := w.nodes[1].writeCount(w.calls[1], &CountRequest{NameRequest{"all"}, PlaceFields{}, 5, byNone})
			err = errors.Join(err, werr)
		}
		tx.Put(things+"1", []byte(mark+" |a/x"))
		return err
	})
	w.ok(err)
	if attempts < 2 {
		t.Error("it was made by what held before")
	}
	w.check(true)
}
