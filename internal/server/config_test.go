package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/audit"
)

const wholeHCL = `
storage "raft" {
  path    = "/data"
  node_id = "a"
}
listener "tcp" {
  address     = "127.0.0.1:1"
  tls_disable = 1
}
listener "tcp" {
  address                            = "0.0.0.0:2"
  tls_cert_file                      = "c"
  tls_key_file                       = "k"
  tls_client_ca_file                 = "ca"
  tls_require_and_verify_client_cert = true
  tls_min_version                    = "tls13"
  max_connections_per_client         = 100
}
seal "file" { path = "/keys" }
audit "file" "main" {
  description = "d"
  options { file_path = "/log" }
}
log_level       = "WARN"
log_format      = "json"
pid_file        = "/pid"
cluster_name    = "here"
api_addr        = "https://there"
audit_directory = "/audits"
audit_log_raw   = true
ui              = true
default_lease_ttl = 3600
max_lease_ttl   = "2d"
`

const wholeJSON = `{
  "storage": {"raft": {"path": "/data", "node_id": "a"}},
  "listener": [
    {"tcp": {"address": "127.0.0.1:1", "tls_disable": 1}},
    {"tcp": {"address": "0.0.0.0:2", "tls_cert_file": "c", "tls_key_file": "k", "tls_client_ca_file": "ca",
      "tls_require_and_verify_client_cert": true, "tls_min_version": "tls13", "max_connections_per_client": 100}}
  ],
  "seal": {"file": {"path": "/keys"}},
  "audit": [{"file": [{"main": [{"description": "d", "options": [{"file_path": "/log"}]}]}]}],
  "log_level": "WARN", "log_format": "json", "pid_file": "/pid", "cluster_name": "here", "api_addr": "https://there",
  "audit_directory": "/audits", "audit_log_raw": true, "ui": true,
  "default_lease_ttl": "1h", "max_lease_ttl": "48h"
}`

func TestParseConfig(t *testing.T) {
	want := &Config{DataDir: "/data", LocalSlot: true, SlotPath: "/keys", AuditDirs: []string{"/audits"}, RawAudit: true,
		Listeners: []Listener{{Address: "127.0.0.1:1", Plain: true},
			{Address: "0.0.0.0:2", CertFile: "c", KeyFile: "k", ClientCA: "ca", RequireClient: true, PerClient: 100}},
		Audit:    []*audit.Declaration{{Type: "file", Path: "main/", Description: "d", Options: map[string]string{"file_path": "/log"}}},
		LogLevel: "warn", LogFormat: "json", PIDFile: "/pid", ClusterName: "here", APIAddress: "https://there",
		DefaultTTL: time.Hour, MaxTTL: 48 * time.Hour,
		Ignored: []string{"storage raft: node_id", "ui"}}
	for name, src := range map[string]string{"HCL": wholeHCL, "JSON": wholeJSON} {
		got, err := ParseConfig(name, []byte(src))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
	}
}

