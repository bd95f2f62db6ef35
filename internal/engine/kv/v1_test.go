package kv

import (
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func TestUnversionedAsTheWireHasIt(t *testing.T) {
	m := open(t, "", openStore(t))
	run(t, m, []step{
		{"GET a", "", api.NotFound, "", ""},
		{"GET ", "", api.NotFound, "", ""},
		{"POST a", "", api.Invalid, "", "missing data fields"},
		{"POST a", "{}", api.Invalid, "", "missing data fields"},
		{"POST a", `{"foo":"bar","n":1.50,"path":"x"}`, success, "", ""},
		{"GET a", "", success, `{"foo":"bar","n":1.50,"path":"x"}`, ""},
		{"POST a", `{"a":null}`, success, "", ""},
		{"GET a", "", success, `{"a":null}`, ""},
		{"POST a/b", `{"a":{"b":[1,2,{"c":"<>"}]}}`, success, "", ""},
		{"GET a/b", "", success, `{"a":{"b":[1,2,{"c":"<>"}]}}`, ""},
		{"LIST ", "", success, `{"keys":["a","a/"]}`, ""},
		{"LIST a", "", success, `{"keys":["b"]}`, ""},
		{"LIST a/", "", success, `{"keys":["b"]}`, ""},
		{"LIST none", "", success, `{"keys":[]}`, ""},
		{"SCAN ", "", success, `{"keys":["a","a/b"]}`, ""},
		{"SCAN a", "", success, `{"keys":["b"]}`, ""},
		{"POST q/", `{"a":1}`, api.Invalid, "", "cannot write to a path ending in '/'"},
		{"POST ", `{"a":1}`, api.Invalid, "", "cannot write to a path ending in '/'"},
		{"DELETE a/", "", success, "", ""},
		{"GET a/", "", api.NotFound, "", ""},
		{"PATCH a", `{"a":1}`, api.Unsupported, "", ""},
		{"DELETE a", "", success, "", ""},
		{"DELETE a", "", success, "", ""},
		{"GET a", "", api.NotFound, "", ""},
		{"GET a/b", "", success, "", ""},
	})
	if m.exists("a") || !m.exists("a/b") {
		t.Error("create and update are not told apart")
	}
	m.ok("DELETE a/b", "")
	if left := rows(t, m.store, ""); len(left) != 0 {
		t.Errorf("%d rows left of no secret", len(left))
	}
}

func TestUnversionedHintsAtALease(t *testing.T) {
	m := open(t, "1", openStore(t))
	for body, want := range map[string]time.Duration{
		`{"a":1}`: 2764800, `{"ttl":"1h"}`: 3600, `{"ttl":"zzz"}`: 2764800, `{"lease":"2h"}`: 7200, `{"ttl":"1h","lease":"2h"}`: 3600,
		`{"ttl":60}`: 60, `{"ttl":"60"}`: 60, `{"ttl":99999999}`: 99999999, `{"ttl":0}`: 0, `{"ttl":-5}`: 2764800, `{"ttl":""}`: 2764800, `{"ttl":[1]}`: 2764800, `{"ttl":null,"lease":5}`: 5,
	} {
		m.ok("POST l", body)
		if a := m.do("GET l", ""); a.lease != want*time.Second {
			t.Errorf("%s: %v, want %v", body, a.lease, want*time.Second)
		}
	}
}

// Both versions are views of one model: what one wrote, the other reads at once.
func TestUpgradeFromVersionOneNeedsNoMigration(t *testing.T) {
	s := openStore(t)
	one, two := open(t, "1", s), open(t, "2", s)
	one.ok("POST app/db", `{"user":"u","ttl":"1h"}`)
	one.ok("POST app/db", `{"user":"v"}`)
	if n := payloads(t, s); n != 1 {
		t.Fatalf("%d payloads after a replacement", n)
	}
	run(t, two, []step{
		{"GET data/app/db", "", success, `{"data":{"user":"v"},"metadata":` + info(1, "", false) + `}`, ""},
		{"LIST metadata/app", "", success, `{"keys":["db"]}`, ""},
		{"POST data/app/db", `{"data":{"user":"w"},"options":{"cas":1}}`, success, info(2, "", false), ""},
		{"GET data/app/db", `{"version":1}`, success, `{"data":{"user":"v"},"metadata":` + info(1, "", false) + `}`, ""},
		{"DELETE data/app/db", "", success, "", ""},
	})
	run(t, one, []step{
		{"GET app/db", "", api.NotFound, "", ""},
		{"POST app/db", `{"user":"x"}`, success, "", ""},
		{"GET app/db", "", success, `{"user":"x"}`, ""},
	})
	same(t, "after the way back", two.ok("GET data/app/db", ""), `{"data":{"user":"x"},"metadata":`+info(2, "", false)+`}`)
}

func TestOptions(t *testing.T) {
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	for version, ok := range map[string]bool{"": true, "1": true, "2": true, "3": false, "two": false} {
		if err := e.CheckOptions(map[string]string{"version": version, "more": "x"}); (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
	if len(e.Variant(map[string]string{"version": "2"})) == len(e.Variant(nil)) {
		t.Error("the two versions have the same endpoints")
	}
}
