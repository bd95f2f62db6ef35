//go:build linux || darwin

package hostinfo

import "syscall"

// DiskOf is the file system that a directory lies on.
func DiskOf(dir string) (*Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil, err
	}
	size := uint64(st.Bsize)
	d := &Disk{Path: dir, Total: st.Blocks * size, Free: st.Bavail * size, Used: (st.Blocks - st.Bfree) * size}
	d.UsedPercent = percent(d.Used, d.Used+d.Free)
	return d, nil
}
