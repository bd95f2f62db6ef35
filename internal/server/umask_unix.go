//go:build unix

package server

import "syscall"

// ownOnly makes what the process writes from now on its owner's alone.
func ownOnly() { syscall.Umask(0o077) }
