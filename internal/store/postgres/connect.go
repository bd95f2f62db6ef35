package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the oldest major version of PostgreSQL that is taken: the first with incremental sorts, on which pages of a
// List rest.
const oldest = 13

// held bounds how long a transaction may stand idle at the server. A node that is stopped between two steps of a commit
// holds up all others for so long.
const held = 3 * time.Second

// session is set on every connection. The planner is left no choice: whatever it believes of the tables, an index is
// walked in order, so that a page of a List costs what the page holds. Texts are sent as the driver writes them, whatever the
// database's encoding: keys and values are bytes, and all else is ASCII. Commits wait for the disk, and for synchronous
// standbys where there are any, whatever the server's default. The server notices within eleven seconds that a node's machine is
// lost, rather than after hours, for which it would keep the node's connections and the old rows that a view of it sees.
func session(timeout time.Duration) string {
	set := []string{
		"default_transaction_isolation='read committed'", "default_transaction_read_only=off", "default_transaction_deferrable=off",
		fmt.Sprintf("lock_timeout=%d", timeout.Milliseconds()), "statement_timeout=0",
		fmt.Sprintf("idle_in_transaction_session_timeout=%d", held.Milliseconds()),
		"tcp_keepalives_idle=5", "tcp_keepalives_interval=2", "tcp_keepalives_count=3", "tcp_user_timeout=11000",
		"plan_cache_mode=force_generic_plan", "enable_seqscan=off", "enable_bitmapscan=off", "enable_sort=off",
		"enable_hashjoin=off", "enable_mergejoin=off", "enable_incremental_sort=on", "jit=off", "max_parallel_workers_per_gather=0",
		"client_min_messages=warning", "client_encoding='UTF8'", "standard_conforming_strings=on",
	}
	return "SET " + strings.Join(set, "; SET ") + `; SELECT set_config('synchronous_commit', 'on', false)
		WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')`
}

const askServer = `SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
	system_identifier, CASE WHEN pg_is_in_recovery() THEN '0' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END
	FROM pg_control_system()`

// origin is a history of a server's data: the cluster, and the timeline that each promotion and each restore begins.
type origin struct {
	system   string
	timeline uint64
}

// origins is what this node knows of where its data are.
type origins struct {
	sync.Mutex
	newest origin
}

// config is how connections are made: each server is examined before it is used.
func (s *Store) config() (*pgx.ConnConfig, error) {
	cfg, err := s.options.parse()
	if err != nil {
		return nil, err
	}
	s.hide(s.options.Conn, cfg.Password)
	cfg.ConnectTimeout = s.options.Timeout
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	cfg.DialFunc = dialer.DialContext
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "strongroom"
	}
	cfg.OnNotice = func(c *pgconn.PgConn, _ *pgconn.Notice) { c.CustomData()[warned] = true }
	asked := cfg.ValidateConnect // target_session_attrs of the connection string
	cfg.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if asked != nil {
			if err := asked(ctx, c); err != nil {
				return err
			}
		}
		return s.examine(ctx, c)
	}
	return cfg, nil
}

// Marks on a connection.
const (
	warned = "warned" // the server has warned of something
	where  = "origin" // the origin of its server
)

// examine refuses a server that could lose or has lost what it acknowledged.
func (s *Store) examine(ctx context.Context, c *pgconn.PgConn) error {
	if number(c.ParameterStatus("server_version")) < oldest {
		return tooOld(c)
	}
	results, err := c.Exec(ctx, session(s.options.Timeout)+"; "+askServer).ReadAll()
	if err != nil {
		return err
	}
	row := results[len(results)-1].Rows[0]
	if err := judge(string(row[0]), string(row[1]), string(row[2]), string(row[3])); err != nil {
		return err
	}
	timeline, err := strconv.ParseUint(string(row[5]), 16, 32)
	if err != nil {
		return fmt.Errorf("the server's timeline is not told")
	}
	o := origin{string(row[4]), timeline}
	c.CustomData()[where] = o
	return s.admit(o)
}

func tooOld(c *pgconn.PgConn) error {
	return &unfit{reason: fmt.Sprintf("the server has version %s; %d is the oldest that is taken: upgrade it", c.ParameterStatus("server_version"), oldest)}
}

// number is the number that a text begins with.
func number(text string) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// judge weighs what a server says of itself.
func judge(replica, fsync, pages, commit string) error {
	switch {
	case replica == "t":
		return &unfit{"the server is a replica, which answers with what may be out of date: connect to the primary; with all hosts in the connection string it is found", true}
	case fsync != "on":
		return &unfit{reason: "fsync is off, so that a crash loses or damages data: set fsync = on in postgresql.conf and restart the server"}
	case pages != "on":
		return &unfit{reason: "full_page_writes is off, so that a power cut damages data: set full_page_writes = on in postgresql.conf and reload it"}
	case commit != "on" && commit != "remote_apply":
		return &unfit{reason: "synchronous_commit is " + commit + " and cannot be changed, so that acknowledged commits could be lost: set it to on for the role"}
	}
	return nil
}

// admit takes note of where a server stands. One that another has been promoted over is refused for ever: two of them
// may live for a while.
func (s *Store) admit(o origin) error {
	s.origins.Lock()
	defer s.origins.Unlock()
	old := s.origins.newest
	switch {
	case o == old:
		return nil
	case o.system == old.system && o.timeline < old.timeline:
		return &unfit{"another server has been promoted over this one: connect to that one, and make this one its standby", true}
	}
	s.origins.newest = o // connections to the old one are not used any more: see current
	return nil
}

// current reports whether a connection is usable and to the newest server this node knows.
func (s *Store) current(c *pgconn.PgConn) bool {
	if c == nil || c.IsClosed() {
		return false
	}
	s.origins.Lock()
	defer s.origins.Unlock()
	return c.CustomData()[where] == s.origins.newest
}

// connect makes a connection for a use of its own.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg := s.joined.Copy()
	s.renew(cfg)
	return pgx.ConnectConfig(ctx, cfg)
}

// renew gives a connection that is about to be made the user and the password that the file of the connection string has
// now. Where it cannot be read, those from before are used.
func (s *Store) renew(cfg *pgx.ConnConfig) {
	if s.options.ConnFile == "" {
		return
	}
	o := s.options
	var err error
	if o.Conn, err = ReadConnString(o.ConnFile); err == nil {
		var now *pgx.ConnConfig
		if now, err = o.parse(); err == nil {
			s.hide(o.Conn, now.Password)
			cfg.User, cfg.Password = now.User, now.Password
			return
		}
	}
	s.options.Logger.Warn("the connection string of PostgreSQL is used as it was read before", "error", err.Error())
}

// connectToCommit makes a connection that never asks the server to cancel what it does. The driver does that when it
// gives a connection up; but a commit that waits for a standby and is cancelled is shown to readers without being there.
func (s *Store) connectToCommit(ctx context.Context) (*pgx.Conn, error) {
	cfg := s.joined.Copy()
	s.renew(cfg)
	var made atomic.Bool
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if made.Load() {
			return nil, errors.New("a commit is not cancelled")
		}
		return dial(ctx, network, addr)
	}
	c, err := pgx.ConnectConfig(ctx, cfg)
	made.Store(true)
	return c, err
}

// hang closes a connection in the background: its server may not answer. The connection is not to be touched again.
func (s *Store) hang(c *pgx.Conn) {
	if c == nil || c.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeout)
	go func() {
		defer cancel()
		if err := c.Close(ctx); err != nil {
			s.options.Logger.Debug("closing a connection to PostgreSQL", "error", s.redact(err.Error()))
		}
	}()
}
