package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
)

func mark(dst, value []byte) []byte { return append(append(dst, '#'), byte('0'+len(value)%10)) }

var sample = &api.Shape{Fields: map[string]*api.Shape{
	"name":  {Clear: true},
	"note":  {},
	"key":   {Hidden: true},
	"tags":  {Elem: &api.Shape{}},
	"inner": {Fields: map[string]*api.Shape{"ttl": {Clear: true}, "on": {}}},
}}

func TestRedactFollowsTheShape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"name":"a","note":"bb","key":"ccc"}`, `{"name":"a","note":"#2","key":"#3"}`},
		{`{"name":1,"note":1,"key":12}`, `{"name":1,"note":1,"key":"#2"}`},
		{`{"note":true,"key":true,"x":false}`, `{"note":true,"key":"#4","x":"#5"}`},
		{`{"note":null,"key":null,"x":null}`, `{"note":null,"key":null,"x":null}`},
		{`{"x":{"y":["z",1]}}`, `{"x":{"y":["#1","#1"]}}`},
		{`{"tags":["a",1,true],"inner":{"ttl":"1h","on":false,"z":1}}`, `{"tags":["#1",1,true],"inner":{"ttl":"1h","on":false,"z":"#1"}}`},
		{`{"tags":{"k":"v"},"name":["a",{"b":"c"}]}`, `{"tags":{"k":"#1"},"name":["a",{"b":"c"}]}`},
		// What is not of the kind that the shape speaks of is hidden.
		{`{"tags":12,"inner":true,"note":{"a":1},"x":[2]}`, `{"tags":"#2","inner":"#4","note":{"a":"#1"},"x":["#1"]}`},
		{`[{"name":"a"},1]`, `[{"name":"#1"},"#1"]`},
		{`"abc"`, `"#3"`}, {`12`, `"#2"`},
		{" {\n\t\"name\" : \"a\" ,\r\"note\" : [ ] } ", `{"name":"a","note":[]}`},
		{`{"n\u0061me":"\u0062","key":"\u0062"}`, `{"name":"b","key":"#1"}`},
		{`{"name":"a\nb\u2028"}`, "{\"name\":\"a\\nb\u2028\"}"},
		{`{"name":-1.5e+3}`, `{"name":-1.5e+3}`},
	} {
		if got := string(AppendRedacted(nil, []byte(c.in), sample, mark)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestRedactHidesWhatItCannotRead(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for _, in := range []string{``, ` `, `{`, `{"name"`, `{"name":`, `{"name":"a"`, `{"name":"a",}`, `{"name":"a"}x`, `{"name":"a"} {}`,
		`{name:"a"}`, `{'name':1}`, `["a"`, `["a",]`, `[,]`, `"abc`, `"a\x"`, "\"a\nb\"", "\"\xff\"", `{"` + "\xff" + `":1}`, `"\ud800"`, `tru`, `nulL`,
		`01`, `1.`, `.5`, `-`, `1e`, `1e+`, `+1`, `NaN`, deep, `{"name":"s3cret"`, "\x00"} {
		got := string(AppendRedacted([]byte("before"), []byte(in), &api.Shape{Clear: true}, mark))
		if want := "before\"" + string(mark(nil, []byte(in))) + `"`; got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestElideCountsKeys(t *testing.T) {
	shape := &api.Shape{Fields: map[string]*api.Shape{"keys": {Elem: &api.Shape{}}}}
	in := `{"keys":["a","b"],"key_info":{"a":{"keys":["x"]},"b":{},"c":1},"other":{"keys":["y"]}}`
	want := `{"keys":2,"key_info":3,"other":{"keys":["#1"]}}`
	if got := string(appendRedacted(nil, []byte(in), shape, mark, fullLimits, true)); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(appendRedacted(nil, []byte(`{"keys":"abc"}`), shape, mark, fullLimits, true)); got != `{"keys":"#3"}` {
		t.Errorf("a text for a list: %s", got)
	}
}

// forms are the spellings in which a canary must not come out.
func forms(canary string) []string {
	quoted, err := jsontext.AppendQuote(nil, canary)
	if err != nil {
		panic(err)
	}
	var escaped strings.Builder
	for _, r := range canary {
		escaped.WriteString(`\u00` + hex.EncodeToString([]byte{byte(r)}))
	}
	return []string{canary, string(quoted[1 : len(quoted)-1]), escaped.String(), hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary)),
		base64.RawURLEncoding.EncodeToString([]byte(canary))}
}

const (
	canaryText   = `c4n"ary\<&>`
	canaryNumber = "918273645"
)

// value draws a JSON value whose hidden leaves all hold a canary, and its shape.
func value(t *rapid.T, depth int) (string, *api.Shape) {
	leaf := rapid.SampledFrom(append(forms(canaryText)[3:], canaryText, canaryText+"x", "x"+canaryText))
	text := func() string {
		b, err := json.Marshal(leaf.Draw(t, "text"))
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "escape") {
			return `"` + forms(canaryText)[2] + `"`
		}
		return string(b)
	}
	kinds := 5
	if depth > 4 {
		kinds = 3
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return text(), rapid.SampledFrom([]*api.Shape{nil, {}, {Hidden: true}, {Elem: &api.Shape{}}, {Fields: map[string]*api.Shape{"a": {Clear: true}}}}).Draw(t, "shape")
	case 1:
		return canaryNumber, rapid.SampledFrom([]*api.Shape{nil, {Hidden: true}, {Elem: &api.Shape{Clear: true}}, {Fields: map[string]*api.Shape{}}}).Draw(t, "shape")
	case 2:
		return `null`, &api.Shape{}
	case 3:
		elems := []string{}
		for range rapid.IntRange(0, 4).Draw(t, "len") {
			v, _ := value(t, depth+1)
			elems = append(elems, v)
		}
		return "[" + strings.Join(elems, " ,") + "]", rapid.SampledFrom([]*api.Shape{nil, {}, {Hidden: true}, {Fields: map[string]*api.Shape{"a": {Clear: true}}}}).Draw(t, "shape")
	}
	s := &api.Shape{Fields: map[string]*api.Shape{}}
	members := []string{}
	for _, name := range []string{"a", "b", "c"} {
		v, vs := value(t, depth+1)
		members = append(members, `"`+name+`":`+v)
		if vs != nil {
			s.Fields[name] = vs
		}
	}
	return "{" + strings.Join(members, ",") + "}", s
}

func TestRedactLetsNoCanaryOut(t *testing.T) {
	k := NewKey()
	m := k.mac()
	rapid.Check(t, func(t *rapid.T) {
		in, shape := value(t, 0)
		if rapid.IntRange(0, 9).Draw(t, "damage") == 0 {
			in = in[:rapid.IntRange(0, len(in)).Draw(t, "cut")]
		}
		out := AppendRedacted(nil, []byte(in), shape, m.append)
		if !jsontext.Value(out).IsValid() || bytes.ContainsAny(out, "\n\r") {
			t.Fatalf("not a line of JSON: %s", out)
		}
		for _, f := range append(forms(canaryText), canaryNumber) {
			if bytes.Contains(out, []byte(f)) {
				t.Fatalf("%s came out of %s", f, in)
			}
		}
	})
}

// Control: the same search finds a canary where the shape shows it.
func TestCanarySearchFindsALeak(t *testing.T) {
	in := `{"a":"` + forms(canaryText)[2] + `"}`
	out := AppendRedacted(nil, []byte(in), &api.Shape{Fields: map[string]*api.Shape{"a": {Clear: true}}}, mark)
	if !bytes.Contains(out, []byte(forms(canaryText)[1])) {
		t.Fatalf("not found in %s", out)
	}
}

func FuzzRedact(f *testing.F) {
	for _, s := range []string{`{"name":"a","note":[1,true,null,"\u00e9"],"inner":{"ttl":1.5e3}}`, `{"keys":["a"]}`, `"\ud83d\ude00"`, `[[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, s := range []*api.Shape{nil, sample, {Clear: true}} {
			out := AppendRedacted(nil, in, s, mark)
			if !json.Valid(out) || !utf8.Valid(out) {
				t.Fatalf("%q gives %q", in, out)
			}
			if bytes.ContainsAny(out, "\n\r") {
				t.Fatalf("more than one line: %q", out)
			}
		}
		// Whatever is not JSON is hashed whole, so a Clear shape shows none of it.
		want := `"` + string(mark(nil, in)) + `"`
		if out := AppendRedacted(nil, in, &api.Shape{Clear: true}, mark); !(json.Valid(in) && utf8.Valid(in)) && string(out) != want {
			t.Fatalf("%q is not JSON and was shown: %q", in, out)
		}
	})
}
