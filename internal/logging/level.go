package logging

import (
	"log/slog"
	"strings"
)

// ParseLevel reads a level as configurations and the API name it, in any case.
func ParseLevel(text string) (slog.Level, bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "trace":
		return LevelTrace, true
	case "debug":
		return slog.LevelDebug, true
	case "info", "notice":
		return slog.LevelInfo, true
	case "warn", "warning":
		return slog.LevelWarn, true
	case "error", "err":
		return slog.LevelError, true
	}
	return 0, false
}

// LevelName is a level as ParseLevel reads it.
func LevelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// Named writes a record's level by its name, where slog knows none for trace. It
// is for slog.HandlerOptions.ReplaceAttr.
func Named(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.String(slog.LevelKey, strings.ToUpper(LevelName(level)))
	}
	return a
}
