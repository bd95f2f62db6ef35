package logging

import (
	"context"
	"io"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under sys/ about the server's log. What they say and
// change is this node's.
func Routes() []api.Route[*Log] {
	return []api.Route[*Log]{
		api.Handle(api.Read, "loggers", (*Log).readAll, api.RootOnly),
		api.Handle(api.Write, "loggers", (*Log).setAll, api.RootOnly),
		api.Handle(api.Delete, "loggers", (*Log).resetAll, api.RootOnly),
		api.Handle(api.Read, "loggers/{name}", (*Log).readOne, api.RootOnly),
		api.Handle(api.Write, "loggers/{name}", (*Log).setOne, api.RootOnly),
		api.Handle(api.Delete, "loggers/{name}", (*Log).resetOne, api.RootOnly),
		api.Handle(api.Read, "monitor", (*Log).monitor, api.RootOnly),
	}
}

// LoggerRequest names a logger.
type LoggerRequest struct {
	Name string `path:"name"` // Name of the logger, such as core.
}

// LevelRequest sets the level of all loggers.
type LevelRequest struct {
	Level string `json:"level" audit:"clear"` // From which level on to log: trace, debug, info, warn or error.
}

// LoggerLevelRequest sets the level of one logger.
type LoggerLevelRequest struct {
	Name string `path:"name"` // Name of the logger, such as core.
	LevelRequest
}

// MonitorRequest says what of the log to follow.
type MonitorRequest struct {
	Level  string `json:"log_level" default:"info" audit:"clear"`      // From which level on: trace, debug, info, warn or error.
	Format string `json:"log_format" default:"standard" audit:"clear"` // Form of the lines: standard or json.
}

// levels are the levels of loggers by name.
func (l *Log) levels(want func(string) bool) *map[string]string {
	out := map[string]string{}
	for name, level := range l.Levels() {
		if want(name) {
			out[name] = LevelName(level)
		}
	}
	return &out
}

// readAll answers the level of each logger.
func (l *Log) readAll(*api.Call, *api.None) (*map[string]string, error) {
	return l.levels(func(string) bool { return true }), nil
}

// readOne answers the level of one logger, or nothing when there is none.
func (l *Log) readOne(_ *api.Call, q *LoggerRequest) (*map[string]string, error) {
	return l.levels(func(name string) bool { return name == q.Name }), nil
}

// setAll sets the level of all loggers until they are reset or the server ends.
func (l *Log) setAll(_ *api.Call, q *LevelRequest) (*api.None, error) { return nil, l.set("", q.Level) }

// setOne sets the level of one logger until it is reset or the server ends.
func (l *Log) setOne(_ *api.Call, q *LoggerLevelRequest) (*api.None, error) {
	return nil, l.set(q.Name, q.Level)
}

func (l *Log) set(name, text string) error {
	if text == "" {
		return api.Errorf(api.Invalid, "level is required")
	}
	level, ok := ParseLevel(text)
	if !ok {
		return &api.Error{Kind: api.Invalid, Message: "invalid level provided: unknown log level", Hint: "one of trace, debug, info, warn, error"}
	}
	if !l.SetLevel(name, level) {
		return l.errUnknown()
	}
	return nil
}

func (l *Log) errUnknown() error {
	return &api.Error{Kind: api.Invalid, Message: "logger not found", Hint: "one of " + strings.Join(l.Names(), ", ")}
}

// resetAll sets the level of all loggers to that of the configuration.
func (l *Log) resetAll(*api.Call, *api.None) (*api.None, error) {
	l.SetLevel("", l.base)
	return nil, nil
}

// resetOne sets the level of one logger to that of the configuration.
func (l *Log) resetOne(_ *api.Call, q *LoggerRequest) (*api.None, error) {
	if !l.SetLevel(q.Name, l.base) {
		return nil, l.errUnknown()
	}
	return nil, nil
}

// monitor follows the server's log until the client goes. Lines that the client
// does not take in time are left out, and their number is told.
func (l *Log) monitor(_ *api.Call, q *MonitorRequest) (*api.Raw, error) {
	level, ok := ParseLevel(q.Level)
	if !ok {
		return nil, &api.Error{Kind: api.Invalid, Message: "unknown log level", Hint: "one of trace, debug, info, warn, error"}
	}
	if q.Format != "standard" && q.Format != "json" {
		return nil, &api.Error{Kind: api.Invalid, Message: "unknown log format", Hint: "one of standard, json"}
	}
	if len(*l.followers.Load()) >= maxFollowers {
		return nil, errCrowded()
	}
	return &api.Raw{ContentType: "text/plain; charset=utf-8", Stream: func(ctx context.Context, w io.Writer) error {
		f, leave, err := l.follow(level, q.Format == "json")
		if err != nil {
			return err
		}
		defer leave()
		return f.copy(ctx, w)
	}}, nil
}

func errCrowded() error {
	return &api.Error{Kind: api.TooMany, Message: "the log is followed by as many as may", Hint: "end one of the others"}
}
