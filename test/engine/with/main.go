// Command with runs a command, such as go test, over one of the product's stores: it starts what the store needs, has the tests
// learn of it by the environment, and ends it with the command. `go run ./test/engine/with postgres go test ./test/compat`.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/strongroom/strongroom/test/engine"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: with "+strings.Join(engine.Names(), "|")+" COMMAND [ARG...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "with %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func run(name string, command []string) (err error) {
	e, err := engine.StartUnsynced(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), engine.Variable+"="+string(e.Template()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
