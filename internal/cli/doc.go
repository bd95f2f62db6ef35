// Package cli owns the command line: the commands, how their arguments are read,
// and how answers and failures are shown. It speaks to a server through package
// client only.
//
// # Layout
//
// A command is a value of type command: its help, its flags and a function. The
// files cmd_*.go hold them, one family each, and root.go lists the families.
// Everything that commands share lives on the app (streams, environment, global
// flags) and on the call (one run of one command).
//
// # Arguments
//
// Flags work with one dash or two and anywhere on the line, as users of Vault's
// command line write them: rewrite turns "-format=json" into "--format=json"
// before cobra sees it.
//
// # Exit codes
//
// 0 is success. 1 is a mistake on this side: usage, an unreadable file, an
// unknown field. 2 is the server's answer or its absence. status answers 2 for a
// sealed server and 1 for any error, so that scripts can tell these apart.
package cli
