//go:build !unix

package server

// ownOnly does nothing where files have no mode.
func ownOnly() {}
