package kv

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

const at0 = `"2030-01-02T03:04:05.6789Z"`

// step is one request and what must come of it.
type step struct {
	request string
	body    string
	kind    api.Kind
	want    string // JSON of the answer; empty: not looked at
	message string
}

func run(t *testing.T, m *mountAt, steps []step) {
	t.Helper()
	for _, s := range steps {
		a := m.do(s.request, s.body)
		if a.kind != s.kind || s.message != "" && a.message != s.message {
			t.Errorf("%s %s: %v %q, want %v %q", s.request, s.body, a.kind, a.message, s.kind, s.message)
			continue
		}
		if s.want != "" {
			same(t, s.request+" "+s.body, a.body, s.want)
		}
	}
}

func info(version int, deleted string, destroyed bool) string {
	d := `""`
	if deleted != "" {
		d = deleted
	}
	return strings.NewReplacer("V", strconv.Itoa(version), "D", d, "X", strconv.FormatBool(destroyed)).Replace(
		`{"created_time":` + at0 + `,"custom_metadata":null,"deletion_time":D,"destroyed":X,"version":V}`)
}

func TestDataAsTheWireHasIt(t *testing.T) {
	m := open(t, "2", openStore(t))
	const mismatch = "check-and-set parameter did not match the current version"
	run(t, m, []step{
		{"GET data/a", "", api.NotFound, "", ""},
		{"DELETE data/a", "", success, "", ""},
		{"POST data/a", `{"data":{"x":1.50,"y":"<&>"}}`, success, info(1, "", false), ""},
		{"GET data/a", "", success, `{"data":{"x":1.50,"y":"<&>"},"metadata":` + info(1, "", false) + `}`, ""},
		{"POST data/a", `{"data":{"x":2},"options":{"cas":1}}`, success, info(2, "", false), ""},
		{"POST data/a", `{"data":{"x":2},"options":{"cas":1}}`, api.Conflict, "", mismatch},
		{"POST data/a", `{"data":{"x":2},"options":{"cas":0}}`, api.Conflict, "", mismatch},
		{"POST data/a", `{"data":{"x":2},"options":{"cas":-1}}`, api.Conflict, "", mismatch},
		{"POST data/a", `{"data":{"x":2},"options":{"cas":"zz"}}`, api.Invalid, "", ""},
		{"POST data/a", `{"data":{"x":3},"options":{"cas":"2"}}`, success, info(3, "", false), ""},
		{"POST data/a", `{"options":{"cas":3}}`, api.Invalid, "", "no data provided"},
		{"POST data/a", `{"x":3}`, api.Invalid, "", "no data provided"},
		{"POST data/a", `{"data":"str"}`, api.Invalid, "", ""},
		{"POST data/a", `{"data":[1]}`, api.Invalid, "", ""},
		{"POST data/a", `{"data":null,"options":null}`, success, info(4, "", false), ""},
		{"GET data/a", "", success, `{"data":null,"metadata":` + info(4, "", false) + `}`, ""},
		{"POST data/a", `{"data":{},"options":{"bar":1},"version":7}`, success, info(5, "", false), ""},
		{"GET data/a", `{"version":"1"}`, success, `{"data":{"x":1.50,"y":"<&>"},"metadata":` + info(1, "", false) + `}`, ""},
		{"GET data/a", `{"version":"0"}`, success, `{"data":{},"metadata":` + info(5, "", false) + `}`, ""},
		{"GET data/a", `{"version":-1}`, success, `{"data":{},"metadata":` + info(5, "", false) + `}`, ""},
		{"GET data/a", `{"version":99}`, api.NotFound, "", ""},
		{"GET data/a", `{"version":"x"}`, api.Invalid, "", ""},
		{"DELETE data/a", "", success, "", ""},
		{"GET data/a", "", api.NotFound, `{"data":null,"metadata":` + info(5, at0, false) + `}`, ""},
		{"PATCH data/a", `{"data":{"q":1}}`, api.NotFound, info(5, at0, false), ""},
		{"GET subkeys/a", "", api.NotFound, `{"subkeys":null,"metadata":` + info(5, at0, false) + `}`, ""},
		{"POST undelete/a", `{"versions":[5]}`, success, "", ""},
		{"GET data/a", "", success, `{"data":{},"metadata":` + info(5, "", false) + `}`, ""},
		{"POST data/a/", `{"data":{}}`, api.Invalid, "", "cannot write to a path ending in '/'"},
		{"GET data/a/", "", api.NotFound, "", ""},
		{"DELETE data/a/", "", success, "", ""},
		{"GET data/a", "", success, "", ""},
	})
	if m.exists("data/nope") || !m.exists("data/a") {
		t.Error("create and update are not told apart")
	}
	if a := m.do("POST data/a", `{"data":{},"foo":1}`); len(a.unknown) != 1 || a.unknown[0] != "foo" {
		t.Errorf("unknown %v", a.unknown)
	}
}

