package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/test/postgres"
)

// refused opens a store that must not open.
func refused(t *testing.T, o Options, want error, text string) {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("Open returned %v, want %q", err, text)
	}
}

// TestUnfitServers: a server that may lose what it acknowledged, or answers with what is out of date, is not used.
func TestUnfitServers(t *testing.T) {
	srv := private(t)
	o := Options{Conn: NewConnString(srv.URL()), Timeout: 2 * time.Second}
	s := openTest(t, o)
	set(t, s, "k", "v")
	for _, name := range []string{"fsync", "full_page_writes"} {
		must(t, srv.Set(name+"=off"))
		must(t, srv.Reload())
		until(t, "a running node refuses to commit with "+name+" off", func() bool {
			_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
			return errors.Is(err, ErrUnfit)
		})
		refused(t, o, ErrUnfit, "set "+name+" = on")
		must(t, srv.Set(name+"=on"))
		must(t, srv.Reload())
		until(t, "the node commits again", func() bool {
			_, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
			return err == nil
		})
	}
	b, err := srv.Standby("b")
	must(t, err)
	defer func() { must(t, b.Remove()) }()
	refused(t, Options{Conn: NewConnString(b.URL()), Timeout: 2 * time.Second}, ErrUnfit, "replica")
	both := openTest(t, Options{Conn: NewConnString(srv.Through(b.Addr + "," + srv.Addr))})
	set(t, both, "k", "found the primary")
}

// TestSessionsAreDurable: whatever the server's default, commits wait for the disk.
func TestSessionsAreDurable(t *testing.T) {
	srv := private(t, "synchronous_commit=off", "default_transaction_read_only=on", "default_transaction_isolation=serializable")
	s := openTest(t, Options{Conn: NewConnString(srv.URL())})
	set(t, s, "k", "v")
	c, err := s.connect(t.Context())
	must(t, err)
	defer s.hang(c)
	var level string
	must(t, c.QueryRow(t.Context(), "show synchronous_commit").Scan(&level))
	if level != "on" {
		t.Errorf("synchronous_commit is %s", level)
	}
}

// TestLostMachinesAreNoticed: the server is told to find out soon that a node's machine is gone.
func TestLostMachinesAreNoticed(t *testing.T) {
	s := openTest(t, options(t.Name()))
	c, err := s.connect(t.Context())
	must(t, err)
	defer s.hang(c)
	var probes string
	must(t, c.QueryRow(t.Context(), "SELECT concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), "+
		"current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))").Scan(&probes))
	if probes != "5 2 3 11000" {
		t.Errorf("the server probes by %s", probes)
	}
}

// TestDatabasesOfOtherEncodings: a server that was set up without a locale has a database in SQL_ASCII, and a role or a connection
// string may ask for another encoding yet.
func TestDatabasesOfOtherEncodings(t *testing.T) {
	for _, encoding := range []string{"SQL_ASCII", "LATIN1", "EUC_JP"} {
		o := options(t.Name())
		name := "of_" + strings.ToLower(encoding)
		sql(t, fmt.Sprintf("create database %s template template0 encoding '%s'", name, encoding))
		sql(t, fmt.Sprintf("alter database %s set standard_conforming_strings = off", name))
		o.Conn = NewConnString(server.Load().Through(server.Load().Addr, "dbname="+name, "client_encoding="+encoding))
		s := openTest(t, o)
		for _, text := range []string{"é\xff'", "日本\x00\\"} {
			set(t, s, text, text)
			if e, err := openTest(t, o).Get(t.Context(), text); err != nil || string(e.Value) != text {
				t.Errorf("%s: %q is %q, %v", encoding, text, e.Value, err)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]int{"9.6.24": 9, "12.3 (Debian 12.3-1)": 12, "13beta1": 13, "15.8": 15, "": 0} {
		if got := number(text); got != want {
			t.Errorf("version %q is %d", text, got)
		}
	}
}

// TestNewerTables are left alone, also by a node that was running when they were changed.
func TestNewerTables(t *testing.T) {
	o := options(t.Name())
	s := openTest(t, o)
	set(t, s, "k", "v")
	sql(t, fmt.Sprintf("update %s.head set format = %d", o.Schema, format+1))
	before := sql(t, fmt.Sprintf("select * from %[1]s.head, %[1]s.entries, %[1]s.changes", o.Schema))
	refused(t, o, ErrNewer, "newer version")
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "k"}}); !errors.Is(err, ErrNewer) {
		t.Errorf("a running node commits: %v", err)
	}
	if _, err := s.Sync(t.Context()); !errors.Is(err, ErrNewer) {
		t.Errorf("a running node answers: %v", err)
	}
	if after := sql(t, fmt.Sprintf("select * from %[1]s.head, %[1]s.entries, %[1]s.changes", o.Schema)); after != before {
		t.Errorf("the tables were touched: %s, then %s", before, after)
	}
}

