package etcd

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Zap is a logger for etcd that writes to l. What etcd calls information is for who
// looks for a fault in it, so it is shown one level lower, and so are its warnings but
// those that an operator has to know of; what says which keys or requests there are is
// left out.
func Zap(l *slog.Logger) *zap.Logger {
	return zap.New(&slogCore{log: l, said: &thrift{last: map[string]time.Time{}, left: map[string]int{}}})
}

// slogCore is a zapcore.Core over slog.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
	said   *thrift
}

// repeatAfter is how often a warning is logged that comes again and again, as of a peer whose certificate is not taken: it
// tries several times a second.
const repeatAfter = 10 * time.Second

// thrift is when warnings were last logged, and how many were left out since, by their texts, which are few: see telltales.
type thrift struct {
	mu   sync.Mutex
	last map[string]time.Time
	left map[string]int
}

// spare reports whether a warning is to be left out, and else how many were.
func (s *thrift) spare(text string, now time.Time) (spared bool, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[text]; ok && now.Sub(last) < repeatAfter && !now.Before(last) {
		s.left[text]++
		return true, 0
	}
	left = s.left[text]
	s.last[text], s.left[text] = now, 0
	return false, left
}

// Remedy is what to do about a member whose data are of no use any more.
const Remedy = "where the other members have a majority: on another node run strongroom operator storage members, storage remove ID and storage add URL, " +
	"empty this member's directory, and start it again"

// telltales are parts of etcd's warnings that stay warnings, each with what it tells an
// operator. All others are of its everyday life: requests that are slow or are made anew,
// connections that are lost and come back, refusals that who asked is told of.
func telltales() []string {
	return []string{
		// The disk or the machine is too slow, or full.
		"slow fdatasync", "leader failed to send out heartbeat on time", "message exceeded backend quota; raising alarm", "80% of file descriptors are used",
		// A member is away, is not let in, or runs by another clock, or too few are there.
		"peer became inactive", "rejected connection on peer endpoint", "prober found high clock drift", "since quorum is not active", "snapshotting taking too long",
		// Members are of another cluster or of a version that does not fit.
		"cluster ID mismatch", "server version incompatibility", "leader found higher-versioned member", "failed version compatibility check",
		// Data are damaged, differ between members, or could not be written.
		"found hash mismatch", "found different hash values", "found different compact revision values", "revision from follower must be less", "then hashes must match",
		"snap file is corrupt", "failed to read a snap file", "failed to write a snap file", "failed to fsync", "failed to truncate", "failed to repair", "failed to defragment", "failed to save incoming database snapshot",
	}
}

func matters(message string) bool {
	for _, t := range telltales() {
		if strings.Contains(message, t) {
			return true
		}
	}
	return false
}

func level(l zapcore.Level, message string) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel && matters(message):
		return slog.LevelWarn
	case l >= zapcore.InfoLevel:
		return slog.LevelDebug
	default:
		return slog.Level(math.MinInt32) // never shown
	}
}

// Enabled implements zapcore.Core. Which warnings are shown is known by their text only.
func (c *slogCore) Enabled(l zapcore.Level) bool {
	shown := slog.LevelDebug
	if l >= zapcore.WarnLevel {
		shown = slog.LevelError
	}
	return l >= zapcore.InfoLevel && c.log.Enabled(context.Background(), shown)
}

// With implements zapcore.Core.
func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log, said: c.said, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core.
func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level >= zapcore.InfoLevel && c.log.Enabled(context.Background(), level(e.Level, e.Message)) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	at := level(e.Level, e.Message)
	if harmless(e.Message, fields) {
		at = slog.LevelDebug
	}
	out := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		if !telling(f.Key) {
			f.AddTo(out)
		}
	}
	args := make([]any, 0, 2*len(out.Fields)+2)
	if at == slog.LevelWarn {
		spared, left := c.said.spare(e.Message, e.Time)
		if spared {
			return nil
		}
		if left > 0 {
			args = append(args, "left_out", left)
		}
	}
	if e.Level >= zapcore.PanicLevel { // the process ends now: of a member's own data mostly
		args = append(args, "hint", Remedy)
	}
	for k, v := range out.Fields {
		args = append(args, k, v)
	}
	c.log.Log(context.Background(), at, "etcd: "+e.Message, args...)
	return nil
}

// harmless reports whether what etcd calls an error is none: a new member has no term yet to
// note the version of its data by, and one that ends closes what it listens on.
func harmless(message string, fields []zapcore.Field) bool {
	text, closed := "", "use of closed network connection"
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			text = err.Error()
		}
	}
	return message == "failed to update storage version" && strings.HasSuffix(text, "missing term information") ||
		message == "setting up serving from embedded etcd failed." && strings.HasSuffix(text, closed)
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
