package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom/strongroom/internal/store"
)

// view is a transaction of one snapshot, on a connection of its own. With the connection the state is lost.
type view struct {
	store *Store
	rev   store.Rev
	mu    sync.Mutex // a connection serves one reader at a time
	conn  *pgx.Conn  // nil once closed
	tx    pgx.Tx
}

// View implements store.Engine. The server keeps old rows for as long as the view is open.
func (s *Store) View(ctx context.Context) (store.View, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	c, err := s.connect(bounded)
	if err != nil {
		return nil, s.explain("opening a view", err)
	}
	v, err := s.view(bounded, c)
	if err != nil {
		s.hang(c)
		return nil, s.explain("opening a view", err)
	}
	return v, nil
}

func (s *Store) view(ctx context.Context, c *pgx.Conn) (*view, error) {
	// A reader may take its time between pages.
	if _, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = 0", pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	st, err := s.readState(ctx, c)
	if err == nil {
		err = st.known()
	}
	return &view{store: s, rev: store.Rev(st.revision), conn: c, tx: tx}, err
}

// Rev implements store.View.
func (v *view) Rev() store.Rev { return v.rev }

// Get implements store.View.
func (v *view) Get(ctx context.Context, key string) (e store.Entry, err error) {
	err = v.read(ctx, func() error {
		e, err = get(ctx, v.tx, v.store.sql, key)
		return err
	})
	return e, err
}

// List implements store.View.
func (v *view) List(ctx context.Context, r store.Range) (es []store.Entry, err error) {
	err = v.read(ctx, func() error {
		es, err = list(ctx, v.tx, v.store.sql, r)
		return err
	})
	return es, err
}

func (v *view) read(ctx context.Context, run func() error) error {
	if err := store.FeedErr(ctx, v.store.open.Done()); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == nil {
		return store.ErrClosed
	}
	if v.conn.IsClosed() {
		return fmt.Errorf("%w: the connection to PostgreSQL that showed it is gone", store.ErrCompacted)
	}
	err := run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case v.conn.IsClosed():
		return errors.Join(store.ErrCompacted, v.store.explain("reading a view", err))
	}
	return v.store.explain("reading a view", err)
}

// Close implements store.View.
func (v *view) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.store.hang(v.conn)
	v.conn = nil
	return nil
}