func TestVersionStatesAsTheWireHasThem(t *testing.T) {
	m := open(t, "2", openStore(t))
	for range 4 {
		m.ok("POST data/a", `{"data":{"k":"v"}}`)
	}
	before := payloads(t, m.store)
	m.now = epoch.Add(time.Hour)
	const at1 = `"2030-01-02T04:04:05.6789Z"`
	run(t, m, []step{
		{"POST delete/none", `{"versions":[1]}`, success, "", ""},
		{"POST undelete/none", `{"versions":[1]}`, success, "", ""},
		{"POST destroy/none", `{"versions":[1]}`, success, "", ""},
		{"POST delete/a", `{}`, api.Invalid, "", "No version number provided"},
		{"POST destroy/a", `{"versions":[]}`, api.Invalid, "", "No version number provided"},
		{"POST delete/a", `{"versions":["x"]}`, api.Invalid, "", ""},
		{"POST destroy/a", `{"versions":[99,-1,0]}`, success, "", ""},
		{"POST delete/a", `{"versions":"1,3"}`, success, "", ""},
		{"POST delete/a", `{"versions":["2"]}`, success, "", ""},
		{"POST undelete/a", `{"versions":[1]}`, success, "", ""},
		{"POST destroy/a", `{"versions":[2]}`, success, "", ""},
		{"POST undelete/a", `{"versions":[2]}`, success, "", ""},
		{"GET data/a", `{"version":2}`, api.NotFound, `{"data":null,"metadata":` + info(2, at1, true) + `}`, ""},
		{"GET data/a", `{"version":3}`, api.NotFound, `{"data":null,"metadata":` + info(3, at1, false) + `}`, ""},
		{"GET metadata/a", "", success, `{"cas_required":false,"created_time":` + at0 + `,"current_metadata_version":0,"current_version":4,
			"custom_metadata":null,"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false,"oldest_version":0,"updated_time":` + at0 + `,
			"versions":{"1":{"created_time":` + at0 + `,"deletion_time":"","destroyed":false},
			"2":{"created_time":` + at0 + `,"deletion_time":` + at1 + `,"destroyed":true},
			"3":{"created_time":` + at0 + `,"deletion_time":` + at1 + `,"destroyed":false},
			"4":{"created_time":` + at0 + `,"deletion_time":"","destroyed":false}}}`, ""},
	})
	if n := payloads(t, m.store); n != before-1 {
		t.Errorf("%d payloads after destroy, want %d", n, before-1)
	}
	m.ok("DELETE metadata/a", "")
	if left := rows(t, m.store, ""); len(left) != 0 {
		t.Errorf("rows left after the secret was removed: %d", len(left))
	}
}

// TestDeletedWhateverTheClock: what was deleted is deleted on a node whose clock is behind, and comes back when it is undeleted.
func TestDeletedWhateverTheClock(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/a", `{"data":{}}`)
	m.ok("DELETE data/a", "")
	m.now = m.now.Add(-time.Millisecond)
	run(t, m, []step{
		{"GET data/a", "", api.NotFound, "", ""},
		{"POST undelete/a", `{"versions":[1]}`, success, "", ""},
		{"GET data/a", "", success, "", ""},
	})
	m.ok("POST metadata/a", `{"delete_version_after":"1h"}`)
	m.ok("POST data/a", `{"data":{}}`)
	m.now = m.now.Add(time.Hour)
	m.ok("DELETE data/a", "") // it is over by this clock, and not by the next
	m.now = m.now.Add(-time.Minute)
	run(t, m, []step{{"GET data/a", "", api.NotFound, "", ""}})
}

