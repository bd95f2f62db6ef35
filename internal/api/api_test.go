package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

type engine struct{}

type putKey struct {
	Name   Name              `path:"name"`
	Period Duration          `json:"period" default:"30"`
	Key    Secret            `json:"key"`
	Tags   []string          `json:"tags"`
	Meta   map[string]string `json:"meta"`
	Count  int               `json:"count"`
	On     *bool             `json:"on"`
	Nums   []int             `json:"nums"`
	Body   Object            `json:"body"`
}

type keyInfo struct {
	Name   string   `json:"name"`
	Key    Secret   `json:"key"`
	Period Duration `json:"period"`
	Data   Object   `json:"data"`
}

func (engine) put(_ *Call, r *putKey) (*keyInfo, error) { return &keyInfo{Name: string(r.Name)}, nil }
func (engine) has(_ *Call, r *putKey) (bool, error)     { return r.Name == "old", nil }

type readPath struct {
	Path string `path:"path"`
}

func (engine) read(_ *Call, r *readPath) (*keyInfo, error) { return &keyInfo{Name: r.Path}, nil }
func (engine) list(_ *Call, _ *None) (*Keys, error)        { return nil, nil }

var routes = []Route[engine]{
	Upsert("keys/{name}", engine.put, engine.has),
	Handle(List, "keys", engine.list),
	Handle(Read, "data/{path...}", engine.read),
	Handle(Read, "data/config", engine.read2),
	Handle(Read, "data/{path...}/tune", engine.read),
}

func (engine) read2(_ *Call, _ *None) (*keyInfo, error) { return nil, nil }

func router(t testing.TB) *Router { return routerOf(t, engine{}, routes) }

func routerOf[E any](t testing.TB, e E, routes []Route[E]) *Router {
	t.Helper()
	eps, err := Bind(e, routes)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRouter(eps)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatchPicksTheMostSpecificPattern(t *testing.T) {
	r := router(t)
	for _, c := range []struct {
		op      Op
		path    string
		pattern string
		kind    Kind
	}{
		{Write, "keys/a", "keys/{name}", 0},
		{List, "keys/", "keys", 0},
		{List, "keys", "keys", 0},
		{Read, "data/config", "data/config", 0},
		{Read, "data/config/x", "data/{path...}", 0},
		{Read, "data", "data/{path...}", 0},
		{Read, "data/a/b/tune", "data/{path...}/tune", 0},
		{Read, "data/tune", "data/{path...}", 0},
		{Delete, "data/x", "", Unsupported},
		{Read, "keys/a", "", Unsupported},
		{Read, "nothing", "", NotFound},
		{Write, "keys/a/b", "", NotFound},
	} {
		m, err := r.Match(c.op, c.path)
		if c.pattern == "" {
			if KindOf(err) != c.kind {
				t.Errorf("%s %q: %v, want %v", c.op, c.path, err, c.kind)
			}
			continue
		}
		if err != nil || m.Endpoint.Pattern != c.pattern {
			t.Errorf("%s %q: %v, %v", c.op, c.path, m.Endpoint, err)
		}
	}
}

// The policy and the handler must see one spelling of a name.
func TestNamesHaveOneSpellingInPathAndRequest(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/ALICE")
	if err != nil || m.Path != "keys/alice" || m.Params[0].Value != "alice" {
		t.Fatalf("path %q, params %v, err %v", m.Path, m.Params, err)
	}
	for _, bad := range []string{"keys/ alice", "keys/alice ", "keys/ali\u017fe", "keys/\u212a", "keys/a\u200bb", "keys/\xff"} {
		if _, err := r.Match(Write, bad); KindOf(err) != Invalid {
			t.Errorf("%q: %v, want invalid", bad, err)
		}
	}
}

func TestDecodeIsLenient(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBody([]byte(`{"period":"1h","key":"k","tags":"x, y","meta":["a=b"],"count":"7","on":"false","nums":[1,"2"],"body":{"z":1},"extra":1,"name":"other"}`))
	if err != nil {
		t.Fatal(err)
	}
	req, unknown, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		t.Fatal(err)
	}
	off := false
	want := &putKey{Name: "a", Period: Duration(time.Hour), Key: NewSecret("k"), Tags: []string{"x", "y"},
		Meta: map[string]string{"a": "b"}, Count: 7, On: &off, Nums: []int{1, 2}, Body: Object(`{"z":1}`)}
	if !reflect.DeepEqual(req, want) {
		t.Errorf("got %#v\nwant %#v", req, want)
	}
	if !reflect.DeepEqual(unknown, []string{"extra"}) {
		t.Errorf("unknown %v", unknown)
	}
}

