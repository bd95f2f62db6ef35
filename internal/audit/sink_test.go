package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func fileIn(t testing.TB, dir, name string) *fileOutput {
	t.Helper()
	o := &fileOutput{dir: dir, name: name, mode: defaultMode, now: time.Now, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileIsPrivateAndItsDirectoriesAreMade(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a", "wide"), []byte("1\n"), 0o777))
	for _, name := range []string{"a/b/new", "a/wide"} {
		must(t, fileIn(t, dir, name).write([]byte("2\n")))
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a/b")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if got := read(t, filepath.Join(dir, "a/wide")); got != "1\n2\n" {
		t.Errorf("%q", got)
	}
}

func TestFileIsNeverReachedThroughALink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	target := filepath.Join(outside, "target")
	must(t, os.WriteFile(target, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "real"), nil, 0o600))
	must(t, os.Symlink(target, filepath.Join(dir, "out")))
	must(t, os.Symlink(outside, filepath.Join(dir, "outdir")))
	must(t, os.Symlink("real", filepath.Join(dir, "in")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, syscall.Mkfifo(filepath.Join(dir, "read"), 0o600))
	reader, err := os.OpenFile(filepath.Join(dir, "read"), os.O_RDWR, 0)
	must(t, err)
	defer func() { must(t, reader.Close()) }()
	for _, name := range []string{"read", "out", "outdir/target", "outdir/new", "in", "fifo", "../x", "."} {
		if err := fileIn(t, dir, name).write([]byte("x\n")); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if read(t, target) != "" || read(t, filepath.Join(dir, "real")) != "" {
		t.Error("a link was followed")
	}
}

// limited runs fn while no file can be made longer than size bytes, which is
// a disk that fills up in the middle of a write.
func limited(t *testing.T, size uint64, fn func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}))
	defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)) }()
	fn()
}

// ballast makes a limit on the size of files one on a large file: the process may
// have others, which the test is not about.
const ballast = 4 << 20

func weighted(t *testing.T, dir, name string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("\n"), ballast), 0o600))
}

func TestFullDiskLeavesWholeLinesAndHeals(t *testing.T) {
	dir := t.TempDir()
	weighted(t, dir, "f")
	o := fileIn(t, dir, "f")
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", o, format{key: testKey()})}, nil)
	e := b.Entry()
	fill(e)
	must(t, b.LogRequest(t.Context(), moment, e, nil))
	line := len(read(t, filepath.Join(dir, "f"))) - ballast
	limited(t, ballast+uint64(2*line+line/2), func() {
		must(t, b.LogRequest(t.Context(), moment, e, nil))
		err := b.LogRequest(t.Context(), moment, e, nil)
		if api.KindOf(err) != api.Unavailable || !strings.HasPrefix(err.Error(), `audit device "file/" cannot be written: `+syscall.EFBIG.Error()) {
			t.Error(err)
		}
		three := bytes.Repeat(e.lines[0], 3)
		if err := o.write(three); err == nil {
			t.Error("written")
		}
	})
	must(t, b.LogRequest(t.Context(), moment, e, nil))
	if got, want := read(t, filepath.Join(dir, "f"))[ballast:], strings.Repeat(string(e.lines[0]), 3); got != want {
		t.Errorf("%d bytes, want %d:\n%s", len(got), len(want), got)
	}
}

