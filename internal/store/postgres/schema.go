package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// format is the version of the tables that this program writes.
const format = 1

// frontBytes is how much of a key stands in the index. An index row holds 2,704 bytes at most, a key 4,224.
const frontBytes = 2000

// key is a key as the tables hold it. Keys compare as (front, rest) do; an index of (front, digest) tells them apart and,
// but for keys with the same front of full length, has them in order.
type key struct {
	front  []byte // the first frontBytes
	rest   []byte // what follows
	digest []byte // SHA-256 of the rest, when there is one
}

func split(text string) key {
	if len(text) <= frontBytes {
		return key{front: []byte(text), rest: []byte{}, digest: []byte{}}
	}
	sum := sha256.Sum256([]byte(text[frontBytes:]))
	return key{[]byte(text[:frontBytes]), []byte(text[frontBytes:]), sum[:]}
}

// statements is the SQL for one schema.
type statements struct {
	create, read, adopt, rewind string
	release                     string
	head, sync, older, revs     string
	put, remove, log, trim      string
	get, list, listFrom         string
}

// jump is how far revisions leap when a history of the data begins whose past may lack commits that were acknowledged,
// or only read: far beyond any that could have been given out, and at random, so that two histories that begin at the
// same point differ.
const jump = "(4294967296 + floor(random() * 4294967296))::bigint"

// identity is the origin as the head row holds it.
const identity = "(SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system())"

func newStatements(schema string) statements {
	q := pgx.Identifier{schema}.Sanitize()
	leap := "UPDATE " + q + ".head h SET origin = x.origin, epoch = x.base + x.jump, revision = x.base + x.jump, floor = x.base + x.jump FROM "
	list := "SELECT front, rest, rev, CASE WHEN $3 THEN NULL ELSE value END FROM " + q + ".entries WHERE (front, rest) >= ($1, $2) "
	return statements{
		create: fmt.Sprintf(tables, q, format, identity, jump),
		read:   "SELECT format, epoch, revision, floor FROM " + q + ".head",
		adopt:  leap + "(SELECT " + identity + " AS origin, revision AS base, " + jump + " AS jump FROM " + q + ".head) x WHERE h.origin <> x.origin",
		rewind: leap + "(SELECT origin, greatest(revision, $2::bigint) AS base, " + jump + " AS jump FROM " + q + ".head) x " +
			"WHERE h.epoch = $1 AND h.revision < $2",
		release: fmt.Sprintf(release, q),
		head:    "SELECT format, epoch, revision, floor, current_setting('fsync') || current_setting('full_page_writes') || current_setting('synchronous_commit') FROM " + q + ".head FOR UPDATE",
		sync: "SELECT h.format, h.epoch, h.revision, h.floor, c.first, c.keys FROM " + q + ".head h LEFT JOIN LATERAL " +
			"(SELECT first, keys FROM " + q + ".changes WHERE last > $1 AND $1 >= h.floor ORDER BY last LIMIT 256) c ON true",
		older: "SELECT h.floor, c.first, c.keys FROM " + q + ".head h LEFT JOIN LATERAL " +
			"(SELECT first, keys FROM " + q + ".changes WHERE last > $1 AND $1 >= h.floor ORDER BY last LIMIT 64) c ON true",
		revs: "SELECT k.n, e.rev FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY k(front, digest, n) JOIN " + q + ".entries e USING (front, digest)",
		put: "INSERT INTO " + q + ".entries (front, digest, rest, rev, value) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[]) " +
			"ON CONFLICT (front, digest) DO UPDATE SET rev = excluded.rev, value = excluded.value",
		remove: "DELETE FROM " + q + ".entries e USING unnest($1::bytea[], $2::bytea[]) k(front, digest) WHERE e.front = k.front AND e.digest = k.digest",
		log: "WITH c AS (INSERT INTO " + q + ".changes (first, last, keys) VALUES ($1, $2, $3)) UPDATE " + q + ".head SET revision = $2, floor = $4 " +
			"RETURNING pg_notify('" + channel(schema) + "', $2::text)",
		trim:     "DELETE FROM " + q + ".changes WHERE last <= $1",
		get:      "SELECT rev, value FROM " + q + ".entries WHERE front = $1 AND digest = $2",
		list:     list + "AND (front, rest) < ($5, $6) ORDER BY front, rest LIMIT $4",
		listFrom: list + "ORDER BY front, rest LIMIT $4",
	}
}

