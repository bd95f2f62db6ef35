package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/process"
)

const (
	// ioctlShutdown is FS_IOC_SHUTDOWN of linux/fs.h; noLogFlush is its mode that drops what the journal has not written.
	ioctlShutdown = 0x8004587d
	noLogFlush    = 2

	diskBytes = 512 << 20
)

// disk is an ext4 file system in a loop file. Who uses it holds a lock, which nobody does any more once that process has ended,
// however it ended.
type disk struct{ image, dir, lock string }

func diskIn(base string) *disk {
	return &disk{filepath.Join(base, "image"), filepath.Join(base, "disk"), filepath.Join(base, "lock")}
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	unmountLeftOver(t)
	d := diskIn(t.TempDir())
	held, err := d.hold()
	if err != nil {
		t.Fatal(err)
	}
	run := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	run(os.Mkdir(d.dir, 0o700))
	run(os.WriteFile(d.image, nil, 0o600))
	run(os.Truncate(d.image, diskBytes))
	run(command("mkfs.ext4", "-q", "-F", "-m", "0", d.image))
	run(d.mount())
	t.Cleanup(func() {
		if err := errors.Join(d.unmount(), held.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// command runs a program of the system and says what is missing or went wrong.
func command(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed: install e2fsprogs and mount (apt-get install e2fsprogs mount)", program)
	}
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", program, args, err, out)
	}
	return nil
}

func (d *disk) mount() error { return command("mount", "-o", "loop", d.image, d.dir) }

// unmount waits for who was killed a moment ago and still holds a file.
func (d *disk) unmount() error {
	var err error
	for range 100 {
		if err = command("umount", d.dir); err == nil {
			return nil
		}
		<-time.After(100 * time.Millisecond)
	}
	return err
}

// cut takes the power away: nothing that is not on the disk by now ever gets there.
func (d *disk) cut() error {
	fd, err := unix.Open(d.dir, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(fd, ioctlShutdown, noLogFlush), unix.Close(fd))
}

// cutPower runs lives that end with a power cut, and returns all that was lost. What a server refuses whose disk is gone is
// right, and of no interest.
func cutPower(t *testing.T, program string) (lost []string, acked int) {
	t.Helper()
	d, next, l, token := newDisk(t), moments(t), newLedger(), ""
	data := filepath.Join(d.dir, "data")
	for k := range *cuts + 1 {
		if k == *cuts {
			l.ending()
		}
		var missing []string
		token, missing, _ = life(t, program, data, token, l, next(), func(s *process.Server) {
			l.power(false)
			if err := errors.Join(d.cut(), s.Kill(), d.unmount(), d.mount()); err != nil {
				t.Fatal(err)
			}
		})
		if lost = append(lost, missing...); len(lost) > 0 {
			break
		}
	}
	return lost, l.total
}

// possible tells whether power can be cut here. Where it cannot, the reason is printed and the kill test stands alone.
func possible(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("NOT RUN: mounting a loop file and shutting its file system down take root")
		return false
	}
	return true
}

func TestPowerCut(t *testing.T) {
	if !possible(t) {
		return
	}
	lost, acked := cutPower(t, bin)
	report(t, lost)
	t.Logf("%d power cuts, %d acknowledged writes", *cuts, acked)
	if acked < *cuts*writers {
		t.Errorf("only %d writes were acknowledged: this shows nothing", acked)
	}
}

// TestPowerCutControl must lose writes: the same cuts, with a server that never syncs.
func TestPowerCutControl(t *testing.T) {
	if !possible(t) {
		return
	}
	start := time.Now()
	lost, acked := cutPower(t, control)
	if len(lost) == 0 {
		t.Errorf("a server that never syncs lost none of %d acknowledged writes in %d power cuts: the test sees nothing", acked, *cuts)
	}
	t.Logf("the control lost as it must after %v: %s", time.Since(start), brief(lost))
}
