package server

import (
	"errors"
	"os"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"

	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/internal/store/postgres"
)

func (r *reader) readStorage(b *block) {
	if r.storage {
		r.fault(b.ObjectItem, "storage: there is one already")
	}
	if r.config.stored != "" && !r.storage {
		r.fault(b.ObjectItem, "storage: %s has one already; a server has one storage", r.config.stored)
	}
	r.storage, r.config.stored = true, r.file
	r.config.DataDir, r.config.InMemory, r.config.Shared = "", false, nil
	switch b.label(0) {
	case "inmem", "mem", "inmem_ha":
		r.config.InMemory = true
	case "pebble", "file", "raft":
		r.readPebble(b)
	case "postgres", "postgresql":
		r.readPostgres(b)
	case "etcd":
		r.readEtcd(b)
	default:
		r.fault(b.ObjectItem, "storage %q: this version has pebble (also under the names file and raft), postgres, etcd and inmem", b.label(0))
	}
}

func (r *reader) readPebble(b *block) {
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "path":
			r.config.DataDir = r.text(s)
		case "node_id", "retry_join", "performance_multiplier":
			r.noEffect(b, s)
		default:
			r.fault(s, "storage: unknown setting %q; it takes path", keyOf(s, 0))
		}
	}
	if r.config.DataDir == "" {
		r.fault(b.ObjectItem, "storage %q: missing path, the directory of the data", b.label(0))
	}
}

// noEffect notes a setting of a block that means nothing here.
func (r *reader) noEffect(b *block, s *ast.ObjectItem) {
	r.config.Ignored = append(r.config.Ignored, "storage "+b.label(0)+": "+keyOf(s, 0))
}

// readPostgres reads a database. What a connection string says is shown nowhere.
func (r *reader) readPostgres(b *block) {
	o := &postgres.Options{}
	given, unread := 0, false
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "connection_url":
			o.Conn, given = postgres.NewConnString(r.text(s)), given+1
			if o.Conn.HasPassword() {
				r.config.withPassword = append(r.config.withPassword, r.file)
			}
		case "connection_url_file":
			conn, err := postgres.ReadConnString(r.text(s))
			if err != nil {
				r.fault(s, "connection_url_file: %v", err)
				conn = o.Conn
			}
			o.Conn, o.ConnFile, given, unread = conn, r.text(s), given+1, err != nil
		case "schema":
			o.Schema = r.text(s)
		case "max_connections", "max_parallel":
			o.MaxReads = r.count(s)
		case "timeout":
			o.Timeout = r.duration(s)
		case "tls_disable":
			o.Plain = r.flag(s)
		case "ha_enabled", "max_idle_connections", "skip_create_table":
			r.noEffect(b, s)
		default:
			r.fault(s, "storage: unknown setting %q; it takes connection_url, connection_url_file, schema, max_connections, timeout and tls_disable", keyOf(s, 0))
		}
	}
	if url := connectionURL(os.Getenv); url != "" && given == 0 {
		o.Conn, given = postgres.NewConnString(url), 1
	}
	switch {
	case given == 0:
		r.fault(b.ObjectItem, "storage %q: give one of connection_url, connection_url_file and the environment's STRONGROOM_PG_CONNECTION_URL", b.label(0))
	case given == 1 && !unread:
		r.check(b.ObjectItem, o.Validate())
	case given > 1:
		r.fault(b.ObjectItem, "storage %q: connection_url and connection_url_file are both given; leave one of them out", b.label(0))
	}
	r.config.Shared = &Shared{Postgres: o}
}

// connectionURL is the connection string of the environment.
func connectionURL(getenv func(string) string) string {
	for _, name := range []string{"STRONGROOM_PG_CONNECTION_URL", "BAO_PG_CONNECTION_URL", "VAULT_PG_CONNECTION_URL"} {
		if url := getenv(name); url != "" {
			return url
		}
	}
	return ""
}

