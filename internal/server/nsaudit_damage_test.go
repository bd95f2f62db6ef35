package server

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
)

// A device of a namespace whose row is damaged counts as required there, and nowhere else;
// given up, the namespace is served again. What marks that it has devices may be damaged, too.
func TestDamagedNamespaceAuditDevice(t *testing.T) {
	c := Config{DataDir: t.TempDir(), LocalSlot: true, AuditHome: t.TempDir()}
	w := start(t, c)
	root := w.printed()
	ids := map[string]string{}
	for _, ns := range []string{"a", "b"} {
		out := w.wants(200, "", root, "POST", "sys/namespaces/"+ns, "")
		ids[ns], _ = out["data"].(map[string]any)["id"].(string)
		w.wants(204, "", root, "POST", ns+"/sys/audit/x", `{"type":"file","options":{"file_path":"x"}}`)
	}
	w = w.restartedOn(c, "d/"+ids["a"]+"/audit/x/", "d/"+audit.MarkPrefix+ids["a"])
	defer func() { w.end() }()
	w.wants(503, ids["a"]+"/audit/x/ is damaged", root, "GET", "a/sys/mounts", "")
	w.wants(200, "", root, "GET", "b/sys/mounts", "")
	w.wants(200, "", root, "GET", "sys/mounts", "")
	w.wants(200, `"type":"damaged"`, root, "GET", "a/sys/audit", "")
	if rows := w.current().damaged.Rows(); len(rows) != 1 || rows[0] != ids["a"]+"/audit/x/" {
		t.Errorf("the damaged rows are %q", rows)
	}
	w.wants(204, "", root, "DELETE", "a/sys/audit/x", "")
	w.wants(200, "", root, "GET", "a/sys/mounts", "")
	w.wants(204, "", root, "POST", "a/sys/audit/x", `{"type":"file","options":{"file_path":"x"}}`)
	if rows := w.current().damaged.Rows(); len(rows) != 0 {
		t.Errorf("given up, the damaged rows are %q", rows)
	}
	for _, key := range w.keys() {
		if strings.HasPrefix(key, "d/"+audit.MarkPrefix) && !strings.HasSuffix(key, ids["a"]) && !strings.HasSuffix(key, ids["b"]) {
			t.Errorf("%s is left", key)
		}
	}
}

// A node that cannot open the devices of a namespace refuses its requests, and no others.
func TestNamespaceAuditThatCannotBeOpened(t *testing.T) {
	w := startFor(t, Config{InMemory: true, DevRoot: api.NewSecret("root"), AuditHome: t.TempDir()})
	for _, ns := range []string{"a", "b"} {
		w.wants(200, "", "root", "POST", "sys/namespaces/"+ns, "")
	}
	w.wants(204, "", "root", "POST", "a/sys/audit/x", `{"type":"file","options":{"file_path":"x"}}`)
	w.wants(200, "", "root", "GET", "a/sys/mounts", "")
	if err := w.current().Branches.Close(); err != nil {
		t.Fatal(err)
	}
	w.wants(503, "", "root", "GET", "a/sys/mounts", "")
	w.wants(200, "", "root", "GET", "b/sys/mounts", "")
	w.wants(200, "", "root", "GET", "sys/mounts", "")
}

// The directory of the namespaces' audit files is none in which the server has its own.
func TestAuditHomeIsApart(t *testing.T) {
	for _, c := range []Config{
		{AuditHome: "relative"},
		{AuditHome: "/var/log", AuditDirs: []string{"/var/log/strongroom"}},
		{AuditHome: "/var/log", Audit: logFile("/var/log/audit.log")},
	} {
		c.InMemory, c.Listeners = true, []Listener{{Address: "127.0.0.1:0"}}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "audit_namespace_directory") {
			t.Errorf("%q: %v", c.AuditHome, err)
		}
	}
	c := Config{InMemory: true, DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}, AuditHome: "/var/log/strongroom/namespaces", AuditDirs: []string{"/var/log/strongroom"}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
