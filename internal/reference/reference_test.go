package reference

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

type shop struct{}

type ware struct {
	Name   api.Name          `path:"name"`
	Key    api.Secret        `json:"key" api:"required"`
	Period api.Duration      `json:"period" default:"2m"`
	Count  int               `json:"count" default:"3" api:"deprecated"`
	On     *bool             `json:"on" default:"true"`
	Tags   []string          `json:"tags"`
	Nums   []int             `json:"nums"`
	Meta   map[string]string `json:"meta"`
	Loose  map[string]any    `json:"loose"`
	Many   []piece           `json:"many"`
	Named  map[string]piece  `json:"named"`
	Part   piece             `json:"part"`
}

type piece struct {
	Size float64 `json:"size"`
}

type query struct {
	Name  api.Name   `path:"name"`
	After string     `json:"after"`
	Token api.Secret `json:"token"`
}

type free struct {
	Path string     `path:"path"`
	Body api.Object `json:"data" api:"body"`
}

type answer struct {
	At api.Time `json:"at"`
}

func (shop) read(*api.Call, *query) (*answer, error)        { return nil, nil }
func (shop) list(*api.Call, *query) (*api.Keys, error)      { return nil, nil }
func (shop) write(*api.Call, *ware) (*api.None, error)      { return nil, nil }
func (shop) has(*api.Call, *ware) (bool, error)             { return false, nil }
func (shop) login(*api.Call, *api.None) (*api.Auth, error)  { return nil, nil }
func (shop) free(*api.Call, *free) (*map[string]int, error) { return nil, nil }
func (shop) names(*api.Call, *api.None) (*api.Keys, error)  { return nil, nil }

func book(t *testing.T) *Book {
	t.Helper()
	bind := func(routes []api.Route[shop]) []*api.Endpoint {
		eps, err := api.Bind(shop{}, routes)
		if err != nil {
			t.Fatal(err)
		}
		return eps
	}
	wares := bind([]api.Route[shop]{
		api.Handle(api.Read, "wares/{name}", shop.read),
		api.Upsert("wares/{name}", shop.write, shop.has),
		api.Handle(api.List, "wares/{name}", shop.list),
		api.Handle(api.List, "wares", shop.names, api.Sudo),
		api.Handle(api.Patch, "free/{path...}", shop.free),
		api.Handle(api.Read, "ghost", shop.names, api.Hidden),
	})
	system := bind([]api.Route[shop]{api.Handle(api.Write, "login", shop.login, api.Public)})
	return &Book{
		Engines: []api.Engine{{Type: "system", Endpoints: system}, {Type: "shop", Endpoints: wares}, {Type: "shop", Auth: true, Endpoints: system}},
		Comments: &Comments{
			Types:    map[string]TypeComment{"reference.ware": {Fields: map[string]string{"Key": "A | key."}}, "reference.query": {Fields: map[string]string{"Name": "Which ware."}}},
			Handlers: map[string]string{"reference.shop.read": "read tells of a ware. It costs nothing."},
		},
		Mounts: func(c *api.Call) ([]Mount, error) {
			all := []Mount{{Path: "sys/", Type: "system", Builtin: true}}
			if c.Caller.TokenID != "" {
				all = append(all, Mount{Path: "a/b/", Type: "shop"}, Mount{Path: "c/", Type: "shop"}, Mount{Path: "auth/x/", Type: "shop"}, Mount{Path: "y/", Type: "gone"})
			}
			return all, nil
		},
	}
}

