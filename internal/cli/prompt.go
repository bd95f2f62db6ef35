package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// input is standard input for data, or nil with -non-interactive.
func (a *app) input() io.Reader {
	if a.flags.nonInteractive {
		return nil
	}
	return a.stdin
}

// askSecret reads one line. On a terminal it asks for it and shows no echo.
func (a *app) askSecret(what string) (string, error) {
	if a.flags.nonInteractive {
		return "", usagef("%s is needed, and -non-interactive forbids asking", what)
	}
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(a.stderr, "%s (will be hidden): ", what)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.stderr)
		return strings.TrimSpace(string(raw)), err
	}
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	line = strings.TrimSpace(line)
	if line == "" {
		return "", usagef("%s is needed: nothing came on standard input", what)
	}
	return line, nil
}

// onTerminal tells whether people, rather than a pipe, read the output.
func (a *app) onTerminal() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
