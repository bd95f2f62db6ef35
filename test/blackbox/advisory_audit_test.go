package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// TestCVE_2025_62513_RawBodies sends bodies that are no objects of JSON to every
// endpoint: none of their bytes is written down. CVE-2025-62705 is its twin for
// values that are bytes.
// Control: a door that takes for a form what names no parameter, as curl labels
// all it sends, shows the body as a parameter's name.
func TestCVE_2025_62513_RawBodies(t *testing.T) {
	s := furnished(t)
	for name, e := range surface(t) {
		_, path, _ := strings.Cut(name, " ")
		if e.Op.String() == "list" || strings.HasPrefix(path, "sys/seal") || strings.Contains(path, "revoke") {
			continue
		}
		if path == "sys/monitor" || path == "sys/pprof/profile" || path == "sys/pprof/trace" { // they take the time that they are asked for
			continue
		}
		for _, body := range []string{canary, `"` + canary + `"`, `["` + canary + `"]`, `{"data":"` + canary + `"}`, `{"data":["` + canary + `"],"x":{"y":"` + canary + `"}}`, "a=" + canary, canary + "==", canary + "&" + canary, "\x00" + canary} {
			s.Do(t, methods[e.Op], filled(path), root, body, "Content-Type", "application/merge-patch+json")
			s.Do(t, methods[e.Op], filled(path), root, body, "Content-Type", "application/x-www-form-urlencoded")
		}
	}
	written := s.Audit.Bytes()
	if n := bytes.Count(written, []byte("\n")); n < 500 {
		t.Fatalf("only %d lines were written down", n)
	}
	for _, l := range leaks(map[string][]byte{"audit": written, "log": s.Log.Bytes()}, map[string]string{"body": canary}) {
		t.Error(l)
	}
}

// TestCVE_2024_8365_TokensAndAccessors makes, wraps, renews and looks up tokens
// of every kind: neither they nor their accessors are written down as they are.
// Control: TestPlantedLeakIsFound, and audit-hash finds the accessor's digest.
func TestCVE_2024_8365_TokensAndAccessors(t *testing.T) {
	s := furnished(t)
	secrets := map[string]string{}
	keep := func(what string, a *servertest.Answer, names ...string) string {
		v := a.String(names...)
		if v == "" {
			t.Fatalf("%s: %s", what, a.Body)
		}
		secrets[what] = v
		return v
	}
	for _, kind := range []string{"service", "batch"} {
		a := s.Want(t, 200, "POST", "auth/token/create", root, `{"type":"`+kind+`","policies":["default"],"ttl":"1h"}`)
		token := keep(kind, a, "auth", "client_token")
		s.Want(t, 200, "POST", "auth/token/lookup", root, `{"token":"`+token+`"}`)
		s.Want(t, 200, "GET", "auth/token/lookup-self", token, "")
	}
	a := s.Want(t, 200, "POST", "auth/token/create", root, `{"policies":["default"],"ttl":"1h"}`)
	accessor := keep("accessor", a, "auth", "accessor")
	s.Want(t, 200, "POST", "auth/token/lookup-accessor", root, `{"accessor":"`+accessor+`"}`)
	s.Want(t, 200, "POST", "auth/token/renew-accessor", root, `{"accessor":"`+accessor+`"}`)
	s.Want(t, 200, "LIST", "auth/token/accessors", root, "")
	w := s.Want(t, 200, "POST", "auth/token/create", root, `{"policies":["default"]}`, "X-Vault-Wrap-TTL", "60")
	wrapping := keep("wrapping token", w, "wrap_info", "token")
	keep("wrapping accessor", w, "wrap_info", "accessor")
	keep("wrapped accessor", w, "wrap_info", "wrapped_accessor")
	s.Want(t, 200, "POST", "sys/wrapping/lookup", root, `{"token":"`+wrapping+`"}`)
	u := s.Want(t, 200, "POST", "sys/wrapping/unwrap", wrapping, "")
	keep("unwrapped token", u, "auth", "client_token")
	s.Want(t, 204, "POST", "auth/token/revoke-accessor", root, `{"accessor":"`+accessor+`"}`)
	for _, l := range leaks(map[string][]byte{"audit": s.Audit.Bytes(), "log": s.Log.Bytes()}, secrets) {
		t.Error(l)
	}
	hash := s.Want(t, 200, "POST", "sys/audit-hash/tap", root, `{"input":"`+accessor+`"}`).String("data", "hash")
	if hash == "" || !bytes.Contains(s.Audit.Bytes(), []byte(hash)) {
		t.Error("the accessor cannot be found by its digest either")
	}
}

