package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on those who follow the log.
const (
	maxFollowers = 16
	maxWaiting   = 512     // lines that wait for one follower; further ones are lost to it
	maxLine      = 8 << 10 // bytes of a line that is shown
)

// follower is one who reads the log from afar. What it does not take in time it
// loses: a logger never waits for it.
type follower struct {
	level slog.Level
	json  bool
	lines chan []byte

	mu   sync.Mutex
	buf  bytes.Buffer
	out  slog.Handler // writes to buf
	lost int          // lines since the last that was shown
}

// follow begins to follow the log, and leave ends it. It fails when too many do.
func (l *Log) follow(level slog.Level, asJSON bool) (f *follower, leave func(), err error) {
	f = &follower{level: level, json: asJSON, lines: make(chan []byte, maxWaiting)}
	f.out = f.format()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := *l.followers.Load()
	if len(now) >= maxFollowers {
		return nil, nil, errCrowded()
	}
	next := append(slices.Clip(now), f)
	l.followers.Store(&next)
	return f, func() { l.leave(f) }, nil
}

func (l *Log) leave(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(*l.followers.Load()), func(o *follower) bool { return o == f })
	l.followers.Store(&next)
}

// format writes records as readers of Vault's log expect them: JSON with its
// names, or else the attributes alone, which show puts behind a head.
func (f *follower) format() slog.Handler {
	all := slog.Level(LevelTrace)
	if f.json {
		return slog.NewJSONHandler(&f.buf, &slog.HandlerOptions{Level: all, ReplaceAttr: renamed})
	}
	return slog.NewTextHandler(&f.buf, &slog.HandlerOptions{Level: all, ReplaceAttr: headless})
}

// renamed are the names that hclog gives what every record has.
func renamed(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("@timestamp", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("@level", LevelName(level))
	case slog.MessageKey:
		a.Key = "@message"
	case nameKey:
		a.Key = "@module"
	}
	return a
}

// headless leaves out what every record has.
func headless(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && slices.Contains([]string{slog.TimeKey, slog.LevelKey, slog.MessageKey, nameKey}, a.Key) {
		return slog.Attr{}
	}
	return a
}

// show puts a record among the follower's lines, or counts it as lost.
func (f *follower) show(ctx context.Context, h *handler, r slog.Record) error {
	out := f.out.WithAttrs([]slog.Attr{slog.String(nameKey, h.name)})
	for _, with := range h.shaped {
		out = with(out)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf.Reset()
	if err := out.Handle(ctx, r); err != nil {
		return err
	}
	f.put(f.line(h.name, r))
	return nil
}

// line is the record that buf holds.
func (f *follower) line(name string, r slog.Record) []byte {
	rest := bytes.TrimSuffix(f.buf.Bytes(), []byte("\n"))
	if f.json {
		return append(slices.Clone(rest), '\n')
	}
	head := head(r.Time, r.Level) + name + ": " + printable(r.Message)
	if len(rest) > 0 {
		head += ": " + string(rest)
	}
	return append([]byte(head[:min(len(head), maxLine)]), '\n')
}

// head begins a line: 2026-01-02T15:04:05.000Z [INFO]  .
func head(at time.Time, level slog.Level) string {
	word := "[" + strings.ToUpper(LevelName(level)) + "]"
	return at.UTC().Format("2006-01-02T15:04:05.000Z07:00") + " " + word + strings.Repeat(" ", len("[DEBUG] ")-len(word))
}

// printable keeps a message in its line.
func printable(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		return strconv.Quote(s)
	}
	return s
}

// put hands a line over, after one that tells how many were lost before it.
func (f *follower) put(line []byte) {
	if f.lost > 0 {
		select {
		case f.lines <- []byte("Monitor dropped " + strconv.Itoa(f.lost) + " logs during monitor request\n"):
			f.lost = 0
		default:
			f.lost++
			return
		}
	}
	select {
	case f.lines <- line:
	default:
		f.lost++
	}
}

// copy writes lines until the context ends or the reader does.
func (f *follower) copy(ctx context.Context, w io.Writer) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-f.lines:
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
	}
}
