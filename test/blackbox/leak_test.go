package blackbox

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/server/servertest"
	canarytest "github.com/strongroom/strongroom/test/canary"
)

func forms(secret string) map[string][]byte { return canarytest.Forms(secret) }

func leaks(places map[string][]byte, secrets map[string]string) []string {
	return canarytest.Leaks(places, secrets)
}

// files are all files below a directory, with their names.
func files(t *testing.T, dir string, into map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		into["file "+filepath.Base(path)] = append(b, path...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exercise does what a day brings, failures included, and returns the secrets
// that went through and the bodies of all failures.
func exercise(t *testing.T, s *servertest.Server) (secrets map[string]string, failures []byte) {
	t.Helper()
	const value, second, meta = `S3cr3t<&"valu\e>é-one`, `S3cr3t-value-two-ünd+/=`, "m3tadata-of-a-secret"
	put := func(v string) string { return `{"data":{"password":` + quoted(t, v) + `}}` }
	s.Want(t, 200, "POST", "secret/data/app", root, put(value))
	s.Want(t, 200, "PATCH", "secret/data/app", root, put(second), "Content-Type", "application/merge-patch+json")
	s.Want(t, 204, "POST", "secret/metadata/app", root, `{"custom_metadata":{"note":"`+meta+`"}}`)
	s.Want(t, 200, "GET", "secret/data/app", root, "")
	s.Want(t, 204, "POST", "cubbyhole/mine", root, `{"v":`+quoted(t, value)+`}`)
	made := s.Want(t, 200, "POST", "auth/token/create", root, `{"ttl":"1h","policies":["default"],"renewable":true}`)
	token := made.String("auth", "client_token")
	s.Want(t, 200, "POST", "auth/token/renew-self", token, `{}`)
	s.Want(t, 200, "POST", "auth/token/lookup", root, `{"token":"`+token+`"}`)
	batch := s.Want(t, 200, "POST", "auth/token/create", root, `{"type":"batch","policies":["default"],"ttl":"1h"}`).String("auth", "client_token")
	secrets = map[string]string{"value": value, "second value": second, "metadata": meta, "token": token, "batch token": batch, "root token": root,
		"accessor": made.String("auth", "accessor"), "bogus token": "hvs.B0gus-token-of-somebody", "malformed body": "Malf0rmed-b0dy"}
	for _, c := range [][3]string{
		{"POST", "secret/data/app", `{"data":"` + second + `"}`}, {"POST", "secret/data/app", `{"data":{"password":"` + second}, {"POST", "secret/data/app", `{"options":"` + second + `"}`},
		{"POST", "secret/data/app", `{"options":{"cas":"` + second + `"},"data":{}}`}, {"POST", "secret/data/app", `["Malf0rmed-b0dy"]`}, {"POST", "kv1/a", `"Malf0rmed-b0dy"`}, {"POST", "kv1/a", `{"a":"Malf0rmed-b0dy","a":1}`},
		{"POST", "auth/token/create", `{"ttl":"` + second + `"}`}, {"POST", "auth/token/revoke", `{"token":"hvs.B0gus-token-of-somebody"}`}, {"POST", "auth/token/lookup", `{"token":"hvs.B0gus-token-of-somebody"}`},
		{"POST", "sys/unseal", `{"key":"` + second + `"}`}, {"POST", "sys/init", `{"secret_shares":"` + second + `"}`},
		{"POST", "sys/audit-hash/tap", `{"input":` + quoted(t, value) + `}`}, {"GET", "kv1/a?x=Malf0rmed-b0dy&x=%zz", ""}, {"GET", "kv1/a?list=Malf0rmed-b0dy", ""},
	} {
		a := s.Do(t, c[0], c[1], root, c[2], "X-Vault-Index", token, "Cookie", token, "X-Vault-MFA", second, "User-Agent", second, "Referer", meta, "Proxy-Authorization", token, "X-Forwarded-For", second)
		if a.Status >= 400 {
			failures = append(append(failures, a.Body...), '\n')
		}
	}
	failures = append(failures, s.Do(t, "GET", "kv1/a", "hvs.B0gus-token-of-somebody", "").Body...)
	failures = append(failures, s.Do(t, "GET", "kv1/a", "", "", "Authorization", "Bearer hvs.B0gus-token-of-somebody").Body...)
	failures = append(failures, s.Do(t, "GET", "kv1/a", root, "", "X-Vault-Wrap-TTL", second).Body...)
	s.Want(t, 204, "POST", "auth/token/revoke", root, `{"token":"`+token+`"}`)
	return secrets, failures
}

func TestNothingLeaks(t *testing.T) {
	s := furnished(t, servertest.OnDisk(t))
	secrets, failures := exercise(t, s)
	gather := func() map[string][]byte {
		places := map[string][]byte{"the log": s.Log.Bytes(), "the audit device": s.Audit.Bytes(), "the failures": failures}
		files(t, s.Dir, places)
		return places
	}
	places := gather()
	if len(places) < 5 || len(places["the audit device"]) < 10_000 || len(failures) < 500 || len(s.Log.Bytes()) == 0 {
		t.Fatalf("there is too little to look at: %d places, %d bytes of audit, %d of failures, %d of log", len(places), len(places["the audit device"]), len(failures), len(s.Log.Bytes()))
	}
	for _, l := range leaks(places, secrets) {
		t.Error(l)
	}
	s.Want(t, 204, "PUT", "sys/seal", root, "")
	for _, l := range leaks(gather(), secrets) {
		t.Errorf("after the seal: %s", l)
	}
}

// TestPlantedLeakIsFound is the control of TestNothingLeaks: each form of a
// secret, planted in each kind of place, is found.
func TestPlantedLeakIsFound(t *testing.T) {
	const secret = `S3cr3t<&"valu\e>é-one`
	for form, pattern := range forms(secret) {
		for shift := range 3 {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "planted"), append(make([]byte, shift), pattern...), 0o600); err != nil {
				t.Fatal(err)
			}
			places := map[string][]byte{}
			files(t, dir, places)
			if len(leaks(places, map[string]string{"it": secret})) == 0 {
				t.Errorf("%s is not found", form)
			}
		}
	}
	long := base64.StdEncoding.EncodeToString([]byte("before " + secret + " after"))
	if len(leaks(map[string][]byte{"x": []byte(long)}, map[string]string{"it": secret})) == 0 {
		t.Error("base64 of a longer text is not found")
	}
}

