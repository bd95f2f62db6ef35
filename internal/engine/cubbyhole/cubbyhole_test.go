package cubbyhole

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

const success api.Kind = 99

type hole struct {
	testing.TB
	router *api.Router
	store  store.Store
}

func open(t testing.TB) *hole {
	t.Helper()
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &hole{t, r, s}
}

// do sends a request as a caller and returns the answer's JSON and kind.
func (h *hole) do(who api.Caller, op api.Op, path, body string) (string, api.Kind) {
	h.Helper()
	m, err := h.router.Match(op, path)
	if err != nil {
		return "", api.KindOf(err)
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		h.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		h.Fatal(err)
	}
	c := &api.Call{Context: h.Context(), Caller: who, Path: m.Path, Store: h.store}
	resp, err := m.Endpoint.Invoke(c, req)
	if err != nil {
		return "", api.KindOf(err)
	}
	out, err := json.Marshal(resp)
	if err != nil {
		h.Fatal(err)
	}
	return string(out), success
}

func TestCubbyholeAsTheWireHasIt(t *testing.T) {
	h := open(t)
	me := api.Caller{TokenID: "a/b\x00"}
	for _, s := range []struct {
		op         api.Op
		path, body string
		want       string
		kind       api.Kind
	}{
		{api.Read, "a", "", "", api.NotFound},
		{api.Write, "a", `{"x": 1}`, "null", success},
		{api.Read, "a", "", `{"x":1}`, success},
		{api.Write, "a/b", `{"ttl":"1h"}`, "null", success},
		{api.List, "", "", `{"keys":["a","a/"]}`, success},
		{api.List, "", `{"limit":1,"after":"a"}`, `{"keys":["a/"]}`, success},
		{api.List, "a", "", `{"keys":["b"]}`, success},
		{api.Scan, "", "", "", api.Unsupported},
		{api.Write, "e", "{}", "", api.Invalid},
		{api.Write, "", `{"x":1}`, "", api.Invalid},
		{api.Write, "e/", `{"x":1}`, "", api.Invalid},
		{api.Write, strings.Repeat("e", maxPath+1), `{"x":1}`, "", api.Invalid},
		{api.Write, "e", `{"x":"` + strings.Repeat("v", maxValue) + `"}`, "", api.TooLarge},
		{api.Read, "a/", "", "", api.NotFound},
		{api.Delete, "a/", "", "null", success},
		{api.Read, "a", "", `{"x":1}`, success},
		{api.Delete, "a", "", "null", success},
		{api.Delete, "a", "", "null", success},
		{api.Read, "a", "", "", api.NotFound},
		{api.Read, "a/b", "", `{"ttl":"1h"}`, success},
	} {
		got, kind := h.do(me, s.op, s.path, s.body)
		if kind != s.kind || got != s.want {
			t.Errorf("%s %.20q: %s %v, want %s %v", s.op, s.path, got, kind, s.want, s.kind)
		}
	}
}

// No token sees another's, even where one identity begins the other.
func TestTokensAreApart(t *testing.T) {
	h := open(t)
	one, other := api.Caller{TokenID: "t"}, api.Caller{TokenID: "t/x"}
	for i := range 250 {
		h.do(one, api.Write, "x/k"+strconv.Itoa(i), `{"v":1}`)
	}
	h.do(other, api.Write, "k0", `{"v":2}`)
	if got, _ := h.do(other, api.Read, "k0", ""); got != `{"v":2}` {
		t.Errorf("read %s", got)
	}
	if got, _ := h.do(other, api.List, "", ""); got != `{"keys":["k0"]}` {
		t.Errorf("list %s", got)
	}
	for _, who := range []api.Caller{{}, {TokenID: "t", Batch: true}} {
		for _, op := range []api.Op{api.Read, api.Write, api.Delete, api.List} {
			if _, kind := h.do(who, op, "k0", `{"v":3}`); kind == success || kind == api.NotFound {
				t.Errorf("%+v may %s", who, op)
			}
		}
	}
	if err := Erase(t.Context(), h.store, "t"); err != nil {
		t.Fatal(err)
	}
	es, err := h.store.List(t.Context(), store.Range{})
	if err != nil || len(es) != 1 {
		t.Errorf("%d rows left, want the other token's one (%v)", len(es), err)
	}
}
