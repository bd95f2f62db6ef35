//go:build !nosync && !nolog

package pebble

// neverSync and neverLog are false in every build but the controls of the fault tests.
const (
	neverSync = false
	neverLog  = false
)
