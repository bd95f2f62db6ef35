package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/internal/store"
)

// Errors of this engine.
var (
	// ErrUnfit says that a server must not be used as it is set up; the text says why and what to do.
	ErrUnfit = errors.New("store: PostgreSQL is not fit for use")
	// ErrNewer says that a newer version of Strongroom has changed the tables. Nothing was touched.
	ErrNewer = errors.New("store: the tables were written by a newer version of Strongroom: run that version, or restore a snapshot into another schema")
)

// The server's error codes that are told apart:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeDiskFull      = "53100"
	codeReadOnly      = "25006"
	codeNoTable       = "42P01"
	codeNoSchema      = "3F000"
	codeNotPermitted  = "42501"
	codeBadPassword   = "28P01"
	codeNotAuthorized = "28000"
	codeNoDatabase    = "3D000"
	codeNoLock        = "55P03"
)

// unfit is a reason not to use a server.
type unfit struct {
	reason    string
	temporary bool // it may be over in a moment, as while a standby is promoted
}

func (u *unfit) Error() string { return ErrUnfit.Error() + ": " + u.reason }

// Is makes it an ErrUnfit, and the store one that cannot be reached.
func (u *unfit) Is(target error) bool { return target == ErrUnfit || target == store.ErrUnreachable }

// failure is an error of the driver or the server without what either knows beyond its text: the driver's hold the
// configuration with the password, and the server's may quote rows.
type failure struct {
	text  string
	kinds []error // of the contract, and context.DeadlineExceeded
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error { return f.kinds }

// explain turns an error of the driver or the server into one that may be shown.
func (s *Store) explain(doing string, err error) error {
	var own *unfit
	var theirs *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case ours(err):
		return err
	case errors.As(err, &theirs):
		return &failure{fmt.Sprintf("store: %s: PostgreSQL says: %s (%s)%s", doing, s.redact(theirs.Message), theirs.Code, remedy(theirs.Code)), kinds(err, theirs.Code)}
	case errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return &failure{fmt.Sprintf("store: %s: PostgreSQL did not answer within %v", doing, s.options.Timeout), []error{store.ErrUnreachable, context.DeadlineExceeded}}
	}
	return &failure{fmt.Sprintf("store: %s: %s", doing, s.redact(err.Error())), kinds(err, "")}
}

// ours reports whether an error is one of the contract or has been explained already.
func ours(err error) bool {
	var done *failure
	if errors.As(err, &done) {
		return true
	}
	for _, known := range []error{store.ErrConflict, store.ErrCompacted, store.ErrClosed, store.ErrFull, store.ErrCorrupt, ErrNewer} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func (s *Store) redact(text string) string {
	s.hidden.Lock()
	defer s.hidden.Unlock()
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret.text(), "[redacted]")
	}
	return text
}

// hide has no error hold a connection string and its password, nor those before.
func (s *Store) hide(conn ConnString, password string) {
	s.hidden.Lock()
	defer s.hidden.Unlock()
	for _, c := range []ConnString{conn, NewConnString(password)} {
		if c.text() != "" && !slices.ContainsFunc(s.secrets, func(old ConnString) bool { return old.text() == c.text() }) {
			s.secrets = append(s.secrets, c)
		}
	}
	if len(s.secrets) > keptSecrets {
		s.secrets = slices.Delete(s.secrets, 0, len(s.secrets)-keptSecrets)
	}
}

// keptSecrets is how many connection strings and passwords are remembered, that no error may hold.
const keptSecrets = 16

// kinds are the contract's words for an error with a code of the server's, if it has one.
func kinds(err error, code string) []error {
	var connecting *pgconn.ConnectError
	switch {
	case code == codeDiskFull:
		return []error{store.ErrFull}
	case passing(err), errors.As(err, &connecting):
		return []error{store.ErrUnreachable}
	}
	return nil
}

func remedy(code string) string {
	switch code {
	case codeDiskFull:
		return ": make room on the server's disk"
	case codeReadOnly:
		return ": the database takes no writes; connect to the primary, and set default_transaction_read_only to off"
	case codeNoTable, codeNoSchema:
		return ": the tables are gone; restore them, and start the nodes again"
	case codeNotPermitted:
		return ": grant the role CREATE on the database, or make the schema and give it to the role"
	case codeBadPassword, codeNotAuthorized:
		return ": check user and password in the connection string, and pg_hba.conf of the server"
	case codeNoDatabase:
		return ": create the database"
	}
	return ""
}

// passing reports whether what failed may succeed in a moment, on a new connection.
func passing(err error) bool {
	var own *unfit
	if errors.As(err, &own) {
		return own.temporary
	}
	var theirs *pgconn.PgError
	if !errors.As(err, &theirs) {
		return broken(err)
	}
	switch theirs.Code[:min(2, len(theirs.Code))] {
	case "08", "40", "57": // connection, rolled back, shutting down or starting up
		return true
	case "28", "3D": // not authorised, no such database
		return false
	}
	switch theirs.Code {
	case "25P03", codeNoLock, "53300", "0A000", "26000": // idle too long, lock not had, too many connections, a plan or a statement that is gone
		return true
	}
	return theirs.Severity == "FATAL"
}

// broken reports whether an error is of the connection rather than of what was asked.
func broken(err error) bool {
	var network net.Error
	var connecting *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connecting) || errors.Is(err, pgconn.ErrConnClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "EOF")
}

// codeOf is the server's code of an error; empty when it is not the server's.
func codeOf(err error) string {
	var theirs *pgconn.PgError
	if errors.As(err, &theirs) {
		return theirs.Code
	}
	return ""
}
