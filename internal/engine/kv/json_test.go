package kv

import (
	"github.com/go-json-experiment/json/jsontext"
	"strings"

	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
)

// Appendix A of RFC 7396.
func TestMergePatchAsInTheRFC(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":1.50}`, `{"m":9007199254740993}`, `{"n":1.50,"m":9007199254740993}`},
		{`{"a":1}`, `{"a":null,"b":2}`, `{"b":2}`},
		{`null`, `{"a":1}`, `{"a":1}`},
	} {
		got, err := mergePatch([]byte(c.target), []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s with %s: %s, want %s (%v)", c.target, c.patch, got, c.want, err)
		}
	}
}

// plain is what encoding/json writes, with no escapes for HTML.
func plain(t *rapid.T, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func TestAppendJSONSaysWhatEncodingJSONSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Data{Metadata: VersionInfo{
			CreatedTime: api.Time{Time: drawTime(t, "created")}, DeletionTime: api.Time{Time: drawTime(t, "deleted")},
			Destroyed: rapid.Bool().Draw(t, "destroyed"), Version: rapid.Uint64().Draw(t, "version"),
		}}
		if rapid.Bool().Draw(t, "custom") {
			d.Metadata.CustomMetadata = rapid.MapOf(rapid.StringMatching(`[ -~é]{0,9}`), rapid.StringMatching(`[ -~é]{0,9}`)).Draw(t, "map")
		}
		if rapid.Bool().Draw(t, "data") {
			d.Data = compact(api.Object(plain(t, rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "members"))))
		}
		if got, want := string(d.AppendJSON([]byte("x"))), "x"+plain(t, d); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		s := &Secret{Data: d.Data}
		if d.Data != nil && string(s.AppendJSON(nil)) != plain(t, s) {
			t.Fatalf("unversioned: %s", s.AppendJSON(nil))
		}
	})
}

func TestPayloadsOfOtherDialectsAreShownAsObjects(t *testing.T) {
	for _, c := range []struct {
		k    kind
		body string
		want string
	}{{kindJSON, `{"a":1}`, `{"a":1}`}, {kindText, "p\"w", `{"value":"p\"w"}`}, {kindBinary, "\x00\xff", `{"base64":"AP8="}`}, {kindText, "\xff", `{"base64":"/w=="}`}} {
		if got := string(object(c.k, []byte(c.body))); got != c.want {
			t.Errorf("%q: %s", c.body, got)
		}
	}
}

// TestCompact compares with a formatter of JSON; what has no space is not copied.
func TestCompact(t *testing.T) {
	space := rapid.StringMatching(`[ \t\r\n]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		plain := plain(t, rapid.MapOf(rapid.StringMatching(`["\\ ,:\t]{0,9}`), rapid.SliceOf(rapid.StringMatching(`["\\ {\]\t\n]{0,9}`))).Draw(t, "value"))
		d := jsontext.NewDecoder(strings.NewReader(plain))
		before := 0
		for {
			_, err := d.ReadToken()
			if err != nil {
				break
			}
			b.WriteString(plain[before:d.InputOffset()] + space.Draw(t, "space"))
			before = int(d.InputOffset())
		}
		got := compact(api.Object(b.String()))
		if string(got) != plain {
			t.Fatalf("%q became %q, want %q", b.String(), got, plain)
		}
		if again := compact(got); &again[0] != &got[0] {
			t.Fatal("a value without space was copied")
		}
	})
}
