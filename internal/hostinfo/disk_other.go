//go:build !linux && !darwin

package hostinfo

import "errors"

// DiskOf is the file system that a directory lies on.
func DiskOf(string) (*Disk, error) { return nil, errors.New("is not known on this system") }
