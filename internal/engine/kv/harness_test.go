package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// mountAt is a mount to send requests to, as the gate does.
type mountAt struct {
	testing.TB
	router *api.Router
	store  store.Store
	now    time.Time
	upkeep upkeep
}

// upkeep notes when the engine asked for it.
type upkeep struct {
	mu    sync.Mutex
	asked []time.Time
	fail  error
}

func (u *upkeep) Schedule(_ context.Context, _, _ string, at time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, at)
	return u.fail
}

// answer is what a request came to.
type answer struct {
	kind     api.Kind // 99 for success
	message  string
	body     string // JSON of the response, or of the error's data; empty for none
	warnings []string
	unknown  []string
	lease    time.Duration
}

const success api.Kind = 99

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 678900000, time.UTC)

func openStore(t testing.TB) store.Store {
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open mounts the engine with a version of its interface over a store.
func open(t testing.TB, version string, s store.Store) *mountAt {
	t.Helper()
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]string{}
	if version != "" {
		options["version"] = version
	}
	if err := e.CheckOptions(options); err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Variant(options))
	if err != nil {
		t.Fatal(err)
	}
	return &mountAt{TB: t, router: r, store: s, now: epoch}
}

var ops = map[string]api.Op{"GET": api.Read, "POST": api.Write, "PATCH": api.Patch, "DELETE": api.Delete, "LIST": api.List, "SCAN": api.Scan}

// call is a request on its way to the handler.
func (m *mountAt) call(op, path, body string) (*api.Call, *api.Endpoint, any, []string, error) {
	match, err := m.router.Match(ops[op], path)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		return nil, nil, nil, nil, err
	}
	req, unknown, err := match.Endpoint.Decode(&match, b)
	c := &api.Call{Context: context.Background(), Path: match.Path, Store: m.store, Now: m.now, Upkeep: &m.upkeep,
		Mount: api.Mount{DefaultTTL: 2764800 * time.Second}}
	return c, match.Endpoint, req, unknown, err
}

// do sends "OP path" with a body.
func (m *mountAt) do(request, body string) answer {
	m.Helper()
	op, path, _ := strings.Cut(request, " ")
	c, ep, req, unknown, err := m.call(op, path, body)
	a := answer{kind: success, unknown: unknown}
	var resp any
	if err == nil {
		resp, err = ep.Invoke(c, req)
		a.warnings = c.Warnings()
	}
	var e *api.Error
	switch {
	case errors.As(err, &e):
		a.kind, a.message, resp = e.Kind, e.Message, e.Data
	case err != nil:
		a.kind, a.message = api.Internal, err.Error()
	}
	if h, ok := resp.(api.Hint); ok {
		a.lease = h.LeaseDuration()
	}
	if resp != nil {
		b, err := json.Marshal(resp)
		if err != nil {
			m.Fatal(err)
		}
		a.body = string(b)
	}
	return a
}

// ok sends a request that must succeed and returns its body.
func (m *mountAt) ok(request, body string) string {
	m.Helper()
	a := m.do(request, body)
	if a.kind != success {
		m.Fatalf("%s %s: %v %s", request, body, a.kind, a.message)
	}
	return a.body
}

// exists is what the policy is told of a write.
func (m *mountAt) exists(path string) bool {
	m.Helper()
	c, ep, req, _, err := m.call("POST", path, "{}")
	if err != nil {
		m.Fatal(err)
	}
	ok, err := ep.Exists(c, req)
	if err != nil {
		m.Fatal(err)
	}
	return ok
}

// same compares JSON by what it says.
func same(t testing.TB, what, got, want string) {
	t.Helper()
	var g, w any
	if got != "" {
		if err := json.Unmarshal([]byte(got), &g); err != nil {
			t.Fatalf("%s: %v in %s", what, err, got)
		}
	}
	if want != "" {
		if err := json.Unmarshal([]byte(want), &w); err != nil {
			t.Fatalf("%s: %v in %s", what, err, want)
		}
	}
	gb, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	wb, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if string(gb) != string(wb) {
		t.Errorf("%s:\n got %s\nwant %s", what, gb, wb)
	}
}

// rows are the keys under a prefix.
// payloads is how many payloads there are, in rows of their own or in those of
// their secrets.
func payloads(t testing.TB, s store.Store) int {
	t.Helper()
	n := len(rows(t, s, prefixPayload))
	for key, row := range rows(t, s, prefixSecret) {
		d, err := decodeSecret([]byte(row))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for _, v := range d.versions {
			if v.inline {
				n++
			}
		}
	}
	return n
}

// padded is an object with members, so large that it has a row of its own.
func padded(members string) string {
	return fmt.Sprintf(`{%s,"padding":%q}`, members, strings.Repeat("x", inlineBytes))
}

func rows(t testing.TB, s store.Store, prefix string) map[string]string {
	t.Helper()
	es, err := s.List(context.Background(), store.Prefix(prefix))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range es {
		out[e.Key] = string(e.Value)
	}
	return maps.Clone(out)
}
