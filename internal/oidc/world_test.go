package oidc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/oidc"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

const address = "https://vault.example.com:8200"

// world is identity tokens over a store in memory, with two nodes.
type world struct {
	t      testing.TB
	store  store.Store
	ids    *identity.Store
	oidc   *oidc.Store
	router *api.Router
	now    time.Time
	login  time.Time // when the caller's token was made
	entity string    // the caller's
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

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: mem.Open(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.login = w.now
	cache := must(store.NewCache(context.Background(), w.store))(t)
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	now := func() time.Time { return w.now }
	lineage := func(_ context.Context, ns string) ([]string, error) {
		if ns == "team" {
			return []string{"team", "root"}, nil
		}
		return []string{ns}, nil
	}
	w.ids = identity.New(identity.Config{Store: w.store, Cache: cache, Now: now, Lineage: lineage,
		Mount: func(_ context.Context, _, accessor string) (identity.Mount, bool, error) {
			return identity.Mount{Path: "auth/door/", Type: "door"}, accessor == "auth_door_1", nil
		}})
	w.oidc = oidc.New(oidc.Config{Store: w.store, Cache: cache, Now: now, Address: address, Person: w.ids.Person, Grouped: w.ids.Grouped, Lineage: lineage,
		AuthType: func(_ context.Context, _, path string) (string, error) {
			return map[string]string{"ldap": "ldap", "old/people": "userpass", "ci": "jwt"}[path], nil
		},
		LoggedIn: func(*api.Call) (time.Time, error) { return w.login, nil }})
	eps := append(must(api.Bind(w.oidc, oidc.Routes()))(t), must(api.Bind(w.ids, identity.Routes()))(t)...)
	w.router = must(api.NewRouter(eps))(t)
	return w
}

// call is a request's call. Without a namespace, it is in the root namespace.
func (w *world) call(ns string) *api.Call {
	c := &api.Call{Context: context.Background(), Namespace: api.Namespace{ID: ns}, Now: w.now}
	if ns != "root" {
		c.Namespace.Path = ns + "/"
	}
	if w.entity != "" {
		c.Caller = api.Caller{TokenID: "token", EntityID: w.entity, EntityNamespace: "root"}
	}
	return c
}

// send sends a request and answers what the handler did.
func (w *world) send(c *api.Call, op api.Op, path, body string) (any, error) {
	w.t.Helper()
	must(w.ids.Cache.Fresh(context.Background()))(w.t)
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
	return m.Endpoint.Invoke(c, req)
}

// try sends a request in a namespace, and answers what it was answered as JSON.
func (w *world) try(ns string, op api.Op, path, body string) (map[string]any, error) {
	w.t.Helper()
	v, err := w.send(w.call(ns), op, path, body)
	if err != nil || v == nil {
		return nil, err
	}
	raw, ok := v.(*api.Raw)
	b := []byte(nil)
	if !ok {
		b = must(json.Marshal(v))(w.t)
	} else {
		b = raw.Body
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		w.t.Fatal(err)
	}
	return out, nil
}

func (w *world) do(op api.Op, path, body string) map[string]any {
	w.t.Helper()
	return must(w.try("root", op, path, body))(w.t)
}

func (w *world) write(path, format string, args ...any) map[string]any {
	w.t.Helper()
	return w.do(api.Write, path, fmt.Sprintf(format, args...))
}

// refused fails the test unless a write is refused with a text.
func (w *world) refused(path, body, text string) {
	w.t.Helper()
	v, err := w.try("root", api.Write, path, body)
	if k := api.KindOf(err); err == nil || k != api.Invalid && k != api.TooMany || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s %s: got %v, %v; want a refusal with %q", path, body, v, err, text)
	}
}

// ann is an entity with metadata, and the caller from then on.
func (w *world) ann(metadata string) string {
	w.t.Helper()
	if metadata == "" {
		metadata = "{}"
	}
	id, _ := w.write("entity", `{"name": "ann", "metadata": %s}`, metadata)["id"].(string)
	w.entity = id
	return id
}

// work does everything that is due.
func (w *world) work() (done int) {
	w.t.Helper()
	for _, e := range must(w.store.List(context.Background(), store.Prefix("root/due/")))(w.t) {
		parts := strings.Split(e.Key, "/")
		var ns int64
		if _, err := fmt.Sscanf(strings.TrimLeft(parts[2], "0"), "%d", &ns); err != nil || time.Unix(0, ns).After(w.now) {
			continue
		}
		var row struct{ Data []byte }
		if err := json.Unmarshal(e.Value, &row); err != nil {
			w.t.Fatal(err)
		}
		run := w.oidc.Jobs()[parts[3]]
		if run == nil {
			continue
		}
		job := &schedule.Job{Item: schedule.Item{Namespace: "root", Kind: parts[3], ID: parts[4], Data: row.Data}}
		if err := run(context.Background(), job); err != nil {
			w.t.Fatal(err)
		}
		must(w.store.Commit(context.Background(), nil, []store.Write{{Key: e.Key, Delete: true}}))(w.t)
		done++
	}
	return done
}

// token is an identity token by a role.
func (w *world) token(role string) string {
	w.t.Helper()
	text, _ := w.do(api.Read, "oidc/token/"+role, "")["token"].(string)
	return text
}

// keySet is what an endpoint publishes, by identifier.
func (w *world) keySet(path string) map[string]jose.JSONWebKey {
	w.t.Helper()
	raw := must(w.send(w.call("root"), api.Read, path, ""))(w.t).(*api.Raw)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw.Body, &set); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]jose.JSONWebKey{}
	for _, k := range set.Keys {
		if !k.IsPublic() || k.Use != "sig" {
			w.t.Errorf("a key is published that is not a public key for signatures: %+v", k)
		}
		out[k.KeyID] = k
	}
	return out
}

// verified are the claims of a token that one of the published keys has signed.
func (w *world) verified(path, token string) map[string]any {
	w.t.Helper()
	claims, ok := w.verify(path, token)
	if !ok {
		w.t.Fatal("no published key verifies the token")
	}
	return claims
}

func (w *world) verify(path, token string) (map[string]any, bool) {
	w.t.Helper()
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA})
	if err != nil {
		w.t.Fatal(err)
	}
	k, ok := w.keySet(path)[signed.Headers[0].KeyID]
	var out map[string]any
	if !ok || k.Algorithm != signed.Headers[0].Algorithm || signed.Claims(k.Key, &out) != nil {
		return nil, false
	}
	return out, true
}

// active is what the server says of a token.
func (w *world) active(token, client string) bool {
	w.t.Helper()
	return w.write("oidc/introspect", `{"token": %q, "client_id": %q}`, token, client)["active"].(bool)
}

// run does a job that is about a name.
func (w *world) run(h schedule.Handler, name string) {
	w.t.Helper()
	if err := h(context.Background(), &schedule.Job{Item: schedule.Item{Namespace: "root", Data: []byte(name)}}); err != nil {
		w.t.Fatal(err)
	}
}

// kidOf is the identifier of the key that a token says it was signed with.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	signed := must(jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}))(t)
	return signed.Signatures[0].Header.KeyID
}
