package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

type renamed struct {
	Period  *Duration `json:"period" api:"deprecated,alias=token_period"`
	Token   *Duration `json:"token_period"`
	Old     string    `json:"old" api:"alias=new"`
	New     string    `json:"new"`
	Older   string    `json:"older" api:"alias=new"`
	Paths   []string  `json:"paths"`
	Path    []string  `json:"path" api:"alias=paths"`
	Nest    within    `json:"nest"`
	Aliases []string  `json:"-" api:"aliases"`
}

type within struct {
	Now  int `json:"now"`
	Then int `json:"then" api:"alias=now"`
}

func (engine) rename(_ *Call, _ *renamed) (*None, error) { return nil, nil }

func renaming(t testing.TB) (*Router, Match) {
	r := routerOf(t, engine{}, []Route[engine]{Handle(Write, "x", engine.rename)})
	m, err := r.Match(Write, "x")
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

func TestAliasStandsForItsField(t *testing.T) {
	_, m := renaming(t)
	for _, c := range []struct {
		body    string
		period  Duration // of the new name; -1: none
		text    string
		paths   []string
		now     int
		aliases []string
	}{
		{`{}`, -1, "", nil, 0, nil},
		{`{"period":"1h"}`, Duration(3600e9), "", nil, 0, []string{"period"}},
		{`{"token_period":"2h"}`, Duration(7200e9), "", nil, 0, nil},
		{`{"period":"1h","token_period":"2h"}`, Duration(7200e9), "", nil, 0, nil},
		{`{"period":"1h","token_period":null}`, Duration(3600e9), "", nil, 0, []string{"period"}},
		{`{"period":"1h","token_period":""}`, Duration(3600e9), "", nil, 0, []string{"period"}},
		{`{"period":null,"token_period":0}`, 0, "", nil, 0, nil},
		{`{"old":"a"}`, -1, "a", nil, 0, []string{"old"}},
		{`{"older":"b"}`, -1, "b", nil, 0, []string{"older"}},
		{`{"older":"b","old":"a"}`, -1, "a", nil, 0, []string{"old"}},
		{`{"older":"b","old":"a","new":"c"}`, -1, "c", nil, 0, nil},
		{`{"older":"b","old":" ","new":"\u200b"}`, -1, "b", nil, 0, []string{"older"}},
		{`{"path":"a,b"}`, -1, "", []string{"a", "b"}, 0, []string{"path"}},
		{`{"path":"a","paths":[]}`, -1, "", []string{}, 0, nil},
		{`{"nest":{"then":7}}`, -1, "", nil, 7, nil},
		{`{"nest":{"then":7,"now":0}}`, -1, "", nil, 0, nil},
	} {
		body, err := ParseBody([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		v, unknown, err := m.Endpoint.Decode(&m, body)
		if err != nil || len(unknown) > 0 {
			t.Errorf("%s: %v, unknown %v", c.body, err, unknown)
			continue
		}
		got := v.(*renamed)
		period := Duration(-1)
		if got.Token != nil {
			period = *got.Token
		}
		if period != c.period || got.New != c.text || !slices.Equal(got.Paths, c.paths) || got.Nest.Now != c.now || !slices.Equal(got.Aliases, c.aliases) {
			t.Errorf("%s: %+v, period %v", c.body, got, period)
		}
	}
}

func TestMistakeUnderAnAliasIsToldByTheNameThatWasSent(t *testing.T) {
	_, m := renaming(t)
	for body, name := range map[string]string{`{"path":{}}`: "path: ", `{"paths":{}}`: "paths: ", `{"older":[]}`: "older: "} {
		b, err := ParseBody([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Endpoint.Decode(&m, b); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestOtherNames(t *testing.T) {
	_, m := renaming(t)
	for _, c := range []struct {
		body, name string
		want       []string
	}{
		{`{"period":"1h"}`, "period", []string{"token_period"}},
		{`{"token_period":"1h"}`, "token_period", []string{"period"}},
		{`{"period":""}`, "period", nil},
		{`{"period":null}`, "period", nil},
		{`{"old":"x"}`, "old", []string{"new", "older"}},
		{`{"new":"x"}`, "new", []string{"old", "older"}},
		{`{"nest":{"then":1}}`, "nest", nil},
		{`{"other":1}`, "other", nil},
	} {
		b, err := ParseBody([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Endpoint.Request.OtherNames(b, c.name); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v, want %v", c.body, c.name, got, c.want)
		}
	}
}

func TestAliasesAreNotInTheAuditLog(t *testing.T) {
	if _, m := renaming(t); m.Endpoint.Request.Shape.Fields["-"] != nil || m.Endpoint.Request.Shape.Fields["period"] == nil {
		t.Error("the shape does not follow the fields")
	}
}

func TestWrongTagsAreRefused(t *testing.T) {
	for _, v := range []any{
		struct {
			A string `json:"a" api:"alias=b"`
		}{},
		struct {
			A string `json:"a" api:"alias=a"`
		}{},
		struct {
			A string `json:"a" api:"alias="`
		}{},
		struct {
			A string `json:"a" api:"alias=b"`
			B int    `json:"b"`
		}{},
		struct {
			A string `json:"a" api:"alias=b"`
			B string `path:"b"`
		}{},
		struct {
			A string `json:"a" api:"alias=b" default:"x"`
			B string `json:"b"`
		}{},
		struct {
			A string `json:"a" api:"alias=b"`
			B string `json:"b" api:"alias=c"`
			C string `json:"c"`
		}{},
		struct {
			A     string   `json:"a" api:"alias=b"`
			B     string   `json:"b"`
			Nulls []string `json:"-" api:"nulls"`
		}{},
		struct {
			List []within `json:"list"`
		}{},
		struct {
			A string `json:"a" api:"depreciated"`
		}{},
		struct {
			A string `json:"a" api:"nulls"`
		}{},
	} {
		if _, err := schemaOf(reflect.TypeOf(v)); err == nil {
			t.Errorf("%T: taken", v)
		}
	}
}
