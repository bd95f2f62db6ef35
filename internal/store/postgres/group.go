package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/internal/store"
)

// committer has the connection on which groups are committed.
type committer struct {
	*Store
	conn *pgx.Conn
	late bool // the last group waited for the head row until its time was over
}

// group is the commits of one transaction.
type group struct {
	requests []*request
	size     int
	revs     map[string]store.Rev // of all keys checked, then of those written too; 0: absent
	last     map[string]written   // by key, what the group leaves
	verdicts []verdict
	changes  []store.Change
	log      []byte
}

type written struct {
	value  []byte
	rev    store.Rev
	remove bool
}

type verdict struct {
	rev store.Rev
	err error
}

// answer tells every caller the verdict on its commit.
func (g *group) answer() {
	for i, r := range g.requests {
		r.answer(g.verdicts[i].rev, g.verdicts[i].err)
	}
}

// fail tells every caller the same error.
func (g *group) fail(err error) {
	for _, r := range g.requests {
		r.answer(0, err)
	}
}

// errRewound says that the server has lost what this node has seen: Sync begins a new history then.
var errRewound = &unfit{"the server's data are older than what this node has read from it", true}

// try makes one attempt. It answers the group and returns nil, or returns an error, an *undone when nothing was
// written.
func (c *committer) try(ctx context.Context, g *group) error {
	if !c.usable() {
		c.hang(c.conn)
		c.conn = nil
		conn, err := c.connectToCommit(ctx)
		if err != nil {
			return &undone{err}
		}
		c.conn = conn
	}
	c.release(ctx)
	_, seen := c.tail.at()
	st, err := c.begin(ctx, g)
	c.late = late(err)
	if err == nil && st.revision < int64(seen) {
		err = errRewound
	}
	if err != nil {
		c.rollback(ctx)
		if errors.Is(err, errRewound) {
			_, err = c.shared.Sync(ctx)
			err = errors.Join(errRewound, err)
		}
		return &undone{err}
	}
	g.judge(store.Rev(st.revision))
	if err := c.finish(ctx, g, st); err != nil {
		c.rollback(ctx)
		return err
	}
	c.tail.grow(st, g.changes)
	g.answer()
	return nil
}

func (c *committer) usable() bool { return c.conn != nil && c.current(c.conn.PgConn()) }

// late reports whether an error says that time is over.
func late(err error) bool {
	return err != nil && (codeOf(err) == codeNoLock || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err))
}

// release ends the sessions that hold the head row and wait for the rest of what a node was sending when it was stopped, or its
// machine lost: the server knows no limit for that but TCP's own, which is hours. What they were to commit is not committed.
func (c *committer) release(ctx context.Context) {
	if !c.late {
		return
	}
	tag, err := c.conn.Exec(ctx, c.sql.release, pgx.QueryExecModeExec, max(held, c.options.Timeout).Milliseconds())
	switch {
	case err != nil:
		c.options.Logger.Warn("a node that has stopped in the midst of a commit may hold up all others", "error", c.explain("ending its session", err).Error())
	case tag.RowsAffected() > 0:
		c.options.Logger.Warn("a node that had stopped in the midst of a commit held up all others: its session was ended", "sessions", tag.RowsAffected())
	}
}

// rollback makes the connection fit for another try, or gives it up.
func (c *committer) rollback(ctx context.Context) {
	if c.conn.IsClosed() {
		return
	}
	if _, err := c.conn.Exec(ctx, "rollback", pgx.QueryExecModeSimpleProtocol); err != nil {
		c.hang(c.conn)
		c.conn = nil
	}
}

const beginWrite = "begin isolation level read committed read write"

// begin opens the transaction and locks the head row: then nobody else commits. What follows in the same round trip
// sees all earlier commits, and reads the revisions to be checked.
func (c *committer) begin(ctx context.Context, g *group) (st state, err error) {
	fronts, digests, keys := g.checked()
	b := &pgx.Batch{}
	b.Queue(beginWrite)
	b.Queue(c.sql.head)
	if len(keys) > 0 {
		b.Queue(c.sql.revs, fronts, digests)
	}
	results := c.conn.SendBatch(ctx, b)
	if _, err = results.Exec(); err == nil {
		st, err = readHead(results)
	}
	if err == nil && len(keys) > 0 {
		err = g.readRevs(results, keys)
	}
	return st, errors.Join(err, results.Close())
}

// readHead reads the head row, and whether the server is still as it was when it was examined.
func readHead(results pgx.BatchResults) (st state, err error) {
	var settings string
	if err := results.QueryRow().Scan(&st.format, &st.epoch, &st.revision, &st.floor, &settings); err != nil {
		return st, err
	}
	if settings != "ononon" && settings != "ononremote_apply" {
		return st, &unfit{reason: "fsync or full_page_writes has been switched off, or synchronous_commit: set all three to on and restart the server"}
	}
	return st, st.known()
}

