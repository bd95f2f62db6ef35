package cli

import "golang.org/x/sys/unix"

// echoOff has a terminal no longer show what is typed. What is typed before it is read
// waits in the terminal, unseen.
func echoOff(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