func TestDecodeDefaultsAndNull(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBody([]byte(`{"period":null}`))
	if err != nil {
		t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil || req.(*putKey).Period != Duration(30*time.Second) || req.(*putKey).On != nil {
		t.Fatalf("%#v, %v", req, err)
	}
}

// A merge patch must tell an explicit null from an absent member.
func TestDecodeTellsNullFromAbsent(t *testing.T) {
	type patch struct {
		A     *int     `json:"a"`
		B     string   `json:"b"`
		Nulls []string `json:"-" api:"nulls"`
	}
	eps, err := Bind(engine{}, []Route[engine]{Handle(Patch, "x", func(engine, *Call, *patch) (*None, error) { return nil, nil })})
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBody([]byte(`{"a":null,"b":"x","c":null}`))
	if err != nil {
		t.Fatal(err)
	}
	req, unknown, err := eps[0].Decode(&Match{Endpoint: eps[0]}, b)
	if err != nil || !reflect.DeepEqual(req, &patch{B: "x", Nulls: []string{"a", "c"}}) || !reflect.DeepEqual(unknown, []string{"c"}) {
		t.Fatalf("%+v, unknown %v, %v", req, unknown, err)
	}
}

// Clients write an optional setting that they leave alone as an empty text.
func TestEmptyTextLeavesAnOptionalSettingAlone(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBody([]byte(`{"on":"","tags":","}`))
	if err != nil {
		t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil || req.(*putKey).On != nil {
		t.Fatalf("on is %v, %v", req, err)
	}
	if tags := req.(*putKey).Tags; len(tags) != 1 || tags[0] != "" {
		t.Fatalf("a comma names %q; it must not count as nothing", tags)
	}
}

func TestDecodeErrorsNameTheFieldAndEchoNothing(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"period", "tags", "meta", "count", "on", "nums", "body", "key"} {
		for _, bad := range []string{`[{"s3cret":1}]`, `{"q":["s3cret"]}`, `[["s3cret"]]`} {
			if f == "body" && bad[0] == '{' {
				continue
			}
			b, err := ParseBody([]byte(`{"` + f + `":` + bad + `}`))
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = m.Endpoint.Decode(&m, b)
			if KindOf(err) != Invalid || !strings.HasPrefix(err.Error(), f) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s=%s: %v", f, bad, err)
			}
		}
	}
}

