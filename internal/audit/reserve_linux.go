package audit

import (
	"errors"
	"os"
	"syscall"
)

// reserve gives a file its space on the disk, so that writing to it later needs none. It leaves a sixteenth of what is free
// to others, and takes nothing where that is not enough: a file system hands out what it has before it says so.
func reserve(f *os.File, size int64) error {
	var disk syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &disk); err != nil {
		return err
	}
	if free := disk.Bavail * uint64(disk.Bsize); uint64(size) > free-free/16 {
		return syscall.ENOSPC
	}
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return zero(f, size)
	}
	return err
}
