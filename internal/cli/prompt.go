package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// input is standard input for data, or nil with -non-interactive. A person at a terminal is told that it is read.
func (a *app) input() io.Reader {
	switch {
	case a.flags.nonInteractive:
		return nil
	case a.asksPeople():
		return &cued{from: a.stdin, cue: func() {
			fmt.Fprintln(a.stderr, "Reading what you type, which is shown. End it with Enter and Ctrl-D.")
		}}
	}
	return a.stdin
}

// cued calls its cue before it is first read.
type cued struct {
	from io.Reader
	once sync.Once
	cue  func()
}

// Read implements io.Reader.
func (c *cued) Read(b []byte) (int, error) {
	c.once.Do(c.cue)
	return c.from.Read(b)
}

// askSecret reads one line that is not empty. On a terminal it asks for it and shows no echo.
func (a *app) askSecret(what string) (string, error) {
	line, err := a.askLine(what)
	if f, ok := a.stdin.(*os.File); err == nil && line == "" && (!ok || !term.IsTerminal(int(f.Fd()))) {
		err = usagef("%s is needed: nothing came on standard input", what)
	}
	return line, err
}

// askLine is askSecret of a line that may be empty.
func (a *app) askLine(what string) (string, error) {
	if a.flags.nonInteractive {
		return "", usagef("%s is needed, and -non-interactive forbids asking", what)
	}
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.readHidden(int(f.Fd()), what)
	}
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// asksPeople tells whether there is a person at a terminal, who may be asked for what is not given. A program that
// this one stands in for asks for a password at most.
func (a *app) asksPeople() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && !a.flags.nonInteractive && a.remembers()
}

// agreed has a person at a terminal type the name of what nothing brings back. Programs, and who says so beforehand, are not asked.
func (a *app) agreed(yes bool, name, what string) error {
	if yes || !a.asksPeople() || a.flags.outputCurl || a.flags.outputPolicy {
		return nil
	}
	fmt.Fprintln(a.stderr, what)
	typed, err := a.askName("Type its name to go on", "")
	if err == nil && cleanPath(typed) != cleanPath(name) {
		return &exit{exitLocal, "Nothing was changed: that is not its name", "-dry-run shows what would go, -yes does not ask"}
	}
	return err
}

// askName asks a person for a name, which is shown; nothing means the usual one.
func (a *app) askName(what, usual string) (string, error) {
	if usual != "" {
		what += " [" + usual + "]"
	}
	fmt.Fprintf(a.stderr, "%s: ", what)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return usual, nil
	}
	return line, nil
}

// readHidden asks for a line and reads it without echo, which is off before anybody is
// asked: who answers at once must not see it. Nothing that ends the program here may leave
// the terminal without echo.
func (a *app) readHidden(fd int, what string) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupt)
	if err := echoOff(fd); err != nil {
		return "", err
	}
	fmt.Fprintf(a.stderr, "%s (will be hidden): ", what)
	defer fmt.Fprintln(a.stderr)
	type line struct {
		raw []byte
		err error
	}
	read := make(chan line, 1)
	go func() {
		raw, err := term.ReadPassword(fd)
		read <- line{raw, err}
	}()
	select {
	case l := <-read:
		return strings.TrimSpace(string(l.raw)), errors.Join(l.err, term.Restore(fd, before))
	case <-interrupt:
		return "", errors.Join(&exit{code: exitLocal, text: "Interrupted"}, term.Restore(fd, before))
	}
}

// onTerminal tells whether people, rather than a pipe, read the output.
func (a *app) onTerminal() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
