package process

import (
	"os/exec"
	"syscall"
)

// bind has a command signalled at the end of the thread that starts it.
func bind(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = sig
}
