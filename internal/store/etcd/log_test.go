package etcd

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatIsLogged pins at which level what etcd says is shown, and that no key is.
func TestWhatIsLogged(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelError} {
		var out bytes.Buffer
		l := Zap(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))).Sugar()
		l.Infow("elected")
		l.Warnw("apply request took too long", "request", "a-key", "took", "1s")
		l.With("key", "a-key").Warnw("slow fdatasync", "took", "2s")
		l.Errorw("failed to open")
		l.Errorw("failed to update storage version", "error", errors.New("schema: missing term information"))
		l.Errorw("setting up serving from embedded etcd failed.", "error", net.ErrClosed)
		l.Errorw("setting up serving from embedded etcd failed.", "error", errors.New("else"))
		for text, at := range map[string]slog.Level{
			"elected": slog.LevelDebug, "level=DEBUG msg=\"etcd: apply request took too long\" took=1s": slog.LevelDebug,
			"level=WARN msg=\"etcd: slow fdatasync\" took=2s": slog.LevelWarn, "level=ERROR msg=\"etcd: failed to open\"": slog.LevelError,
			"missing term": slog.LevelDebug, "closed network": slog.LevelDebug, "error=else": slog.LevelError,
		} {
			if got := strings.Contains(out.String(), text); got != (at >= level) {
				t.Errorf("at level %v %q is shown: %v", level, text, got)
			}
		}
		if strings.Contains(out.String(), "a-key") {
			t.Errorf("a key is logged: %s", out.String())
		}
	}
}

// TestRepeatedWarnings: what comes again and again is said now and then, and how often it came.
func TestRepeatedWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := Zap(slog.New(slog.NewTextHandler(&out, nil))).Sugar()
		for range 400 {
			l.With("remote-addr", "x").Warnw("rejected connection on peer endpoint")
			time.Sleep(repeatAfter / 200)
		}
		l.Warnw("slow fdatasync")
		if n := strings.Count(out.String(), "rejected connection"); n != 2 || !strings.Contains(out.String(), "left_out=199") || !strings.Contains(out.String(), "slow fdatasync") {
			t.Errorf("said %d times: %s", n, out.String())
		}
	})
}

// TestLastWordsHaveARemedy: a member that cannot use its data ends the process, and says what to do.
func TestLastWordsHaveARemedy(t *testing.T) {
	var out bytes.Buffer
	defer func() {
		if recover() == nil || !strings.Contains(out.String(), "storage remove ID") {
			t.Errorf("it goes with %s", out.String())
		}
	}()
	Zap(slog.New(slog.NewTextHandler(&out, nil))).Sugar().Panicf("tocommit(%d) is out of range [lastIndex(%d)]", 2, 1)
}

// TestTelltalesAreSaid looks each warning that stays one up in etcd's source: a new version
// that says it in other words must not hide it.
func TestTelltalesAreSaid(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.etcd.io/etcd/server/v3", "go.etcd.io/raft/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	var source bytes.Buffer
	for _, dir := range strings.Fields(string(out)) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			source.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range telltales() {
		if !bytes.Contains(source.Bytes(), []byte(text)) {
			t.Errorf("etcd does not say %q any more", text)
		}
	}
}