func TestAuditOfNamespacesIsConfigured(t *testing.T) {
	c, err := ParseConfig("f", []byte("audit_namespace_directory = \"/homes\"\naudit_namespace_peers = [\"Logs.Example.com:514\", \"*\"]"))
	if err != nil || c.AuditHome != "/homes" || !slices.Equal(c.AuditPeers, []string{"logs.example.com:514", "*"}) {
		t.Errorf("%v: %+v", err, c)
	}
	for _, bad := range []string{"logs.example.com", ":514", "logs.example.com:", ""} {
		if _, err := ParseConfig("f", []byte("audit_namespace_peers = [\""+bad+"\"]")); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReachOfNamespacesIsConfigured(t *testing.T) {
	c, err := ParseConfig("f", []byte("auth_namespace_peers = [\"network\", \"10.0.0.0/8\", \"ldap.example.com:636\"]"))
	if err != nil || !slices.Equal(c.AuthPeers, []string{"network", "10.0.0.0/8", "ldap.example.com:636"}) {
		t.Errorf("%v: %+v", err, c)
	}
	if c, err = ParseConfig("f", []byte("auth_namespace_peers = []")); err != nil || c.AuthPeers == nil {
		t.Errorf("nothing is not as if nothing were said: %v", err)
	}
	if _, err := ParseConfig("f", []byte("auth_namespace_peers = [\"ldap.example.com\"]")); err == nil || !strings.Contains(err.Error(), "f:1: auth_namespace_peers: write each as HOST:PORT") {
		t.Errorf("%v", err)
	}
	c = &Config{Listeners: []Listener{{Address: "127.0.0.1:1", Plain: true}}, AuthPeers: []string{"x"}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "auth_namespace_peers") {
		t.Errorf("%v", err)
	}
}

func TestAuditInJSON(t *testing.T) {
	for _, src := range []string{
		`{"audit": {"file": {"file": {"options": {"file_path": "/log"}}}}}`,
		`{"audit": {"file": {"options": {"file_path": "/log"}}}}`,
		`{"audit": [{"file": [{"options": [{"file_path": "/log"}]}]}]}`,
		`{"audit": {"file": [{"file": {"options": {"file_path": "/log"}}}]}}`,
		`audit "file" { options { file_path = "/log" } }`,
		`audit "file" { options = { file_path = "/log" } }`,
	} {
		c, err := ParseConfig("f", []byte(src))
		if err != nil || len(c.Audit) != 1 || c.Audit[0].Path != "file/" || c.Audit[0].Options["file_path"] != "/log" {
			t.Errorf("%s: %v, %+v", src, err, c.Audit)
		}
	}
}

// Every mistake is reported at once, with its line.
func TestMistakes(t *testing.T) {
	src := `storage "consul" { path = "/d" }
listener "quic" { address = "127.0.0.1:1" }
listener "tcp" {
  address = "0.0.0.0:1"
}
listener "tcp" { adress = "127.0.0.1:1" }
listener "tcp" { tls_disable = "maybe" }
listener "tcp" { tls_cert_file = "c" }
listener "tcp" {
  tls_client_ca_file = "c" }
listener "tcp" { tls_require_and_verify_client_cert = true }
seal "hsm" {}
log_level = "loud"
log_format = "xml"
pid_file = ["a"]
audit {}
cluster_nam = "x"
listener = "tcp"
storage "pebble" { path = "/e" }
seal "file" { path = 99999999999999999999999 }
audit "file" "a" { option { } }
audit "file" "a" { options = 1 }
listener "tcp" { address = "nowhere" }
listener "tcp" { tls_min_version = "tls12" }
log_file = ["/l"]
max_lease_ttl = "0s"
default_lease_ttl = "soon"
listener "tcp" { max_connections_per_client = 0 }
listener "tcp" { max_connections_per_client = "1h" }
listener "tcp" { max_connections_per_client = 8193 }
unused_entity_ttl = "1h"
`
	wants := []string{
		"f:1: storage \"consul\"", "f:2: listener \"quic\"", "f:3: listener \"0.0.0.0:1\": an address that others can reach needs TLS",
		"f:6: listener: unknown setting \"adress\"", "f:7: tls_disable: must be true or false", "f:8: listener \"127.0.0.1:8200\": tls_cert_file and tls_key_file go together",
		"f:9: listener \"127.0.0.1:8200\": tls_client_ca_file needs", "f:11: listener \"127.0.0.1:8200\": tls_require_and_verify_client_cert needs",
		"f:12: seal \"hsm\"", "f:13: log_level", "f:14: log_format", "f:15: pid_file: must be one value", "f:16: audit: write it as",
		"f:17: unknown setting \"cluster_nam\"", "f:18: listener: must be a block", "f:19: storage: there is one already", "f:20: path: cannot be read",
		"f:21: audit: unknown setting \"option\"", "f:22: audit: there is a device", "f:22: audit: options must be a block",
		"f:23: listener \"nowhere\": the address must be HOST:PORT",
		"f:24: tls_min_version: TLS is 1.3 only", "f:25: log_file: must be one value", "f:26: max_lease_ttl: must be longer than zero",
		"f:27: default_lease_ttl: not a duration",
		"f:28: max_connections_per_client: must be a whole number of one or more", "f:29: max_connections_per_client: must be a whole number of one or more",
		"f:30: listener \"127.0.0.1:8200\": max_connections_per_client: must be from 1 to 8192",
		"f:31: unused_entity_ttl: must be never, or a day or longer",
	}
	_, err := ParseConfig("f", []byte(src))
	if err == nil {
		t.Fatal("no mistake found")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, w := range wants {
		if !strings.Contains("\n"+err.Error(), "\n"+w) {
			t.Errorf("not reported: %s", w)
		}
	}
	if len(lines) != len(wants) || t.Failed() {
		t.Errorf("%d mistakes reported, want %d:\n%v", len(lines), len(wants), err)
	}
}

// Mistakes in JSON have lines too: a block's is that of its last label.
func TestMistakesInJSON(t *testing.T) {
	const src = `{
  "storage": {
    "consul": {"address": "/d", "colour": [true, null]}
  },
  "listener": [
    {"tcp": {"address": "127.0.0.1:1"}},
    {"quic": {"address": "127.0.0.1:2"}},
    {
      "tcp": {
        "address": "127.0.0.1:3",
        "adress": 1.5
      }
    }
  ],
  "log_level": "loud", "audit": {
    "file": [{"a": {"option": {}}}]},
  "pid_file": ["a"],
  "max_lease_ttl": null,
  "cluster_nam": false
}`
	_, err := ParseConfig("f", []byte(src))
	want := []string{`f:3: storage "consul"`, `f:7: listener "quic"`, `f:11: listener: unknown setting "adress"`,
		`f:15: log_level: must be`, `f:16: audit: unknown setting "option"`, `f:17: pid_file: must be one value`, `f:19: unknown setting "cluster_nam"`}
	if err == nil {
		t.Fatal("no mistake found")
	}
	got := strings.Split(err.Error(), "\n")
	for i, line := range got {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d mistakes, want %d", len(got), len(want))
	}
}

// What is no JSON is refused, with the line, and never read in part.
func TestJSONThatIsNotWhole(t *testing.T) {
	for src, want := range map[string]string{
		"{\n \"log_level\": \"info\",\n \"listener\": }":            "f:3: not JSON",
		"{\n \"log_level\": \"info\"\n \"pid_file\": \"x\"}":        "f:3: not JSON",
		"{\n \"log_level\": \"info\",\n}":                           "f:3: not JSON",
		"{\n \"log_level\": \"info\"\n":                             "f:3: not JSON",
		"{}\n\nlog_level = \"info\"":                                "f:3: not JSON",
		strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40): "f: is nested too deeply",
	} {
		if _, err := ParseConfig("f", []byte(src)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", src, err, want)
		}
	}
}

func TestMistakesOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.hcl"), filepath.Join(dir, "two.json")
	for path, src := range map[string]string{one: "a = 1\n", two: `{"b": 1}`} {
		if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := LoadConfig(one, two, filepath.Join(dir, "missing"))
	for _, want := range []string{one + `:1: unknown setting "a"`, two + `:1: unknown setting "b"`, "missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: lacks %s", err, want)
		}
	}
}

