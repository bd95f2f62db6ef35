package server_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// device is the body that declares a device; options come in pairs.
func device(t testing.TB, kind string, options ...string) string {
	t.Helper()
	given := map[string]string{}
	for i := 0; i < len(options); i += 2 {
		given[options[i]] = options[i+1]
	}
	b, err := json.Marshal(map[string]any{"type": kind, "options": given})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What a namespace's devices may not be: each is refused, with what would allow it where
// anything would, and leaves no file.
func TestNamespaceAuditDevicesThatAreRefused(t *testing.T) {
	top := t.TempDir()
	home := filepath.Join(top, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, homes(home), func(c *server.Config) {
		c.AuditPeers, c.RawAudit, c.AuditDirs = []string{"logs.example.com:514"}, true, []string{top}
	})
	root := servertest.Root
	tenants(t, s, root, "a")
	for _, name := range []string{"../x", "..", ".", "x/../../y", "/etc/passwd", filepath.Join(home, "x"), "x/", ".hidden", "x/.ssh/y", "a b", "a\nb", "", strings.Repeat("x", 200),
		"b.20261121T055035.159802026Z", "b.20261121T055035.159802026Z.gz", "b.20261121T055035.159802026Z.gz.part"} {
		if got := s.Want(t, 400, "POST", "sys/audit/x", root, device(t, "file", "file_path", name), in("a")...); !strings.Contains(got.Text(), "options.file_path") {
			t.Errorf("%q: %s", name, got.Text())
		}
	}
	const named = "audit_namespace_peers"
	for body, part := range map[string]string{
		device(t, "stdout"):                                                                              "standard output",
		device(t, "file", "file_path", "stdout"):                                                         "standard output",
		device(t, "file", "file_path", "x", "mode", "0755"):                                              "options.mode",
		device(t, "file", "file_path", "x", "log_raw", "true"):                                           "options.log_raw",
		device(t, "file", "file_path", "x", "hmac_accessor", "false"):                                    "options.hmac_accessor",
		device(t, "file", "file_path", "x", "prefix", "#!/bin/sh "):                                      "options.prefix",
		device(t, "file", "file_path", "x", "deadline", "1m"):                                            "options.deadline",
		device(t, "socket", "address", "127.0.0.1:25"):                                                   named,
		device(t, "socket", "address", "logs.example.com:515"):                                           named,
		device(t, "socket", "address", "/var/run/docker.sock", "socket_type", "unix"):                    named,
		device(t, "socket", "address", "logs.example.com:514", "socket_type", "unix"):                    "options.socket_type",
		device(t, "socket", "address", "logs.example.com:514", "spool_path", "x"):                        "options.spool_path",
		device(t, "socket", "address", "logs.example.com:514", "socket_type", "tls", "tls_ca_file", "x"): "options.tls_ca_file",
		device(t, "syslog"): named,
		device(t, "syslog", "address", "logs.example.com:514", "socket_type", "unix"): "options.socket_type",
		device(t, "syslog", "address", "logs.example.com:514", "prefix", "x"):         "options.prefix",
		device(t, "file", "file_path", "x", "filter", `error != ""`):                  "options.filter",
		device(t, "file", "file_path", "x", "sync", strings.Repeat("x", 33<<10)):      "options",
	} {
		if got := s.Want(t, 400, "POST", "sys/audit/x", root, body, in("a")...); !strings.Contains(got.Text(), part) {
			t.Errorf("%.100s: %s lacks %s", body, got.Text(), part)
		}
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	s.Want(t, 204, "POST", "sys/audit/x", root, device(t, "file", "file_path", "logs/x.log", "mode", "0640"), in("a")...)
	// The root namespace's devices stay out of it, and the control: elsewhere they may be.
	s.Want(t, 400, "POST", "sys/audit/x", root, device(t, "file", "file_path", logOf(t, s, root, home, "a", "logs/x.log").file))
	s.Want(t, 204, "POST", "sys/audit/x", root, device(t, "file", "file_path", filepath.Join(top, "x.log")))
	for _, path := range []string{"config/auditing/request-headers", "config/auditing/request-headers/x"} {
		s.Want(t, 400, "GET", "sys/"+path, root, "", in("a")...)
	}
}

// Without the operator's settings a namespace has no devices, and is told which allow them.
func TestNamespaceAuditNeedsTheOperator(t *testing.T) {
	s := servertest.Start(t)
	tenants(t, s, servertest.Root, "a")
	for body, part := range map[string]string{fileDevice: "audit_namespace_directory", device(t, "socket", "address", "127.0.0.1:1"): "audit_namespace_peers", device(t, "syslog"): "audit_namespace_peers"} {
		if got := s.Want(t, 400, "POST", "sys/audit/x", servertest.Root, body, in("a")...); !strings.Contains(got.Text(), part) {
			t.Errorf("%s lacks %s", got.Text(), part)
		}
	}
}

// Whoever has sudo on a namespace's sys/audit has its devices, and nobody else has.
func TestNamespaceAuditNeedsSudo(t *testing.T) {
	s := servertest.Start(t, homes(t.TempDir()))
	root := servertest.Root
	tenants(t, s, root, "a", "a/low", "b")
	weak := tokenOf(t, s, root, "a", `path "*" { capabilities = ["create","read","update","delete","list"] }`)
	admin := tokenOf(t, s, root, "b", `path "*" { capabilities = ["create","read","update","delete","list","sudo"] }`)
	for _, token := range []string{weak, admin, ""} {
		s.Want(t, 403, "POST", "sys/audit/x", token, fileDevice, in("a")...)
		s.Want(t, 403, "GET", "sys/audit", token, "", in("a")...)
	}
	for _, ns := range []string{"", "a", "a/low"} {
		s.Want(t, 403, "POST", "sys/audit/x", admin, fileDevice, in(ns)...)
		s.Want(t, 403, "POST", "sys/audit-hash/tap", admin, `{"input":"x"}`, in(ns)...)
	}
	s.Want(t, 204, "POST", "sys/audit/x", admin, fileDevice, in("b")...)
	s.Want(t, 403, "DELETE", "sys/audit/x", weak, "", in("b")...)
	s.Want(t, 204, "DELETE", "sys/audit/x", admin, "", in("b")...)
}

// A namespace has four devices at most, whichever nodes they are asked for at once, and
// none where it lies deep.
func TestNamespaceAuditDevicesAreFew(t *testing.T) {
	home := t.TempDir()
	f := startNodesWith(t, 2, homes(home))
	tenants(t, f.all[0], f.root, "a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e")
	statuses := make(chan int)
	for i := range 12 {
		go func() {
			a, err := f.all[i%2].Try("POST", fmt.Sprint("sys/audit/", i), f.root, device(t, "file", "file_path", fmt.Sprint(i)), in("a")...)
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			statuses <- a.Status
		}()
	}
	made := 0
	for range 12 {
		if <-statuses == 204 {
			made++
		}
	}
	for _, n := range f.all {
		if list, _ := n.Want(t, 200, "GET", "sys/audit", f.root, "", in("a")...).Field("data").(map[string]any); made != 4 || len(list) != 4 {
			t.Errorf("%d were made, %d are listed", made, len(list))
		}
	}
	f.all[1].Want(t, 204, "POST", "sys/audit/x", f.root, fileDevice, in("a/b/c/d")...)
	f.all[1].Want(t, 400, "POST", "sys/audit/x", f.root, fileDevice, in("a/b/c/d/e")...)
}

// What a namespace's devices leave on the disk is bounded, however often they are made and removed.
func TestNamespaceAuditFilesAreFew(t *testing.T) {
	home := t.TempDir()
	s := servertest.Start(t, homes(home))
	root := servertest.Root
	tenants(t, s, root, "a")
	files := func() (n int) {
		t.Helper()
		if err := filepath.WalkDir(home, func(_ string, e fs.DirEntry, err error) error {
			if !e.IsDir() {
				n++
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	enable := func(name string) int {
		t.Helper()
		return s.Do(t, "POST", "sys/audit/"+name, root, device(t, "file", "file_path", name), in("a")...).Status
	}
	for i := range 5 {
		if status := enable(fmt.Sprint("few", i)); (status == 204) != (i < 4) {
			t.Errorf("device %d: %d", i, status)
		}
	}
	if n := files(); n != 4 {
		t.Errorf("4 devices, and %d files", n)
	}
	for i := range 70 {
		s.Want(t, 204, "DELETE", "sys/audit/few3", root, "", in("a")...)
		s.Want(t, 204, "DELETE", fmt.Sprint("sys/audit/more", i-1), root, "", in("a")...)
		want := 204
		if i >= 60 {
			want = 400
		}
		if status := enable(fmt.Sprint("more", i)); status != want {
			t.Errorf("a device of file %d: %d", 5+i, status)
		}
	}
	if n := files(); n != 64 {
		t.Errorf("%d files are left, want 64", n)
	}
	if status := enable("more7"); status != 204 {
		t.Errorf("a device of a file that is there: %d", status)
	}
}

// A file that is somebody else's is not written to, and no link leads out of a namespace's
// directory.
func TestNamespaceAuditFilesOfOthers(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	s := servertest.Start(t, homes(home))
	root := servertest.Root
	tenants(t, s, root, "a", "b", "c")
	b := filepath.Dir(logOf(t, s, root, home, "b", "x").file)
	if err := os.Symlink(other, b); err != nil {
		t.Fatal(err)
	}
	s.Want(t, 400, "POST", "sys/audit/x", root, fileDevice, in("b")...)
	s.Want(t, 204, "POST", "sys/audit/x", root, fileDevice, in("a")...)
	a := filepath.Dir(logOf(t, s, root, home, "a", "x").file)
	c := filepath.Dir(logOf(t, s, root, home, "c", "x").file)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(c, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(other, "hosts"), "")
	write(filepath.Join(c, "crontab"), "* * * * * root reboot\n")
	for name, make := range map[string]func(string) error{
		"out":    func(to string) error { return os.Symlink(filepath.Join(other, "hosts"), to) },
		"across": func(to string) error { return os.Symlink(filepath.Join(a, "a.log"), to) },
		"up":     func(to string) error { return os.Symlink(other, to) },
		"hard":   func(to string) error { return os.Link(filepath.Join(a, "a.log"), to) },
	} {
		if err := make(filepath.Join(c, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"out", "across", "up", "up/x", "hard", "crontab"} {
		s.Want(t, 400, "POST", "sys/audit/x", root, device(t, "file", "file_path", name), in("c")...)
	}
	if text, err := os.ReadFile(filepath.Join(c, "crontab")); err != nil || string(text) != "* * * * * root reboot\n" {
		t.Errorf("%s %v", text, err)
	}
	if left, err := os.ReadDir(other); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	s.Want(t, 204, "POST", "sys/audit/x", root, device(t, "file", "file_path", "c.log"), in("c")...)
	s.Want(t, 204, "DELETE", "sys/audit/x", root, "", in("c")...)
	s.Want(t, 204, "POST", "sys/audit/x", root, device(t, "file", "file_path", "c.log"), in("c")...) // its own it goes on with
}

// holding reports whether this process has a file open.
func holding(t testing.TB, file string) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.TrimSuffix(to, " (deleted)") == file {
			return true
		}
	}
	return false
}

// The devices of a namespace that is sealed, locked or deleted are closed on all nodes, with
// those of the namespaces below; above it, they go on. The file of a deleted one stays.
func TestNamespaceAuditDevicesEnd(t *testing.T) {
	home := t.TempDir()
	f := startNodesWith(t, 2, homes(home))
	one, two, root := f.all[0], f.all[1], f.root
	tenants(t, one, root, "a")
	keys := keysOf(t, one.Want(t, 200, "POST", "sys/namespaces/team", root, shamir, in("a")...))
	tenants(t, one, root, "a/team/low")
	one.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv"}`, in("a/team")...)
	logs := map[string]*branchLog{}
	all := []string{"a", "a/team", "a/team/low"}
	for _, ns := range all {
		one.Want(t, 204, "POST", "sys/audit/x", root, fileDevice, in(ns)...)
		logs[ns] = logOf(t, one, root, home, ns, "a.log")
	}
	open := func(path string) {
		t.Helper()
		for _, n := range f.all {
			n.Want(t, 404, "GET", "kv/"+path, root, "", in("a/team/low")...)
		}
		for _, ns := range all {
			logs[ns].wants(4, "kv/"+path)
		}
	}
	shut := func(path string) {
		t.Helper()
		for _, n := range f.all {
			n.Want(t, 503, "GET", "kv/"+path, root, "", in("a/team/low")...)
			n.Want(t, 503, "GET", "kv/"+path, root, "", in("a/team")...)
		}
		logs["a"].wants(8, "kv/"+path)
		for _, ns := range all[1:] {
			logs[ns].wants(0, "kv/"+path)
			waitFor(t, "the file is closed", func() bool { return !holding(t, logs[ns].file) })
		}
		if !holding(t, logs["a"].file) {
			t.Error("what lies above is closed, too")
		}
	}
	open("one")
	two.Want(t, 204, "POST", "sys/namespaces/team/seal", root, "", in("a")...)
	shut("two")
	for _, k := range keys[:2] {
		one.Want(t, 200, "POST", "sys/namespaces/team/unseal", root, `{"key":"`+k+`"}`, in("a")...)
	}
	open("three")
	key := two.Want(t, 200, "POST", "sys/namespaces/api-lock/lock/team", root, "", in("a")...).String("data", "unlock_key")
	shut("four")
	one.Want(t, 204, "POST", "sys/namespaces/api-lock/unlock/team", root, `{"unlock_key":"`+key+`"}`, in("a")...)
	open("five")
	id := filepath.Base(filepath.Dir(logs["a/team/low"].file))
	two.Want(t, 200, "DELETE", "sys/namespaces/low", root, "", in("a/team")...)
	waitFor(t, "the file is closed", func() bool { return !holding(t, logs["a/team/low"].file) })
	logs["a/team/low"].wants(4, "kv/five")
	waitFor(t, "the namespace is gone", func() bool {
		got, err := one.Try("GET", "sys/namespaces/low", root, "", in("a/team")...)
		return err == nil && got.Status == 404
	})
	one.Want(t, 200, "POST", "sys/namespaces/low", root, "", in("a/team")...)
	if again := logOf(t, one, root, home, "a/team/low", "a.log"); filepath.Base(filepath.Dir(again.file)) == id {
		t.Error("a new namespace has the directory of another")
	}
	if list := one.Want(t, 200, "GET", "sys/audit", root, "", in("a/team/low")...); list.Field("data", "x/") != nil {
		t.Errorf("a new namespace has the devices of another: %s", list.Text())
	}
}