func TestMaxVersionsAndAge(t *testing.T) {
	m := open(t, "2", openStore(t))
	for range 12 {
		m.ok("POST data/ten", `{"data":{}}`)
	}
	m.ok("POST metadata/two", `{"max_versions":2}`)
	for range 4 {
		m.ok("POST data/two", `{"data":{}}`)
	}
	m.ok("POST metadata/two", `{"max_versions":1}`)
	run(t, m, []step{
		{"GET data/ten", `{"version":2}`, api.NotFound, "", ""},
		{"GET data/ten", `{"version":3}`, success, "", ""},
		{"GET data/two", `{"version":2}`, api.NotFound, "", ""},
		{"GET data/two", `{"version":3}`, success, "", ""},
		{"POST data/two", `{"data":{}}`, success, "", ""},
		{"GET data/two", `{"version":4}`, api.NotFound, "", ""},
	})
	if n := payloads(t, m.store); n != 11 {
		t.Errorf("%d payloads, want 11", n)
	}
	const due = `"2030-01-02T03:04:15.6789Z"`
	run(t, m, []step{
		{"POST config", `{"delete_version_after":"20s","max_versions":3}`, success, "", ""},
		{"GET config", "", success, `{"cas_required":false,"delete_version_after":"20s","max_versions":3,"metadata_cas_required":false}`, ""},
		{"POST metadata/old", `{"delete_version_after":"10s"}`, success, "", ""},
		{"POST data/old", `{"data":{}}`, success, info(1, due, false), ""},
		{"GET data/old", "", success, "", ""},
	})
	m.now = epoch.Add(10 * time.Second)
	run(t, m, []step{
		{"GET data/old", "", api.NotFound, `{"data":null,"metadata":` + info(1, due, false) + `}`, ""},
		{"POST undelete/old", `{"versions":[1]}`, success, "", ""},
		{"GET data/old", "", success, `{"data":{},"metadata":` + info(1, `"2030-01-02T03:04:25.6789Z"`, false) + `}`, ""},
		{"DELETE data/old", "", success, "", ""},
		{"GET data/old", "", api.NotFound, `{"data":null,"metadata":` + info(1, due, false) + `}`, ""},
		{"POST config", `{"delete_version_after":"-1s"}`, success, "", ""},
		{"GET config", "", success, `{"cas_required":false,"delete_version_after":"-1s","max_versions":3,"metadata_cas_required":false}`, ""},
		{"POST undelete/old", `{"versions":[1]}`, success, "", ""},
		{"GET data/old", "", success, `{"data":{},"metadata":` + info(1, "", false) + `}`, ""},
		{"POST config", `{"max_versions":-1}`, api.Invalid, "", ""},
		{"POST config", `{"max_versions":0,"delete_version_after":0}`, success, "", ""},
		{"GET config", "", success, `{"cas_required":false,"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false}`, ""},
	})
	if a := m.do("POST config", `{"max_versions":5000}`); a.kind != success || len(a.warnings) != 1 {
		t.Errorf("no warning of a limit that cannot be kept: %+v", a)
	}
}

// TestNegativeAgeMeansNever: a secret can opt out of the mount's deletion by age,
// and back in.
func TestNegativeAgeMeansNever(t *testing.T) {
	m := open(t, "2", openStore(t))
	const due = `"2030-01-02T03:04:15.6789Z"`
	run(t, m, []step{
		{"POST config", `{"delete_version_after":"10s"}`, success, "", ""},
		{"POST metadata/put", `{"delete_version_after":"-5s"}`, success, "", ""},
		{"POST data/put", `{"data":{}}`, success, info(1, "", false), ""},
		{"DELETE data/put", "", success, "", ""},
		{"POST undelete/put", `{"versions":[1]}`, success, "", ""},
		{"GET data/put", "", success, `{"data":{},"metadata":` + info(1, "", false) + `}`, ""},
		{"POST data/patch", `{"data":{}}`, success, info(1, due, false), ""},
		{"PATCH metadata/patch", `{"delete_version_after":"-1s"}`, success, "", ""},
		{"POST data/patch", `{"data":{}}`, success, info(2, "", false), ""},
		{"PATCH metadata/patch", `{"delete_version_after":null}`, success, "", ""},
		{"POST data/patch", `{"data":{}}`, success, info(3, due, false), ""},
		{"POST metadata/echo", `{"delete_version_after":"-3h"}`, success, "", ""},
		{"GET metadata/echo", "", success, meta("1", "-1s", "0", "null", "false", "false"), ""},
	})
}

