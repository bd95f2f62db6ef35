package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/internal/store"
)

// recentCommits is how many commits feeds are served from memory; older ones are read from the change log.
const recentCommits = 2048

// tail is what this node knows of the newest commits, its own and others'.
type tail struct {
	mu      sync.Mutex
	epoch   int64     // which history of the data it is of
	seen    store.Rev // all commits up to it have been shown to feeds
	history *store.History
}

func (t *tail) at() (epoch int64, seen store.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, t.seen
}

// grow shows this node's own commits, which follow the state st, to its feeds. Where it does not know yet what others
// committed before them, the next trip shows all.
func (t *tail) grow(st state, changes []store.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.epoch == t.epoch && t.seen >= store.Rev(st.revision) {
		t.append(changes)
	}
}

// append shows those commits that have not been; they leave no gap.
func (t *tail) append(changes []store.Change) {
	for len(changes) > 0 && changes[0].Rev <= t.seen {
		changes = changes[1:]
	}
	if len(changes) > 0 {
		t.seen = changes[len(changes)-1].Rev
		t.history.Append(changes...)
	}
}

// take applies what a trip has read; all of it follows asked. Where there is a gap, or another history has begun, feeds
// learn that they have missed something.
func (t *tail) take(a *answer, asked store.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gap := len(a.changes) > 0 && a.changes[0].Rev != asked+1 || len(a.changes) == 0 && store.Rev(a.revision) > asked
	if a.epoch != t.epoch || gap {
		if a.epoch != t.epoch || store.Rev(a.revision) > t.seen {
			t.epoch, t.seen = a.epoch, store.Rev(a.revision)
			t.history.Reset(t.seen)
		}
		return
	}
	t.append(a.changes)
}

// answer is what one trip reads.
type answer struct {
	state
	changes []store.Change
}