func specification(t *testing.T, b *Book, token string, q SpecificationRequest) *document {
	t.Helper()
	raw, err := b.Specification(&api.Call{Caller: api.Caller{TokenID: token}}, &q)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(raw.Body, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

func paths(d *document) []string {
	var out []string
	for p := range d.Paths {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func TestPathsOfMounts(t *testing.T) {
	b := book(t)
	for _, c := range []struct {
		what, token string
		q           SpecificationRequest
		want        []string
	}{
		{"without a token only what everybody has", "", SpecificationRequest{}, []string{"/sys/login"}},
		{"concrete", "t", SpecificationRequest{}, []string{"/a/b/free/{path}", "/a/b/wares", "/a/b/wares/{name}", "/auth/x/login", "/c/free/{path}", "/c/wares", "/c/wares/{name}", "/sys/login"}},
		{"generic, each engine once", "t", SpecificationRequest{Generic: true}, []string{"/sys/login", "/{a_b_mount_path}/free/{path}", "/{a_b_mount_path}/wares", "/{a_b_mount_path}/wares/{name}"}},
	} {
		if got := paths(specification(t, b, c.token, c.q)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestStrangersShareOneAnswer has callers without a token ask again and again, and
// for what would make the answer grow.
func TestStrangersShareOneAnswer(t *testing.T) {
	b := book(t)
	for _, generic := range []bool{false, true} {
		var first *byte
		for i := range 3 {
			raw, err := b.Specification(&api.Call{}, &SpecificationRequest{Generic: generic})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = &raw.Body[0]
			}
			if &raw.Body[0] != first {
				t.Errorf("generic %v: the answer was made again", generic)
			}
		}
	}
	for token, most := range map[string]int{"": 0, "t": maxContext} {
		c := &api.Call{Caller: api.Caller{TokenID: token}}
		for n, want := range map[int]api.Kind{most: 0, most + 1: api.Invalid, 60_000: api.Invalid} {
			if _, err := b.Specification(c, &SpecificationRequest{Context: strings.Repeat("a", n)}); err != nil != (want != 0) || err != nil && api.KindOf(err) != want {
				t.Errorf("token %q, a context of %d bytes: %v", token, n, err)
			}
		}
	}
}

func TestOperations(t *testing.T) {
	doc := specification(t, book(t), "t", SpecificationRequest{Generic: true, Context: "ctx"})
	it := doc.Paths["/{a_b_mount_path}/wares/{name}"]
	if it.Sudo || it.Unauthenticated || !it.CreateSupported || it.Delete != nil {
		t.Errorf("%+v", it)
	}
	if len(it.Parameters) != 2 || it.Parameters[0].Name != "name" || !it.Parameters[0].Required || it.Parameters[0].Description != "Which ware." ||
		it.Parameters[1].Schema.Default != "a/b" {
		t.Errorf("path parameters %+v", it.Parameters)
	}
	if it.Get.ID != "a-b-read-wares-name-ctx" || it.Get.Summary != "Tells of a ware" || it.Get.Description != "Tells of a ware. It costs nothing." {
		t.Errorf("%+v", it.Get)
	}
	var names []string
	for _, p := range it.Get.Parameters {
		names = append(names, p.Name)
		if p.In != "query" || p.Required {
			t.Errorf("%+v", p)
		}
	}
	if !reflect.DeepEqual(names, []string{"after", "list"}) {
		t.Errorf("query parameters %v: a secret is none", names)
	}
	if it := doc.Paths["/{a_b_mount_path}/wares"]; !it.Sudo || !it.Get.Parameters[0].Required || it.Get.Parameters[0].Schema.Enum[0] != "true" {
		t.Errorf("list only: %+v", it)
	}
	if it := doc.Paths["/sys/login"]; !it.Unauthenticated || it.Post.Security == nil || it.Post.Body != nil {
		t.Errorf("public: %+v", it.Post)
	}
	if b := doc.Paths["/{a_b_mount_path}/free/{path}"].Patch.Body; b == nil || b.Content[patchType] == nil {
		t.Errorf("patch: %+v", b)
	}
}

func TestSchemas(t *testing.T) {
	doc := specification(t, book(t), "t", SpecificationRequest{Generic: true})
	s := doc.Components.Schemas["ABWriteWaresNameRequest"]
	if s == nil || s.Properties["name"] != nil || !reflect.DeepEqual(s.Required, []string{"key"}) {
		t.Fatalf("%+v of %v", s, doc.Components.Schemas)
	}
	for name, want := range map[string]schema{
		"key":    {Type: "string", Format: "password", Description: "A | key."},
		"period": {Type: "integer", Format: "seconds", Default: 120.0},
		"count":  {Type: "integer", Default: 3.0, Deprecated: true},
		"on":     {Type: "boolean", Default: true},
		"tags":   {Type: "array", Items: &schema{Type: "string"}},
		"nums":   {Type: "array", Items: &schema{Type: "integer"}},
		"meta":   {Type: "object", Format: "kvpairs", Additional: &schema{Type: "string"}},
		"loose":  {Type: "object", Format: "map", Additional: &schema{}},
		"many":   {Type: "array", Items: &schema{Type: "object", Properties: map[string]*schema{"size": {Type: "number", Format: "float"}}}},
		"named":  {Type: "object", Format: "map", Additional: &schema{Type: "object", Properties: map[string]*schema{"size": {Type: "number", Format: "float"}}}},
		"part":   {Type: "object", Format: "map", Properties: map[string]*schema{"size": {Type: "number", Format: "float"}}},
	} {
		if got := s.Properties[name]; !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if free := doc.Components.Schemas["ABPatchFreePathRequest"]; free == nil || free.Additional == nil {
		t.Errorf("a free body: %+v", free)
	}
}

func TestHelp(t *testing.T) {
	b := book(t)
	m := Mount{Path: "c/", Type: "shop"}
	text, err := b.Help(m, "wares/{name}")
	if err != nil {
		t.Fatal(err)
	}
	var h help
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"READ c/wares/{name}", "    Tells of a ware. It costs nothing.", "Needs: create for what is new", "    period (duration) default: 2m", "        A | key.", "part.size (float)", "LIST c/wares"} {
		if !strings.Contains(h.Help, want) {
			t.Errorf("no %q in\n%s", want, h.Help)
		}
	}
	if len(h.OpenAPI.Paths) != 1 {
		t.Errorf("paths %v", paths(h.OpenAPI))
	}
	if _, err := b.Help(m, "ghost"); api.KindOf(err) != api.NotFound {
		t.Errorf("a hidden endpoint has help: %v", err)
	}
}

func TestPages(t *testing.T) {
	b := book(t)
	pages, err := b.Pages([]Page{{Name: "sys", Title: "System", Mount: Mount{Path: "sys/", Type: "system", Builtin: true}}, {Name: "shop", Title: "Shop", Mount: Mount{Path: "c/", Type: "shop"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## `/v1/c/wares/{name}`", "### POST", "| `key` | body | secret | yes |  | A \\| key. |", "| `after` | query | string |  |  |  |", "| `count` | body | int |  | `3` | Deprecated.  |", "| `at` | time |  |", "Needs: list, and sudo."} {
		if !strings.Contains(string(pages["shop.md"]), want) {
			t.Errorf("no %q in\n%s", want, pages["shop.md"])
		}
	}
	if pages["sys-reference.md"] == nil || !strings.Contains(string(pages["README.md"]), "- [Shop](shop.md): 3 paths") {
		t.Errorf("pages %s", pages["README.md"])
	}
	if _, err := b.Pages([]Page{{Name: "x", Mount: Mount{Type: "none"}}}); err == nil {
		t.Error("a page of no engine")
	}
}
