// Strongroom is a secrets manager in one binary.
package main

import (
	"os"

	"github.com/strongroom/strongroom/internal/cli"
	"github.com/strongroom/strongroom/internal/server"
)

func main() {
	commands := server.Commands(cli.KeepToken(os.Args, os.Getenv))
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv, commands...))
}
