package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom/strongroom/internal/store"
)

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (e store.Entry, err error) {
	err = s.read(ctx, s.options.Timeout, "reading an entry", func(ctx context.Context, q querier) error {
		e, err = get(ctx, q, s.sql, key)
		return err
	})
	return e, err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) (es []store.Entry, err error) {
	err = s.read(ctx, 4*s.options.Timeout, "listing entries", func(ctx context.Context, q querier) error {
		es, err = list(ctx, q, s.sql, r)
		return err
	})
	return es, err
}

// read runs a reading statement on a connection of the pool, and again on another where that one is broken.
func (s *Store) read(ctx context.Context, within time.Duration, doing string, run func(context.Context, querier) error) error {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := s.readOnce(bounded, run)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.open.Err() != nil {
			return store.ErrClosed
		}
		if !passing(err) || !s.pause(bounded) {
			return s.explain(doing, err)
		}
		if broken(err) {
			s.reads.Reset() // a server that has ended one connection has ended all
		}
	}
}

func (s *Store) readOnce(ctx context.Context, run func(context.Context, querier) error) error {
	c, err := s.reads.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return run(ctx, c)
}

// get reads one entry.
func get(ctx context.Context, q querier, sql statements, text string) (store.Entry, error) {
	k := split(text)
	e := store.Entry{Key: text}
	rows, err := q.Query(ctx, sql.get, k.front, k.digest)
	if err != nil {
		return store.Entry{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var rev int64
		if err := rows.Scan(&rev, &e.Value); err != nil {
			return store.Entry{}, err
		}
		e.Rev = store.Rev(rev)
	}
	return e, rows.Err()
}

// list reads a range in order. No bound above means no condition for it.
func list(ctx context.Context, q querier, sql statements, r store.Range) ([]store.Entry, error) {
	start, end := split(r.Start), split(r.End)
	limit := &r.Limit
	if r.Limit <= 0 {
		limit = nil
	}
	args := []any{start.front, start.rest, r.KeysOnly, limit}
	text := sql.listFrom
	if r.End != "" {
		text, args = sql.list, append(args, end.front, end.rest)
	}
	rows, err := q.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Entry
	for rows.Next() {
		raw := rows.RawValues() // valid until the next row
		e := store.Entry{Key: string(raw[0]), Rev: store.Rev(binary.BigEndian.Uint64(raw[2]))}
		if len(raw[1]) > 0 {
			e.Key += string(raw[1])
		}
		if !r.KeysOnly {
			e.Value = append(make([]byte, 0, len(raw[3])), raw[3]...)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
