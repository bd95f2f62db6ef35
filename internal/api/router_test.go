package api

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var routerPatterns = []string{"", "a", "a/{name}", "a/{path...}", "a/{path...}/tune", "{name}/b", "{path...}", "{path...}/tune", "b/{name}/c/{path...}"}

func suffixRouter(t *testing.T) *Router {
	t.Helper()
	type request struct {
		Name string `path:"name"`
		Path string `path:"path"`
	}
	var routes []Route[*struct{}]
	for _, p := range routerPatterns {
		routes = append(routes, Handle(Read, p, func(*struct{}, *Call, *request) (*None, error) { return nil, nil }))
	}
	return routerOf(t, &struct{}{}, routes)
}

// Whatever pattern a path lands on: its parameters put back into the pattern
// give the path, so that the policy and the handler speak of one thing.
func TestMatchLosesNothing(t *testing.T) {
	r := suffixRouter(t)
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "tune", "x"}), 1, 5).Draw(t, "path"), "/")
		m, err := r.Match(Read, path)
		if err != nil {
			t.Fatalf("%s: %v, though {path...} takes all", path, err)
		}
		if got := m.rebuild(); got != path || m.Path != path {
			t.Fatalf("%s became %s, %s by %s", path, got, m.Path, m.Endpoint.Pattern)
		}
		if last := path[strings.LastIndexByte(path, '/')+1:]; last != "tune" && strings.HasSuffix(m.Endpoint.Pattern, "/tune") {
			t.Fatalf("%s landed on %s", path, m.Endpoint.Pattern)
		}
	})
}

// A suffix needs something before it, and gives way to longer literals.
func TestSuffixPatterns(t *testing.T) {
	r := suffixRouter(t)
	for path, want := range map[string]string{
		"tune": "{path...}", "tune/tune": "{path...}/tune", "x/y/tune": "{path...}/tune", "x/y/tune/z": "{path...}",
		"a/tune": "a/{name}", "a/x/tune": "a/{path...}/tune", "a/x/tune/": "a/{path...}/tune", "b/x/c/tune": "b/{name}/c/{path...}",
	} {
		m, err := r.Match(Read, path)
		if err != nil || m.Endpoint.Pattern != want {
			t.Errorf("%s landed on %v, %v; want %s", path, m.Endpoint, err, want)
		}
	}
	if _, err := r.Match(Delete, "x/y/tune"); KindOf(err) != Unsupported {
		t.Errorf("another operation: %v", err)
	}
}

// What After was given runs once, all of it, and its failures are told.
func TestFinish(t *testing.T) {
	c := &Call{}
	var ran []string
	failed := errors.New("failed")
	c.After(func() error { ran = append(ran, "first"); return failed })
	c.After(func() error { ran = append(ran, "second"); return nil })
	if err := c.Finish(); !errors.Is(err, failed) {
		t.Fatalf("got %v", err)
	}
	if err := c.Finish(); err != nil || strings.Join(ran, " ") != "first second" {
		t.Fatalf("%v, ran %v", err, ran)
	}
}

// Endpoints whose patterns differ in nothing but a parameter's name each get it
// under their own.
func TestParametersHaveTheNameOfTheirPattern(t *testing.T) {
	type byName struct {
		Name string `path:"name"`
	}
	type byKind struct {
		Kind string `path:"kind"`
	}
	r := routerOf(t, &struct{}{}, []Route[*struct{}]{
		Handle(Read, "a/{name}", func(_ *struct{}, _ *Call, q *byName) (*byName, error) { return q, nil }),
		Handle(Delete, "a/{kind}", func(_ *struct{}, _ *Call, q *byKind) (*byKind, error) { return q, nil }),
	})
	for op, want := range map[Op]any{Read: &byName{"x"}, Delete: &byKind{"x"}} {
		m, err := r.Match(op, "a/x")
		if err != nil {
			t.Fatal(err)
		}
		req, _, err := m.Endpoint.Decode(&m, Body{})
		if err != nil || !reflect.DeepEqual(req, want) {
			t.Errorf("%s: %+v, %v", op, req, err)
		}
	}
}