// TestPatchesTogetherStayWithinTheLimits has patches that are each within the
// limits of a request add up to a value that is not.
func TestPatchesTogetherStayWithinTheLimits(t *testing.T) {
	m := open(t, "2", openStore(t))
	many := "[" + strings.Repeat("0,", 30_000) + "0]"
	run(t, m, []step{
		{"POST data/p", `{"data":{"a":` + many + `}}`, success, "", ""},
		{"PATCH data/p", `{"data":{"b":` + many + `}}`, api.TooLarge, "", "the patched value would have more values or levels than one request may write"},
		{"PATCH data/p", `{"data":{"b":1}}`, success, info(2, "", false), ""},
		{"PATCH data/p", `{"data":{"a":2,"b":` + many + `}}`, success, info(3, "", false), ""},
	})
}

func TestPatch(t *testing.T) {
	m := open(t, "2", openStore(t))
	run(t, m, []step{
		{"PATCH data/p", `{"data":{"a":1}}`, api.NotFound, "", ""},
		{"POST data/p", `{"data":{"a":{"b":1,"c":[1,2]},"d":"x","n":null}}`, success, "", ""},
		{"PATCH data/p", `{"data":{"a":{"b":null,"q":5},"d":"y"}}`, success, info(2, "", false), ""},
		{"GET data/p", "", success, `{"data":{"a":{"c":[1,2],"q":5},"d":"y","n":null},"metadata":` + info(2, "", false) + `}`, ""},
		{"PATCH data/p", `{"data":{"d":"z"},"options":{"cas":1}}`, api.Conflict, "", ""},
		{"PATCH data/p", `{"data":{"d":"z"},"options":{"cas":2}}`, success, info(3, "", false), ""},
		{"PATCH data/p", `{"options":{}}`, api.Invalid, "", "no data provided"},
		{"PATCH data/p", `{"data":null}`, success, info(4, "", false), ""},
		{"GET data/p", "", success, `{"data":{"a":{"c":[1,2],"q":5},"d":"z","n":null},"metadata":` + info(4, "", false) + `}`, ""},
		{"PATCH data/p", `{"data":"s"}`, api.Invalid, "", ""},
		{"POST config", `{"cas_required":true}`, success, "", ""},
		{"PATCH data/p", `{"data":{}}`, api.Invalid, "", "check-and-set parameter required for this call"},
		{"POST data/p", `{"data":{}}`, api.Invalid, "", "check-and-set parameter required for this call"},
		{"PATCH data/p", `{"data":{},"options":{"cas":4}}`, success, info(5, "", false), ""},
		{"PATCH data", `{"data":{}}`, api.NotFound, "", ""},
		{"PATCH data/", `{"data":{}}`, api.Invalid, "", "cannot write to a path ending in '/'"},
	})
}

func TestSubkeys(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/p", `{"data":{"a":{"b":1,"c":{"d":[1]}},"d":"x","n":null,"e":{}}}`)
	md := `,"metadata":` + info(1, "", false) + `}`
	run(t, m, []step{
		{"GET subkeys/p", "", success, `{"subkeys":{"a":{"b":null,"c":{"d":null}},"d":null,"n":null,"e":null}` + md, ""},
		{"GET subkeys/p", `{"depth":"1"}`, success, `{"subkeys":{"a":null,"d":null,"n":null,"e":null}` + md, ""},
		{"GET subkeys/p", `{"depth":2,"version":1}`, success, `{"subkeys":{"a":{"b":null,"c":null},"d":null,"n":null,"e":null}` + md, ""},
		{"GET subkeys/p", `{"version":2}`, api.NotFound, "", ""},
		{"GET subkeys/none", "", api.NotFound, "", ""},
		{"POST destroy/p", `{"versions":[1]}`, success, "", ""},
		{"GET subkeys/p", "", api.NotFound, `{"subkeys":null,"metadata":` + info(1, "", true) + `}`, ""},
		{"POST data/p", `{"data":null}`, success, "", ""},
		{"GET subkeys/p", "", success, `{"subkeys":null,"metadata":` + info(2, "", false) + `}`, ""},
	})
}

