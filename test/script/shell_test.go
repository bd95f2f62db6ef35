package script

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
)

// terminal is a pseudo-terminal whose output is kept.
type terminal struct {
	master *os.File
	mu     sync.Mutex
	out    bytes.Buffer
	more   chan struct{} // gets a value when there is more output
}

// ioctl makes a request about a file (Linux's ioctl_tty(2)).
func ioctl(f *os.File, request uintptr, value *uint32) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
		return errno
	}
	return nil
}

// startOnTerminal starts a program as the leader of a session on a new terminal.
func startOnTerminal(cmd *exec.Cmd) (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var number, unlock uint32
	if err := ioctl(master, syscall.TIOCGPTN, &number); err != nil {
		return nil, err
	}
	if err := ioctl(master, syscall.TIOCSPTLCK, &unlock); err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &terminal{master: master, more: make(chan struct{}, 1)}
	go t.read()
	return t, slave.Close()
}

// read keeps what is printed until the terminal is closed.
func (t *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.out.Write(buf[:n])
		t.mu.Unlock()
		select {
		case t.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.String()
}

// until waits, for at most half a minute, for output that matches.
func (t *terminal) until(want *regexp.Regexp) error {
	deadline := time.After(30 * time.Second)
	for !want.MatchString(t.text()) {
		select {
		case <-t.more:
		case <-deadline:
			return fmt.Errorf("no %s in time, but:\n%s", want, t.text())
		}
	}
	return nil
}

// shellCommand types a text, in Go's escapes, into a shell that people would have in
// front of them, once it has shown the prompt "ready> ", and waits for a match in
// what it prints.
func shellCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "shell PROGRAM TEXT REGEXP")
	keys, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	cmd := exec.Command(args[0], "-i")
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "STRONGROOM_ADDR", "STRONGROOM_TOKEN"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Env = append(cmd.Env, "TERM=dumb")
	t, err := startOnTerminal(cmd)
	ts.Check(err)
	failed := t.until(regexp.MustCompile("ready> "))
	if failed == nil {
		_, failed = t.master.WriteString(keys)
	}
	if failed == nil {
		failed = t.until(regexp.MustCompile(args[2]))
	}
	ts.Check(cmd.Process.Kill())
	ts.Check(t.master.Close())
	// It was killed, which is no news.
	if err := cmd.Wait(); err != nil {
		ts.Logf("%s: %v", args[0], err)
	}
	ts.Check(failed)
}
