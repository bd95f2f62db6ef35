package server_test

import (
	"os"
	"strings"
	"testing"
)

// token makes a token with a body and returns it.
func (d *dev) token(path, body, by string) string {
	d.t.Helper()
	text, ok := d.want(200, d.ask("POST", path, body, by)).Auth["client_token"].(string)
	if !ok {
		d.t.Fatal("no token")
	}
	return text
}

// Who shows no token cannot make the server keep anything: not even what anybody
// may ask for is wrapped for him. With a token, the control, it is.
func TestStrangersStoreNothing(t *testing.T) {
	d := newDev(t)
	weak := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	for _, q := range []struct{ method, path string }{
		{"GET", "sys/internal/specs/openapi"}, {"POST", "sys/internal/specs/openapi"}, {"GET", "sys/internal/ui/mounts"},
	} {
		for _, stranger := range []string{"", "bogus"} {
			a := d.ask(q.method, q.path, "", stranger, "X-Vault-Wrap-TTL", "60")
			if a.status < 400 || a.status > 499 || a.Wrap.Token != "" {
				t.Errorf("%s %s with token %q: %d %.200s", q.method, q.path, stranger, a.status, a.text)
			}
		}
		if a := d.ask(q.method, q.path, "", weak, "X-Vault-Wrap-TTL", "60"); a.status != 200 || a.Wrap.Token == "" {
			t.Errorf("%s %s with a token: %d %.200s", q.method, q.path, a.status, a.text)
		}
	}
}

// The token that a public answer is wrapped under says nothing of the namespace
// that was asked: a namespace's own tokens end in its identifier.
func TestWrappingTellsNoNamespace(t *testing.T) {
	d := newDev(t)
	d.want(200, d.ask("POST", "sys/namespaces/here", "", "root"))
	weak := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	for _, path := range []string{"sys/internal/ui/mounts", "sys/internal/specs/openapi"} {
		for _, ns := range []string{"here", "gone"} {
			for name, a := range map[string]*answer{
				"header": d.ask("GET", path, "", weak, "X-Vault-Wrap-TTL", "60", "X-Vault-Namespace", ns),
				"path":   d.ask("GET", ns+"/"+path, "", weak, "X-Vault-Wrap-TTL", "60"),
			} {
				if a.status != 200 || strings.Contains(a.Wrap.Token, ".") {
					t.Errorf("%s by %s in %s: %d, wrapping token %s", path, name, ns, a.status, a.Wrap.Token)
				}
			}
		}
	}
}

// A rewrap asks no policy, so it cannot keep an answer longer than its wrapping
// was allowed to.
func TestRewrapKeepsNoLonger(t *testing.T) {
	d := newDev(t)
	first := d.want(200, d.ask("GET", "secret/data/app", "", "root", "X-Vault-Wrap-TTL", "60"))
	again := d.want(200, d.ask("POST", "sys/wrapping/rewrap", "", first.Wrap.Token, "X-Vault-Wrap-TTL", "760h"))
	if !strings.Contains(again.text, `"ttl":60,`) {
		t.Errorf("rewrapped for longer: %s", again.text)
	}
	again = d.want(200, d.ask("POST", "sys/wrapping/rewrap", "", again.Wrap.Token, "X-Vault-Wrap-TTL", "30"))
	if !strings.Contains(again.text, `"ttl":30,`) {
		t.Errorf("not rewrapped for less: %s", again.text)
	}
}

