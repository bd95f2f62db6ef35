package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

const testRing = 4096

func ringIn(t testing.TB, dir string) *ring {
	t.Helper()
	r, err := openRing(dir, "s/spool", testRing)
	must(t, err)
	return r
}

// all is what a ring holds, batch by batch.
func all(t testing.TB, r *ring) []string {
	t.Helper()
	var out []string
	for at := r.tail; at != r.head; {
		lines, next, err := r.get(at)
		must(t, err)
		out, at = append(out, string(lines)), next
	}
	return out
}

// A spool for which there is no room takes none and leaves nothing.
func TestRingWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	var before, after syscall.Statfs_t
	must(t, syscall.Statfs(dir, &before))
	if _, err := openRing(dir, "s/spool", 1<<50); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a petabyte: %v", err)
	}
	must(t, syscall.Statfs(dir, &after))
	if left, err := os.ReadDir(filepath.Join(dir, "s")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if after.Bavail < before.Bavail/2 {
		t.Errorf("%d blocks were free, and %d are", before.Bavail, after.Bavail)
	}
}

// A ring is a queue of batches, whatever was put, released and opened again.
func TestRingIsAQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		r := ringIn(t, dir)
		var model []string
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1, 2:
				lines := strings.Repeat("x", rapid.IntRange(0, 900).Draw(rt, "size")) + "\n"
				used := 0
				for _, m := range model {
					used += recordHeader + len(m)
				}
				err := r.put([]byte(lines))
				if full := used+recordHeader+len(lines) > testRing; full != errors.Is(err, errSpoolFull) {
					rt.Fatalf("%d bytes used, %d more: %v", used, len(lines), err)
				} else if !full {
					must(t, err)
					model = append(model, lines)
				}
			case 3:
				if len(model) > 0 {
					_, next, err := r.get(r.tail)
					must(t, err)
					must(t, r.release(next))
					model = model[1:]
				}
			case 4:
				must(t, r.file.Close())
				r = ringIn(t, dir)
			case 5:
				if _, err := openRing(dir, "s/spool", testRing); !errors.Is(err, errSpoolTaken) {
					rt.Fatalf("opened twice: %v", err)
				}
			}
			if got := all(t, r); strings.Join(got, "|") != strings.Join(model, "|") {
				rt.Fatalf("%d batches, want %d", len(got), len(model))
			}
		}
		must(t, r.file.Close())
	})
}

// A write that a crash cut short, at any byte and leaving any of the rest, costs
// no batch before it.
func TestRingOutlivesATornWrite(t *testing.T) {
	dir := t.TempDir()
	r := ringIn(t, dir)
	for range 12 { // so that the last record goes around the end
		must(t, r.put([]byte(strings.Repeat("old", 200)+"\n")))
		must(t, r.release(r.head))
	}
	must(t, r.put([]byte("first\n")))
	before, err := os.ReadFile(filepath.Join(dir, "s/spool"))
	must(t, err)
	record := []byte(strings.Repeat("torn", 100) + "\n")
	must(t, r.put(record))
	must(t, r.file.Close())
	after, err := os.ReadFile(filepath.Join(dir, "s/spool"))
	must(t, err)
	var changed []int
	for i := range after {
		if after[i] != before[i] {
			changed = append(changed, i)
		}
	}
	if len(changed) < 100 {
		t.Fatal("nothing was written")
	}
	for _, n := range []int{0, 1, len(changed) / 3, len(changed) / 2, len(changed) - 1, len(changed)} {
		for _, backwards := range []bool{false, true} {
			torn := bytes.Clone(before)
			for i, at := range changed {
				if (i < n) != backwards {
					torn[at] = after[at]
				}
			}
			d := t.TempDir()
			must(t, os.Mkdir(filepath.Join(d, "s"), 0o700))
			must(t, os.WriteFile(filepath.Join(d, "s/spool"), torn, 0o600))
			r := ringIn(t, d)
			got := all(t, r)
			whole := n == len(changed) && !backwards || n == 0 && backwards
			if want := map[bool]int{false: 1, true: 2}[whole]; len(got) != want || got[0] != "first\n" {
				t.Errorf("%d of %d bytes, backwards %v: %q", n, len(changed), backwards, got)
			}
			must(t, r.put([]byte("next\n")))
			if got := all(t, r); got[len(got)-1] != "next\n" {
				t.Errorf("%q", got)
			}
			must(t, r.file.Close())
		}
	}
}

// The space is the ring's from the beginning: a disk that others fill leaves it
// alone. Its control is a file that merely has the length.
func TestRingReservesItsSpace(t *testing.T) {
	dir := t.TempDir()
	r := ringIn(t, dir)
	defer func() { must(t, r.file.Close()) }()
	onDisk := func(f *os.File) int64 {
		var st syscall.Stat_t
		must(t, syscall.Fstat(int(f.Fd()), &st))
		return int64(st.Blocks) * 512
	}
	if n := onDisk(r.file); n < ringStart+testRing {
		t.Errorf("%d bytes on disk", n)
	}
	hollow, err := os.Create(filepath.Join(dir, "hollow"))
	must(t, err)
	defer func() { must(t, hollow.Close()) }()
	must(t, hollow.Truncate(ringStart+testRing))
	if n := onDisk(hollow); n >= ringStart+testRing {
		t.Errorf("the control has %d bytes on disk", n)
	}
	must(t, zero(hollow, ringStart+testRing))
	if n := onDisk(hollow); n < ringStart+testRing {
		t.Errorf("zeros have %d bytes on disk", n)
	}
}

func TestRingRefusesWhatItIsNot(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "text"), []byte("an audit log\n"), 0o600))
	must(t, os.Symlink("text", filepath.Join(dir, "link")))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for _, name := range []string{"text", "link", "dir", "fifo", "../up"} {
		if r, err := openRing(dir, name, testRing); err == nil {
			t.Errorf("%s was opened: %+v", name, r)
		}
	}
	if got := read(t, filepath.Join(dir, "text")); got != "an audit log\n" {
		t.Errorf("%q", got)
	}
}

// A new size is taken once nothing is held.
func TestRingChangesItsSizeWhenEmpty(t *testing.T) {
	dir := t.TempDir()
	r := ringIn(t, dir)
	must(t, r.put([]byte("kept\n")))
	must(t, r.file.Close())
	r, err := openRing(dir, "s/spool", 2*testRing)
	must(t, err)
	if got := all(t, r); r.size != testRing || len(got) != 1 {
		t.Errorf("%d bytes, %q", r.size, got)
	}
	must(t, r.release(r.head))
	must(t, r.file.Close())
	r, err = openRing(dir, "s/spool", 2*testRing)
	must(t, err)
	must(t, r.put(make([]byte, testRing)))
	if r.size != 2*testRing {
		t.Errorf("%d bytes", r.size)
	}
	must(t, r.file.Close())
}

func FuzzRing(f *testing.F) {
	dir := f.TempDir()
	r := ringIn(f, dir)
	must(f, r.put([]byte("one\n")))
	must(f, r.file.Close())
	b, err := os.ReadFile(filepath.Join(dir, "s/spool"))
	must(f, err)
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "f"), b, 0o600))
		r, err := openRing(dir, "f", testRing)
		if err != nil {
			return
		}
		all(t, r)
		if r.head-r.tail > r.size {
			t.Fatalf("%d bytes in %d", r.head-r.tail, r.size)
		}
		must(t, r.file.Close())
	})
}
