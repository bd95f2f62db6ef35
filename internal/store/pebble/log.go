package pebble

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	crdb "github.com/cockroachdb/pebble/v2"

	"github.com/strongroom/strongroom/internal/store"
)

// engineLog is what Pebble talks to. It passes on what an operator needs and
// turns what Pebble regards as the end into the store's failure.
type engineLog struct {
	log    *slog.Logger
	failed chan struct{} // closed with the first fatal error
	flush  error         // how the last flush ended

	mu  sync.Mutex
	err error // the first fatal error
}

func newEngineLog(log *slog.Logger) *engineLog {
	return &engineLog{log: log, failed: make(chan struct{})}
}

// Infof implements Pebble's Logger.
func (l *engineLog) Infof(format string, args ...any) {
	l.log.Debug("store: " + fmt.Sprintf(format, args...))
}

// Errorf implements Pebble's Logger.
func (l *engineLog) Errorf(format string, args ...any) {
	l.log.Warn("store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements Pebble's Logger, which demands that it does not return:
// what is on disk is no longer known, and going on could make it worse. The
// store stops writing and the calling goroutine ends; readers go on with what
// was durable.
func (l *engineLog) Fatalf(format string, args ...any) {
	l.fail(fatalError(format, args))
	runtime.Goexit()
}

// fatalError is the error among Pebble's arguments, so that it can be told by
// errors.Is, or else their text.
func fatalError(format string, args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return fmt.Errorf(format, args...)
}

// stop returns for no error. An error ends writing, and stop never returns.
func (l *engineLog) stop(err error) {
	if err != nil {
		l.fail(err)
		select {}
	}
}

// fail ends writing with an error, of which the first one counts.
func (l *engineLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %w", store.ErrStopped, err)
		close(l.failed)
		l.log.Error("store: stopped writing after an error; restart once its cause is removed", "error", err)
	}
}

// failure is the fatal error, or nil.
func (l *engineLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// whileSound runs a short call, unless there was a fatal error; there is none
// while it runs.
func (l *engineLog) whileSound(call func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	call()
	return true
}

// unlessFailed runs a call that may wait for work which a fatal error has ended,
// and no longer waits for it then.
func (l *engineLog) unlessFailed(call func() error) error {
	if err := l.failure(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- guarded(call) }()
	select {
	case err := <-done:
		return err
	case <-l.failed:
		return l.failure()
	}
}

// events picks the few events that concern an operator.
func (l *engineLog) events() *crdb.EventListener {
	return &crdb.EventListener{
		FlushEnd:        func(i crdb.FlushInfo) { l.flush = i.Err },
		BackgroundError: l.background,
		DataCorruption: func(i crdb.DataCorruptionInfo) {
			l.log.Error("store: a file is damaged", "path", i.Path, "error", i.Details)
		},
		WriteStallBegin: func(i crdb.WriteStallBeginInfo) {
			l.log.Warn("store: writes wait for the disk", "reason", i.Reason)
		},
		WriteStallEnd: func() { l.log.Info("store: writes go on") },
		DiskSlow:      func(i crdb.DiskSlowInfo) { l.log.Warn("store: the disk is slow", "path", i.Path, "for", i.Duration) },
	}
}

// background hears of failed work in the background. When what was gathered in
// memory could not be written as a table that ends writing: Pebble would try
// again at once, for ever. Pebble holds its lock during this and FlushEnd.
func (l *engineLog) background(err error) {
	if err == l.flush {
		l.Fatalf("writing a table: %w", err)
	}
	l.log.Warn("store: background work failed", "error", err)
}
