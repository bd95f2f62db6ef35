package compat

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/test/engine"
)

// TestHealthCodes asks with every override, right and wrong, of a server that serves.
func TestHealthCodes(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		for query, want := range map[string]int{
			"perfstandbyok=true": 200, "standbyok=true&perfstandbyok=true": 200, "sealedcode=299&uninitcode=298": 200, "activecode=204": 204,
			"drsecondarycode=299&performancestandbycode=299&removedcode=299&haunhealthycode=299": 200,
			"activecode=":   400,
			"activecode=99": 400, "activecode=600": 400, "sealedcode=x": 400, "uninitcode=x": 400, "standbycode=x": 400, "drsecondarycode=x": 400,
		} {
			for _, method := range []string{"GET", "HEAD"} {
				equal(t, "status of "+method+" health?"+query, c.send(t, method, "/v1/sys/health?"+query, "", "X-Vault-Token", "").status, want)
			}
		}
	})
}

func TestLeaderAndHAStatus(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		leader := must(c.sys.Leader())(t)
		equal(t, "it leads itself", leader.IsSelf && leader.HAEnabled == engine.Chosen().Fleet() && leader.LeaderAddress == c.server.URL, true)
		nodes := must(c.sys.HAStatus())(t).Nodes
		if len(nodes) != 1 {
			t.Fatalf("%d nodes, want 1", len(nodes))
		}
		equal(t, "the node is itself", nodes[0].ActiveNode && nodes[0].APIAddress == c.server.URL && nodes[0].Hostname != "" && nodes[0].Version != "", true)
		ok(t, c.sys.StepDown())
	})
}

// TestMonitor follows the server's log while something is logged, until the client goes.
func TestMonitor(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		for format, part := range map[string]string{"standard": "[ERROR] gate: ", "json": `"@level":"error"`} {
			ctx, cancel := context.WithCancel(t.Context())
			lines := must(c.sys.Monitor(ctx, "debug", format))(t)
			if line := c.provoke(t, lines); !strings.Contains(line, part) && !strings.Contains(strings.ToLower(line), "debug") {
				t.Errorf("%s: %q", format, line)
			}
			cancel()
			until(t, lines)
		}
		for query, text := range map[string]string{"log_level=loud": "unknown log level", "log_format=xml": "unknown log format"} {
			a := c.send(t, "GET", "/v1/sys/monitor?"+query, "")
			equal(t, "status with "+query, a.status, 400)
			holds(t, "answer with "+query, a.text, text)
		}
		weak := c.bearer(t, `path "secret/*" { capabilities = ["read"] }`)
		equal(t, "status without rights", weak.send(t, "GET", "/v1/sys/monitor", "").status, 403)
	})
}

// provoke has the server log something, again and again until a line of the log comes.
func (c *client) provoke(t *testing.T, lines <-chan string) string {
	t.Helper()
	for range 100 {
		c.send(t, "POST", "/v1/sys/rotate", "")
		select {
		case line := <-lines:
			return line
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("nothing of the log comes")
	return ""
}

// until waits for the end of a stream.
func until(t *testing.T, lines <-chan string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case _, open := <-lines:
			if !open {
				return
			}
		case <-limit:
			t.Fatal("the stream goes on")
		}
	}
}

// TestMonitorEndsWithItsToken revokes the token of a stream.
func TestMonitorEndsWithItsToken(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		watcher := c.bearer(t, `path "sys/monitor" { capabilities = ["read"] }`)
		lines := must(watcher.sys.Monitor(t.Context(), "trace", ""))(t)
		ok(t, c.tokens.RevokeTree(watcher.token))
		until(t, lines)
	})
}

func TestLoggers(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		levels := func() map[string]any { return must(c.logical.Read("sys/loggers"))(t).Data }
		equal(t, "core at first", levels()["core"], "info")
		must(c.logical.Write("sys/loggers/core", map[string]any{"level": "trace"}))(t)
		equal(t, "core", must(c.logical.Read("sys/loggers/core"))(t).Data["core"], "trace")
		equal(t, "gate", levels()["gate"], "info")
		must(c.logical.Write("sys/loggers", map[string]any{"level": "error"}))(t)
		equal(t, "both", fmt.Sprint(levels()["core"], levels()["gate"]), "errorerror")
		must(c.logical.Delete("sys/loggers/core"))(t)
		equal(t, "core once reset", levels()["core"], "info")
		must(c.logical.Delete("sys/loggers"))(t)
		equal(t, "gate once reset", levels()["gate"], "info")
		_, err := c.logical.Write("sys/loggers/nobody", map[string]any{"level": "info"})
		refused(t, err, 400, "not found")
		_, err = c.logical.Write("sys/loggers", map[string]any{"level": "loud"})
		refused(t, err, 400, "invalid level provided")
		_, err = c.logical.Write("sys/loggers", nil)
		refused(t, err, 400, "level is required")
	})
}

