package api

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Kind classifies an Error. Doors alone know which status code each kind has
// in their dialect.
type Kind uint8

// The kinds of failure. An error that is not an *Error is Internal: the caller
// learns nothing of it but the request's id.
const (
	Internal    Kind = iota
	Invalid          // the request is malformed or names something impossible
	NotFound         // the thing does not exist, or must not be known to
	Denied           // not authenticated or not authorised; both look alike
	Conflict         // the state has moved: a failed check-and-set, a name in use
	Unsupported      // the path exists but does not take this operation
	TooLarge         // a body, key or value is over a limit
	TooMany          // over a rate or count quota; may be retried later
	Unavailable      // sealed, not initialised, audit or store out of reach; may be retried
	MediaType        // the content type is not one that the operation takes
	Damaged          // what is stored is not as it was written
)

var kindNames = [...]string{"internal", "invalid", "not found", "denied", "conflict", "unsupported", "too large", "too many", "unavailable", "media type", "damaged"}

// String is the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error is a failure that a caller may be told about. Message and Hint never
// carry a secret or echo a value of the request.
type Error struct {
	Kind    Kind
	Message string // what went wrong, naming the field
	Hint    string // what to do about it; may be empty
	Data    any    // an answer that accompanies the failure (a deleted version's metadata); may be nil
	Err     error  // cause, for logs only

	RetryAfter time.Duration // of TooMany and Unavailable: when to try again; 0: soon, Stays: waiting does not help
}

// Stays is the RetryAfter of what stays as it is until somebody does something about it:
// clients do not ask again by themselves.
const Stays time.Duration = -1

// Error is the message with its hint.
func (e *Error) Error() string {
	switch {
	case e.Message == "":
		return e.Kind.String()
	case e.Hint == "":
		return e.Message
	}
	return strings.TrimSuffix(e.Message, ".") + "; " + e.Hint // some messages are sentences of the dialect
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind. The arguments must carry no secret.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// ErrNotFound is the plain answer for something absent.
func ErrNotFound() *Error { return &Error{Kind: NotFound} }

// ErrDenied is the one answer for no token, a bad token and missing rights.
func ErrDenied() *Error { return &Error{Kind: Denied, Message: "permission denied"} }

// Deny is the one answer to whom a method does not let in: why, and whether there is what the login
// names, is for the log alone. What may be told, and what is not the client's fault, is told as it is.
func Deny(cause error) error {
	var told *Error
	if errors.As(cause, &told) || errors.Is(cause, store.ErrCorrupt) {
		return cause
	}
	d := ErrDenied()
	d.Err = cause
	return d
}

// KindOf is the kind of err: that of the first *Error in its chain, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
