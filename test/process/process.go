// Package process owns running the real binary the way people do: it builds strongroom once, starts it as a child process
// on a free loopback port, waits a bounded time until it answers, and stops or kills it by its process id. The compatibility,
// script and fault tests and the benchmarks stand on it; nothing of it is part of the product.
package process

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Module is the import path whose main package is the binary.
const Module = "github.com/strongroom/strongroom"

// readyWithin bounds how long a started server may take to answer its first request; a loaded two-core machine needs slack.
const readyWithin = 30 * time.Second

// stopWithin bounds a clean shutdown, after which the process is killed and Stop reports it.
const stopWithin = 20 * time.Second

// Build compiles the binary into dir and returns its path. Tags are build tags, such as "nosync" for the control of the
// fault tests. The working directory must lie inside the module.
func Build(dir string, tags ...string) (string, error) {
	name := strings.Join(append([]string{"strongroom"}, tags...), "-")
	bin := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", bin, Module)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return bin, nil
}

// Main is the body of a TestMain: it runs the tests with a temporary directory, removes it, and exits. An error of body is
// printed and makes the status 1 at least.
func Main(body func(dir string) (status int, err error)) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "strongroom-test")
	status := 1
	if err == nil {
		status, err = body(dir)
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// Server is a running child process.
type Server struct {
	Addr string // Addr is host:port.
	URL  string // URL is http://host:port.

	cmd  *exec.Cmd
	log  *Log
	done <-chan struct{}
}

// Dev starts `strongroom dev` in memory, with the given root token.
func Dev(bin, token string) (*Server, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	return Start(addr, bin, "dev", "-listen="+addr, "-root-token="+token)
}

// DevConfigured starts the same with the flags of Vault's development server, which also takes a configuration file.
func DevConfigured(bin, token, config string) (*Server, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	return Start(addr, bin, "server", "-dev", "-dev-root-token-id="+token, "-dev-listen-address="+addr, "-config="+config)
}

// Durable starts `strongroom server` on the data directory, with any further flags.
func Durable(bin, data string, flags ...string) (*Server, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	args := append([]string{"server", "-data=" + data, "-listen=" + addr}, flags...)
	return Start(addr, bin, args...)
}

// Start runs bin with args and returns once the server at addr answers sys/health with any status at all. A server that
// ends first or does not answer in time is an error that carries its output.
func Start(addr, bin string, args ...string) (*Server, error) {
	return StartIn("", nil, addr, bin, args...)
}

// StartIn is Start in the working directory dir (empty: the current one) with the environment env (nil: the current one).
func StartIn(dir string, env []string, addr, bin string, args ...string) (*Server, error) {
	s, err := launch(dir, env, addr, bin, args...)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// Launch runs bin with the environment env and waits for nothing: it need be no server of ours.
func Launch(addr string, env []string, bin string, args ...string) (*Server, error) {
	return launch("", env, addr, bin, args...)
}

func launch(dir string, env []string, addr, bin string, args ...string) (*Server, error) {
	s := &Server{Addr: addr, URL: "http://" + addr, log: &Log{}}
	s.cmd = exec.Command(bin, args...)
	s.cmd.Dir, s.cmd.Env = dir, env
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	var err error
	if s.done, err = Child(s.cmd, syscall.SIGKILL, s.log); err != nil {
		return nil, fmt.Errorf("starting %s: %w", bin, err)
	}
	return s, nil
}

func (s *Server) awaitReady() error {
	deadline := time.After(readyWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !Answers(s.URL) {
		select {
		case <-s.done:
			return fmt.Errorf("the server ended before it answered:\n%s", s.log)
		case <-deadline:
			return fmt.Errorf("the server did not answer at %s within %v:\n%s", s.Addr, readyWithin, s.log)
		case <-tick.C:
		}
	}
	return nil
}

// Answers reports whether an HTTP server at url answers sys/health, whatever it says.
func Answers(url string) bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(url + "/v1/sys/health")
	return err == nil && resp.Body.Close() == nil
}

// PID is the process id of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Ended reports whether the process has ended.
func (s *Server) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Output is everything the server has printed so far.
func (s *Server) Output() string { return s.log.String() }

// rootToken matches the line in which a first start prints the root token, in whatever case and punctuation.
var rootToken = regexp.MustCompile(`(?im)\broot token\b\W*?[:=]\s*(\S+)`)

// RootToken is the root token that a first start printed, or "" where it printed none. What a process prints arrives a
// moment after it answers: the line about its address comes last.
func (s *Server) RootToken() string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		out := s.Output()
		if m := rootToken.FindStringSubmatch(out); m != nil {
			return m[1]
		}
		if strings.Contains(out, "listens on") {
			break
		}
		<-tick.C
	}
	return ""
}

// Kill ends the process with SIGKILL and waits for it; the server gets no chance to write anything.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop asks for a clean shutdown with SIGTERM and waits for it. A non-zero exit status or a server that does not end in
// time is an error.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the server: %w", err)
	}
	select {
	case <-s.done:
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("the server did not end within %v of SIGTERM", stopWithin), s.Kill())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the server ended with status %d:\n%s", code, s.log)
	}
	return nil
}

// Log is an output buffer safe for a writer and readers at the same time. Its zero value is ready.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p; it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
