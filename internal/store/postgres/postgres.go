// Package postgres owns the store engine on a PostgreSQL server that any number of nodes share: every node reads and
// writes, and none has a state of its own.
//
// A node's committer makes one database transaction of all commits that wait: it locks the head row, reads the revisions
// that are checked, judges each commit in order, and writes. Everything a node knows of other nodes' commits it learns
// from the change log in one round trip, which concurrent calls of Sync share. Notifications of the server are only
// hints.
//
// What is read comes from the primary alone. When the history of the server's data changes, because a standby was
// promoted or a copy restored, revisions leap ahead, so that none is given out twice, and feeds end with
// store.ErrCompacted, so that nothing a node remembers survives.
package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/strongroom/strongroom/internal/store"
)

// Store is one node's access to the tables. It implements store.Engine.
type Store struct {
	options Options
	sql     statements
	hidden  sync.Mutex      // guards secrets
	secrets []ConnString    // what no error may hold
	joined  *pgx.ConnConfig // connections to servers that were examined and are adopted
	origins origins
	reads   *pgxpool.Pool

	shared *store.Shared
	trip   *pgx.Conn // for Sync alone
	asking *pgconn.StatementDescription
	tail   tail

	queue   chan *request
	follow  sync.Once
	hints   chan struct{} // there may be commits of others
	open    context.Context
	end     context.CancelFunc
	workers sync.WaitGroup
	close   sync.Once
}

var _ store.Engine = (*Store)(nil)

// Open connects to the server, makes the tables when they are absent, and joins the nodes that use them. It returns
// ErrUnfit when the server must not be used, and ErrNewer, with nothing touched, when a newer version wrote the tables.
// The context bounds the opening.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{options: o.withDefaults(), queue: make(chan *request, queueLength), hints: make(chan struct{}, 1)}
	s.sql = newStatements(s.options.Schema)
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	s.open, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.start(ctx, cfg); err != nil {
		s.end()
		return nil, s.explain("opening the store", err)
	}
	s.shared = store.NewShared(s.ask)
	s.workers.Go(s.commitAll)
	return s, nil
}

// start joins the server's tables.
func (s *Store) start(ctx context.Context, cfg *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, 4*s.options.Timeout)
	defer cancel()
	st, err := s.join(ctx, cfg)
	if err != nil {
		return err
	}
	s.tail = tail{epoch: st.epoch, seen: store.Rev(st.revision), history: store.NewHistory(min(recentCommits, s.options.KeepCommits), store.Rev(st.revision))}
	s.joined = cfg.Copy()
	s.joined.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error { return s.adopt(ctx, c) }
	pool, err := pgxpool.ParseConfig("")
	if err != nil {
		return errors.New("the environment has settings of PostgreSQL (PG…) that cannot be read")
	}
	pool.ConnConfig = s.joined
	pool.MaxConns = int32(s.options.MaxReads)
	pool.BeforeConnect = func(_ context.Context, cfg *pgx.ConnConfig) error { s.renew(cfg); return nil }
	pool.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return s.current(c.PgConn()), nil }
	s.reads, err = pgxpool.NewWithConfig(s.open, pool)
	return err
}

// join makes or examines the tables on a connection of its own.
func (s *Store) join(ctx context.Context, cfg *pgx.ConnConfig) (st state, err error) {
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return st, err
	}
	defer s.hang(c)
	if _, err = s.prepare(ctx, c); err != nil {
		return st, err
	}
	if err = s.adopt(ctx, c.PgConn()); err != nil {
		return st, err
	}
	return s.readState(ctx, c)
}

// SyncTrips is how many round trips all calls of Sync have shared.
func (s *Store) SyncTrips() uint64 { return s.shared.Trips() }

// Sync implements store.Store.
func (s *Store) Sync(ctx context.Context) (store.Rev, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return 0, err
	}
	return s.shared.Sync(ctx)
}

// Close implements store.Store. The group of commits that is at the server is answered first. Views must have been
// closed.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.follow.Do(func() {}) // what Watch starts is not started any more
		s.end()
		s.workers.Wait()
		s.tail.history.Close()
		s.reads.Close()
		// A trip under way ends by itself; this one comes after it, and closes the connection.
		_, _ = s.shared.Sync(context.Background())
	})
	return nil
}