// ask makes one round trip for all that wait in Sync: how far the store is, and the commits that this node has not
// seen. It is tried again, on a new connection, where the old one is broken.
func (s *Store) ask(ctx context.Context) (store.Rev, error) {
	if s.open.Err() != nil {
		s.disembark()
		return 0, store.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	for {
		rev, err := s.askOnce(ctx)
		if err == nil {
			return rev, nil
		}
		if !passing(err) || !s.pause(ctx) {
			return 0, s.explain("asking for the newest revision", err)
		}
	}
}

func (s *Store) askOnce(ctx context.Context) (store.Rev, error) {
	if s.trip == nil || !s.current(s.trip.PgConn()) {
		if err := s.embark(ctx); err != nil {
			return 0, err
		}
	}
	first := store.Rev(0)
	for {
		epoch, seen := s.tail.at()
		a, err := s.travel(ctx, seen)
		if err != nil {
			s.disembark()
			return 0, err
		}
		if a.revision < int64(seen) {
			if _, err := s.trip.Exec(ctx, s.sql.rewind, a.epoch, int64(seen)); err != nil {
				return 0, err
			}
			continue
		}
		s.tail.take(a, seen)
		if first == 0 || a.epoch != epoch {
			first = store.Rev(a.revision)
		}
		if _, seen = s.tail.at(); seen >= first {
			return first, nil
		}
	}
}

// disembark gives up the connection for trips.
func (s *Store) disembark() {
	s.hang(s.trip)
	s.trip = nil
}

// embark connects for trips.
func (s *Store) embark(ctx context.Context) error {
	s.disembark()
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.asking, err = c.Prepare(ctx, "trip", s.sql.sync)
	if err != nil {
		s.hang(c)
		return err
	}
	s.trip = c
	return nil
}

// travel makes the round trip. It is what every request pays for, so it goes to the connection directly, with a
// deadline rather than a context to be watched.
func (s *Store) travel(ctx context.Context, seen store.Rev) (*answer, error) {
	deadline, _ := ctx.Deadline()
	conn := s.trip.PgConn()
	if err := conn.Conn().SetDeadline(deadline); err != nil {
		return nil, err
	}
	var asked [8]byte
	binary.BigEndian.PutUint64(asked[:], uint64(seen))
	binaryForm := []int16{pgx.BinaryFormatCode}
	r := conn.ExecStatement(context.Background(), s.asking, [][]byte{asked[:]}, binaryForm, binaryForm)
	a, err := readAnswer(r)
	if err != nil {
		return nil, err
	}
	return a, conn.Conn().SetDeadline(time.Time{})
}

func readAnswer(r *pgconn.ResultReader) (*answer, error) {
	a := &answer{}
	var bad error
	for r.NextRow() && bad == nil {
		bad = a.read(r.Values())
	}
	_, err := r.Close()
	if err == nil && a.format == 0 {
		err = fmt.Errorf("%w: the head row is gone", store.ErrCorrupt)
	}
	return a, errors.Join(err, bad)
}

// read takes up a row: the head, and a group of the change log or nothing.
func (a *answer) read(row [][]byte) error {
	if len(row) != 6 || len(row[0]) != 4 || len(row[1]) != 8 || len(row[2]) != 8 || len(row[3]) != 8 {
		return fmt.Errorf("%w: the head row", store.ErrCorrupt)
	}
	word := func(i int) int64 { return int64(binary.BigEndian.Uint64(row[i])) }
	a.format, a.epoch, a.revision, a.floor = int64(binary.BigEndian.Uint32(row[0])), word(1), word(2), word(3)
	if err := a.known(); err != nil || row[4] == nil {
		return err
	}
	changes, err := store.DecodeChanges(store.Rev(word(4)), row[5])
	a.changes = append(a.changes, changes...)
	return err
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	if err := store.FeedErr(ctx, s.open.Done()); err != nil {
		return nil, err
	}
	s.follow.Do(func() {
		s.workers.Go(s.poll)
		s.workers.Go(s.listen)
	})
	return s.tail.history.Follow(ctx, after, s.changesAfter)
}

// changesAfter reads commits from the change log.
func (s *Store) changesAfter(ctx context.Context, after store.Rev) (out []store.Change, err error) {
	err = s.read(ctx, s.options.Timeout, "reading the change log", func(ctx context.Context, q querier) error {
		out, err = readLog(ctx, q, s.sql.older, after)
		return err
	})
	return out, err
}

func readLog(ctx context.Context, q querier, sql string, after store.Rev) ([]store.Change, error) {
	rows, err := q.Query(ctx, sql, int64(after))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Change
	for rows.Next() {
		var floor int64
		var first *int64
		var keys []byte
		if err := rows.Scan(&floor, &first, &keys); err != nil {
			return nil, err
		}
		if first == nil {
			break
		}
		changes, err := store.DecodeChanges(store.Rev(*first), keys)
		if err != nil {
			return nil, err
		}
		out = append(out, changes...)
	}
	for len(out) > 0 && out[0].Rev <= after {
		out = out[1:]
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 || out[0].Rev != after+1 {
		return nil, store.ErrCompacted
	}
	return out, nil
}

// poll brings feeds up to date when no request does: at a hint, and now and then without one.
func (s *Store) poll() {
	tick := time.NewTicker(s.options.Poll)
	defer tick.Stop()
	for {
		select {
		case <-s.hints:
		case <-tick.C:
		case <-s.open.Done():
			return
		}
		if _, err := s.shared.Sync(s.open); err != nil && s.open.Err() == nil {
			s.options.Logger.Warn("the store's newest revision is not known", "error", err.Error())
		}
	}
}

// listen receives the server's notifications and makes hints of them. Nothing rests on them.
func (s *Store) listen() {
	for s.open.Err() == nil {
		if err := s.listenOnce(s.open); err != nil && s.open.Err() == nil {
			s.options.Logger.Debug("no hints of commits", "error", s.explain("listening", err).Error())
		}
		t := time.NewTimer(s.options.Poll)
		select {
		case <-t.C:
		case <-s.open.Done():
		}
		t.Stop()
	}
}

func (s *Store) listenOnce(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	c, err := s.connect(connecting)
	if err != nil {
		return err
	}
	defer s.hang(c)
	if _, err := c.Exec(connecting, "LISTEN "+pgx.Identifier{channel(s.options.Schema)}.Sanitize(), pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		rev, err := strconv.ParseUint(n.Payload, 10, 64)
		if _, seen := s.tail.at(); err == nil && store.Rev(rev) <= seen {
			continue // this node's own, or seen by a request
		}
		select {
		case s.hints <- struct{}{}:
		default:
		}
	}
}
