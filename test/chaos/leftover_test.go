package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/process"
)

// hold takes a disk's lock, unless a process that lives has it.
func (d *disk) hold() (*os.File, error) {
	f, err := os.OpenFile(d.lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// leftOver are the disks below a directory that are mounted by nobody who lives. A disk is known by its place and its lock, and by
// the loop device at its place having its image.
func leftOver(below string) ([]*disk, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []*disk
	for line := range strings.SplitSeq(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], below+"/") || filepath.Base(fields[4]) != "disk" {
			continue
		}
		d := diskIn(filepath.Dir(fields[4]))
		backing, err := os.ReadFile("/sys/dev/block/" + fields[2] + "/loop/backing_file")
		if err == nil && strings.TrimSpace(string(backing)) == d.image && d.abandoned() {
			all = append(all, d)
		}
	}
	return all, nil
}

// abandoned reports whether the disk has a lock that nobody holds.
func (d *disk) abandoned() bool {
	if _, err := os.Lstat(d.lock); err != nil {
		return false
	}
	f, err := d.hold()
	return err == nil && f.Close() == nil
}

// unmountLeftOver unmounts what runs that were killed have left.
func unmountLeftOver(t *testing.T) {
	t.Helper()
	all, err := leftOver(filepath.Clean(os.TempDir()))
	must(t, err)
	for _, d := range all {
		if err := errors.Join(d.unmount(), os.RemoveAll(filepath.Dir(d.dir))); err != nil {
			t.Logf("a disk that a killed run has left: %v", err)
		}
	}
}

// orphanVar makes this test's program mount a disk in a directory, say so, and wait for its end.
const orphanVar = "STRONGROOM_CHAOS_DISK"

// beOrphan is the main of a process that mounts a disk and does not unmount it.
func beOrphan(base string) error {
	d := diskIn(base)
	held, err := d.hold()
	if err != nil {
		return err
	}
	defer held.Close()
	if err := errors.Join(os.Mkdir(d.dir, 0o700), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 8<<20), command("mkfs.ext4", "-q", "-F", d.image), d.mount()); err != nil {
		return err
	}
	fmt.Println("mounted")
	select {}
}

// TestLeftOverDisk kills a process that has mounted a disk. As long as it lives the disk is left alone.
func TestLeftOverDisk(t *testing.T) {
	if !possible(t) {
		return
	}
	base, temporary := t.TempDir(), filepath.Clean(os.TempDir())
	exe, err := os.Executable()
	must(t, err)
	p, err := process.Launch("", append(os.Environ(), orphanVar+"="+base), exe)
	must(t, err)
	must(t, await("a disk is mounted", func() bool { return strings.Contains(p.Output(), "mounted") }))
	unmountLeftOver(t)
	if err := diskIn(base).unmount(); err != nil {
		t.Fatalf("a disk that is in use was unmounted: %v", err)
	}
	must(t, diskIn(base).mount())
	must(t, p.Kill())
	unmountLeftOver(t)
	if left, err := leftOver(temporary); len(left) > 0 || err != nil {
		t.Errorf("%d disks are left: %v", len(left), err)
	}
	if err := diskIn(base).unmount(); err == nil {
		t.Error("the disk of a process that was killed is still mounted")
	}
}