func TestProfiles(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		for path, kind := range map[string]string{"": "text/plain", "/cmdline": "text/plain", "/symbol": "text/plain", "/goroutine?debug=1": "text/plain",
			"/heap?gc=true": "application/octet-stream", "/allocs": "application/octet-stream", "/profile?seconds=0.1": "application/octet-stream",
			"/trace?seconds=0.1": "application/octet-stream"} {
			a := c.send(t, "GET", "/v1/sys/pprof"+path, "")
			equal(t, "status of pprof"+path, a.status, 200)
			holds(t, "type of pprof"+path, a.header.Get("Content-Type"), kind)
			if len(a.text) == 0 {
				t.Errorf("pprof%s is empty", path)
			}
		}
		equal(t, "status of an hour", c.send(t, "GET", "/v1/sys/pprof/profile?seconds=3600", "").status, 400)
		weak := c.bearer(t, `path "sys/pprof*" { capabilities = ["read"] }`)
		equal(t, "status without sudo", weak.send(t, "GET", "/v1/sys/pprof/heap", "").status, 403)
	})
}

func TestCORS(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		equal(t, "at first", must(c.sys.CORSStatus())(t).Enabled, false)
		ok(t, c.sys.ConfigureCORS(&vault.CORSRequest{AllowedOrigins: []string{"https://a.example"}, AllowedHeaders: []string{"X-Mine"}, Enabled: true}))
		now := must(c.sys.CORSStatus())(t)
		equal(t, "enabled", now.Enabled, true)
		equal(t, "origins", now.AllowedOrigins, []string{"https://a.example"})
		equal(t, "own header is among them", now.AllowedHeaders[len(now.AllowedHeaders)-1], "X-Mine")
		equal(t, "its origin", c.send(t, "GET", "/v1/sys/health", "", "Origin", "https://a.example").header.Get("Access-Control-Allow-Origin"), "https://a.example")
		equal(t, "another origin", c.send(t, "GET", "/v1/sys/health", "", "Origin", "https://b.example").status, 403)
		refused(t, c.sys.ConfigureCORS(&vault.CORSRequest{}), 400, "at least one origin")
		ok(t, c.sys.DisableCORS())
		equal(t, "in the end", must(c.sys.CORSStatus())(t).Enabled, false)
	})
}

func TestPluginCatalog(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		body := must(c.logical.Read("sys/plugins/catalog"))(t).Data
		equal(t, "there are details", len(body["detailed"].([]any)) > 0, true)
		s := must(c.logical.List("sys/plugins/catalog/secret"))(t)
		equal(t, "kv is built in", strings.Contains(fmt.Sprint(keys(t, s)), "kv"), true)
		one := must(c.logical.Read("sys/plugins/catalog/secret/kv"))(t).Data
		equal(t, "kv", fmt.Sprint(one["name"], one["builtin"]), "kvtrue")
		_, err := c.logical.Write("sys/plugins/catalog/secret/mine", map[string]any{"sha256": "ab", "command": "mine"})
		refused(t, err, 400, "everything is built in")
		_, err = c.logical.Write("sys/plugins/reload/backend", map[string]any{"plugin": "kv"})
		refused(t, err, 400, "cannot be reloaded")
	})
}

