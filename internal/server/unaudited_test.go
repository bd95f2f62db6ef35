package server

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
)

// answers are those that clients got under load.
type answers struct {
	given   []string // request ids of those that carried what was asked for
	refused int      // with 503, in time and by the sink's name
	slowest time.Duration
}

// underLoad has clients read while something is done to the audit devices.
func (w *world) underLoad(sink string, disturb func()) answers {
	var stop atomic.Bool
	var mu sync.Mutex
	var out answers
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for !stop.Load() {
				start := time.Now()
				status, body := w.ask("root", "GET", "secret/data/app", "")
				took := time.Since(start)
				text, err := json.Marshal(body)
				mu.Lock()
				switch {
				case err != nil:
					w.t.Error(err)
				case status == 200:
					out.given = append(out.given, body["request_id"].(string))
				case status == 503 && strings.Contains(string(text), sink) && !strings.Contains(string(text), "tr0ub4dor"):
					out.refused++
				default:
					w.t.Errorf("%d %s", status, text)
				}
				out.slowest = max(out.slowest, took)
				mu.Unlock()
			}
		})
	}
	disturb()
	stop.Store(true)
	work.Wait()
	return out
}

// unwritten are the answers that no log has, of their request and of their answer.
func unwritten(t *testing.T, given []string, logs ...string) (missing int) {
	t.Helper()
	found := map[string]map[string]bool{"request": {}, "response": {}}
	for line := range strings.Lines(strings.Join(logs, "")) {
		var e struct {
			Type    string
			Request struct{ ID string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %.100q", err, line)
		}
		found[e.Type][e.Request.ID] = true
	}
	for _, id := range given {
		if !found["request"][id] || !found["response"][id] {
			missing++
		}
	}
	return missing
}

// checked fails the test when an answer is in no log. Its control is the same
// log without one of its answers.
func checked(t *testing.T, given []string, logs ...string) {
	t.Helper()
	if n := unwritten(t, given, logs...); n != 0 || len(given) == 0 {
		t.Errorf("%d of %d answers are in no log", n, len(given))
		return
	}
	for i, log := range logs {
		var kept strings.Builder
		for line := range strings.Lines(log) {
			if !strings.Contains(line, given[len(given)/2]) {
				kept.WriteString(line)
			}
		}
		logs[i] = kept.String()
	}
	if n := unwritten(t, given, logs...); n == 0 {
		t.Error("the control: an answer that is in no log was not missed")
	}
}

func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Error("it never came to that")
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func grown(path string, size int64) func() bool {
	return func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > size
	}
}

// audited is a server with one audit file, and a secret in it.
func audited(t *testing.T) (w *world, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "audit.log")
	w = startFor(t, Config{DevRoot: api.NewSecret("root"), Audit: []*audit.Declaration{{Type: "file", Path: "main/", Options: map[string]string{"file_path": file}}}})
	w.wants(200, "", "root", "POST", "secret/data/app", `{"data":{"password":"tr0ub4dor"}}`)
	return w, file
}

// The disk is full for a while (users.md F1): answers are refused with the sink's
// name, none is given that is not in the log, and service returns by itself.
func TestNoAnswerIsUnauditedWhenTheDiskIsFull(t *testing.T) {
	w, file := audited(t)
	got := w.underLoad("main/", func() {
		waitUntil(t, grown(file, 100_000))
		signal.Ignore(syscall.SIGXFSZ)
		defer signal.Reset(syscall.SIGXFSZ)
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 500_000, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, grown(file, 495_000))
		since := time.Now()
		waitUntil(t, func() bool { return time.Since(since) > 200*time.Millisecond })
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, grown(file, 700_000))
	})
	if got.refused == 0 || got.slowest > time.Second {
		t.Errorf("%d refused, the slowest after %v", got.refused, got.slowest)
	}
	checked(t, got.given, text(t, file))
}

// A device that must have every entry stops reading (users.md F2): no answer is
// given that it does not have, and root can disable it.
func TestNoAnswerIsUnauditedWhenAPeerStopsReading(t *testing.T) {
	w, file := audited(t)
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 64)
	go func() {
		defer close(conns)
		for {
			c, err := peer.Accept()
			if err != nil {
				return
			}
			conns <- c // and never read
		}
	}()
	w.wants(204, "", "root", "POST", "sys/audit/line", `{"type":"socket","options":{"address":"`+peer.Addr().String()+`","deadline":"300ms","delivery":"required"}}`)
	var served time.Time
	got := w.underLoad("line/", func() {
		waitUntil(t, func() bool { status, _ := w.ask("root", "GET", "sys/mounts", ""); return status == 503 })
		start := time.Now()
		w.wants(200, `"line/"`, "root", "GET", "sys/audit", "")
		w.wants(204, "", "root", "DELETE", "sys/audit/line", "")
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("the device was disabled after %v", d)
		}
		served = time.Now()
		waitUntil(t, func() bool { return time.Since(served) > 50*time.Millisecond })
	})
	w.wants(200, "", "root", "GET", "secret/data/app", "")
	if err := peer.Close(); err != nil {
		t.Error(err)
	}
	for c := range conns {
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Log(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if got.refused == 0 || got.slowest > 2*time.Second {
		t.Errorf("%d refused, the slowest after %v", got.refused, got.slowest)
	}
	checked(t, got.given, text(t, file))
}

// A best-effort device that hangs, and a file that is deleted (users.md F3):
// service goes on, and what is answered is in the log.
func TestNoAnswerIsUnauditedWhenTheFileIsDeleted(t *testing.T) {
	w, file := audited(t)
	var before string
	got := w.underLoad("main/", func() {
		waitUntil(t, grown(file, 100_000))
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.LimitReader(f, info.Size()))
		if err != nil {
			t.Fatal(err)
		}
		before = string(b[:strings.LastIndexByte(string(b), '\n')+1])
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, grown(file, 100_000))
	})
	if got.refused != 0 {
		t.Errorf("%d refused", got.refused)
	}
	waitUntil(t, func() bool { return unwritten(t, got.given, before, text(t, file)) == 0 })
	checked(t, got.given, before, text(t, file))
}