// Where the torn line cannot be cut off, it is ended.
func TestTornLineThatStaysIsEnded(t *testing.T) {
	dir := t.TempDir()
	weighted(t, dir, "f")
	o := fileIn(t, dir, "f")
	must(t, o.write([]byte("one\n")))
	other, err := os.OpenFile(filepath.Join(dir, "f"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = other.WriteString("theirs\n")
	must(t, errors.Join(err, other.Close()))
	limited(t, ballast+13, func() {
		if err := o.write([]byte("two\n")); err == nil {
			t.Error("written")
		}
	})
	must(t, o.write([]byte("three\n")))
	if got := read(t, filepath.Join(dir, "f"))[ballast:]; got != "one\ntheirs\ntw\nthree\n" {
		t.Errorf("%q", got)
	}
	must(t, os.WriteFile(filepath.Join(dir, "crashed"), []byte("half a li"), 0o600))
	must(t, fileIn(t, dir, "crashed").write([]byte("four\n")))
	if got := read(t, filepath.Join(dir, "crashed")); got != "half a li\nfour\n" {
		t.Errorf("%q", got)
	}
}

func TestStreamEndsATornLine(t *testing.T) {
	w := &stingy{}
	o := &streamOutput{w: w}
	if err := o.write([]byte("one\n")); err == nil {
		t.Fatal("written")
	}
	w.generous = true
	must(t, o.write([]byte("two\n")))
	if w.String() != "on\ntwo\n" {
		t.Errorf("%q", w.String())
	}
}

// stingy takes two bytes and fails, until it is generous.
type stingy struct {
	bytes.Buffer
	generous bool
}

func (s *stingy) Write(p []byte) (int, error) {
	if s.generous {
		return s.Buffer.Write(p)
	}
	n, err := s.Buffer.Write(p[:2])
	return n, errors.Join(err, syscall.ENOSPC)
}

// A real full disk, where the tests may mount one.
func TestFullFilesystemHeals(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no right to mount a file system (%v): the limit on file size has to do", err)
		return
	}
	defer func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	must(t, os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 32<<10), 0o600))
	o := fileIn(t, dir, "f")
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", o, format{key: testKey()})}, nil)
	e := b.Entry()
	fill(e)
	ok, full := 0, false
	for range 1000 {
		err := b.LogRequest(t.Context(), moment, e, nil)
		if err == nil {
			ok++
			continue
		}
		if !strings.HasPrefix(err.Error(), `audit device "file/" cannot be written: no space left on device`) {
			t.Fatal(err)
		}
		full = true
		break
	}
	if !full {
		t.Fatal("the disk did not fill")
	}
	must(t, os.Remove(filepath.Join(dir, "ballast")))
	must(t, b.LogRequest(t.Context(), moment, e, nil))
	must(t, o.close())
	if got := read(t, filepath.Join(dir, "f")); got != strings.Repeat(string(e.lines[0]), ok+1) {
		t.Errorf("%d lines are not whole after %d entries", strings.Count(got, "\n"), ok+1)
	}
}

func TestReopenFollowsThePath(t *testing.T) {
	dir := t.TempDir()
	o := fileIn(t, dir, "f")
	b := NewBroker()
	b.Replace([]*Sink{sinkOver("file/", o, format{key: testKey()})}, nil)
	must(t, o.write([]byte("one\n")))
	must(t, os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "f.1")))
	must(t, b.Reopen())
	must(t, o.write([]byte("two\n")))
	must(t, os.Remove(filepath.Join(dir, "f")))
	must(t, b.Reopen())
	must(t, o.write([]byte("three\n")))
	if read(t, filepath.Join(dir, "f.1")) != "one\n" || read(t, filepath.Join(dir, "f")) != "two\nthree\n" {
		t.Error("the wrong file was written")
	}
	// What cannot be reopened is refused, then healed by the next write.
	must(t, os.Remove(filepath.Join(dir, "f")))
	must(t, os.Mkdir(filepath.Join(dir, "f"), 0o700))
	if err := b.Reopen(); err == nil || o.write([]byte("x\n")) == nil {
		t.Error("a directory was opened")
	}
	must(t, os.Remove(filepath.Join(dir, "f")))
	must(t, o.write([]byte("four\n")))
	if read(t, filepath.Join(dir, "f")) != "two\nthree\nfour\n" {
		t.Error("not healed")
	}
}

// server listens on a unix socket; accept hands over each connection.
func server(t *testing.T, path string) (accept chan net.Conn, l net.Listener) {
	t.Helper()
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	accept = make(chan net.Conn, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accept)
				return
			}
			accept <- c
		}
	}()
	return accept, l
}

func TestSocketOutlivesItsPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	accept, l := server(t, path)
	clock := time.Now()
	o := &socketOutput{dial: dialUnix([]string{"unix"}, path), timeout: 2 * time.Second, now: func() time.Time { return clock }}
	defer func() { must(t, o.close()) }()
	must(t, o.write([]byte("one\n")))
	c := <-accept
	r := bufio.NewReader(c)
	if got, err := r.ReadString('\n'); err != nil || got != "one\n" {
		t.Fatal(got, err)
	}
	// The peer hangs up: the next entry arrives over a new connection.
	must(t, c.Close())
	must(t, o.write([]byte("two\n")))
	c = <-accept
	if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "two\n" {
		t.Fatal(got, err)
	}
	// The peer is gone: failure, and no attempt before the pause is over.
	must(t, errors.Join(c.Close(), l.Close()))
	if err := o.write([]byte("three\n")); err == nil {
		t.Fatal("written to nobody")
	}
	accept, _ = server(t, path)
	if err := o.write([]byte("four\n")); err == nil {
		t.Fatal("tried again at once")
	}
	clock = clock.Add(redialPause)
	must(t, o.write([]byte("five\n")))
	c = <-accept
	if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "five\n" {
		t.Fatal(got, err)
	}
	must(t, c.Close())
}

func TestSocketThatIsNotReadFailsInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	accept, _ := server(t, path)
	const timeout = 100 * time.Millisecond
	s, err := Open(&Declaration{Path: "sock/", Type: "socket", Options: map[string]string{"address": path, "socket_type": "unix", "write_timeout": "100ms"}, Key: testKey()}, Env{Now: time.Now})
	must(t, err)
	b := NewBroker()
	b.Replace([]*Sink{s}, nil)
	e := b.Entry()
	fill(e)
	must(t, b.LogRequest(t.Context(), time.Now(), e, nil))
	c := <-accept // and never read
	var failed error
	for range 10000 {
		start := time.Now()
		failed = b.LogRequest(t.Context(), time.Now(), e, nil)
		if d := time.Since(start); d > 10*timeout {
			t.Fatalf("%v", d)
		}
		if failed != nil {
			break
		}
	}
	if api.KindOf(failed) != api.Unavailable || !strings.Contains(failed.Error(), `"sock/"`) || !strings.Contains(failed.Error(), errSlow.Error()) || strings.Contains(failed.Error(), path) {
		t.Fatal(failed)
	}
	must(t, c.Close())
	must(t, s.line.close())
}

// deaf is a connection that takes what nobody receives, as TCP does for a while
// after the peer has hung up.
type deaf struct{ net.Conn }

// Write takes all.
func (d deaf) Write(p []byte) (int, error) { return len(p), nil }

// SetWriteDeadline sets none.
func (d deaf) SetWriteDeadline(time.Time) error { return nil }

// An entry does not go into a connection that is known to have ended.
func TestSocketNoticesThatItsPeerHungUp(t *testing.T) {
	ours, theirs := net.Pipe()
	path := filepath.Join(t.TempDir(), "s")
	accept, _ := server(t, path)
	ended := &peer{Conn: deaf{ours}, gone: make(chan struct{})}
	o := &socketOutput{dial: dialUnix([]string{"unix"}, path), timeout: 2 * time.Second, now: time.Now, conn: ended}
	defer func() { must(t, o.close()) }()
	must(t, theirs.Close())
	ended.listen()
	must(t, o.write([]byte("one\n")))
	select {
	case c := <-accept:
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "one\n" {
			t.Error(got, err)
		}
		must(t, c.Close())
	case <-time.After(20 * time.Second):
		t.Fatal("the entry is lost")
	}
}

// A batch that was partly delivered goes on at its first line that was not.
func TestSocketResendsFromAWholeLine(t *testing.T) {
	ours, theirs := net.Pipe()
	path := filepath.Join(t.TempDir(), "s")
	accept, _ := server(t, path)
	o := &socketOutput{dial: dialUnix([]string{"unix"}, path), timeout: 2 * time.Second, now: time.Now, conn: &peer{Conn: ours, gone: make(chan struct{})}}
	defer func() { must(t, o.close()) }()
	go func() {
		buf := make([]byte, 6)
		if n, err := theirs.Read(buf); err != nil || string(buf[:n]) != "one\ntw" {
			t.Errorf("%q %v", buf, err)
		}
		must(t, theirs.Close())
	}()
	must(t, o.write([]byte("one\ntwo\nthree\n")))
	c := <-accept
	r := bufio.NewReader(c)
	for _, want := range []string{"two\n", "three\n"} {
		if got, err := r.ReadString('\n'); err != nil || got != want {
			t.Fatal(got, err)
		}
	}
	must(t, c.Close())
}

