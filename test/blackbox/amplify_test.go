package blackbox

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// heavy are bodies whose values are many for their size.
func heavy() map[string]string {
	many := strings.TrimSuffix(strings.Repeat("1,", 32_000), ",")
	texts := strings.TrimSuffix(strings.Repeat(`"",`, 32_000), ",")
	return map[string]string{
		"numbers": `{"a":[` + many + `]}`, "texts": `{"a":[` + texts + `]}`, "lists": `{"a":[[` + strings.ReplaceAll(many, ",", "],[") + `]]}`,
		"few": `{"a":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}`, "some": `{"a":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}`, "thirty-two": `{"a":[` + many[:63] + `]}`, "hundred": `{"a":[` + many[:200] + `1]}`,
		"named": `{"data":{"a":[` + many + `]},"token":"x"}`,
	}
}

// TestStrangersCannotFillTheAuditDevice holds what one request of nobody writes
// to the audit device against what it sent.
func TestStrangersCannotFillTheAuditDevice(t *testing.T) {
	s := furnished(t)
	for name, body := range heavy() {
		for _, path := range []string{"kv1/x", "secret/data/x", "nomount/x", "sys/seal-status", "sys/wrapping/unwrap", "auth/token/lookup-self", "auth/token/create", "sys/internal/ui/mounts"} {
			for _, token := range []string{"", "hvs.bogus"} {
				s.Audit.Reset()
				a := s.Do(t, "POST", path, token, body)
				got, most := len(s.Audit.Bytes()), 8*len(body)+4<<10
				if got > most {
					t.Errorf("%s to %s (%q): %d bytes wrote %d, most %d (answer %d)", name, path, token, len(body), got, most, a.Status)
				}
			}
		}
	}
}

// TestAuditLinesAreBounded has an allowed caller write and read what is large in
// each way, and looks for the hash that audit-hash gives.
func TestAuditLinesAreBounded(t *testing.T) {
	s := furnished(t)
	long := strings.Repeat("x", 300<<10)
	for name, body := range heavy() {
		s.Audit.Reset()
		s.Want(t, 204, "POST", "kv1/big", root, body)
		s.Want(t, 200, "GET", "kv1/big", root, "")
		for _, b := range []string{`{"data":` + body + `}`, `{"data":{"` + long + `":1}}`, `{"` + long + `":1}`, `{"policies":["` + long + `"]}`} {
			s.Do(t, "POST", "secret/data/big", root, b)
			s.Do(t, "POST", "auth/token/create", root, b)
		}
		for line := range bytes.Lines(s.Audit.Bytes()) {
			if len(line) > 256<<10 || !json.Valid(line) {
				t.Errorf("%s: a line of %d bytes: %.300s", name, len(line), line)
			}
		}
	}
	body := heavy()["numbers"]
	s.Audit.Reset()
	s.Want(t, 204, "POST", "kv1/big", root, body)
	written := string(s.Audit.Bytes())
	hash := s.Want(t, 200, "POST", "sys/audit-hash/tap", root, `{"input":`+quoted(t, body)+`}`).String("data", "hash")
	if hash == "" || strings.Count(written, `"data":{"elided":"`+hash+`"}`) != 2 {
		t.Errorf("the body's hash %s is not in both entries: %.2000s", hash, written)
	}
}

// TestStrangersGetNoLargeAnswers gives every field of every endpoint a long text, with
// no token and with one that is nobody's: what is answered is in no proportion to it,
// so that nobody can have the server make and hold much for little.
func TestStrangersGetNoLargeAnswers(t *testing.T) {
	s := furnished(t)
	largest := len(s.Do(t, "GET", "sys/internal/specs/openapi", "", "").Body)
	long := strings.Repeat("x", 60_000)
	for name, e := range surface(t) {
		_, path, _ := strings.Cut(name, " ")
		for _, f := range e.Request.Fields {
			if f.InPath || f.Whole || f.Name == "" || f.Name == "-" {
				continue
			}
			path, body := filled(path), `{"`+f.Name+`":"`+long+`"}`
			if e.Op != api.Write && e.Op != api.Patch {
				path, body = path+"?"+f.Name+"="+long, ""
			}
			for _, token := range []string{"", "hvs.bogus"} {
				if got := len(s.Do(t, methods[e.Op], path, token, body, "Content-Type", "application/merge-patch+json").Body); got > largest {
					t.Errorf("%s: %s of %d bytes is answered with %d (token %q)", name, f.Name, len(long), got, token)
				}
			}
		}
	}
}
