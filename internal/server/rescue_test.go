package server

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// The one audit device is dead and every request is refused, but for what root
// needs to find and disable it; that is in the server's log instead.
func TestDeadAuditDeviceCanBeDisabled(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := peer.Accept()
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, io.LimitReader(c, 1)); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	var logged bytes.Buffer
	s, err := Open(t.Context(), &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{{Address: "127.0.0.1:0"}}}, slog.New(slog.NewTextHandler(&logged, nil)), &bytes.Buffer{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t}
	defer w.end()
	w.wants(204, "", "root", "POST", "sys/policies/acl/auditor", `{"policy":"path \"sys/audit/*\" { capabilities = [\"delete\", \"sudo\"] }"}`)
	w.wants(200, "", "root", "POST", "auth/token/create", `{"id":"auditor","policies":["auditor"]}`)
	w.wants(200, "", "root", "POST", "sys/namespaces/team", "")
	w.wants(204, "", "root", "POST", "sys/audit/line", `{"type":"socket","options":{"address":"`+peer.Addr().String()+`","deadline":"200ms"}}`)
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	refused := false
	for range 1000 { // the peer may still hold a connection that was waiting
		if status, _ := w.ask("root", "GET", "sys/mounts", ""); status == 503 {
			refused = true
			break
		}
	}
	if !refused {
		t.Fatal("answers without a device")
	}
	w.wants(503, `\"line/\"`, "auditor", "DELETE", "sys/audit/line", "")
	w.wants(503, `\"line/\"`, "root", "POST", "sys/audit/other", `{"type":"stdout"}`)
	w.wants(503, `\"line/\"`, "root", "DELETE", "team/sys/audit/line", "") // it is not there that it is dead
	w.wants(503, `\"line/\"`, "root", "GET", "team/sys/audit", "")
	w.wants(200, `"line/"`, "root", "GET", "sys/audit", "")
	w.wants(204, "", "root", "DELETE", "sys/audit/line", "")
	w.wants(200, "", "root", "GET", "sys/mounts", "")
	for _, part := range []string{"no audit device has taken this request", "path=sys/audit/line", "operation=delete", "request_id=", "remote=192.0.2.1:1234", "device=line/"} {
		if !strings.Contains(logged.String(), part) {
			t.Errorf("the log lacks %s:\n%s", part, logged.String())
		}
	}
}
