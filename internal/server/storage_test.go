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
	for src, want := range map[string]string{
		`storage "postgres" {}`: "f:1: storage \"postgres\": give one of connection_url",
		`storage "postgres" { connection_url = "postgres://u:canary@localhost/d" connection_url_file = "/nowhere" }`: "give one of",
		`storage "postgres" { connection_url = "postgres://u:canary@db.example.com/d" }`:                             "sslmode=verify-full",
		`storage "postgres" { connection_url = "postgres://u:canary@db.example.com/d?sslmode=prefer" }`:              "sslmode=verify-full",
		`storage "postgres" { connection_url = "postgres://u:can ary@%zz" }`:                                         "cannot be read",
		`storage "postgres" { connection_url = "host=/run dbname=d" schema = "a-b" }`:                                "the name of the schema",
		`storage "postgres" { connection_url = "host=/run" table = "t" }`:                                            "f:1: storage: unknown setting \"table\"",
		`storage "etcd" {}`:              "give endpoints, or path and a member block",
		`storage "etcd" { path = "/d" }`: "a member block for each node",
		`storage "etcd" { endpoints = "http://localhost:1" path = "/d" }`:                  "leave one of them out",
		`storage "etcd" { path = "/d" member "a" {} }`:                                     "peer_url = \"https://HOST:PORT\"",
		`storage "etcd" { path = "/d" member "a" { peer_url = "https://a:1" port = 3 } }`:  "member: unknown setting \"port\"",
		`storage "etcd" { endpoints = "http://localhost:1" password_file = "/nowhere/x" }`: "no such file",
	} {
		_, err := ParseConfig("f", []byte(src))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
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
