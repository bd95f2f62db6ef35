//go:build !nosync

package pebble

// neverSync is false in every build but the control of the fault tests.
const neverSync = false