func TestLoopbackOnlyWithoutTLS(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.evil.example:1": false, "host:1": false, "127.0.0.1": false,
	} {
		c := &Config{Listeners: []Listener{{Address: address}}}
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A configuration never loses data by being short.
func TestFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.hcl")
	for _, try := range []struct {
		src, wrong string
		change     func(*flags)
	}{
		{src: "", wrong: "names no storage"},
		{src: `storage "inmem" {}`},
		{src: `storage "inmem" {}` + "\n" + `seal "file" {}`, wrong: "no directory for the key"},
		{src: `storage "inmem" {}` + "\n" + `listener "tcp" {}`, wrong: "those of the configuration", change: func(f *flags) { f.certFile = "c" }},
		{src: ``, change: func(f *flags) { f.data = "d" }},
		{src: ``, wrong: "leave -data out", change: func(f *flags) { f.data, f.dev = "d", true }},
		{src: ``, wrong: "say where the data", change: func(f *flags) { f.configs = nil }},
	} {
		if err := os.WriteFile(file, []byte(try.src), 0o600); err != nil {
			t.Fatal(err)
		}
		f := &flags{configs: []string{file}}
		if try.change != nil {
			try.change(f)
		}
		_, err := f.config()
		if (err == nil) != (try.wrong == "") || err != nil && !strings.Contains(err.Error(), try.wrong) {
			t.Errorf("%q: %v, want %q", try.src, err, try.wrong)
		}
	}
}

