//go:build nolog

package pebble

// neverLog builds a store that acknowledges what it has in its own memory alone: a process that is killed loses it. It serves
// only to show that the fault tests would notice.
const (
	neverSync = true
	neverLog  = true
)
