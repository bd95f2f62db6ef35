package mfa_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// world is second factors over a store in memory, for the namespaces root and team below
// it, served by nodes.
type world struct {
	t     testing.TB
	store store.Store
	nodes []*node
	now   time.Time
}

type node struct {
	ids    *identity.Store
	mfa    *mfa.Store
	router *api.Router
	cache  *store.Cache
}

var above = map[string][]string{"root": {"root"}, "team": {"team", "root"}}

func newWorld(t testing.TB, nodes int) *world {
	t.Helper()
	w := &world{t: t, store: mem.Open(), now: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}
	for range nodes {
		w.nodes = append(w.nodes, w.node())
	}
	return w
}

func (w *world) node() *node {
	w.t.Helper()
	cache := must(store.NewCache(context.Background(), w.store))(w.t)
	w.t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			w.t.Error(err)
		}
	})
	lineage := func(_ context.Context, ns string) ([]string, error) { return above[ns], nil }
	n := &node{cache: cache}
	n.ids = identity.New(identity.Config{Store: w.store, Cache: cache, Now: func() time.Time { return w.now }, Lineage: lineage,
		Mount: func(context.Context, string, string) (identity.Mount, bool, error) {
			return identity.Mount{}, true, nil
		},
		Factors: func(ctx context.Context, ns, id string) (map[string]identity.Factor, error) {
			return n.mfa.Factors(ctx, ns, id)
		},
		Cleared: func(ctx context.Context, ns, id string) error { return n.mfa.Forget(ctx, ns, id) }})
	n.mfa = mfa.New(mfa.Config{Store: w.store, Cache: cache, Identity: n.ids, Lineage: lineage,
		Hash:     func(_ context.Context, ns, text string) (string, error) { return "h" + ns + text, nil },
		Types:    func() []string { return []string{"door", "hall"} },
		Accessor: func(_ context.Context, _, accessor string) (bool, error) { return accessor == "door_1", nil }})
	eps := append(must(api.Bind(n.mfa, mfa.Routes()))(w.t), must(api.Bind(n.mfa, mfa.SystemRoutes()))(w.t)...)
	n.router = must(api.NewRouter(append(eps, must(api.Bind(n.ids, identity.Routes()))(w.t)...)))(w.t)
	return n
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

func (w *world) call(ns string) *api.Call {
	return &api.Call{Context: context.Background(), Namespace: api.Namespace{ID: ns}, Mount: api.Mount{Accessor: "door_1"}, Now: w.now}
}

// try sends a request to a node.
func (w *world) try(n *node, c *api.Call, op api.Op, path, body string) (any, error) {
	if _, err := n.cache.Fresh(c); err != nil {
		return nil, err
	}
	m, err := n.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	if body == "" {
		body = "{}"
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		return nil, err
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, err
	}
	return m.Endpoint.Invoke(c, req)
}

// do is try on the first node in the root namespace, and its answer as JSON.
func (w *world) do(op api.Op, path, body string) map[string]any {
	w.t.Helper()
	v := must(w.try(w.nodes[0], w.call("root"), op, path, body))(w.t)
	var out map[string]any
	if err := json.Unmarshal(must(json.Marshal(v))(w.t), &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) refused(op api.Op, path, body, text string) {
	w.t.Helper()
	_, err := w.try(w.nodes[0], w.call("root"), op, path, body)
	if err == nil || api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s %s: got %v, want a refusal with %q", path, body, err, text)
	}
}

// method makes a method and answers its identifier.
func (w *world) method(fields string) string {
	w.t.Helper()
	return w.do(api.Write, "mfa/method/totp", `{"issuer":"Acme","qr_size":0`+fields+`}`)["method_id"].(string)
}

// person lets somebody in for the first time, and answers who it is.
func (w *world) person(name string) string {
	w.t.Helper()
	return w.personAt("door_1", name)
}

func (w *world) personAt(accessor, name string) string {
	w.t.Helper()
	must(w.nodes[0].cache.Fresh(context.Background()))(w.t)
	c := w.call("root")
	c.Mount.Accessor = accessor
	return must(w.nodes[0].ids.Admit(c, &api.Auth{Alias: &api.Alias{Name: name}}))(w.t).ID
}

// secret makes a secret and answers its authenticator.
func (w *world) secret(method, entity string) *authenticator {
	w.t.Helper()
	a := w.do(api.Write, "mfa/method/totp/admin-generate", `{"method_id":"`+method+`","entity_id":"`+entity+`"}`)
	return newAuthenticator(w.t, a["url"].(string))
}

// authenticator is an app that has a secret.
type authenticator struct {
	t    testing.TB
	key  string
	opts totp.ValidateOpts
}

func newAuthenticator(t testing.TB, text string) *authenticator {
	t.Helper()
	u := must(url.Parse(text))(t)
	key := must(otp.NewKeyFromURL(text))(t)
	a := &authenticator{t: t, key: key.Secret(), opts: totp.ValidateOpts{Period: uint(key.Period()), Digits: key.Digits(), Algorithm: key.Algorithm()}}
	if u.Scheme != "otpauth" || u.Host != "totp" {
		t.Errorf("the address begins with %s://%s", u.Scheme, u.Host)
	}
	return a
}

func (a *authenticator) code(at time.Time) string {
	a.t.Helper()
	return must(totp.GenerateCodeCustom(a.key, at, a.opts))(a.t)
}

// wrong is a passcode that is none of the steps around a moment.
func (a *authenticator) wrong(at time.Time) string {
	near := map[string]bool{}
	for i := -2; i <= 2; i++ {
		near[a.code(at.Add(time.Duration(i)*time.Duration(a.opts.Period)*time.Second))] = true
	}
	for _, c := range []string{"111111", "222222", "333333", "444444", "555555", "666666"} {
		if !near[c] {
			return c
		}
	}
	panic("six of five")
}

// need is what a login of an entity needs, on a node.
func (w *world) need(n *node, ns, entity string) *mfa.Need {
	w.t.Helper()
	must(n.cache.Fresh(context.Background()))(w.t)
	who := must(n.ids.Person(context.Background(), "root", entity))(w.t)
	return must(n.mfa.Required(w.call(ns), mfa.Login{Accessor: "door_1", Type: "door", Who: who}))(w.t)
}

// enforce has all logins of the door need a method.
func (w *world) enforce(method string) {
	w.t.Helper()
	w.do(api.Write, "mfa/login-enforcement/all", `{"mfa_method_ids":["`+method+`"],"auth_method_accessors":["door_1"]}`)
}

// shows shows a passcode, and reports whether the login is let in.
func (w *world) shows(n *node, entity, method, code string) bool {
	w.t.Helper()
	err := n.mfa.Satisfy(w.call("root"), w.need(n, "root", entity), mfa.Shown{method: api.NewSecret(code)})
	if err != nil && api.KindOf(err) != api.Denied {
		w.t.Fatal(err)
	}
	return err == nil
}

// rows counts the rows with a prefix.
func (w *world) rows(prefix string) int {
	w.t.Helper()
	return must(store.Count(context.Background(), w.store, prefix, nil))(w.t)
}
