package audit

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func TestFilters(t *testing.T) {
	r := &Request{Operation: "update", Path: "secret/data/app", Mount: api.Mount{Path: "secret/", Type: "kv"}, Namespace: api.Namespace{ID: "n", Path: "team/"}}
	for _, c := range []struct {
		text    string
		failure error
		want    bool
	}{
		{`mount_type == "kv"`, nil, true},
		{`mount_type == "pki"`, nil, false},
		{`mount_point == "secret/" && operation in ["update", "create"]`, nil, true},
		{`path.startsWith("secret/data/")`, nil, true},
		{`path.matches("^secret/data/[a-z]+$")`, nil, true},
		{`path.matches("^secret/metadata/")`, nil, false},
		{`namespace_path == "team/"`, nil, true},
		{`namespace_path == ""`, nil, false},
		{`error != ""`, nil, false},
		{`error != ""`, api.ErrDenied(), true},
		{`error.contains("denied")`, api.ErrDenied(), true},
		{`error.contains("s3cret")`, errors.New("s3cret"), false},
		{`type == "response"`, nil, true},
		{`!(type == "response")`, nil, false},
		// What cannot be judged is written down.
		{`1/int(size(path) - size(path)) == 1`, nil, true},
		{`["` + strings.Repeat(`x","`, 300) + `"].all(x, ["` + strings.Repeat(`y","`, 100) + `"].all(y, x != path || y != path))`, nil, true},
	} {
		f, err := compileFilter(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := f.takes(factsOf(r, "response", c.failure)); got != c.want {
			t.Errorf("%.60s: %v", c.text, got)
		}
	}
}

func TestBadFiltersAreRefused(t *testing.T) {
	for _, text := range []string{
		`s3cret`, `path == `, `path`, `1`, `path == 1`, `nope == "x"`, `path.s3cret("x")`, `"` + strings.Repeat("a", maxFilter) + `" == path`,
		`path matches "x"`, strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), `request.path == "x"`, "path ==\n  s3cret",
	} {
		_, err := compileFilter(text)
		var e *api.Error
		if !errors.As(err, &e) || e.Kind != api.Invalid || !strings.HasPrefix(e.Message, "options.filter") || e.Hint == "" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.40s: %v", text, err)
		}
	}
	if _, err := compileFilter("path ==\n  nope"); err == nil || !strings.Contains(err.Error(), "at line 2, column 3") {
		t.Error(err)
	}
}

// A filter's cost is bounded: the same one passes judgement on few words, and
// gives up on many, on the side of the log.
func TestFilterCostIsBounded(t *testing.T) {
	f, err := compileFilter(`!path.matches("(a|b|c|d)*e") && error == "never"`)
	must(t, err)
	if f.takes(factsOf(&Request{Path: "aaa"}, "request", nil)) {
		t.Error("a cheap entry was not judged")
	}
	if !f.takes(factsOf(&Request{Path: strings.Repeat("a", 1<<20)}, "request", nil)) {
		t.Error("a dear entry was judged")
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`mount_type == "kv" && !path.startsWith("x") || error != ""`)
	f.Add(`path.matches("(a+)+$")`)
	f.Add(`[1,2].exists(x, x == 1)`)
	facts := factsOf(&Request{Path: "secret/data/x", Operation: "read"}, "request", nil)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := compileFilter(text)
		if err != nil {
			if api.KindOf(err) != api.Invalid {
				t.Fatal(err)
			}
			return
		}
		c.takes(facts)
	})
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "1048576": 1 << 20, "1KiB": 1 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "8388607TiB": 8388607 << 40} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("%s: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "1kb", "1MB", "1.5MiB", "MiB", "9223372036854775807TiB", "8388608TiB", "1 MiB"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("1MiB")
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := parseSize(text); ok && n < 0 {
			t.Fatal(n)
		}
	})
}
