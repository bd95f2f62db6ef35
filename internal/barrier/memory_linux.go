package barrier

import "syscall"

// madvDontDump is MADV_DONTDUMP of Linux, which package syscall does not name.
const madvDontDump = 0x10

// mapPage maps one page, locked in memory if the process may, and left out of core dumps.
func mapPage() (page []byte, locked bool, err error) {
	page, err = syscall.Mmap(-1, 0, syscall.Getpagesize(),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, false, err
	}
	locked = syscall.Mlock(page) == nil
	if err := syscall.Madvise(page, madvDontDump); err != nil {
		return nil, false, err
	}
	return page, locked, nil
}

func unmapPage(page []byte) error { return syscall.Munmap(page) }
