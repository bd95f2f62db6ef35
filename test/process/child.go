package process

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
)

// Child starts a command that does not outlive this process, on Linux at least: however this one ends, the child is sent the
// signal. What it returns is closed when the child has ended and its exit status is collected; a status other than zero is
// noted in log.
//
// Linux sends the signal when the thread that has started the child ends, be it that the process goes on. So the child has
// a thread that does nothing but to wait for it.
func Child(cmd *exec.Cmd, sig syscall.Signal, log io.Writer) (<-chan struct{}, error) {
	bind(cmd, sig)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(log, "[process ended: %v]\n", err)
		}
	}()
	return ended, <-started
}
