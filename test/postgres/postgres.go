// Package postgres owns running a private PostgreSQL server for tests and benchmarks: it makes a cluster in a directory,
// starts it on a free loopback port and a unix socket, stops, kills and restarts it, and makes a standby that can be
// promoted. The server refuses to run as root, so a caller who is root has it run as an account without rights. It ends
// only what it started, by process id; nothing of it is part of the product.
package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

const (
	// Password is the superuser's, for connections over TCP. Tests look for it where no password may be.
	Password = "canary-5f1d0c9e"
	// User is the superuser of a server.
	User = "strongroom"

	readyWithin = 60 * time.Second // a loaded machine needs slack
	stopWithin  = 30 * time.Second
)

// Server is a PostgreSQL server and its data.
type Server struct {
	Dir  string // Dir holds the data and the socket.
	Addr string // Addr is host:port of its TCP listener.

	bin  string
	env  []string // of its programs, beside what they need
	cmd  *exec.Cmd
	log  *process.Log
	done <-chan struct{} // closed when cmd has ended
}

// Binaries is the directory of the newest PostgreSQL on this machine.
func Binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(newest), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("no PostgreSQL server is installed: install the package postgresql (Debian, Fedora: postgresql-server)")
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// Start makes a cluster in a new directory and starts its server with further settings, each "name=value". Without
// settings of its own it is as safe as a server in production: every commit is synced.
func Start(settings ...string) (*Server, error) { return StartIn("", nil, settings...) }

// StartIn is Start with the new directory in a directory of the caller's (empty: the system's for temporary files), and with
// an environment for the server beside what it needs.
func StartIn(parent string, env []string, settings ...string) (*Server, error) {
	s, err := prepare(parent)
	if err != nil {
		return nil, err
	}
	s.env = env
	if err := s.create(settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir))
	}
	return s, nil
}

