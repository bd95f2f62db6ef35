package server

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
)

// logFile declares a file in a configuration.
func logFile(path string) []*audit.Declaration {
	return []*audit.Declaration{{Type: "file", Path: "main/", Options: map[string]string{"file_path": path}}}
}

// A server whose audit file cannot be opened says so when it starts, not at the
// first request.
func TestConfiguredAuditFileIsTried(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	c := Config{InMemory: true, Listeners: []Listener{{Address: "127.0.0.1:0"}}, Audit: logFile(filepath.Join(dir, "audit.log"))}
	_, err := Open(t.Context(), &c, quiet(), &bytes.Buffer{}, time.Now)
	for _, part := range []string{`audit device "main/"`, "no such file or directory", "mkdir -p " + dir} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: lacks %s", err, part)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, c).end()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Audit = logFile(filepath.Join(dir, "d"))
	if _, err := Open(t.Context(), &c, quiet(), &bytes.Buffer{}, time.Now); err == nil {
		t.Error("a directory was taken for a file")
	}
}

// A device that was declared through the API and can no longer be written is
// told of when the server is unsealed.
func TestDeclaredAuditFileIsTriedAtUnseal(t *testing.T) {
	dir := t.TempDir()
	var logged bytes.Buffer
	c := Config{DevRoot: api.NewSecret("root"), AuditDirs: []string{filepath.Join(dir, "logs")}, Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	if err := os.Mkdir(c.AuditDirs[0], 0o700); err != nil {
		t.Fatal(err)
	}
	stdout := &bytes.Buffer{}
	s, err := Open(t.Context(), &c, slog.New(slog.NewTextHandler(&logged, nil)), stdout, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, stdout: stdout}
	defer w.end()
	w.wants(204, "", "root", "POST", "sys/audit/main", `{"type":"file","options":{"path":"`+filepath.Join(dir, "logs", "a.log")+`"}}`)
	w.wants(200, `"file_path":`, "root", "GET", "sys/audit", "")
	unseal := func() string {
		logged.Reset()
		w.wants(204, "", "root", "POST", "sys/seal", "")
		_, key, _ := strings.Cut(stdout.String(), "Unseal Key: ")
		key, _, _ = strings.Cut(key, "\n")
		w.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+key+`"}`)
		return logged.String()
	}
	if log := unseal(); strings.Contains(log, "level=ERROR") {
		t.Fatalf("all is well: %s", log)
	}
	if err := os.Rename(c.AuditDirs[0], filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	log := unseal()
	for _, part := range []string{"level=ERROR", "device=main/", "no such file", "mkdir -p " + c.AuditDirs[0]} {
		if !strings.Contains(log, part) {
			t.Errorf("%s: lacks %s", log, part)
		}
	}
}

// What an operator can do stands in the refusal of an audit file.
func TestAuditFilesPlace(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	w := startFor(t, Config{DevRoot: api.NewSecret("root"), Audit: logFile(filepath.Join(dir, "audit.log"))})
	enable := func(status int, part, options string) {
		t.Helper()
		w.wants(status, part, "root", "POST", "sys/audit/more", `{"type":"file","options":`+options+`}`)
	}
	enable(400, "-audit-dir=DIR", `{"file_path":"`+other+`/a.log"}`)
	enable(400, "audit_directory = ", `{"file_path":"`+other+`/a.log"}`)
	enable(400, `unknown option \"colour\"`, `{"file_path":"`+dir+`/a.log","colour":"red"}`)
	enable(400, `unknown option \"path\"`, `{"file_path":"`+dir+`/a.log","path":"`+dir+`/a.log"}`)
	enable(400, "in use by another", `{"path":"`+dir+`/audit.log"}`)
	enable(204, "", `{"path":"`+dir+`/a.log"}`)
}
