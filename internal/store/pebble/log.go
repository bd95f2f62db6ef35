package pebble

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	crdb "github.com/cockroachdb/pebble/v2"
)

// engineLog is what Pebble talks to. It passes on what an operator needs and
// turns what Pebble regards as the end into the store's failure.
type engineLog struct {
	log *slog.Logger

	mu     sync.Mutex
	err    error         // the first fatal error
	opened bool          // Open has returned
	failed chan struct{} // closed with the first fatal error
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
// was durable. While the store is being opened Fatalf does return, as every
// place that can call it then goes on to return the error.
func (l *engineLog) Fatalf(format string, args ...any) {
	if l.fail(fmt.Errorf(format, args...)) {
		runtime.Goexit()
	}
}

// fail records a fatal error and reports whether the store was open already.
func (l *engineLog) fail(err error) (opened bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("the store has stopped writing after an error: %w", err)
		close(l.failed)
		l.log.Error("store: stopped writing after an error; restart once its cause is removed", "error", err)
	}
	return l.opened
}

// failure is the fatal error, or nil.
func (l *engineLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *engineLog) setOpened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
}

// events picks the few events that concern an operator.
func (l *engineLog) events() *crdb.EventListener {
	return &crdb.EventListener{
		BackgroundError: func(err error) { l.log.Warn("store: background work failed", "error", err) },
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
