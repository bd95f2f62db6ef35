//go:build nosync && !nolog

package pebble

// neverSync builds a store that leaves the disk to itself. It loses acknowledged writes, and serves only to show that the
// fault tests would notice.
const (
	neverSync = true
	neverLog  = false
)
