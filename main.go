// Strongroom keeps secrets and manages them. This file starts the program; the
// commands are in internal/cli.
package main

import (
	"os"

	"github.com/strongroom/strongroom/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }
