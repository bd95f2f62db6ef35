package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func newLog(base slog.Level) (*Log, *bytes.Buffer) {
	var b bytes.Buffer
	return New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: LevelTrace, ReplaceAttr: Named}), base), &b
}

func TestEachLoggerHasItsLevel(t *testing.T) {
	l, out := newLog(slog.LevelInfo)
	core, gate := l.Logger("core"), l.Logger("gate")
	if !l.SetLevel("gate", LevelTrace) || l.SetLevel("nobody", LevelTrace) {
		t.Error("SetLevel does not know which loggers there are")
	}
	core.Debug("hidden")
	core.Info("told")
	gate.Log(t.Context(), LevelTrace, "traced")
	l.Logger("gate").Debug("same logger")
	got := out.String()
	for part, want := range map[string]int{"hidden": 0, "msg=told logger=core": 1, "level=TRACE msg=traced logger=gate": 1, "same logger": 1} {
		if strings.Count(got, part) != want {
			t.Errorf("%q is there %d times, want %d, in\n%s", part, strings.Count(got, part), want, got)
		}
	}
	if l.SetLevel("", slog.LevelError); l.Levels()["core"] != slog.LevelError || l.Levels()["gate"] != slog.LevelError {
		t.Errorf("all set to error: %v", l.Levels())
	}
}

func TestOf(t *testing.T) {
	l, out := newLog(slog.LevelError)
	if Of(l.Logger("core"), slog.LevelInfo) != l {
		t.Error("a log is put before itself")
	}
	other := Of(slog.New(slog.NewTextHandler(out, nil)), slog.LevelInfo)
	if other.Logger("core").Info("told"); other == l || !strings.Contains(out.String(), "logger=core") {
		t.Errorf("wrote %q", out)
	}
}

func TestTheHandlersOwnLevelCounts(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}), LevelTrace)
	if l.Logger("core").Info("quiet"); out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

// following is a follower's stream into a buffer, in a bubble.
func following(t *testing.T, l *Log, q *MonitorRequest) (out *bytes.Buffer, end func()) {
	t.Helper()
	raw, err := l.monitor(&api.Call{}, q)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out = &bytes.Buffer{}
	done := make(chan error, 1)
	go func() { done <- raw.Stream(ctx, out) }()
	synctest.Wait()
	return out, func() {
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestMonitorShowsMoreThanTheLogKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, kept := newLog(slog.LevelError)
		core := l.Logger("core")
		out, end := following(t, l, &MonitorRequest{Level: "debug", Format: "standard"})
		core.With("a", 1).WithGroup("g").Debug("two\nlines", "b", "x y")
		core.Log(t.Context(), LevelTrace, "too low")
		end()
		core.Warn("after the end")
		want := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00") + ` [DEBUG] core: "two\nlines": a=1 g.b="x y"` + "\n"
		if out.String() != want {
			t.Errorf("shows %q, want %q", out, want)
		}
		if kept.Len() > 0 {
			t.Errorf("the log keeps %q", kept)
		}
		if core.Enabled(t.Context(), slog.LevelDebug) {
			t.Error("records are made though nobody follows")
		}
	})
}

func TestMonitorJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLog(slog.LevelInfo)
		out, end := following(t, l, &MonitorRequest{Level: "info", Format: "json"})
		l.Logger("core").Warn("careful", "n", 3)
		end()
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		if line["@level"] != "warn" || line["@message"] != "careful" || line["@module"] != "core" || line["n"] != 3.0 || line["@timestamp"] == nil {
			t.Errorf("line is %v", line)
		}
	})
}

// stuck is a reader that takes nothing until it is let go.
type stuck struct {
	release chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.Buffer.Write(p)
}

func TestASlowFollowerLosesLinesAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLog(slog.LevelError)
		f, leave, err := l.follow(slog.LevelInfo, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		slow := &stuck{release: make(chan struct{})}
		done := make(chan error)
		go func() { done <- f.copy(ctx, slow) }()
		core := l.Logger("core")
		for i := range maxWaiting + 100 { // would not come back if it waited
			core.Info("line", "i", i)
			if i == 0 {
				synctest.Wait() // the first is being written
			}
		}
		close(slow.release)
		synctest.Wait()
		core.Info("last")
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		leave()
		got := slow.String()
		if n := strings.Count(got, "\n"); n != maxWaiting+3 {
			t.Errorf("%d lines came, want %d", n, maxWaiting+3)
		}
		if !strings.Contains(got, "Monitor dropped 99 logs during monitor request\n") || !strings.HasSuffix(got, "core: last\n") {
			t.Errorf("ends in %q", got[len(got)-200:])
		}
	})
}

func TestFollowersAreBounded(t *testing.T) {
	l, _ := newLog(slog.LevelInfo)
	var leaves []func()
	for range maxFollowers {
		_, leave, err := l.follow(slog.LevelInfo, false)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if _, err := l.monitor(&api.Call{}, &MonitorRequest{Level: "info", Format: "json"}); api.KindOf(err) != api.TooMany {
		t.Errorf("one too many: %v", err)
	}
	if _, _, err := l.follow(slog.LevelInfo, false); api.KindOf(err) != api.TooMany {
		t.Errorf("one too many: %v", err)
	}
	leaves[0]()
	if _, err := l.monitor(&api.Call{}, &MonitorRequest{Level: "info", Format: "json"}); err != nil {
		t.Errorf("once one has left: %v", err)
	}
}

func TestLevelEndpoints(t *testing.T) {
	l, _ := newLog(slog.LevelInfo)
	l.Logger("core")
	l.Logger("gate")
	set := func(name, level string) error {
		_, err := l.setOne(&api.Call{}, &LoggerLevelRequest{name, LevelRequest{level}})
		return err
	}
	all := func(level string) error {
		_, err := l.setAll(&api.Call{}, &LevelRequest{level})
		return err
	}
	for _, c := range []struct {
		err  error
		text string
	}{
		{set("core", "trace"), ""},
		{set("core", ""), "level is required"},
		{set("core", "loud"), "unknown log level"},
		{set("nobody", "info"), "one of core, gate"},
		{all(""), "level is required"},
		{all("loud"), "unknown log level"},
	} {
		if c.text == "" && c.err != nil || c.text != "" && (api.KindOf(c.err) != api.Invalid || !strings.Contains(c.err.Error(), c.text)) {
			t.Errorf("got %v, want %q", c.err, c.text)
		}
	}
	read := func(want map[string]string) {
		t.Helper()
		got, err := l.readAll(nil, nil)
		if err != nil || len(*got) != len(want) || (*got)["core"] != want["core"] || (*got)["gate"] != want["gate"] {
			t.Errorf("levels are %v, want %v", *got, want)
		}
	}
	read(map[string]string{"core": "trace", "gate": "info"})
	if one, _ := l.readOne(nil, &LoggerRequest{"core"}); len(*one) != 1 || (*one)["core"] != "trace" {
		t.Errorf("one is %v", *one)
	}
	if none, _ := l.readOne(nil, &LoggerRequest{"nobody"}); len(*none) != 0 {
		t.Errorf("nobody is %v", *none)
	}
	if _, err := l.resetOne(nil, &LoggerRequest{"nobody"}); api.KindOf(err) != api.Invalid {
		t.Errorf("reset nobody: %v", err)
	}
	if _, err := l.resetOne(nil, &LoggerRequest{"core"}); err != nil {
		t.Error(err)
	}
	read(map[string]string{"core": "info", "gate": "info"})
	if err := all("error"); err != nil {
		t.Error(err)
	}
	read(map[string]string{"core": "error", "gate": "error"})
	if _, err := l.resetAll(nil, nil); err != nil {
		t.Error(err)
	}
	read(map[string]string{"core": "info", "gate": "info"})
}

func TestLevelNames(t *testing.T) {
	for text, want := range map[string]string{"trace": "trace", "DEBUG": "debug", "notice": "info", "warning": "warn", "err": "error"} {
		if l, ok := ParseLevel(text); !ok || LevelName(l) != want {
			t.Errorf("%s is %s, %v", text, LevelName(l), ok)
		}
	}
	if _, ok := ParseLevel("loud"); ok {
		t.Error("any word is a level")
	}
}

func FuzzParseLevel(f *testing.F) {
	f.Add("info")
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := ParseLevel(text)
		if again, known := ParseLevel(LevelName(l)); ok && (!known || again != l) {
			t.Errorf("%q is %v and again %v", text, l, again)
		}
	})
}