// A wrapping token alone keeps one answer, and no longer than it was kept before: no
// policy has been asked.
func TestBearerKeepsNothingMore(t *testing.T) {
	d := newDev(t)
	first := d.want(200, d.ask("GET", "secret/data/app", "", "root", "X-Vault-Wrap-TTL", "60"))
	for _, body := range []string{"", `{"token":"` + first.Wrap.Token + `"}`} {
		if a := d.ask("POST", "sys/wrapping/lookup", body, first.Wrap.Token, "X-Vault-Wrap-TTL", "60"); a.status != 400 || a.Wrap.Token != "" {
			t.Errorf("a wrapped look-up: %d %s", a.status, a.text)
		}
	}
	again := first
	for _, body := range []string{"", `{"token":"%s"}`} {
		again = d.want(200, d.ask("POST", "sys/wrapping/unwrap", strings.ReplaceAll(body, "%s", again.Wrap.Token), again.Wrap.Token, "X-Vault-Wrap-TTL", "700h"))
		if !strings.Contains(again.text, `"ttl":60,`) {
			t.Errorf("kept for longer: %s", again.text)
		}
	}
	longer := d.want(200, d.ask("POST", "sys/wrapping/unwrap", `{"token":"`+again.Wrap.Token+`"}`, "root", "X-Vault-Wrap-TTL", "120")) // a policy was asked
	if !strings.Contains(longer.text, `"ttl":120,`) {
		t.Errorf("not kept as long as a policy lets: %s", longer.text)
	}
	if a := d.want(200, d.ask("POST", "sys/wrapping/unwrap", "", longer.Wrap.Token)); !strings.Contains(a.text, secret) {
		t.Errorf("what was wrapped is lost: %s", a.text)
	}
}

// What a role limits cannot be had without the limits by asking for a batch token.
func TestBatchIsNoWayOutOfARole(t *testing.T) {
	d := newDev(t)
	for name, limit := range map[string]string{"uses": `"token_num_uses":1`, "most": `"token_explicit_max_ttl":"60s"`, "period": `"token_period":"30s"`} {
		d.want(204, d.ask("POST", "auth/token/roles/"+name, `{"allowed_policies":"default",`+limit+`}`, "root"))
		a := d.want(400, d.ask("POST", "auth/token/create/"+name, `{"type":"batch","ttl":"760h"}`, "root"))
		if !strings.Contains(a.text, "batch") {
			t.Errorf("%s: %s", name, a.text)
		}
		d.token("auth/token/create/"+name, `{}`, "root")
	}
	d.want(204, d.ask("POST", "auth/token/roles/free", `{"allowed_policies":"default"}`, "root"))
	d.token("auth/token/create/free", `{"type":"batch"}`, "root")
}

// A list written as one text is held to the number of values that a list is held
// to, and what no entry of the store can hold is the caller's mistake.
func TestTooMuchIsTheCallersMistake(t *testing.T) {
	d := newDev(t)
	weak := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	d.want(400, d.ask("POST", "auth/token/create", `{"policies":"`+strings.Repeat("a,", 60_000)+`"}`, "root"))
	d.want(403, d.ask("POST", "auth/token/create", `{"policies":"`+strings.Repeat("a,", 60_000)+`"}`, weak))
	d.want(413, d.ask("POST", "auth/token/create", `{"meta":{"a":"`+strings.Repeat("x", 1<<20)+`"}}`, "root"))
	if log := d.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log has an error that a caller can cause: %.300s", log)
	}
}

// A token in a path, as old clients and slips of the hand put it there, is not in
// the audit log.
func TestTokensInPathsAreConcealed(t *testing.T) {
	d := newDev(t)
	service := d.token("auth/token/create", `{"policies":["default"]}`, "root")
	batch := d.token("auth/token/create", `{"policies":["default"],"type":"batch"}`, "root")
	for _, token := range []string{service, batch} {
		d.ask("GET", "auth/token/lookup/"+token, "", "root")
		d.ask("GET", "secret/data/x/"+token+"/y", "", "root")
		d.ask("GET", "secret/data/x/"+token+"/y", "", token)
		d.ask("GET", token+"/sys/internal/ui/mounts", "", "root")
		d.ask("POST", "secret/data/x/"+token, `{"data":{"a":"b"}}`, "root")
		wrapped := d.want(200, d.ask("GET", "secret/data/x/"+token, "", "root", "X-Vault-Wrap-TTL", "60"))
		d.ask("POST", "sys/wrapping/lookup", `{"token":"`+wrapped.Wrap.Token+`"}`, "")
	}
	d.ask("GET", "secret/data/srs_plain", "", "root")
	log, err := os.ReadFile(d.audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{service, batch} {
		if strings.Contains(string(log), token) {
			t.Errorf("the audit log holds %.8s…", token)
		}
	}
	for _, want := range []string{`"secret/data/x/[token]/y"`, `"secret/data/srs_plain"`} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
}
