package etcd

import (
	"context"
	"log/slog"
	"math"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Zap is a logger for etcd that writes to l. What etcd calls information is for who
// looks for a fault in it, so it is shown one level lower; what says which keys or
// requests there are is left out.
func Zap(l *slog.Logger) *zap.Logger {
	return zap.New(&slogCore{log: l})
}

// slogCore is a zapcore.Core over slog.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	case l == zapcore.InfoLevel:
		return slog.LevelDebug
	default:
		return slog.Level(math.MinInt32) // never shown
	}
}

// Enabled implements zapcore.Core.
func (c *slogCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.log.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core.
func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	out := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		if !telling(f.Key) {
			f.AddTo(out)
		}
	}
	args := make([]any, 0, 2*len(out.Fields)+2)
	for k, v := range out.Fields {
		args = append(args, k, v)
	}
	c.log.Log(context.Background(), level(e.Level), "etcd: "+e.Message, args...)
	return nil
}

// telling reports whether a field may hold keys or requests.
func telling(field string) bool {
	switch field {
	case "request", "request content", "response", "key", "range_begin", "range_end", "start-key", "prefix", "trace":
		return true
	}
	return false
}

// Sync implements zapcore.Core.
func (c *slogCore) Sync() error { return nil }
