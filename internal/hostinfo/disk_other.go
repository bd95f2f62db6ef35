//go:build !linux && !darwin

package hostinfo

import "errors"

func diskOf(string) (*Disk, error) { return nil, errors.New("is not known on this system") }
