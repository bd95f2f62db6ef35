package settings_test

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/settings"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// world is the settings of two nodes over one store, and the endpoints of the first.
type world struct {
	t      *testing.T
	router *api.Router
	first  *settings.Store
	second *settings.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := mem.Open()
	w := &world{t: t}
	w.first, w.second = node(t, s), node(t, s)
	eps, err := api.Bind(w.first, settings.Routes())
	if err != nil {
		t.Fatal(err)
	}
	if w.router, err = api.NewRouter(eps); err != nil {
		t.Fatal(err)
	}
	return w
}

func node(t *testing.T, s store.Store) *settings.Store {
	t.Helper()
	cache, err := store.NewCache(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return settings.New(s, cache, nil)
}

// do calls an endpoint as the gate does.
func (w *world) do(op api.Op, path, body string) (any, error) {
	w.t.Helper()
	m, err := w.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, err
	}
	return m.Endpoint.Invoke(&api.Call{Context: w.t.Context()}, req)
}

func (w *world) ok(op api.Op, path, body string) any {
	w.t.Helper()
	v, err := w.do(op, path, body)
	if err != nil {
		w.t.Fatalf("%s %s %s: %v", op, path, body, err)
	}
	return v
}

// everywhere is what both nodes go by.
func (w *world) everywhere() *settings.Settings {
	w.t.Helper()
	here, err := w.first.Current(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	there, err := w.second.Fresh(context.Background())
	if err != nil || !reflect.DeepEqual(here, there) {
		w.t.Fatalf("nodes differ: %+v and %+v, %v", here, there, err)
	}
	return here
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	if got := w.ok(api.Read, "config/cors", "").(*settings.CORSAnswer); got.Enabled || w.everywhere().CORS != nil {
		t.Errorf("at first: %+v", got)
	}
	w.ok(api.Write, "config/cors", `{"allowed_origins":"https://a.example,https://b.example:8443","allowed_headers":["X-Mine"],"enabled":true}`)
	got := w.ok(api.Read, "config/cors", "").(*settings.CORSAnswer)
	if !got.Enabled || *got.Credentials || len(got.Origins) != 2 || got.Headers[0] != "Content-Type" || got.Headers[len(got.Headers)-1] != "X-Mine" {
		t.Errorf("configured: %+v", got)
	}
	c := w.everywhere().CORS
	if slices.Contains(got.Headers, "X-Vault-Namespace") || !slices.Contains(c.AllowedHeaders(), "X-Vault-Namespace") {
		t.Errorf("read %v, allowed %v", got.Headers, c.AllowedHeaders())
	}
	for origin, want := range map[string]bool{"https://a.example": true, "https://A.example": true, "https://b.example:8443": true, "https://b.example": false,
		"http://a.example": false, "https://a.example.evil": false, "": false, "null": false, "*": false} {
		if c.Allows(origin) != want {
			t.Errorf("origin %q: allowed %v, want %v", origin, !want, want)
		}
	}
	w.ok(api.Write, "config/cors", `{"allowed_origins":"*"}`)
	if !w.everywhere().CORS.Allows("https://anybody.example") {
		t.Error("* does not stand for any origin")
	}
	w.ok(api.Write, "config/cors", `{"enable":false}`)
	if w.everywhere().CORS != nil {
		t.Error("it cannot be turned off")
	}
	w.ok(api.Write, "config/cors", `{"allowed_origins":"*"}`)
	w.ok(api.Delete, "config/cors", "")
	if w.everywhere().CORS != nil {
		t.Error("it is not deleted")
	}
}

func TestCORSRefusals(t *testing.T) {
	w := newWorld(t)
	for body, text := range map[string]string{
		`{}`: "at least one origin",
		`{"allowed_origins":["*","https://a.example"]}`:                       "must be the only value",
		`{"allowed_origins":"*","allow_credentials":true}`:                    "not for every origin",
		`{"allowed_origins":"a.example"}`:                                     "not an origin",
		`{"allowed_origins":"https://a.example/path"}`:                        "not an origin",
		`{"allowed_origins":"https://u@a.example"}`:                           "not an origin",
		`{"allowed_origins":"https://a","allowed_headers":"a\nb"}`:            "not a header's name",
		`{"allowed_origins":["` + strings.Repeat(`https://a","`, 300) + `"]}`: "more than",
	} {
		if _, err := w.do(api.Write, "config/cors", body); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), text) {
			t.Errorf("%.60s: %v, want %q", body, err, text)
		}
	}
	if w.everywhere().CORS != nil {
		t.Error("a refused configuration is in force")
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	w.ok(api.Write, "config/ui/headers/X-Frame-Options", `{"values":"DENY"}`)
	w.ok(api.Write, "config/ui/headers/x-MULTI", `{"values":["a","b"],"multivalue":true}`)
	if got := w.everywhere().Headers; !reflect.DeepEqual(got, http.Header{"X-Frame-Options": {"DENY"}, "X-Multi": {"a", "b"}}) {
		t.Errorf("headers are %v", got)
	}
	if got := w.ok(api.List, "config/ui/headers", "").(*api.Keys); strings.Join(got.Keys, " ") != "X-Frame-Options X-Multi" {
		t.Errorf("listed %v", got.Keys)
	}
	one := w.ok(api.Read, "config/ui/headers/X-Multi", "").(*settings.HeaderAnswer)
	all := w.ok(api.Read, "config/ui/headers/X-Multi", `{"multivalue":true}`).(*settings.HeaderAnswer)
	if *one.Value != "a" || one.Values != nil || all.Value != nil || len(all.Values) != 2 {
		t.Errorf("read %+v and %+v", one, all)
	}
	w.ok(api.Delete, "config/ui/headers/X-MULTI", "")
	w.ok(api.Delete, "config/ui/headers/X-None", "")
	if _, err := w.do(api.Read, "config/ui/headers/X-Multi", ""); api.KindOf(err) != api.NotFound {
		t.Errorf("deleted: %v", err)
	}
	if got := w.everywhere().Headers; len(got) != 1 {
		t.Errorf("headers are %v", got)
	}
}

func TestHeaderRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, body, text string }{
		{"X-Vault-Foo", `{"values":"a"}`, "X-Vault headers cannot be set"},
		{"x-strongroom-foo", `{"values":"a"}`, "cannot be set"},
		{"Access-Control-Allow-Origin", `{"values":"*"}`, "use sys/config/cors"},
		{"Content-Type", `{"values":"text/html"}`, "the server itself decides"},
		{"transfer-encoding", `{"values":"chunked"}`, "the server itself decides"},
		{"Set-Cookie", `{"values":"a=b"}`, "the server itself decides"},
		{"X-Empty", `{}`, "header and values must be specified"},
		{"X Y", `{"values":"a"}`, "not a header's name"},
		{"X:", `{"values":"a"}`, "not a header's name"},
		{"X-Line", `{"values":"a\r\nb: c"}`, "control character"},
		{"X-Space", `{"values":[" a"]}`, "begin or end with space"},
		{"X-Long", `{"values":"` + strings.Repeat("a", 9<<10) + `"}`, "longer than"},
	} {
		if _, err := w.do(api.Write, "config/ui/headers/"+c.name, c.body); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
	}
	if got := w.everywhere().Headers; len(got) > 0 {
		t.Errorf("a refused header is sent: %v", got)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 64 {
		w.ok(api.Write, "config/ui/headers/x-"+strings.Repeat("a", i+1), `{"values":"a"}`)
	}
	if _, err := w.do(api.Write, "config/ui/headers/x-new", `{"values":"a"}`); api.KindOf(err) != api.Invalid {
		t.Errorf("one too many: %v", err)
	}
	w.ok(api.Write, "config/ui/headers/x-a", `{"values":"other"}`)
}

func FuzzOrigin(f *testing.F) {
	f.Add("https://a.example")
	f.Add("//")
	s := mem.Open()
	cache, err := store.NewCache(context.Background(), s)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := cache.Close(); err != nil {
			f.Error(err)
		}
	})
	eps, err := api.Bind(settings.New(s, cache, nil), settings.Routes())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range eps {
			if e.Op != api.Write || e.Pattern != "config/cors" {
				continue
			}
			_, err := e.Invoke(&api.Call{Context: t.Context()}, &settings.CORSRequest{Origins: []string{text}})
			if err == nil && text != "*" && (!strings.Contains(text, "://") || strings.ContainsAny(text, "\r\n @")) {
				t.Errorf("%q is taken for an origin", text)
			}
		}
	})
}