// TestCVE_2024_0831_RawStaysOnItsDevice has one device of raw values beside one
// without: the raw one is the control.
func TestCVE_2024_0831_RawStaysOnItsDevice(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw.log")
	s := furnished(t, func(c *server.Config) {
		c.RawAudit = true
		c.Audit = append(c.Audit, &audit.Declaration{Path: "raw/", Type: "file", Options: map[string]string{"file_path": raw, "log_raw": "true"}})
	})
	s.Want(t, 200, "POST", "secret/data/two", root, `{"data":{"password":"`+canary+`"}}`)
	s.Want(t, 200, "GET", "secret/data/two", root, "")
	shown, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(shown, []byte(canary)) {
		t.Error("control: the raw device does not show it")
	}
	for _, l := range leaks(map[string][]byte{"the other device": s.Audit.Bytes()}, map[string]string{"value": canary}) {
		t.Error(l)
	}
}

// principal is what an audit line says of who asked, and for what.
type principal struct {
	Type string `json:"type"`
	Auth struct {
		Policies []string `json:"policies"`
	} `json:"auth"`
	Request struct {
		Path string `json:"path"`
	} `json:"request"`
}

// TestGHSA_vjg6_93fv_qv64_WhoIsWrittenDown has eight callers ask at once, each
// for a path of its own: each line names the policy of who asked for its path.
// Control: with an entry's auth taken from one variable that requests share, the
// lines cross.
func TestGHSA_vjg6_93fv_qv64_WhoIsWrittenDown(t *testing.T) {
	s := furnished(t)
	var all sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("who%d", i)
		token := s.Policy(t, "", name, `path "kv1/`+name+`" { capabilities = ["read", "create", "update"] }`)
		all.Go(func() {
			for range 50 {
				if _, err := s.Try("POST", "kv1/"+name, token, `{"a":"b"}`); err != nil {
					t.Error(err)
				}
				if _, err := s.Try("GET", "kv1/"+name+"/denied", token, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	seen := 0
	for line := range bytes.Lines(s.Audit.Bytes()) {
		var p principal
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatal(err)
		}
		who, ours := strings.CutPrefix(p.Request.Path, "kv1/who")
		if !ours {
			continue
		}
		seen++
		if want := "who" + who[:1]; len(p.Auth.Policies) != 1 || p.Auth.Policies[0] != want {
			t.Fatalf("%s was asked for by %v", p.Request.Path, p.Auth.Policies)
		}
	}
	if seen < 8*50*4 {
		t.Errorf("only %d lines", seen)
	}
}

// TestCVE_2025_6000_AuditFiles asks, as root, for audit files in every place
// where a file could do harm, CVE-2026-8715's reading of files included.
// Control: without confined() in internal/audit, files appear outside.
func TestCVE_2025_6000_AuditFiles(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := furnished(t, func(c *server.Config) { c.AuditDirs = []string{dir} })
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "theirs"), []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "theirs"), filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	enable := func(name string, options map[string]string) *servertest.Answer {
		return s.Do(t, "POST", "sys/audit/"+name, root, quoted(t, map[string]any{"type": "file", "options": options}))
	}
	for i, path := range []string{outside + "/a.log", dir + "/../" + filepath.Base(outside) + "/b.log", dir + "/link/c.log", dir + "/alias", "relative.log", "/proc/self/mem", "/dev/null", dir + "/../d.log", dir, dir + "x/e.log", dir + "/f\x00.log", "", "file://" + dir + "/g"} {
		a := enable(fmt.Sprint("bad", i), map[string]string{"file_path": path})
		if a.Status != 400 || strings.Contains(a.Text(), canary) {
			t.Errorf("%q: %d %s", path, a.Status, a.Body)
		}
	}
	for name, value := range map[string]string{"prefix": "#!/bin/sh\n", "mode": "0755", "log_raw": "true", "exec": "x"} {
		if a := enable("opt-"+name, map[string]string{"file_path": dir + "/h.log", name: value}); a.Status != 400 {
			t.Errorf("%s=%s: %d %s", name, value, a.Status, a.Body)
		}
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 {
		t.Errorf("outside lie %v, %v", left, err)
	}
	if a := enable("good", map[string]string{"file_path": dir + "/good.log"}); a.Status != 204 {
		t.Fatalf("control: %d %s", a.Status, a.Body)
	}
	if info, err := os.Stat(filepath.Join(dir, "good.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode: %v, %v", info, err)
	}
	s.Want(t, 204, "DELETE", "sys/audit/good", root, "")
}

// TestVault_11946_LargeAnswers lists and reads what is large: the answers come,
// and each is written down in a line of bounded length.
func TestVault_11946_LargeAnswers(t *testing.T) {
	s := furnished(t)
	for i := range 2000 {
		s.Want(t, 204, "POST", fmt.Sprintf("kv1/many/%04d-%s", i, strings.Repeat("n", 200)), root, `{"a":"b"}`)
	}
	s.Audit.Reset()
	a := s.Want(t, 200, "LIST", "kv1/many", root, "")
	if keys, _ := a.Field("data", "keys").([]any); len(keys) != 2000 {
		t.Fatalf("%d keys", len(keys))
	}
	if n := answered(s.Audit.Bytes(), "kv1/many"); n != 1 {
		t.Errorf("%d answers were written down: %.300s", n, s.Audit.Bytes())
	}
	for line := range bytes.Lines(s.Audit.Bytes()) {
		if len(line) > 256<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}