func meta(edits, after, most, custom, casNeeded, metaCAS string) string {
	return `{"cas_required":` + casNeeded + `,"created_time":` + at0 + `,"current_metadata_version":` + edits + `,"current_version":0,"custom_metadata":` + custom +
		`,"delete_version_after":"` + after + `","max_versions":` + most + `,"metadata_cas_required":` + metaCAS + `,"oldest_version":0,"updated_time":` + at0 + `,"versions":{}}`
}

func TestMetadataAsTheWireHasIt(t *testing.T) {
	m := open(t, "2", openStore(t))
	const moved, needed = "metadata check-and-set parameter does not match the current version", "metadata check-and-set parameter required for this call"
	run(t, m, []step{
		{"GET metadata/m", "", api.NotFound, "", ""},
		{"DELETE metadata/m", "", success, "", ""},
		{"POST metadata/m", `{}`, success, "", ""},
		{"GET metadata/m", "", api.NotFound, "", ""},
		{"PATCH metadata/m", `{"max_versions":2}`, api.NotFound, "", ""},
		{"POST metadata/m", `{"metadata_cas":3,"max_versions":6}`, api.Conflict, "", "metadata_cas must be 0 when creating new metadata"},
		{"POST metadata/m", `{"max_versions":3,"custom_metadata":{"k":"v"},"delete_version_after":"1h30m","cas_required":true}`, success, "", ""},
		{"GET metadata/m", "", success, meta("1", "1h30m0s", "3", `{"k":"v"}`, "true", "false"), ""},
		{"GET data/m", "", api.NotFound, "", ""},
		{"DELETE data/m", "", success, "", ""},
		{"POST data/m", `{"data":{}}`, api.Invalid, "", "check-and-set parameter required for this call"},
		{"PATCH data/m", `{"data":{}}`, api.Invalid, "", "check-and-set parameter required for this call"},
		{"PATCH data/m", `{"data":{},"options":{"cas":0}}`, api.NotFound, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"k2":"v","n":1}}`, success, "", ""},
		{"GET metadata/m", "", success, meta("2", "1h30m0s", "3", `{"k2":"v","n":"1"}`, "true", "false"), ""},
		{"PATCH metadata/m", `{"custom_metadata":{"k2":null,"k3":"x"},"max_versions":5}`, success, "", ""},
		{"GET metadata/m", "", success, meta("3", "1h30m0s", "5", `{"k3":"x","n":"1"}`, "true", "false"), ""},
		{"PATCH metadata/m", `{"max_versions":null,"cas_required":null,"delete_version_after":null,"custom_metadata":null}`, success, "", ""},
		{"GET metadata/m", "", success, meta("4", "0s", "0", "null", "false", "false"), ""},
		{"PATCH metadata/m", `{}`, success, "", ""},
		{"POST metadata/m", `{}`, success, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"a":{"b":1}}}`, api.Invalid, "", ""},
		{"PATCH metadata/m", `{"custom_metadata":{"a":[1]}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":"x"}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"":"x"}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"a":""}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"a\u0001":"b"}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"` + strings.Repeat("a", 129) + `":"x"}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"custom_metadata":{"a":"` + strings.Repeat("a", 513) + `"}}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"max_versions":-1}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"delete_version_after":"zzz"}`, api.Invalid, "", ""},
		{"POST metadata/m", `{"metadata_cas":3,"max_versions":6}`, api.Conflict, "", moved},
		{"POST metadata/m", `{"metadata_cas":4,"metadata_cas_required":true}`, success, "", ""},
		{"POST metadata/m", `{"max_versions":6}`, api.Invalid, "", needed},
		{"PATCH metadata/m", `{"max_versions":6}`, api.Invalid, "", needed},
		{"PATCH metadata/m", `{"max_versions":6,"metadata_cas":-1}`, api.Conflict, "", moved},
		{"PATCH metadata/m", `{"max_versions":6,"metadata_cas":5}`, success, "", ""},
		{"GET metadata/m", "", success, meta("6", "0s", "6", "null", "false", "true"), ""},
		{"POST config", `{"metadata_cas_required":true}`, success, "", ""},
		{"POST metadata/new", `{"max_versions":6}`, api.Invalid, "", needed},
		{"POST metadata/new", `{"max_versions":6,"metadata_cas":0}`, success, "", ""},
		{"GET metadata/", "", api.NotFound, "", ""},
		{"POST metadata", `{"max_versions":1}`, api.NotFound, "", ""},
	})
	many := make([]string, 65)
	for i := range many {
		many[i] = `"k` + strconv.Itoa(i) + `":"v"`
	}
	if a := m.do("POST metadata/m", `{"metadata_cas":6,"custom_metadata":{`+strings.Join(many, ",")+`}}`); a.kind != api.Invalid {
		t.Errorf("65 pairs of custom metadata: %+v", a)
	}
}