// checked are the keys that the group checks, each once.
func (g *group) checked() (fronts, digests [][]byte, keys []string) {
	g.revs = map[string]store.Rev{}
	for _, r := range g.requests {
		for _, check := range r.checks {
			if _, ok := g.revs[check.Key]; ok {
				continue
			}
			g.revs[check.Key] = 0
			k := split(check.Key)
			fronts, digests, keys = append(fronts, k.front), append(digests, k.digest), append(keys, check.Key)
		}
	}
	return fronts, digests, keys
}

func (g *group) readRevs(results pgx.BatchResults, keys []string) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n, rev int64
		if err := rows.Scan(&n, &rev); err != nil {
			return err
		}
		g.revs[keys[n-1]] = store.Rev(rev)
	}
	return rows.Err()
}

// judge decides each commit against all before it; the newest commit of all is last.
func (g *group) judge(last store.Rev) {
	g.last, g.verdicts, g.changes, g.log = map[string]written{}, make([]verdict, len(g.requests)), nil, nil
	for i, r := range g.requests {
		v := &g.verdicts[i]
		for _, check := range r.checks {
			if g.revs[check.Key] != check.Rev {
				v.err = store.ErrConflict
			}
		}
		if v.rev = last; v.err != nil || len(r.writes) == 0 {
			continue
		}
		last++
		v.rev = last
		g.add(r, last)
	}
	for i := range g.verdicts {
		if g.verdicts[i].err != nil {
			g.verdicts[i].rev = 0
		}
	}
}

// add makes a commit's writes the group's.
func (g *group) add(r *request, rev store.Rev) {
	keys := make([]string, 0, len(r.writes))
	for _, w := range r.writes {
		keys = append(keys, w.Key)
		g.last[w.Key] = written{w.Value, rev, w.Delete}
		g.revs[w.Key] = rev
		if w.Delete {
			g.revs[w.Key] = 0
		}
	}
	slices.SortFunc(keys, strings.Compare)
	g.changes = append(g.changes, store.Change{Rev: rev, Keys: keys})
	g.log = store.AppendChange(g.log, keys)
}

// finish writes what the group leaves and commits, in one round trip. An error before the answer to the commit means
// that nothing was written.
func (c *committer) finish(ctx context.Context, g *group, st state) error {
	b := &pgx.Batch{}
	if len(g.changes) > 0 {
		c.write(b, g, st)
	}
	b.Queue("commit")
	delete(c.conn.PgConn().CustomData(), warned)
	results := c.conn.SendBatch(ctx, b)
	for i := range b.Len() {
		tag, err := results.Exec()
		if err == nil && i == b.Len()-1 && tag.String() != "COMMIT" {
			err = &undone{errors.New("the server rolled the transaction back")}
		}
		if err != nil {
			return errors.Join(before(i < b.Len()-1, err), results.Close())
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	if c.conn.PgConn().CustomData()[warned] != nil {
		return errors.New("the server warned that the commit may not be on its standbys")
	}
	return nil
}

// before marks an error that the server answered to a statement ahead of the commit.
func before(ahead bool, err error) error {
	var theirs *pgconn.PgError
	if ahead && errors.As(err, &theirs) || pgconn.SafeToRetry(err) {
		return &undone{err}
	}
	return err
}

// write queues the statements that write.
func (c *committer) write(b *pgx.Batch, g *group, st state) {
	var put, remove columns
	for _, text := range slices.Sorted(maps.Keys(g.last)) {
		w := g.last[text]
		if w.remove {
			remove.add(split(text), w)
		} else {
			put.add(split(text), w)
		}
	}
	if len(put.fronts) > 0 {
		b.Queue(c.sql.put, put.fronts, put.digests, put.rests, put.revs, put.values)
	}
	if len(remove.fronts) > 0 {
		b.Queue(c.sql.remove, remove.fronts, remove.digests)
	}
	first, last := int64(g.changes[0].Rev), int64(g.changes[len(g.changes)-1].Rev)
	floor, keep := st.floor, int64(c.options.KeepCommits)
	if last-floor > keep+keep/8+1 {
		floor = last - keep
		b.Queue(c.sql.trim, floor)
	}
	b.Queue(c.sql.log, first, last, g.log, floor)
}

// columns are rows as arrays.
type columns struct {
	fronts, digests, rests, values [][]byte
	revs                           []int64
}

func (c *columns) add(k key, w written) {
	c.fronts, c.digests, c.rests = append(c.fronts, k.front), append(c.digests, k.digest), append(c.rests, k.rest)
	c.values, c.revs = append(c.values, w.value), append(c.revs, int64(w.rev))
}