// TestATextIsNoObject: an object written as a text is refused, so that nothing in
// it escapes the limits on a body. The object itself, the control, is taken.
func TestATextIsNoObject(t *testing.T) {
	m, err := router(t).Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]Kind{`{"a":1}`: 0, `"{\"a\":1}"`: Invalid, `""`: Invalid, `[1]`: Invalid, `1`: Invalid} {
		b, err := ParseBody([]byte(`{"key":"k","body":` + body + `}`))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = m.Endpoint.Decode(&m, b)
		if (want == 0) != (err == nil) || want != 0 && KindOf(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestPairsAsText: texts by name are taken as people write them on a command line, and held to the limits of a body.
func TestPairsAsText(t *testing.T) {
	m, err := router(t).Match(Write, "keys/a")
	if err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`{\"a\":`, 100) + "1" + strings.Repeat("}", 100)
	wide := `{\"a\":1` + strings.Repeat(`,\"b\":[0,0,0,0,0,0,0,0,0,0]`, MaxValues/10) + "}"
	for meta, want := range map[string]map[string]string{
		`"{\"a\":\"b\",\"c\":1}"`: {"a": "b", "c": "1"}, `" {\"a\":\"b=c,d\"} "`: {"a": "b=c,d"}, `"a=b,c=d"`: {"a": "b", "c": "d"}, `["a=b"]`: {"a": "b"}, `{"a":"b"}`: {"a": "b"},
		`"{\"a\":{\"b\":1}}"`: nil, `"{\"a\":1,\"a\":2}"`: nil, `"{\"a\":1}x"`: nil, `"{a=b"`: {"{a": "b"}, `"[1]"`: nil, `"` + deep + `"`: nil, `"` + wide + `"`: nil,
	} {
		b, err := ParseBody([]byte(`{"key":"k","meta":` + meta + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := m.Endpoint.Decode(&m, b)
		if want == nil {
			if KindOf(err) != Invalid {
				t.Errorf("%.40s: %v", meta, err)
			}
			continue
		}
		if err != nil || !maps.Equal(got.(*putKey).Meta, want) {
			t.Errorf("%s: %+v, %v", meta, got, err)
		}
	}
}

func TestUpsertTellsCreateFromUpdate(t *testing.T) {
	r := router(t)
	m, err := r.Match(Write, "keys/OLD")
	if err != nil {
		t.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, Body{})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := m.Endpoint.Exists(&Call{Context: context.Background()}, req); err != nil || !ok {
		t.Fatalf("exists %v %v", ok, err)
	}
}

func TestParseBodyRefusesHostileJSON(t *testing.T) {
	for _, bad := range []string{
		`{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, "{\"a\":\"\xff\"}", `{"a":1}x`, `{"a":1}{}`, `{`, `[1]`, `"x"`, `{"a":01}`,
		`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"a":` + strings.Repeat("[", 1000000),
	} {
		if _, err := ParseBody([]byte(bad)); KindOf(err) != Invalid {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if b, err := ParseBody([]byte(" \n")); err != nil || b.Len() != 0 {
		t.Errorf("empty: %v", err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret("hunter2")
	type holder struct{ S, P any }
	j, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v %s %x", s.Disclose(), s.Disclose(), s.Disclose(), s.Disclose(), s.Disclose()), fmt.Sprintf("%v %+v %#v", holder{s, &s}, holder{s, &s}, holder{s, &s}), string(j)} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e") {
			t.Errorf("leaked: %s", out)
		}
	}
}

func TestErrorKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("x: %w", Errorf(Conflict, "y"))
	if KindOf(err) != Conflict || KindOf(errors.New("z")) != Internal {
		t.Fatal(KindOf(err))
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "60": time.Minute, "1.5": 1500 * time.Millisecond, "2d": 48 * time.Hour, "1h30m": 90 * time.Minute, "-5s": -5 * time.Second} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"eleven", "1e999", "99999999999999999999d", "NaN", "5 apples"} {
		if _, err := ParseDuration(s); err == nil || strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseBody(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2,"x"]},"c":null}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBody(in)
		if err != nil {
			if KindOf(err) != Invalid {
				t.Fatalf("kind %v", KindOf(err))
			}
			return
		}
		again, err := ParseBody(b.AppendJSON(nil))
		if err != nil || again.Len() != b.Len() {
			t.Fatalf("not stable: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"period":"1h","tags":"x,y","nums":[1]}`))
	r := router(f)
	m, err := r.Match(Write, "keys/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBody(in)
		if err != nil {
			return
		}
		if _, _, err := m.Endpoint.Decode(&m, b); err != nil && KindOf(err) != Invalid {
			t.Fatal(err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1h")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := ParseDuration(s); err != nil && len(s) > 3 && strings.Contains(err.Error(), s) {
			t.Fatal("echo")
		}
	})
}

// Documentation finds a handler's comment by this name, and tells an answer
// without fields from none.
func TestEndpointsKnowTheirHandlerAndForm(t *testing.T) {
	m, err := router(t).Match(Read, "data/x")
	if err != nil || m.Endpoint.Handler != "api.engine.read" || m.Endpoint.Answer != Data {
		t.Fatalf("%+v, %v", m.Endpoint, err)
	}
	login := func(*engine, *Call, *None) (*Auth, error) { return nil, nil }
	eps, err := Bind(&engine{}, []Route[*engine]{Handle(Write, "login", login), Handle(Delete, "x", (*engine).drop)})
	if err != nil || eps[0].Answer != Login || eps[1].Answer != Nothing || eps[1].Handler != "api.engine.drop" {
		t.Fatalf("%+v, %v", eps, err)
	}
}

func (*engine) drop(*Call, *None) (*None, error) { return nil, nil }

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"not found":                    ErrNotFound(),
		"It is locked.":                {Message: "It is locked."},
		"It is locked; unlock it":      {Message: "It is locked.", Hint: "unlock it"},
		"name: is taken; take another": {Message: "name: is taken", Hint: "take another"},
		"odd...":                       {Message: "odd..."},
	} {
		if e.Kind == 0 {
			e.Kind = Invalid
		}
		if e.Error() != want {
			t.Errorf("%q, want %q", e.Error(), want)
		}
	}
}