// prepare makes a server's directory.
func prepare(parent string) (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Addr: addr, bin: bin, log: &process.Log{}}
	if err := s.hand(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// create makes the cluster and starts it.
func (s *Server) create(settings []string) error {
	secret := filepath.Join(s.Dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o600); err != nil {
		return err
	}
	if err := s.hand(secret); err != nil {
		return err
	}
	err := s.tool("initdb", "-D", s.data(), "-U", User, "--pwfile="+secret, "--auth-local=trust", "--auth-host=scram-sha-256",
		"-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if err := s.Set(append([]string{"max_connections=200", "shared_buffers=64MB", "max_wal_senders=8"}, settings...)...); err != nil {
		return err
	}
	return s.Restart()
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// account is who the server runs as: nil for the caller, who may not be root.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errU, errG); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as")
}

// hand gives a file to the account that the server runs as.
func (s *Server) hand(path string) error {
	who, err := account()
	if err != nil || who == nil {
		return err
	}
	return os.Chown(path, int(who.Uid), int(who.Gid))
}

func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	who, err := account()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.Dir
	cmd.Env = append(slices.Clone(s.env), "PATH="+os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME="+s.Dir, "PGPASSWORD="+Password)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return cmd, nil
}

// tool runs one of PostgreSQL's programs to its end.
func (s *Server) tool(name string, args ...string) error {
	cmd, err := s.command(name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Set appends settings to the configuration, each "name=value"; a running server takes them up at Reload or Restart.
func (s *Server) Set(settings ...string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
}

// Reload has the running server read its configuration again, which takes it a moment.
func (s *Server) Reload() error { return s.cmd.Process.Signal(syscall.SIGHUP) }

// Restart starts the server, which must not run, on the data it has.
func (s *Server) Restart() error {
	cmd, err := s.command("postgres", "-D", s.data(), "-p", s.port(), "-k", s.Dir, "-h", "127.0.0.1")
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	ended, err := process.Child(cmd, syscall.SIGQUIT, s.log) // at which it ends its own children too
	if err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	s.cmd, s.done = cmd, ended
	if err := s.awaitReady(); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

// awaitReady waits until the server takes connections.
func (s *Server) awaitReady() error {
	return s.await("does not answer", func() bool { return s.tool("pg_isready", "-q", "-h", s.Dir, "-p", s.port()) == nil })
}

// await waits until something holds of the running server.
func (s *Server) await(lacking string, holds func() bool) error {
	deadline := time.After(readyWithin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-s.done:
			return fmt.Errorf("postgres has ended:\n%s", s.log)
		case <-deadline:
			return fmt.Errorf("postgres %s after %v:\n%s", lacking, readyWithin, s.log)
		case <-tick.C:
		}
	}
	return nil
}

// URL is the connection string over TCP, with the password. Further settings are "name=value".
func (s *Server) URL(settings ...string) string { return s.Through(s.Addr, settings...) }

// Through is the connection string by way of another address (host:port), as of a proxy.
func (s *Server) Through(addr string, settings ...string) string {
	all := append([]string{"sslmode=disable"}, settings...)
	return "postgres://" + User + ":" + Password + "@" + addr + "/postgres?" + strings.Join(all, "&")
}

// Socket is the connection string over the unix socket, without a password.
func (s *Server) Socket() string {
	return fmt.Sprintf("host=%s port=%s user=%s dbname=postgres", s.Dir, s.port(), User)
}

// Output is what the server has logged so far.
func (s *Server) Output() string { return s.log.String() }

// SQL runs statements as the superuser and returns what they answer, unadorned.
func (s *Server) SQL(statements string) (string, error) {
	cmd, err := s.command("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", s.Dir, "-p", s.port(), "-U", User, "-d", "postgres", "-c", statements)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// PID is the process id of the server's first process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Pause stops every process of the server, as a machine does that hangs; Resume lets them go on.
func (s *Server) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume() error { return s.signalAll(syscall.SIGCONT) }

// Kill ends every process of the server with SIGKILL and waits for the first.
func (s *Server) Kill() error {
	err := s.signalAll(syscall.SIGKILL)
	<-s.done
	return err
}

// PIDs are the first process and those it has started.
func (s *Server) PIDs() []int { return append([]int{s.PID()}, s.children()...) }

// signalAll signals the first process and the children it has.
func (s *Server) signalAll(sig syscall.Signal) error {
	for _, pid := range s.PIDs() {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signalling postgres: %w", err)
		}
	}
	return nil
}

// children are the processes whose parent is the server's first. Each is in a session of its own, so that a signal to
// the group does not reach it.
func (s *Server) children() []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var out []int
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		pid, rest, _ := strings.Cut(string(text), " (")
		fields := strings.Fields(rest[strings.LastIndex(rest, ")")+1:])
		if len(fields) > 1 && fields[1] == strconv.Itoa(s.PID()) {
			if n, err := strconv.Atoi(pid); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// Stop shuts the server down: connections are cut, transactions rolled back.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Abort ends the server without a checkpoint; it recovers from its log when it starts again.
func (s *Server) Abort() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping postgres: %w", err)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("postgres did not end within %v", stopWithin), s.Kill())
	}
}

// Ended reports whether the server ends by itself within a time, as it does without room for its log.
func (s *Server) Ended(within time.Duration) bool {
	select {
	case <-s.done:
		return true
	case <-time.After(within):
		return false
	}
}

// Remove stops the server and removes its data.
func (s *Server) Remove() error { return errors.Join(s.Stop(), os.RemoveAll(s.Dir)) }

// Standby makes a copy of the running server and starts it as a standby that streams from it. It names itself name, for
// synchronous_standby_names.
func (s *Server) Standby(name string) (*Server, error) {
	b, err := prepare("")
	if err != nil {
		return nil, err
	}
	from := fmt.Sprintf("%s application_name=%s", s.Socket(), name)
	err = s.tool("pg_basebackup", "-D", b.data(), "-d", from, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	if err == nil {
		err = b.Restart()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.Dir))
	}
	return b, nil
}

// Promote makes a standby a primary and waits until it is one.
func (s *Server) Promote() error { return s.tool("pg_ctl", "promote", "-w", "-D", s.data()) }