// release ends the sessions that have locked the head row and, for so many milliseconds, have waited for their client in the midst
// of what it asks. Who waits for the lock waits for no client, and an idle session is ended by the server: see held.
const release = `SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE l.relation = '%[1]s.head'::regclass AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND l.mode = 'RowShareLock' AND a.state = 'active' AND a.wait_event IN ('ClientRead', 'ClientWrite')
	AND a.state_change < clock_timestamp() - $1::bigint * interval '1 millisecond') stuck`

// channel is where commits are announced.
func channel(schema string) string { return schema + "_commits" }

// tables makes the tables. In head is one row, and whoever commits locks it first. Rows of changes hold a group of
// commits each, without gaps. Values are ciphertext, which does not shrink.
const tables = `CREATE TABLE %[1]s.entries (
	front bytea NOT NULL, digest bytea NOT NULL, rest bytea NOT NULL, rev bigint NOT NULL, value bytea NOT NULL,
	PRIMARY KEY (front, digest)) WITH (fillfactor = 90);
ALTER TABLE %[1]s.entries ALTER value SET STORAGE EXTERNAL;
ALTER TABLE %[1]s.entries ALTER front SET STORAGE PLAIN;
CREATE TABLE %[1]s.changes (last bigint PRIMARY KEY, first bigint NOT NULL, keys bytea NOT NULL);
CREATE TABLE %[1]s.head (
	one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL, origin text NOT NULL,
	epoch bigint NOT NULL, revision bigint NOT NULL, floor bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO %[1]s.head (format, origin, epoch, revision, floor) VALUES (%[2]d, %[3]s, %[4]s, 0, 0);`

// state is the head row.
type state struct {
	format, epoch, revision, floor int64
}

// prepare makes the tables when they are absent, and refuses those of a newer version. Nodes that start together take
// turns.
func (s *Store) prepare(ctx context.Context, c *pgx.Conn) (state, error) {
	st, err := s.readState(ctx, c)
	if absent(err) {
		if err = s.create(ctx, c); err == nil {
			st, err = s.readState(ctx, c)
		}
	}
	if err == nil {
		err = st.known()
	}
	return st, err
}

func (st state) known() error {
	if st.format > format {
		return fmt.Errorf("%w (their format is %d, this version knows %d)", ErrNewer, st.format, format)
	}
	return nil
}

func (s *Store) readState(ctx context.Context, c *pgx.Conn) (st state, err error) {
	err = c.QueryRow(ctx, s.sql.read, pgx.QueryExecModeSimpleProtocol).Scan(&st.format, &st.epoch, &st.revision, &st.floor)
	return st, err
}

// absent reports whether an error says that there are no tables.
func absent(err error) bool {
	code := codeOf(err)
	return code == codeNoTable || code == codeNoSchema
}

func (s *Store) create(ctx context.Context, c *pgx.Conn) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", pgx.QueryExecModeSimpleProtocol, "strongroom "+s.options.Schema)
	var home, made bool
	schema, head := pgx.Identifier{s.options.Schema}, pgx.Identifier{s.options.Schema, "head"}
	if err == nil {
		err = tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL", pgx.QueryExecModeSimpleProtocol, schema.Sanitize(), head.Sanitize()).Scan(&home, &made)
	}
	if err == nil && !home { // one that is there may be all that the role may write to
		_, err = tx.Exec(ctx, "CREATE SCHEMA "+schema.Sanitize(), pgx.QueryExecModeSimpleProtocol)
	}
	if err == nil && !made {
		_, err = tx.Exec(ctx, s.sql.create, pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		return err // the connection ends with it
	}
	return tx.Commit(ctx)
}

// adopt begins a new history of the data when the server's is not the one in the head row: a standby that was promoted
// may lack commits that were acknowledged or read, and a restored server does. It is done on every new connection, so
// nothing is committed before.
func (s *Store) adopt(ctx context.Context, c *pgconn.PgConn) error {
	_, err := c.Exec(ctx, s.sql.adopt).ReadAll()
	return err
}
