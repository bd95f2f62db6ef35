package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// floorsFile keeps the least that each group has answered.
const floorsFile = "floors.tsv"

var update = flag.Bool("update", false, "raise the floors to what the server answers now")

// TestFloors measures the real server and fails where a group answers less than its floor.
func TestFloors(t *testing.T) {
	scores, err := measure()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report(&text, scores, testing.Verbose())
	t.Log("\n" + text.String())
	floors := readFloors(t)
	for group, s := range scores {
		operations, params := percent(s.answered, s.operations), percent(s.known, s.params)
		if f := floors[group]; operations+0.05 < f[0] || params+0.05 < f[1] {
			t.Errorf("%s answers %.1f%% of the operations and %.1f%% of the parameters, below its floor of %.1f%% and %.1f%%",
				group, operations, params, f[0], f[1])
		}
		floors[group] = [2]float64{max(floors[group][0], operations), max(floors[group][1], params)}
	}
	if *update {
		writeFloors(t, groups(scores), floors)
	}
}

func readFloors(t *testing.T) map[string][2]float64 {
	t.Helper()
	file, err := os.Open(floorsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	floors := map[string][2]float64{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var group string
		var f [2]float64
		if _, err := fmt.Sscanf(lines.Text(), "%s\t%f\t%f", &group, &f[0], &f[1]); err != nil {
			t.Fatalf("%s: %q: %v", floorsFile, lines.Text(), err)
		}
		floors[group] = f
	}
	return floors
}

func writeFloors(t *testing.T, names []string, floors map[string][2]float64) {
	t.Helper()
	var text strings.Builder
	for _, group := range names {
		fmt.Fprintf(&text, "%s\t%.1f\t%.1f\n", group, floors[group][0], floors[group][1])
	}
	if err := os.WriteFile(floorsFile, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTable pins the size of the table, so that no line is lost.
func TestTable(t *testing.T) {
	table, err := readTable(strings.NewReader(surfaceTable))
	if err != nil {
		t.Fatal(err)
	}
	body := 0
	for _, op := range table {
		for _, p := range op.params {
			if p.in == "body" {
				body++
			}
		}
	}
	if len(table) != 801 || body != 1965 {
		t.Errorf("the table has %d operations and %d body parameters, want 801 and 1965", len(table), body)
	}
	if _, err := readTable(strings.NewReader("one\ttwo\n")); err == nil {
		t.Error("a line of two columns is no error")
	}
}

const smallDocument = `{
  "paths": {
    "/of-kv/{path}": {
      "parameters": [{"name": "path", "in": "path", "schema": {"type": "string"}}],
      "get": {"parameters": [{"name": "list", "in": "query", "schema": {"type": "string"}}]},
      "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Put"}}}}}
    },
    "/of-kv/names": {"get": {"parameters": [{"name": "list", "in": "query", "required": true, "schema": {"type": "string"}}]}}
  },
  "components": {"schemas": {"Put": {"properties": {
    "ttl": {"type": "string", "format": "duration"}, "tags": {"type": "array", "items": {"type": "string"}}, "n": {"type": ["integer", "null"]}
  }}}}
}`

// TestCompare scores a small document against a small table, in which one operation, one parameter and one type are wrong.
func TestCompare(t *testing.T) {
	have, err := readDocument([]byte(smallDocument))
	if err != nil {
		t.Fatal(err)
	}
	s := compare([]operation{
		{"secret:kv", "GET", "/v1/{mount}/{path}", []param{{"path", "path", "string"}, {"query", "list", "string"}}},
		{"secret:kv", "LIST", "/v1/{mount}/{any}", []param{{"path", "any", "string"}}},
		{"secret:kv", "POST", "/v1/{mount}/{path}", []param{
			{"body", "ttl", "integer:seconds"}, {"body", "tags", "array<string>"}, {"body", "n", "string"}, {"body", "more", "string"},
		}},
		{"secret:kv", "DELETE", "/v1/{mount}/{path}", []param{{"path", "path", "string"}}},
		{"secret:kv", "GET", "/v1/{mount}/names", nil},
		{"secret:kv", "LIST", "/v1/{mount}/names/", nil},
	}, have, map[string]string{"secret:kv": "of-kv"})["secret:kv"]
	if s.operations != 6 || s.answered != 4 || s.params != 8 || s.known != 5 {
		t.Errorf("scored %d of %d operations and %d of %d parameters, want 4 of 6 and 5 of 8", s.answered, s.operations, s.known, s.params)
	}
	want := []string{
		"POST /v1/{mount}/{path}: body parameter n is integer, want string",
		"POST /v1/{mount}/{path}: body parameter more (string)",
		"DELETE /v1/{mount}/{path}", "GET /v1/{mount}/names",
	}
	if got := strings.Join(s.missing, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("missing:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// TestExceptions holds each exception to what it stands for: it covers something of the table, it is not counted where the
// server has a route for it, and is missing where it has none.
func TestExceptions(t *testing.T) {
	table, err := readTable(strings.NewReader(surfaceTable))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]exception{exceptions(), meaningless(), later()} {
		covered := map[int]int{}
		for _, op := range table {
			covered[covers(list, op, "")]++
			for _, p := range op.params {
				covered[covers(list, op, p.name)]++
			}
		}
		for i, e := range list {
			if covered[i] == 0 || e.reason == "" {
				t.Errorf("%+v covers nothing, or says nothing", e)
			}
		}
	}
	one := operation{group: "sys", method: "POST", path: "/v1/sys/workflows/execute/{path}"}
	with := compare([]operation{one}, served{spelling(one.method, one.path): {}}, nil)["sys"]
	without := compare([]operation{one}, served{}, nil)["sys"]
	if with.operations != 0 || with.refused != 1 || len(with.missing) != 0 {
		t.Errorf("refused: %+v", with)
	}
	if without.operations != 1 || without.answered != 0 || len(without.missing) != 1 {
		t.Errorf("without a route: %+v", without)
	}
	quota := operation{group: "sys", method: "GET", path: "/v1/sys/quotas/config", params: []param{{"query", "x", "string"}}}
	if s := compare([]operation{quota}, served{}, nil)["sys"]; s.operations != 0 || s.params != 0 || s.later != 1 {
		t.Errorf("to come: %+v", s)
	}
	if s := compare([]operation{quota}, served{spelling(quota.method, quota.path): {}}, nil)["sys"]; s.answered != 1 || len(s.missing) != 1 {
		t.Errorf("to come, and there: %+v", s)
	}
	page := operation{group: "secret:kv-v2", method: "POST", path: "/v1/{mount}/metadata/{path}", params: []param{{"body", "limit", "integer"}, {"body", "other", "integer"}}}
	if s := compare([]operation{page}, served{spelling(page.method, page.path): {}}, nil)[page.group]; s.answered != 1 || s.params != 1 || s.known != 0 || s.excepted != 1 {
		t.Errorf("never read: %+v", s)
	}
	if other := refusedByDesign(operation{method: "GET", path: "/v1/sys/plugins/catalog/{name}"}); other >= 0 {
		t.Error("reading the catalogue is excepted")
	}
}
