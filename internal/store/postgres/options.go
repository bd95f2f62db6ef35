package postgres

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ConnString says how to reach the server: as a URL ("postgres://user:password@host:5432/database?sslmode=verify-full")
// or as libpq's words ("host=… user=… dbname=…"). Several hosts are tried in turn until one is a primary. What it leaves
// out comes from the environment variables that libpq reads (PGHOST, PGPASSWORD, PGPASSFILE, …). It may hold a password,
// so it prints as [redacted] everywhere; it is kept in a function, since fmt prints what fields hold without asking.
type ConnString struct{ reveal func() string }

// NewConnString is a connection string that comes from configuration or the environment.
func NewConnString(text string) ConnString { return ConnString{func() string { return text }} }

// ReadConnString reads a connection string from a file; white space around it is no part of it.
func ReadConnString(name string) (ConnString, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return ConnString{}, fmt.Errorf("reading the connection string of PostgreSQL: %w", err)
	}
	return NewConnString(strings.TrimSpace(string(text))), nil
}

// HasPassword reports whether there is a password in it.
func (c ConnString) HasPassword() bool {
	if _, rest, url := strings.Cut(c.text(), "://"); url {
		user, _, found := strings.Cut(rest, "@")
		return found && strings.Contains(user, ":") || strings.Contains(rest, "password=")
	}
	return strings.Contains(c.text(), "password")
}

// text is what must not be shown.
func (c ConnString) text() string {
	if c.reveal == nil {
		return ""
	}
	return c.reveal()
}

// Format implements fmt.Formatter: nothing of it is printed, whatever the verb.
func (ConnString) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// MarshalText implements encoding.TextMarshaler, for JSON and logs.
func (ConnString) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Options configures a Store. Conn is required; of all others the zero value is usable.
type Options struct {
	// Conn says how to reach the server.
	Conn ConnString
	// ConnFile is the file that Conn was read from; empty: none. User and password are read from it anew for each new
	// connection, so that they can be changed while nodes run.
	ConnFile string
	// Schema is the schema that holds the tables, made when it is absent; "": strongroom. Stores with different
	// schemas share a database without seeing each other. Letters, digits and underscores, at most 40.
	Schema string
	// KeepCommits is how many commits Watch can go back at least; 0: 100,000. Nodes of one store should agree on it.
	KeepCommits int
	// MaxReads is how many connections this node may use for Get and List; 0: 8. It has up to three more for itself
	// (commits, Sync, and hints of others' commits), and one for each View.
	MaxReads int
	// Plain allows connections to other machines that are not encrypted.
	Plain bool
	// Timeout bounds what a call may wait for the server; 0: 3 s. A call may meet one that is about to end for that
	// reason, and so wait twice as long; a List may take four times as long.
	Timeout time.Duration
	// Poll is how often feeds are brought up to date when no request does and no hint comes; 0: 1 s.
	Poll time.Duration
	// Logger receives what the engine has to say about itself. It never sees a key, a value or a password. nil:
	// nothing is said.
	Logger *slog.Logger
}

const (
	defaultSchema      = "strongroom"
	defaultKeepCommits = 100_000
	defaultMaxReads    = 8
	defaultTimeout     = 3 * time.Second
	defaultPoll        = time.Second
)

func (o Options) withDefaults() Options {
	o.Schema = cmp.Or(o.Schema, defaultSchema)
	o.KeepCommits = cmp.Or(o.KeepCommits, defaultKeepCommits)
	o.MaxReads = cmp.Or(o.MaxReads, defaultMaxReads)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Poll = cmp.Or(o.Poll, defaultPoll)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

var schemaName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,39}$`)

// parse reads the connection string. The driver's own error is not passed on: it repeats what it could not read.
func (o Options) parse() (*pgx.ConnConfig, error) {
	if !schemaName.MatchString(o.Schema) {
		return nil, errors.New("store: the name of the schema has a character other than letters, digits and underscores, begins with a digit, or is longer than 40")
	}
	if o.Conn.text() == "" {
		return nil, errors.New("store: no connection string for PostgreSQL: set one such as postgres://user@host/database?sslmode=verify-full")
	}
	if err := o.Conn.check(); err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(o.Conn.text())
	if err != nil {
		return nil, unread(err)
	}
	for name := range cfg.RuntimeParams {
		if !parameterName.MatchString(name) {
			return nil, errors.New("store: the connection string of PostgreSQL has a word that is no setting: in the form host=… user=…, put single quotes around a password with spaces")
		}
	}
	if !o.Plain && !encrypted(cfg) {
		return nil, errors.New("store: the connection to PostgreSQL may go over the network unencrypted: add sslmode=verify-full to the connection string, " +
			"or tls_disable = true where the network is safe")
	}
	return cfg, nil
}

// parameterName is what the server's own settings are called.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// check refuses a URL whose password would be taken for something else: for a host, which is looked up in the DNS, or for a
// database, which errors name. The driver, as libpq, ends user and password at the first "@", and has none behind a "/". So
// where one of these is in the password itself, another "@" follows.
func (c ConnString) check() error {
	scheme, rest, _ := strings.Cut(c.text(), "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return nil
	}
	end := strings.IndexAny(rest, "@/")
	if end < 0 || !strings.Contains(rest[end+1:], "@") {
		return nil
	}
	return errors.New("store: the connection string of PostgreSQL has an @ where none can be: percent-encode the special characters of user, password and database " +
		"(@ is %40, / is %2F, : is %3A, ? is %3F, # is %23, % is %25)")
}

// unread is why a connection string cannot be read. The driver's own words are used where they are of files and of TLS; the others
// repeat what was given.
func unread(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("store: a file that the connection string of PostgreSQL names (sslrootcert, sslcert, sslkey) cannot be read: %w", file)
	}
	if cause := errors.Unwrap(err); cause != nil && strings.Contains(err.Error(), "failed to configure TLS") {
		return fmt.Errorf("store: sslmode, sslrootcert, sslcert or sslkey in the connection string of PostgreSQL: %s", cause.Error())
	}
	return errors.New("store: the connection string of PostgreSQL cannot be read: write postgres://user:password@host:5432/database?sslmode=verify-full, " +
		"with % and two hexadecimal digits for special characters of the password, or libpq's host=… user=… dbname=…")
}

// encrypted reports whether every way to the server that the connection string allows is encrypted or stays on this machine.
func encrypted(cfg *pgx.ConnConfig) bool {
	safe := func(host string, c *tls.Config) bool {
		ip := net.ParseIP(host)
		return c != nil || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
	}
	return safe(cfg.Host, cfg.TLSConfig) && !slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool { return !safe(f.Host, f.TLSConfig) })
}

// Validate reports what is wrong with the options, without asking the server.
func (o Options) Validate() error {
	_, err := o.withDefaults().parse()
	return err
}
