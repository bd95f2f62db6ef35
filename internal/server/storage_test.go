package server

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/store/etcd/member"
)

// TestStorageBlocks reads each storage in both notations.
func TestStorageBlocks(t *testing.T) {
	dir := t.TempDir()
	url, password := filepath.Join(dir, "url"), filepath.Join(dir, "password")
	for name, text := range map[string]string{url: "postgres://u:canary@localhost/d\n", password: "canary\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	peers := []member.Peer{{Name: "a", URL: "https://a:2380"}, {Name: "b", URL: "https://b:2380"}}
	for _, c := range []struct {
		hcl, json string
		want      func(*Shared) any
		is        any
	}{
		{
			hcl:  fmt.Sprintf(`storage "postgres" { connection_url_file = %q schema = "s" max_connections = 3 timeout = "5s" }`, url),
			json: fmt.Sprintf(`{"storage": {"postgresql": {"connection_url_file": %q, "schema": "s", "max_connections": 3, "timeout": "5s"}}}`, url),
			want: func(s *Shared) any {
				return []any{s.Postgres.Schema, s.Postgres.MaxReads, s.Postgres.Timeout.Seconds(), s.kind()}
			},
			is: []any{"s", 3, 5.0, "postgres"},
		},
		{
			hcl:  fmt.Sprintf(`storage "etcd" { endpoints = ["https://a:2379", "https://b:2379"] prefix = "p/" username = "u" password_file = %q tls_ca_file = "ca" }`, password),
			json: fmt.Sprintf(`{"storage": {"etcd": {"address": "https://a:2379,https://b:2379", "prefix": "p/", "username": "u", "password_file": %q, "tls_ca_file": "ca"}}}`, password),
			want: func(s *Shared) any {
				c := s.Etcd.Cluster
				return []any{c.Endpoints, s.Etcd.Options.Prefix, c.User, c.Password, c.CAFile, s.kind()}
			},
			is: []any{[]string{"https://a:2379", "https://b:2379"}, "p/", "u", "canary", "ca", "etcd"},
		},
		{
			hcl:  `storage "etcd" { path = "/d" node_id = "b" quota_mib = 64 tls_cert_file = "c" tls_key_file = "k" tls_ca_file = "ca" member "a" { peer_url = "https://a:2380" } member "b" { peer_url = "https://b:2380" } }`,
			json: `{"storage": {"etcd": {"path": "/d", "node_id": "b", "quota_mib": 64, "tls_cert_file": "c", "tls_key_file": "k", "tls_ca_file": "ca", "member": {"a": {"peer_url": "https://a:2380"}, "b": {"peer_url": "https://b:2380"}}}}}`,
			want: func(s *Shared) any {
				return []any{s.Member.Dir, s.Member.Name, s.Member.QuotaBytes, s.Member.Members, s.Member.CertFile, s.kind()}
			},
			is: []any{"/d", "b", int64(64 << 20), peers, "c", "etcd"},
		},
	} {
		for _, src := range []string{c.hcl, c.json} {
			cfg, err := ParseConfig("f", []byte(src))
			if err != nil {
				t.Errorf("%s: %v", src, err)
				continue
			}
			if got := c.want(cfg.Shared); !reflect.DeepEqual(got, c.is) {
				t.Errorf("%s reads as %v, want %v", src, got, c.is)
			}
			if strings.Contains(fmt.Sprintf("%+v", cfg.Shared.Postgres), "canary") {
				t.Error("the connection string is printed")
			}
		}
	}
}

// TestMistakesInStorage has each mistake told with its line, and no password.
func TestMistakesInStorage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("host=/run"), 0o600); err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]string{
		`storage "postgres" {}`: "f:1: storage \"postgres\": give one of connection_url",
		`storage "postgres" { connection_url = "postgres://u:canary@localhost/d" connection_url_file = "DIR/url" }`: "f:1: storage \"postgres\": connection_url and connection_url_file are both given",
		`storage "postgres" { connection_url_file = "/nowhere" }`:                                                   "f:1: connection_url_file: ",
		`storage "postgres" { connection_url = "postgres://u:canary@db.example.com/d" }`:                            "sslmode=verify-full",
		`storage "postgres" { connection_url = "postgres://u:canary@db.example.com/d?sslmode=prefer" }`:             "sslmode=verify-full",
		`storage "postgres" { connection_url = "postgres://u:can ary@%zz" }`:                                        "cannot be read",
		`storage "postgres" { connection_url = "host=/run dbname=d" schema = "a-b" }`:                               "the name of the schema",
		`storage "postgres" { connection_url = "host=/run" table = "t" }`:                                           "f:1: storage: unknown setting \"table\"",
		`storage "etcd" {}`:              "give endpoints, or path and a member block",
		`storage "etcd" { path = "/d" }`: "a member block for each node",
		`storage "etcd" { endpoints = "http://localhost:1" path = "/d" }`:                  "leave one of them out",
		`storage "etcd" { path = "/d" member "a" {} }`:                                     "peer_url = \"https://HOST:PORT\"",
		`storage "etcd" { path = "/d" member "a" { peer_url = "https://a:1" port = 3 } }`:  "member: unknown setting \"port\"",
		`storage "etcd" { endpoints = "http://localhost:1" password_file = "/nowhere/x" }`: "no such file",
	} {
		_, err := ParseConfig("f", []byte(strings.ReplaceAll(src, "DIR", dir)))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
	for _, src := range []string{
		`storage "postgres" { connection_url = "postgres://u@db.example.com/d?sslmode=verify-full" }`,
		`storage "postgres" { connection_url = "postgres://u@db.example.com/d" tls_disable = true }`,
		`storage "postgres" { connection_url = "postgres://u@127.0.0.1/d" }`,
		`storage "postgres" { connection_url = "host=/run/postgresql" }`,
	} {
		if _, err := ParseConfig("f", []byte(src)); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// TestMistakesInEtcd has what a start would fail by told with its line before it starts:
// files that cannot be read, URLs that cannot be, names that nobody has.
func TestMistakesInEtcd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.hcl")
	const tls = ` tls_cert_file = "/none.pem" tls_key_file = "/none.key" tls_ca_file = "/none.ca" `
	for src, want := range map[string]string{
		`storage "etcd" { path = "/d" member "a" { peer_url = "http://10.0.0.1:2380" } }`:                                                       `:1: member "a": peer_url: 10.0.0.1:2380 is not encrypted`,
		"storage \"etcd\" {\n path = \"/d\"\n member \"a\" { peer_url = \"http://localhost\" }\n}":                                              `:3: member "a": peer_url: a peer URL is of the form`,
		`storage "etcd" { path = "/d" member "a" { peer_url = "https://a:1" } }`:                                                                ":1: members with https need tls_cert_file",
		`storage "etcd" { path = "/d" member "a" { peer_url = "https://a:1" }` + tls + "}":                                                      ":1: etcd: tls_cert_file and tls_key_file",
		`storage "etcd" { endpoints = "https://a:1"` + tls + "}":                                                                                ":1: etcd: tls_ca_file: open /none.ca",
		`storage "etcd" { endpoints = "http://10.0.0.1:1" }`:                                                                                    ":1: etcd: 10.0.0.1:1 is not encrypted",
		`storage "etcd" { endpoints = "http://127.0.0.1:1" prefix = "x" }`:                                                                      ":1: etcd: the key prefix must end in a slash",
		`storage "etcd" { path = "/d" node_id = "z" member "a" { peer_url = "http://127.0.0.1:1" } member "b" { peer_url = "http://[::1]:2" }}`: `:1: no member is called "z": -node-id, or node_id in the configuration, names one of a, b`,
		`storage "etcd" { path = "/d" member "a" { peer_url = "http://127.0.0.1:1" } member "b" { peer_url = "http://127.0.0.1:1" }}`:           `member "b": peer_url: is that of member "a" too`,
		`storage "etcd" { path = "/d" quota_mib = 1 member "a" { peer_url = "http://127.0.0.1:1" }}`:                                            ":1: quota_mib: must be at least 64",
	} {
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(file)
		if err == nil || !strings.HasPrefix(err.Error(), file+":") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

// TestWhichMember has a mistaken -node-id told with the names there are.
func TestWhichMember(t *testing.T) {
	c, err := ParseConfig("f", []byte(`storage "etcd" { path = "/d" member "a" { peer_url = "http://127.0.0.1:1" } member "b" { peer_url = "http://127.0.0.1:2" } }`))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&flags{nodeID: "B"}).name(c); err == nil || !strings.Contains(err.Error(), `"B": -node-id`) || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("%v", err)
	}
	if err := (&flags{nodeID: "b"}).name(c); err != nil {
		t.Error(err)
	}
}

// TestStorageWithoutEffect names settings that other programs have, and those of the
// other way to have etcd.
func TestStorageWithoutEffect(t *testing.T) {
	for src, want := range map[string]string{
		`storage "raft" { path = "/d" node_id = "n" retry_join { leader_api_addr = "https://x" } }`:                                    "storage raft: node_id, storage raft: retry_join",
		`storage "postgres" { connection_url = "host=/run" ha_enabled = "true" }`:                                                      "storage postgres: ha_enabled",
		`storage "etcd" { endpoints = "http://localhost:1" etcd_api = "v3" node_id = "n" }`:                                            "storage etcd: etcd_api, storage etcd: node_id",
		`storage "etcd" { path = "/d" prefix = "p/" node_id = "a" tls_disable = true member "a" { peer_url = "http://localhost:1" } }`: "storage etcd: prefix",
	} {
		c, err := ParseConfig("f", []byte(src))
		if err != nil || strings.Join(c.Ignored, ", ") != want {
			t.Errorf("%s: %v, %v, want %s", src, c.Ignored, err, want)
		}
	}
}

// TestConnectionURLOfTheEnvironment stands in for one that the configuration leaves out.
func TestConnectionURLOfTheEnvironment(t *testing.T) {
	t.Setenv("VAULT_PG_CONNECTION_URL", "postgres://u@localhost/vault")
	t.Setenv("STRONGROOM_PG_CONNECTION_URL", "postgres://u@localhost/own")
	if got := connectionURL(os.Getenv); got != "postgres://u@localhost/own" {
		t.Errorf("the environment's connection string is %q", got)
	}
	if _, err := ParseConfig("f", []byte(`storage "postgres" {}`)); err != nil {
		t.Error(err)
	}
}