// readEtcd reads a cluster: one that runs by itself has endpoints, one whose
// members run in the nodes has a path and members.
func (r *reader) readEtcd(b *block) {
	e, m := &Etcd{}, &member.Config{}
	for _, s := range b.settings {
		if keyOf(s, 0) == "member" {
			r.blocks(s, 1, func(b *block) { r.readMember(m, b) })
		} else if etcdOther(s) {
			r.noEffect(b, s)
		} else if !r.etcdSetting(e, m, s) {
			r.fault(s, "storage: unknown setting %q; it takes endpoints, prefix, username, password and password_file, or path, node_id, listen, quota_mib and members; and tls_ca_file, tls_cert_file, tls_key_file, tls_server_name and tls_disable", keyOf(s, 0))
		}
	}
	switch embedded := m.Dir != "" || len(m.Members) > 0; {
	case embedded && len(e.Cluster.Endpoints) > 0:
		r.fault(b.ObjectItem, "storage %q: endpoints are of a cluster that runs by itself, path and members of one in the nodes; leave one of them out", b.label(0))
	case embedded && (m.Dir == "" || len(m.Members) == 0):
		r.fault(b.ObjectItem, "storage %q: give path, the directory of the member's data, and a member block for each node", b.label(0))
	case embedded:
		r.config.Shared = &Shared{Member: m}
		r.later(b, m.Check)
	case len(e.Cluster.Endpoints) == 0:
		r.fault(b.ObjectItem, "storage %q: give endpoints, or path and a member block for each node", b.label(0))
	default:
		r.config.Shared = &Shared{Etcd: e}
		r.later(b, func() error { return errors.Join(e.Cluster.Check(), e.Options.Check()) })
	}
	r.etcdUnmeant(b, len(e.Cluster.Endpoints) == 0)
}

// etcdOther reports whether a setting is of other programs' etcd.
func etcdOther(s *ast.ObjectItem) bool {
	switch keyOf(s, 0) {
	case "etcd_api", "ha_enabled", "sync":
		return true
	}
	return false
}

// etcdUnmeant notes what is set of the other way to have etcd.
func (r *reader) etcdUnmeant(b *block, embedded bool) {
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "prefix", "username", "password", "password_file", "tls_server_name":
			if embedded {
				r.noEffect(b, s)
			}
		case "node_id", "listen", "quota_mib":
			if !embedded {
				r.noEffect(b, s)
			}
		}
	}
}

func (r *reader) etcdSetting(e *Etcd, m *member.Config, s *ast.ObjectItem) bool {
	c := &e.Cluster
	switch keyOf(s, 0) {
	case "endpoints", "address":
		for _, t := range r.texts(s) {
			c.Endpoints = append(c.Endpoints, strings.FieldsFunc(t, func(c rune) bool { return c == ',' || c == ' ' })...)
		}
	case "prefix":
		e.Options.Prefix = r.text(s)
	case "username":
		c.User = r.text(s)
	case "password":
		c.Password = r.text(s)
		r.config.withPassword = append(r.config.withPassword, r.file)
	case "password_file":
		text, err := os.ReadFile(r.text(s))
		r.check(s, err)
		r.config.withPassword = append(r.config.withPassword, r.text(s))
		c.Password = strings.TrimSpace(string(text))
	case "path":
		m.Dir = r.text(s)
	case "node_id":
		m.Name = r.text(s)
	case "listen":
		m.Listen = r.text(s)
	case "quota_mib":
		m.QuotaBytes = int64(r.count(s)) << 20
	default:
		return r.etcdTLS(e, m, s)
	}
	return true
}

func (r *reader) etcdTLS(e *Etcd, m *member.Config, s *ast.ObjectItem) bool {
	c := &e.Cluster
	switch keyOf(s, 0) {
	case "tls_ca_file":
		c.CAFile, m.CAFile = r.text(s), r.text(s)
	case "tls_cert_file":
		c.CertFile, m.CertFile = r.text(s), r.text(s)
	case "tls_key_file":
		c.KeyFile, m.KeyFile = r.text(s), r.text(s)
	case "tls_server_name":
		c.ServerName = r.text(s)
	case "tls_disable":
		c.Plain, m.Plain = r.flag(s), r.flag(s)
	default:
		return false
	}
	return true
}

func (r *reader) readMember(m *member.Config, b *block) {
	p := member.Peer{Name: b.label(0)}
	for _, s := range b.settings {
		switch keyOf(s, 0) {
		case "peer_url":
			p.URL = r.text(s)
		default:
			r.fault(s, "member: unknown setting %q; it takes peer_url", keyOf(s, 0))
		}
	}
	if p.Name == "" || p.URL == "" {
		r.fault(b.ObjectItem, "member: write member \"NAME\" { peer_url = \"https://HOST:PORT\" }")
	}
	m.Members = append(m.Members, p)
	i := len(m.Members) - 1
	if p.Name != "" && p.URL != "" {
		r.later(b, func() error { return m.CheckMember(i) })
	}
}
