// Package logging owns the server's own log: its named loggers, the level of
// each, and those who follow it from afar. Lines go to one slog.Handler; nothing
// that is logged may hold a secret, so that whoever follows sees none.
package logging

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// LevelTrace is below debug.
const LevelTrace = slog.LevelDebug - 4

// nameKey is the attribute that names a record's logger.
const nameKey = "logger"

// Log is where all loggers of a server lead. It is safe for concurrent use.
type Log struct {
	out  slog.Handler
	base slog.Level // what loggers start with, and are reset to

	mu        sync.Mutex // held while loggers are made, and followers come and go
	loggers   map[string]*slog.LevelVar
	followers atomic.Pointer[[]*follower]
}

// New makes a log that writes records of at least level base to out, whose own
// level also counts.
func New(out slog.Handler, base slog.Level) *Log {
	l := &Log{out: out, base: base, loggers: map[string]*slog.LevelVar{}}
	l.followers.Store(&[]*follower{})
	return l
}

// Of is the Log that a logger of its leads to; any other logger's handler is made
// the out of a new one, with base.
func Of(logger *slog.Logger, base slog.Level) *Log {
	if h, ok := logger.Handler().(*handler); ok {
		return h.log
	}
	return New(logger.Handler(), base)
}

// Logger is the logger of a name, which is made at the first call.
func (l *Log) Logger(name string) *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	level := l.loggers[name]
	if level == nil {
		level = &slog.LevelVar{}
		level.Set(l.base)
		l.loggers[name] = level
	}
	return slog.New(&handler{log: l, name: name, level: level, out: l.out.WithAttrs([]slog.Attr{slog.String(nameKey, name)})})
}

// Levels are the levels of all loggers by name.
func (l *Log) Levels() map[string]slog.Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]slog.Level{}
	for name, level := range l.loggers {
		out[name] = level.Level()
	}
	return out
}

// SetLevel sets the level of one logger and reports whether there is one of that
// name; the empty name stands for all.
func (l *Log) SetLevel(name string, level slog.Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := name == ""
	for n, v := range l.loggers {
		if name == "" || n == name {
			v.Set(level)
			known = true
		}
	}
	return known
}

// Names are the names of all loggers in order.
func (l *Log) Names() []string { return slices.Sorted(maps.Keys(l.Levels())) }

// handler is one logger's way into the log.
type handler struct {
	log    *Log
	name   string
	level  *slog.LevelVar
	out    slog.Handler
	shaped []func(slog.Handler) slog.Handler // what WithAttrs and WithGroup were given, for followers
}

// Enabled reports whether anybody wants records of a level.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.written(ctx, level) || slices.ContainsFunc(*h.log.followers.Load(), func(f *follower) bool { return level >= f.level })
}

func (h *handler) written(ctx context.Context, level slog.Level) bool {
	return level >= h.level.Level() && h.out.Enabled(ctx, level)
}

// Handle writes a record, and shows it to those who follow.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	for _, f := range *h.log.followers.Load() {
		if r.Level >= f.level {
			errs = append(errs, f.show(ctx, h, r.Clone()))
		}
	}
	if h.written(ctx, r.Level) {
		errs = append(errs, h.out.Handle(ctx, r))
	}
	return errors.Join(errs...)
}

// WithAttrs is the logger with attributes.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.shape(func(out slog.Handler) slog.Handler { return out.WithAttrs(attrs) })
}

// WithGroup is the logger with further attributes in a group.
func (h *handler) WithGroup(name string) slog.Handler {
	return h.shape(func(out slog.Handler) slog.Handler { return out.WithGroup(name) })
}

func (h *handler) shape(with func(slog.Handler) slog.Handler) slog.Handler {
	next := *h
	next.out, next.shaped = with(h.out), append(slices.Clip(h.shaped), with)
	return &next
}
