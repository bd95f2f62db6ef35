package jwt

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/jws"
)

// What a program makes is bounded, not only the steps that it takes to make it.
func TestCELMemory(t *testing.T) {
	times := func(n int, text, between string) string {
		return strings.TrimSuffix(strings.Repeat(text+between, n), between)
	}
	said := jws.Claims{"x": strings.Repeat("x", 1000), "l": []any{"a", "b", "c"}}
	for name, p := range map[string]program{
		"sum":     {Variables: []variable{{"a", times(30, "claims.x", "+")}, {"b", times(30, "a", "+")}, {"c", times(30, "b", "+")}}, Expression: `c == "" ? false : "no"`},
		"sums":    {Expression: times(30, "claims.x", "+") + ` == "" ? false : "no"`},
		"lists":   {Variables: []variable{{"a", times(30, "[claims.x]", "+")}, {"b", times(30, "a", "+")}, {"c", times(30, "b", "+")}}, Expression: `c == [] ? false : "no"`},
		"replace": {Variables: []variable{{"a", `claims.x.replace("", claims.x)`}, {"b", `a.replace("", claims.x)`}}, Expression: `b == "" ? false : "no"`},
		"join":    {Variables: []variable{{"a", "[" + times(30, "claims.x", ",") + "]"}, {"b", `a.join(a.join(claims.x))`}}, Expression: `b == "" ? false : "no"`},
		"format":  {Variables: []variable{{"a", `"` + times(60, "%s", "") + `".format([` + times(60, "claims.x", ",") + `])`}, {"b", `"` + times(60, "%s", "") + `".format([` + times(60, "a", ",") + `])`}}, Expression: `b == "" ? false : "no"`},
		"planted": {Variables: []variable{{"a", `["","","","",""].join(claims.x)`}}, Expression: `a == "" ? false : "no"`},
		"maps":    {Expression: `size(` + "[claims.l]" + strings.Repeat(`.map(y,y+y+y+y+y+y+y+y+y+y+y+y+y+y+y+y+y+y+y+y)`, 8) + `) == 0 ? false : "no"`},
		"range":   {Variables: []variable{{"a", `lists.range(3000000)`}}, Expression: `a == [] ? false : "no"`},
		"bytes":   {Variables: []variable{{"a", times(30, "bytes(claims.x)", "+")}, {"b", times(30, "a", "+")}}, Expression: `b == b"" ? false : "no"`},
		"match":   {Variables: []variable{{"a", times(60, "claims.x", "+")}}, Expression: `a.matches("(x|xx|xxx){1,900}y") ? false : "no"`},
		"pattern": {Expression: `claims.x.matches("(x|xx|xxx){1,900}y") ? false : "no"`},
		"given":   {Expression: `claims.x.matches(claims.x) ? false : "no"`},
		"quote":   {Variables: []variable{{"a", `strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote(strings.quote("\"\"\"\"" + claims.x))))))))))))`}}, Expression: `a == "" ? false : "no"`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := p.run(said, time.Now())
		runtime.ReadMemStats(&after)
		made := (after.TotalAlloc - before.TotalAlloc) >> 20
		if took := time.Since(began); made > 16 || took > 5*time.Second || err == nil || err.Error() == "the program says no" {
			t.Errorf("%s: %v, made %d MiB in %v", name, err, made, took)
		}
	}
}

// What is judged at a role's writing lets usual programs be.
func TestCELThatIsCheap(t *testing.T) {
	for _, text := range []string{`claims.x.replace("@", "-at-").matches("^[a-z]+(-[a-z]+){0,8}$")`, `["a", claims.x].join("-") != ""`, `matches(claims.x, "a|b")`, `claims.l.exists(g, g == "c")`, `claims.x.contains("a")`} {
		p := program{Expression: text + ` ? "no" : false`}
		if _, err := p.run(jws.Claims{"x": "a", "l": []any{"a", "c"}}, time.Now()); err == nil || err.Error() != "the program says no" {
			t.Errorf("%s: %v", text, err)
		}
	}
}