// TestRoleWithoutRights may use a schema that was made for it, and is told what it needs where there is none.
func TestRoleWithoutRights(t *testing.T) {
	o := options(t.Name())
	sql(t, fmt.Sprintf("create role poor login password 'canary-poor'; create schema %s authorization poor; revoke create on database postgres from public", o.Schema))
	o.Conn = NewConnString("postgres://poor:canary-poor@" + server.Load().Addr + "/postgres?sslmode=disable")
	set(t, openTest(t, o), "k", "v")
	o.Schema += "_"
	_, err := Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "grant the role CREATE") {
		t.Errorf("Open without the right to make a schema returned %v", err)
	}
}

// TestFullDisk fills the tablespace that the tables are in, as far as a server can be made to believe it.
func TestFullDisk(t *testing.T) {
	o := options(t.Name())
	s := openTest(t, o)
	set(t, s, "k", "v")
	sql(t, fmt.Sprintf(`create function %[1]s.full() returns trigger language plpgsql as $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$;
		create trigger full_disk before insert on %[1]s.entries execute function %[1]s.full()`, o.Schema))
	before, err := s.Sync(t.Context())
	must(t, err)
	if _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "l"}}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a commit to a full disk returned %v", err)
	}
	if rev, err := s.Sync(t.Context()); err != nil || rev != before {
		t.Errorf("a commit that was refused moved the store to %d, %v", rev, err)
	}
	sql(t, fmt.Sprintf("drop trigger full_disk on %s.entries", o.Schema))
	set(t, s, "l", "v")
}

// TestPasswordsStayHidden looks for a password in everything that is printed, logged or returned.
func TestPasswordsStayHidden(t *testing.T) {
	addr := server.Load().Addr
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conns := map[string]string{
		"wrong password": "postgres://nobody:" + postgres.Password + "@" + addr + "/postgres?sslmode=disable",
		"no server":      "postgres://u:" + postgres.Password + "@127.0.0.1:1/postgres",
		"no host":        "postgres://u:" + postgres.Password + "@no-such-host.invalid/postgres",
		"no database":    server.Load().Through(addr, "dbname=none"),
		"quoted by it":   server.Load().Through(addr, "dbname="+postgres.Password),
		"words":          "host=127.0.0.1 port=1 password=" + postgres.Password,
		"broken URL":     "postgres://u:" + postgres.Password + "@[::1/x?=%zz",
		"broken words":   "password='" + postgres.Password,
		"bare":           postgres.Password,
		"no TLS":         "postgres://strongroom:" + postgres.Password + "@" + addr + "/postgres?sslmode=require",
	}
	for name, text := range conns {
		o := Options{Conn: NewConnString(text), Timeout: time.Second, Logger: logger}
		logger.Info("options", "conn", o.Conn, "all", o)
		s, err := Open(t.Context(), o)
		if err == nil {
			s.Close()
			t.Errorf("%s: the store opens", name)
			continue
		}
		hidden(t, name, err, o)
	}
	o := options(t.Name())
	o.Logger = logger
	s := openTest(t, o)
	hidden(t, "a store", nil, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "k")
	hidden(t, "a cancelled call", err, s.secrets)
	hidden(t, "the log", nil, log.String())
}

// hidden looks for the password in an error, in all that it wraps, and in a value.
func hidden(t *testing.T, name string, err error, v any) {
	t.Helper()
	text, merr := json.Marshal(v)
	if merr != nil {
		text = nil // what has channels has no JSON
	}
	all := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", v, v, v, text, err, err, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		all += fmt.Sprintf("%+v %#v", e, e)
	}
	var theirs *pgconn.ConnectError
	var parsing *pgconn.ParseConfigError
	if errors.As(err, &theirs) || errors.As(err, &parsing) {
		t.Errorf("%s: the error holds the driver's, which has the password", name)
	}
	if strings.Contains(all, postgres.Password) {
		t.Errorf("%s: the password is in %s", name, all)
	}
	if err != nil {
		t.Logf("%s: %v", name, err)
	}
}

// TestConnStringFromFile: white space around it is no part of it.
func TestConnStringFromFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "conn")
	must(t, os.WriteFile(name, []byte("\n  "+server.Load().URL()+" \n"), 0o600))
	c, err := ReadConnString(name)
	must(t, err)
	o := options(t.Name())
	o.Conn = c
	openTest(t, o)
	if _, err := ReadConnString(name + "x"); err == nil {
		t.Error("a file that is not there is read")
	}
	for _, o := range []Options{{}, {Conn: c, Schema: "a;drop"}, {Conn: c, Schema: "1a"}} {
		if s, err := Open(t.Context(), o); err == nil {
			s.Close()
			t.Errorf("the store opens with schema %q", o.Schema)
		}
	}
}
