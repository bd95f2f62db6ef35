package compat

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

// audited enables a file device on the client's server and returns its name and file.
func audited(t *testing.T, c *client) (name, file string) {
	t.Helper()
	name, file = unique("file"), filepath.Join(c.auditDir, "audit.log")
	ok(t, c.sys.EnableAuditWithOptions(name, &vault.EnableAuditOptions{
		Type: "file", Description: "of the test", Options: map[string]string{"file_path": file},
	}))
	return name, file
}

// record is the part of an audit entry these tests look at.
type record struct {
	Type string `json:"type"`
	Time string `json:"time"`
	Auth struct {
		ClientToken string   `json:"client_token"`
		Accessor    string   `json:"accessor"`
		Policies    []string `json:"policies"`
	} `json:"auth"`
	Request struct {
		ID          string         `json:"id"`
		Operation   string         `json:"operation"`
		Path        string         `json:"path"`
		ClientToken string         `json:"client_token"`
		Data        map[string]any `json:"data"`
	} `json:"request"`
	Response map[string]any `json:"response"`
	Error    string         `json:"error"`
}

func records(t *testing.T, file string) []record {
	t.Helper()
	var all []record
	for line := range strings.Lines(string(must(os.ReadFile(file))(t))) {
		var r record
		ok(t, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	return all
}

func TestAuditDevices(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		equal(t, "devices at the start", len(must(c.sys.ListAudit())(t)), 0)
		name, file := audited(t, c)
		device := must(c.sys.ListAudit())(t)[name+"/"]
		equal(t, "device", *device, vault.Audit{
			Type: "file", Description: "of the test", Options: map[string]string{"file_path": file}, Path: name + "/",
		})
		err := c.sys.EnableAuditWithOptions(name, &vault.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": file}})
		refused(t, err, 400, "path already in use")
		err = c.sys.EnableAuditWithOptions("other", &vault.EnableAuditOptions{Type: "nosuch"})
		refused(t, err, 400, "type")
		err = c.sys.EnableAuditWithOptions("other", &vault.EnableAuditOptions{Type: "file"})
		refused(t, err, 400, "file_path")
		ok(t, c.sys.DisableAudit(name))
		ok(t, c.sys.DisableAudit(name))
		equal(t, "devices at the end", len(must(c.sys.ListAudit())(t)), 0)
		err = c.sys.EnableAuditWithOptions("other", &vault.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": "/elsewhere"}})
		refused(t, err, 400, "file_path")
		before := len(records(t, file))
		must(c.tokens.LookupSelf())(t)
		equal(t, "records after the device went", len(records(t, file)), before)
	})
}

func TestAuditRecords(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		name, file := audited(t, c)
		must(c.kv2("secret").Put(t.Context(), "app", map[string]any{"password": "tr0ub4dor"}))(t)
		hash := must(c.sys.AuditHash(name, "tr0ub4dor"))(t)
		equal(t, "hash twice", must(c.sys.AuditHash(name, "tr0ub4dor"))(t), hash)
		holds(t, "hash", hash, "hmac-sha256:")
		var request, response *record
		for _, r := range records(t, file) {
			if r.Request.Path == "secret/data/app" && r.Type == "request" {
				request = &r
			} else if r.Request.Path == "secret/data/app" {
				response = &r
			}
		}
		if request == nil || response == nil {
			t.Fatal("the write is not on record with its request and its response")
		}
		equal(t, "one request id", request.Request.ID, response.Request.ID)
		equal(t, "hashed value", at(request.Request.Data, "data.password"), hash)
		equal(t, "hashed token", request.Auth.ClientToken, must(c.sys.AuditHash(name, rootToken))(t))
		equal(t, "policies", request.Auth.Policies, []string{"root"})
		text := string(must(os.ReadFile(file))(t))
		if strings.Contains(text, "tr0ub4dor") {
			t.Error("the secret is on record in plain text")
		}
	})
}

// TestAuditRefusals pins that denied requests are on record.
func TestAuditRefusals(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		_, file := audited(t, c)
		_, err := c.as(t, "hvs.never-issued").logical.Read("secret/data/app")
		refused(t, err, 403, "permission denied")
		all := records(t, file)
		last := all[len(all)-1]
		equal(t, "path of the last record", last.Request.Path, "secret/data/app")
		holds(t, "error of the last record", last.Error, "permission denied")
	})
}

// TestAuditOptions pins that devices of every type, with the options that Vault
// has and those that we add, come back from the list as they went in.
func TestAuditOptions(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		peer := must(net.ListenPacket("udp", "127.0.0.1:0"))(t)
		defer func() { ok(t, peer.Close()) }()
		file := filepath.Join(c.auditDir, unique("options")+".log")
		devices := []vault.EnableAuditOptions{
			{Type: "file", Options: map[string]string{"file_path": file, "mode": "0640", "format": "json", "hmac_accessor": "false", "elide_list_responses": "true"}},
			{Type: "file", Options: map[string]string{"file_path": file + ".kv", "filter": `mount_type == "kv"`, "rotate_bytes": "1MiB", "rotate_max_files": "7", "delivery": "required", "deadline": "2s"}},
			{Type: "file", Options: map[string]string{"file_path": file + ".rest", "fallback": "true"}},
			{Type: "syslog", Options: map[string]string{"facility": "AUTH", "tag": "vault", "address": peer.LocalAddr().String(), "socket_type": "udp", "prefix": "@cee: "}},
		}
		for _, d := range devices {
			name := unique(d.Type)
			ok(t, c.sys.EnableAuditWithOptions(name, &d))
			equal(t, "device", *must(c.sys.ListAudit())(t)[name+"/"], vault.Audit{Type: d.Type, Options: d.Options, Path: name + "/"})
			defer func() { ok(t, c.sys.DisableAudit(name)) }()
		}
		must(c.kv2("secret").Put(t.Context(), "app", map[string]any{"password": "tr0ub4dor"}))(t)
		kept := func(file, path string) (n int) {
			for _, r := range records(t, file) {
				if r.Request.Path == path {
					n++
				}
			}
			return n
		}
		must(c.sys.ListMounts())(t)
		equal(t, "a write to KV, in all", kept(file, "secret/data/app"), 2)
		equal(t, "a write to KV, in KV's", kept(file+".kv", "secret/data/app"), 2)
		equal(t, "a list of mounts, in all", kept(file, "sys/mounts"), 2)
		equal(t, "a list of mounts, in KV's", kept(file+".kv", "sys/mounts"), 0)
		equal(t, "what the fallback has, beside its own trial", len(records(t, file+".rest")), 1)
		ok(t, peer.SetReadDeadline(time.Now().Add(10*time.Second)))
		packet := make([]byte, 1<<16)
		n, _, err := peer.ReadFrom(packet)
		ok(t, err)
		holds(t, "the syslog message", string(packet[:n]), " vault ")
		holds(t, "the syslog message", string(packet[:n]), ` - @cee: {"time":"`)
		for want, d := range map[string]vault.EnableAuditOptions{
			"options.filter":   {Type: "file", Options: map[string]string{"file_path": file + ".x", "filter": "mount_type matches kv"}},
			"options.prefix":   {Type: "file", Options: map[string]string{"file_path": file + ".x", "prefix": "#!/bin/sh"}},
			"options.fallback": {Type: "file", Options: map[string]string{"file_path": file + ".x", "fallback": "true"}},
		} {
			refused(t, c.sys.EnableAuditWithOptions(unique("bad"), &d), 400, want)
		}
	})
}
