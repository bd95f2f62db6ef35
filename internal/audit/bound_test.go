package audit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func elided(in string) string { return `{"elided":"` + string(mark(nil, []byte(in))) + `"}` }

func TestRedactIsBounded(t *testing.T) {
	list := func(n int, v string) string { return "[" + strings.Repeat(v+",", n-1) + v + "]" }
	long := `"` + strings.Repeat("x", 90) + `"`
	clear := &api.Shape{Clear: true}
	for _, c := range []struct {
		in    string
		shape *api.Shape
		limit limits
		want  string // empty: elided
	}{
		{list(4, "1"), nil, limits{4, 100}, `["#1","#1","#1","#1"]`},
		{list(5, "1"), nil, limits{4, 100}, ""},
		{`{"a":"x","b":{"c":true}}`, nil, limits{1, 100}, ""},
		{list(5, "null"), nil, limits{4, 100}, list(5, "null")},
		{list(5, "1"), clear, limits{4, 100}, list(5, "1")},
		{list(60, "1"), clear, limits{4, 100}, ""},
		{long, clear, limits{4, 100}, long},
		{`"x` + long[1:] + " ", clear, limits{4, 92}, ""},
		{`{` + long + `:1}`, nil, limits{4, 90}, ""},
	} {
		if c.want == "" {
			c.want = elided(c.in)
		}
		if got := string(appendRedacted([]byte("before"), []byte(c.in), c.shape, mark, c.limit, false)); got != "before"+c.want {
			t.Errorf("%.40s within %v:\n got %s\nwant %s", c.in, c.limit, got, c.want)
		}
	}
	keys := `{"keys":` + list(100, `"a"`) + `,"b":1}`
	if got := string(appendRedacted(nil, []byte(keys), nil, mark, limits{1, 50}, true)); got != `{"keys":100,"b":"#1"}` {
		t.Errorf("what is only counted took room: %s", got)
	}
}

// TestLinesAreBounded has everything that a caller chooses be large at once.
func TestLinesAreBounded(t *testing.T) {
	huge, many := strings.Repeat("x\x01", 100<<10), make([]string, 5000)
	quoted, err := json.Marshal(huge)
	must(t, err)
	for _, raw := range []bool{false, true} {
		out := &memory{}
		b := NewBroker()
		b.Replace([]*Sink{sinkOver("file/", out, format{key: testKey(), raw: raw})}, map[string]bool{"x-few": true, "x-many": true, "x-clear": false})
		e := b.Entry()
		fill(e)
		e.Auth.Metadata, e.Auth.Policies, e.Auth.Granting = map[string]string{"k": huge}, []string{huge}, make([]Grant, 5000)
		e.Request.Path, e.Request.Data, e.Request.Shape = huge, []byte(`{"a":`+string(quoted)+`}`), &api.Shape{Clear: true}
		e.Request.Headers = map[string][]string{"X-Few": {"a"}, "X-Many": many, "X-Clear": {huge}}
		r := &Response{Shape: &api.Shape{Clear: true}, Data: e.Request.Data, Warnings: []string{huge, huge}, Redirect: huge, Err: api.Errorf(api.Invalid, "%s", huge)}
		logBoth(t, b, e, r)
		r.Data, r.Raw = nil, &api.Raw{Body: []byte(huge), ContentType: "text/plain"}
		logBoth(t, b, e, r)
		for line := range strings.Lines(out.text()) {
			if len(line) > 8<<10 || !json.Valid([]byte(line)) {
				t.Errorf("raw %t: a line of %d bytes: %.2000s", raw, len(line), line)
			}
		}
		e.Release()
	}
}

// TestOnlyAllowedCallersGetLeaves has the same body from callers of every kind.
func TestOnlyAllowedCallersGetLeaves(t *testing.T) {
	body := "[" + strings.Repeat("1,", 99) + "1]"
	for _, a := range []Auth{{}, {Allowed: true}, {Judged: true}, {Judged: true, Allowed: true}} {
		out := &memory{}
		b := NewBroker()
		b.Replace([]*Sink{sinkOver("file/", out, format{key: testKey()})}, nil)
		e := b.Entry()
		e.Auth, e.Request.Data = a, []byte(body)
		logBoth(t, b, e, &Response{Data: []byte(body)})
		whole := strings.Count(out.text(), `"data":{"elided":"`+testKey().Hash([]byte(body))+`"}`)
		if allowed := a.Judged && a.Allowed; allowed != (whole == 0) || !allowed && whole != 3 {
			t.Errorf("judged %t, allowed %t: %d are elided: %.600s", a.Judged, a.Allowed, whole, out.text())
		}
	}
}