func TestOptionsAreRefusedByName(t *testing.T) {
	dir := t.TempDir()
	env := Env{Now: time.Now, Dirs: []string{filepath.Join(dir, "logs")}, Stdout: &bytes.Buffer{}}
	in := filepath.Join(dir, "logs", "a.log")
	for _, c := range []struct {
		kind    string
		options map[string]string
		want    string // empty: taken
	}{
		{"file", map[string]string{"file_path": in}, ""},
		{"file", map[string]string{"file_path": in, "mode": "0640", "sync": "true", "hmac_accessor": "false", "elide_list_responses": "1", "format": "json", "log_raw": "false", "prefix": ""}, ""},
		{"file", map[string]string{"file_path": filepath.Join(dir, "logs/x/../y/z")}, ""},
		{"file", map[string]string{"file_path": "stdout"}, ""},
		{"stdout", nil, ""},
		{"socket", map[string]string{"address": "127.0.0.1:9"}, ""},
		{"socket", map[string]string{"address": "/x", "socket_type": "unix", "write_timeout": "3s"}, ""},
		{"", nil, "missing type"},
		{"s3cret", nil, "type"},
		{"file", nil, "options.file_path"},
		{"file", map[string]string{"file_path": "a.log"}, "options.file_path"},
		{"file", map[string]string{"file_path": "discard"}, "options.file_path"},
		{"file", map[string]string{"file_path": "/etc/s3cret"}, "options.file_path"},
		{"file", map[string]string{"file_path": filepath.Join(dir, "logs")}, "options.file_path"},
		{"file", map[string]string{"file_path": in + "/"}, "options.file_path"},
		{"file", map[string]string{"file_path": filepath.Join(dir, "logs/../s3cret")}, "options.file_path"},
		{"file", map[string]string{"file_path": filepath.Join(dir, "logs2/s3cret")}, "options.file_path"},
		{"file", map[string]string{"file_path": in, "mode": "0700"}, "options.mode"},
		{"file", map[string]string{"file_path": in, "mode": "0666"}, "options.mode"},
		{"file", map[string]string{"file_path": in, "mode": "4600"}, "options.mode"},
		{"file", map[string]string{"file_path": in, "mode": "0000"}, "options.mode"},
		{"file", map[string]string{"file_path": in, "mode": "s3cret"}, "options.mode"},
		{"file", map[string]string{"file_path": in, "prefix": "#!/bin/sh s3cret"}, "options.prefix"},
		{"file", map[string]string{"file_path": in, "log_raw": "true"}, "options.log_raw"},
		{"file", map[string]string{"file_path": in, "hmac_accessor": "s3cret"}, "options.hmac_accessor"},
		{"file", map[string]string{"file_path": in, "sync": "s3cret"}, "options.sync"},
		{"file", map[string]string{"file_path": in, "format": "jsonx"}, "options.format"},
		{"file", map[string]string{"file_path": in, "s3cret": "x"}, "options: unknown"},
		{"socket", nil, "options.address"},
		{"socket", map[string]string{"address": "s3cret"}, "options.address"},
		{"socket", map[string]string{"address": "127.0.0.1:9", "socket_type": "udp"}, "options.socket_type"},
		{"socket", map[string]string{"address": "127.0.0.1:9", "write_timeout": "1h"}, "options.write_timeout"},
	} {
		_, err := Open(&Declaration{Path: "a/", Type: c.kind, Options: c.options, Key: testKey()}, env)
		switch {
		case c.want == "" && err != nil, c.want != "" && (api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s %v: %v, want %q", c.kind, c.options, err, c.want)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("echo: %v", err)
		}
	}
}

func TestConfigurationMayNameAnyFileAndRawOnlyWhenAllowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	d := &Declaration{Path: "a/", Type: "file", Options: map[string]string{"file_path": path, "log_raw": "true"}, Key: testKey(), Configured: true}
	if _, err := Open(d, Env{}); err == nil {
		t.Error("raw without leave")
	}
	s, err := Open(d, Env{Now: time.Now, AllowRaw: true})
	must(t, err)
	must(t, s.probe(&api.Call{Context: context.Background(), Namespace: api.Namespace{ID: rootID}, Now: moment, RequestID: "id"}))
	must(t, s.line.close())
	want := `{"time":"2026-11-21T05:50:35.159802026Z","type":"request","auth":{"token_type":"default"},"request":{"id":"id","operation":"update","namespace":{"id":"root"},"path":"sys/audit/test"}}` + "\n"
	if got := read(t, path); got != want {
		t.Errorf("%s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Error(info.Mode(), err)
	}
}