// TestPluginHelpers drives the helpers of Vault's client, whose types are its own.
func TestPluginHelpers(t *testing.T) {
	t.Parallel()
	cfg := vault.DefaultConfig()
	cfg.Address, cfg.MaxRetries = world.shared.URL, 0
	vc := must(vault.NewClient(cfg))(t)
	vc.SetToken(rootToken)
	list := must(vc.Sys().ListPlugins(&vault.ListPluginsInput{Type: vault.PluginTypeSecrets}))(t)
	equal(t, "secret engines", strings.Contains(fmt.Sprint(list.PluginsByType[vault.PluginTypeSecrets]), "kv"), true)
	equal(t, "details", len(list.Details) > 0 && list.Details[0].Builtin, true)
	all := must(vc.Sys().ListPlugins(&vault.ListPluginsInput{}))(t)
	equal(t, "types", len(all.PluginsByType) > 0, true)
	equal(t, "kv", must(vc.Sys().GetPlugin(&vault.GetPluginInput{Name: "kv", Type: vault.PluginTypeSecrets}))(t).Builtin, true)
	refused(t, vc.Sys().RegisterPlugin(&vault.RegisterPluginInput{Name: "mine", Type: vault.PluginTypeSecrets, Command: "mine", SHA256: "ab"}), 400, "everything is built in")
	refused(t, vc.Sys().DeregisterPlugin(&vault.DeregisterPluginInput{Name: "kv", Type: vault.PluginTypeSecrets}), 400, "cannot be removed")
	_, err := vc.Sys().RaftAutopilotState()
	refused(t, err, 400, "no raft peers")
}

func TestWhatTheServerTells(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		for path, field := range map[string]string{"sys/host-info": "host.hostname", "sys/config/state/sanitized": "storage.type",
			"sys/internal/counters/tokens": "counters.service_tokens.total", "sys/internal/counters/entities": "counters.entities.total",
			"sys/internal/inspect/request": "req.id", "sys/internal/inspect/router/root": "root"} {
			if at(must(c.logical.Read(path))(t).Data, field) == nil {
				t.Errorf("%s lacks %s", path, field)
			}
		}
		equal(t, "in flight", len(c.send(t, "GET", "/v1/sys/in-flight-req", "").body) > 0, true)
		equal(t, "root", must(c.logical.Read("sys/internal/ui/resultant-acl"))(t).Data["root"], true)
		must(c.logical.Read("sys/internal/ui/namespaces"))(t)
		equal(t, "status of counted requests", c.send(t, "GET", "/v1/sys/internal/counters/requests", "").status, http.StatusNotFound)
		equal(t, "status of counted clients", c.send(t, "GET", "/v1/sys/internal/counters/activity", "").status, http.StatusBadRequest)
		equal(t, "status of reload", c.send(t, "POST", "/v1/sys/config/reload/tls", "").status, http.StatusNoContent)
		equal(t, "status of raw", c.send(t, "GET", "/v1/sys/raw/root/x", "").status, http.StatusBadRequest)
	})
}

func TestAuditedHeadersAndResponseHeaders(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		must(c.logical.Write("sys/config/auditing/request-headers/X-Foo", map[string]any{"hmac": true}))(t)
		equal(t, "one", at(must(c.logical.Read("sys/config/auditing/request-headers/X-Foo"))(t).Data, "X-Foo.hmac"), true)
		equal(t, "all", at(must(c.logical.Read("sys/config/auditing/request-headers"))(t).Data, "headers.x-foo.hmac"), true)
		must(c.logical.Delete("sys/config/auditing/request-headers/X-Foo"))(t)
		_, err := c.logical.Read("sys/config/auditing/request-headers/X-Foo")
		refused(t, err, 400, "Could not find header in config")

		must(c.logical.Write("sys/config/ui/headers/X-Frame-Options", map[string]any{"values": []string{"DENY"}}))(t)
		equal(t, "read", must(c.logical.Read("sys/config/ui/headers/X-Frame-Options"))(t).Data["value"], "DENY")
		equal(t, "listed", keys(t, must(c.logical.List("sys/config/ui/headers"))(t)), []string{"X-Frame-Options"})
		equal(t, "sent", c.send(t, "GET", "/v1/sys/health", "").header.Get("X-Frame-Options"), "DENY")
		_, err = c.logical.Write("sys/config/ui/headers/X-Vault-Foo", map[string]any{"values": "a"})
		refused(t, err, 400, "X-Vault headers cannot be set")
		must(c.logical.Delete("sys/config/ui/headers/X-Frame-Options"))(t)
		gone, err := c.logical.Read("sys/config/ui/headers/X-Frame-Options")
		absent(t, "a header that is deleted", gone, err)
	})
}
