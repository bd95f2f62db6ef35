// Strongroom is a secrets manager in one binary.
package main

import (
	"os"

	"github.com/strongroom/strongroom/internal/cli"
	"github.com/strongroom/strongroom/internal/server"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv, server.Commands()...))
}