// TestCVE_2025_4166_ErrorsEchoNothing sends malformed requests of all kinds with
// a canary in body, headers and query: no failure repeats it, nor does the log.
func TestCVE_2025_4166_ErrorsEchoNothing(t *testing.T) {
	s := furnished(t)
	paths := []string{"kv1/a", "secret/data/a", "secret/metadata/a", "secret/config", "secret/destroy/a", "auth/token/create", "auth/token/renew", "auth/token/roles/r", "sys/policies/acl/p", "sys/mounts/m", "sys/mounts/kv1/tune",
		"sys/namespaces/n", "sys/audit/x", "sys/unseal", "sys/init", "sys/capabilities", "sys/remount", "nomount/x", "sys/nothing", "cubbyhole/x"}
	members := []string{"data", "options", "cas", "ttl", "policies", "policy", "type", "config", "default_lease_ttl", "versions", "token", "key", "paths", "custom_metadata", "max_versions", "from", "limit", "num_uses", "x"}
	values := []string{`"@"`, `["@"]`, `{"@":"@"}`, `{"x":"@"}`, `[["@"]]`, `"@`, `@`, `{"@"`, `1@`, `"\u@"`, "\"@\xff\"", `{"@":1,"@":2}`, `-1`, `1e999`, `null`, `"0@"`, `"@h"`}
	rapid.Check(t, func(rt *rapid.T) {
		body := strings.Builder{}
		body.WriteString(rapid.SampledFrom([]string{"{", "", "[", "{{"}).Draw(rt, "open"))
		for i := range rapid.IntRange(0, 3).Draw(rt, "members") {
			if i > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`"` + rapid.SampledFrom(members).Draw(rt, "name") + `":` + rapid.SampledFrom(values).Draw(rt, "value"))
		}
		body.WriteString(rapid.SampledFrom([]string{"}", "", "]", "} @"}).Draw(rt, "close"))
		path := rapid.SampledFrom(paths).Draw(rt, "path") + rapid.SampledFrom([]string{"", "?@=1", "?list=@", "?limit=@", "?x=@&x=2", "?version=@", "?scan=@"}).Draw(rt, "query")
		method := rapid.SampledFrom([]string{"POST", "GET", "LIST", "DELETE", "PATCH", "SCAN"}).Draw(rt, "method")
		content := rapid.SampledFrom([]string{"", "application/merge-patch+json", "application/x-www-form-urlencoded", "text/@"}).Draw(rt, "content")
		fill := func(text string) string { return strings.ReplaceAll(text, "@", canary) }
		headers := []string{"Content-Type", fill(content), "X-Vault-Wrap-TTL", rapid.SampledFrom([]string{"", "", canary}).Draw(rt, "wrap"), "X-Vault-Index", canary, "X-Vault-MFA", canary}
		a := s.Do(t, method, fill(path), rapid.SampledFrom([]string{root, root, "", canary}).Draw(rt, "token"), fill(body.String()), headers...)
		if a.Status >= 400 && strings.Contains(a.Text()+fmt.Sprint(a.Header), canary) {
			rt.Fatalf("%s %s: %d %s %v", method, path, a.Status, a.Body, a.Header)
		}
		if a.Status >= 500 {
			rt.Fatalf("%s %s %s: %d %s", method, path, body.String(), a.Status, a.Body)
		}
	})
	if bytes.Contains(s.Log.Bytes(), []byte(canary)) {
		t.Error("the log repeats it")
	}
}

func TestCVE_2024_2877_HeadersInAudit(t *testing.T) {
	s := furnished(t)
	names := []string{"X-Vault-Token", "Authorization", "Cookie", "Proxy-Authorization", "X-Vault-Inline-Auth-Path", "X-Vault-Unknown", "X-Api-Key", "X-Custom", "Forwarded", "X-Forwarded-For", "X-Vault-MFA", "X-Vault-Index", "User-Agent"}
	for _, n := range names {
		s.Do(t, "GET", "kv1/a", "", "", n, canary)
		s.Do(t, "GET", "kv1/a", root, "", n, canary)
	}
	for _, l := range leaks(map[string][]byte{"audit": s.Audit.Bytes(), "log": s.Log.Bytes()}, map[string]string{"header": canary}) {
		t.Error(l)
	}
}
