package server

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// While every request is refused for want of an audit device, sys/health says so
// to load balancers, in its own status code; and once the device can be written it
// finds that out without any other request (users.md F1).
func TestHealthIsRedWithoutAnAuditDevice(t *testing.T) {
	w, file := audited(t)
	w.wants(200, `"sealed":false`, "", "GET", "sys/health", "")
	waitUntil(t, func() bool { // the device may begin its file anew meanwhile
		err := os.Remove(file)
		return (err == nil || errors.Is(err, fs.ErrNotExist)) && os.Mkdir(file, 0o700) == nil
	})
	waitUntil(t, func() bool { status, _ := w.ask("root", "GET", "sys/mounts", ""); return status == 503 })
	w.wants(474, `"sealed":false`, "", "GET", "sys/health", "")
	w.wants(299, `"sealed":false`, "", "GET", "sys/health?haunhealthycode=299", "")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.wants(200, `"sealed":false`, "", "GET", "sys/health", "")
	if !strings.Contains(text(t, file), `"path":"sys/health"`) {
		t.Error("it did not try with an entry")
	}
	w.wants(200, "", "root", "GET", "sys/mounts", "")
}
