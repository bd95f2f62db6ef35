package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Private is a server of somebody else's that a test has for itself.
type Private struct {
	cmd  *exec.Cmd
	log  *Log
	done <-chan struct{}
}

// Find is the path of a server's program by one of its names. Debian keeps them where only root looks.
func Find(names ...string) (string, bool) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		for _, name := range names {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, true
			}
		}
	}
	return "", false
}

// Serve starts a server and waits until it is ready, by what it has logged or as else is seen. One that ends first, or is not
// ready in time, is an error that carries its log.
func Serve(cmd *exec.Cmd, ready func(log string) bool) (*Private, error) {
	name := filepath.Base(cmd.Path)
	p := &Private{cmd: cmd, log: &Log{}}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	var err error
	if p.done, err = Child(cmd, syscall.SIGKILL, p.log); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	deadline := time.After(readyWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready(p.Output()) {
		select {
		case <-p.done:
			return nil, fmt.Errorf("%s has ended:\n%s", name, p.log)
		case <-deadline:
			return nil, errors.Join(fmt.Errorf("%s is not ready:\n%s", name, p.log), p.Kill())
		case <-tick.C:
		}
	}
	return p, nil
}

// Kill ends the server, if it has not ended, and waits for it.
func (p *Private) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Output is what the server has logged so far.
func (p *Private) Output() string { return p.log.String() }