// The longest lease bounds the default one, also where just one of them is set.
func TestLeaseLimits(t *testing.T) {
	for _, try := range []struct {
		given, want Config
		wrong       string
	}{
		{want: Config{DefaultTTL: 768 * time.Hour, MaxTTL: 768 * time.Hour}},
		{given: Config{MaxTTL: time.Hour}, want: Config{DefaultTTL: time.Hour, MaxTTL: time.Hour}},
		{given: Config{MaxTTL: 9000 * time.Hour}, want: Config{DefaultTTL: 768 * time.Hour, MaxTTL: 9000 * time.Hour}},
		{given: Config{DefaultTTL: time.Hour}, want: Config{DefaultTTL: time.Hour, MaxTTL: 768 * time.Hour}},
		{given: Config{DefaultTTL: 769 * time.Hour}, wrong: "longer than max_lease_ttl"},
		{given: Config{DefaultTTL: 2, MaxTTL: 1}, wrong: "longer than max_lease_ttl"},
		{given: Config{MaxTTL: -1}, wrong: "max_lease_ttl: must be"},
		{given: Config{DefaultTTL: -1}, wrong: "default_lease_ttl: must be"},
	} {
		c := try.given
		c.Listeners = []Listener{{Address: DefaultAddress}}
		err := c.Validate()
		if try.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), try.wrong) {
				t.Errorf("%v, %v: %v, want %q", c.DefaultTTL, c.MaxTTL, err, try.wrong)
			}
			continue
		}
		if l := c.limits(); err != nil || l.Default != try.want.DefaultTTL || l.Max != try.want.MaxTTL {
			t.Errorf("%v, %v: %+v, %v", c.DefaultTTL, c.MaxTTL, l, err)
		}
	}
}

func TestLogger(t *testing.T) {
	var out strings.Builder
	log := NewLogger(&Config{LogLevel: "warning", LogFormat: "json"}, &out)
	log.Info("quiet")
	log.Warn("loud", slog.Int("n", 1))
	if got := out.String(); !strings.HasPrefix(got, "{") || !strings.Contains(got, `"msg":"loud","logger":"core","n":1`) || strings.Contains(got, "quiet") {
		t.Fatal(got)
	}
	out.Reset()
	NewLogger(&Config{LogLevel: "trace"}, &out).Debug("fine")
	if !strings.Contains(out.String(), "level=DEBUG msg=fine") {
		t.Fatal(out.String())
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{wholeHCL, wholeJSON, listenerHCL, listenerJSON, `audit { file { x { options { a = 1 } } } }`, `{"listener":[[]]}`, `a = 1e999`, "log_level = <<E\nE\n", `"\x" = 1`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := ParseConfig("f", src)
		if err != nil {
			return
		}
		for _, l := range c.Listeners {
			if l.CertFile == "" && !l.Plain && !l.Unix && !loopback(l.Address) {
				t.Fatalf("%+v is plain and open to others", l)
			}
		}
	})
}