func TestWrongPathsOfVersionTwo(t *testing.T) {
	m := open(t, "2", openStore(t))
	for request, want := range map[string]api.Kind{
		"GET foo": api.NotFound, "POST foo": api.NotFound, "DELETE foo/bar": api.NotFound, "LIST ": api.NotFound, "SCAN ": api.NotFound, "PATCH foo": api.NotFound, "GET ": api.NotFound,
		"DELETE config": api.Unsupported, "PATCH config": api.Unsupported, "LIST data/l": api.Unsupported, "GET detailed-metadata/l": api.Unsupported, "GET delete/l": api.Unsupported, "DELETE subkeys/l": api.Unsupported,
	} {
		a := m.do(request, "")
		warned := len(a.warnings) == 1 && strings.HasPrefix(a.warnings[0], "Invalid path for a versioned K/V secrets engine")
		if a.kind != want || warned != (want == api.NotFound) {
			t.Errorf("%s: %+v", request, a)
		}
	}
	for request, warnings := range map[string]int{"GET data": 1, "GET data/": 0, "GET metadata": 1, "POST data": 1, "GET subkeys/": 0,
		"DELETE data": 1, "DELETE data/": 1, "DELETE metadata": 1, "DELETE metadata/": 1, "PATCH data": 1,
		"POST delete": 1, "POST undelete": 1, "POST destroy": 1, "POST metadata": 1, "PATCH metadata": 1,
		"DELETE delete": 1, "PATCH undelete": 1, "GET destroy": 1} {
		if a := m.do(request, `{"data":{},"versions":[1]}`); a.kind != api.NotFound || len(a.warnings) != warnings {
			t.Errorf("%s: %+v", request, a)
		}
	}
}

// Small payloads are in the secret's own row as long as there is room; older ones
// move to rows of their own and are read and erased there like any other.
func TestSmallPayloadsNeedNoRow(t *testing.T) {
	m := open(t, "2", openStore(t))
	value := func(i int) string { return fmt.Sprintf(`{"n":%d,"text":%q}`, i, strings.Repeat("x", 600)) }
	for i := range 10 {
		m.ok("POST data/a", `{"data":`+value(i+1)+`}`)
		if n := len(rows(t, m.store, prefixPayload)); n != max(0, i+1-3) {
			t.Fatalf("%d payload rows after version %d", n, i+1)
		}
		if n := len(rows(t, m.store, prefixSecret)[prefixSecret+"a"]); n > inlineRoom+500 {
			t.Fatalf("the secret's row has %d bytes after version %d", n, i+1)
		}
	}
	for i := range 10 {
		if got := m.ok("GET data/a", fmt.Sprintf(`{"version":%d}`, i+1)); !strings.Contains(got, value(i+1)) {
			t.Errorf("version %d: %s", i+1, got)
		}
	}
	m.ok("POST destroy/a", `{"versions":[1,10]}`)
	if n := payloads(t, m.store); n != 8 {
		t.Errorf("%d payloads after two of ten were destroyed", n)
	}
	if row := rows(t, m.store, prefixSecret)[prefixSecret+"a"]; strings.Contains(row, `"n":10`) {
		t.Error("a destroyed payload is still in the secret's row")
	}
	m.ok("DELETE metadata/a", "")
	if left := rows(t, m.store, ""); len(left) != 0 {
		t.Errorf("%d rows left", len(left))
	}
}
