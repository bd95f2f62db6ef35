package store

import (
	"context"
	"errors"
	"sync/atomic"
)

// Unknown is the error of a commit whose outcome is unknown, because of cause.
func Unknown(cause error) error { return &unsure{cause} }

// unsure is an ErrUnknown, and what its cause is, save that nothing was written.
type unsure struct{ cause error }

func (u *unsure) Error() string { return ErrUnknown.Error() + ": " + u.cause.Error() }

// Is reports what the error is.
func (u *unsure) Is(target error) bool {
	return target == ErrUnknown || target != ErrUnreachable && errors.Is(u.cause, target)
}

// As finds the cause.
func (u *unsure) As(target any) bool { return errors.As(u.cause, target) }

// Trace notes whether the commits that are made in a context have changed anything, so that
// who is told of a failure can be told that, too.
type Trace struct{ changed atomic.Bool }

type traceKey struct{}

// carrying is a context and its value for keys of type K in one allocation: every request has some of them.
type carrying[K, V any] struct {
	context.Context
	value V
}

// Value is a pointer to the value, or what the context within has.
func (c *carrying[K, V]) Value(key any) any {
	if _, is := key.(K); is {
		return &c.value
	}
	return c.Context.Value(key)
}

// Traced is a context whose commits are noted.
func Traced(ctx context.Context) (context.Context, *Trace) {
	t := &carrying[traceKey, Trace]{Context: ctx}
	return t, &t.value
}

// Changed reports whether a commit has been made since the last Reset, or may have been.
func (t *Trace) Changed() bool { return t.changed.Load() }

// Reset forgets what has been noted.
func (t *Trace) Reset() { t.changed.Store(false) }

// Note notes what became of a commit. The lowest layer that has the callers' contexts calls it.
func Note(ctx context.Context, writes []Write, err error) {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok && len(writes) > 0 && !unwritten(err) {
		t.changed.Store(true)
	}
}

// unwritten reports whether an error of Commit says that nothing was written.
func unwritten(err error) bool {
	if errors.Is(err, ErrUnknown) {
		return false
	}
	for _, known := range []error{ErrConflict, ErrFull, ErrUnreachable, ErrTooLarge, ErrInvalid} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
