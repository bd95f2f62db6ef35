package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// defaultMode is the permission of a new audit file.
const defaultMode fs.FileMode = 0o600

// Errors of a file that must not be written to.
var (
	errNotRegular = errors.New("it is not a regular file")
	errLink       = errors.New("it is a symbolic link")
)

// fileOutput appends to a file. The file is looked up below dir at every
// opening, so that no symbolic link leads out of it, and is never a link itself.
// One that was deleted or moved away is begun anew.
type fileOutput struct {
	dir  string // must lead here; may itself be reached through a link
	home string // a directory in dir that is made and is no link, which name is below; empty: dir
	name string // below dir
	mode fs.FileMode
	sync bool // fsync after every batch
	rotation
	now func() time.Time
	log *slog.Logger

	mu     sync.Mutex // held while writing
	file   *os.File   // nil: to be opened by the next write
	fd     int        // of file
	size   int64      // what the file must hold if nobody else writes to it
	torn   bool       // the file ends in part of a line
	begun  time.Time  // when its first entry was written, if it is rotated by age
	hold   time.Time  // no rotation is tried before
	tidy   tidier
	unsure unsure
}

func (o *fileOutput) write(lines []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.current(int64(len(lines))); err != nil {
		return err
	}
	if err := o.append(lines); err != nil {
		return err
	}
	return o.keep(lines)
}

func (o *fileOutput) path() string { return filepath.Join(o.dir, o.home, o.name) }

// append writes lines to the open file.
func (o *fileOutput) append(lines []byte) error {
	if o.torn {
		if _, err := o.file.Write([]byte{'\n'}); err != nil {
			return err
		}
		o.torn = false
		o.size++
	}
	n, err := o.put(lines)
	if err != nil {
		return errors.Join(err, o.mend(lines[:n]))
	}
	o.size += int64(n)
	if o.sync {
		return o.file.Sync()
	}
	return nil
}

// put is the file's Write without the bookkeeping that lets a file be closed
// meanwhile: mu does that here.
func (o *fileOutput) put(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := syscall.Write(o.fd, b[n:])
		n += max(m, 0)
		switch {
		case err != nil && !errors.Is(err, syscall.EINTR):
			return n, err
		case err == nil && m == 0:
			return n, io.ErrShortWrite
		}
	}
	return n, nil
}

// current has the file open that the next bytes go to.
func (o *fileOutput) current(more int64) error {
	if o.file == nil {
		if err := o.begin(); err != nil {
			return err
		}
	}
	if o.bytes == 0 && o.age == 0 {
		return nil
	}
	if now := o.now(); o.due(now, more) {
		return o.rotate(now)
	}
	return nil
}

// begin opens the file, and writes what has to be written again.
func (o *fileOutput) begin() error {
	if err := o.open(); err != nil {
		return err
	}
	return o.repeat()
}

// mend cuts off the part of a line that a failed write has left. Where that
// cannot be done, or somebody else writes to the file too, the next write
// begins on a new line instead.
func (o *fileOutput) mend(written []byte) error {
	whole := int64(bytes.LastIndexByte(written, '\n') + 1)
	if whole == int64(len(written)) {
		o.size += whole
		return nil
	}
	o.torn = true
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != o.size+int64(len(written)) {
		o.size = info.Size()
		return nil
	}
	if err := o.file.Truncate(o.size + whole); err != nil {
		o.size = info.Size()
		return err
	}
	o.torn = false
	o.size += whole
	return nil
}

// open opens the file, and its directories, for appending.
func (o *fileOutput) open() (err error) {
	root, err := o.root()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if dir := filepath.Dir(o.name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// O_NONBLOCK: opening a named pipe that nobody reads must not hang.
	f, err := root.OpenFile(o.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, o.mode)
	if err != nil {
		return err
	}
	if err := o.adopt(root, f); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// adopt takes an opened file once it is known to be what it should be.
func (o *fileOutput) adopt(root *os.Root, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := root.Lstat(o.name)
	if err != nil {
		return err
	}
	switch {
	case !os.SameFile(info, named):
		return errLink
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	if o.home != "" {
		if err := ours(root, o.name, info); err != nil {
			return err
		}
	}
	if info.Mode().Perm() != o.mode {
		if err := f.Chmod(o.mode); err != nil {
			return fmt.Errorf("its permissions cannot be set: %w", err)
		}
	}
	torn, err := endsTorn(root, o.name, info.Size())
	if err != nil {
		return err
	}
	if o.sync {
		// Without this the new file's name may be lost though its bytes are not.
		if err := syncDir(root, filepath.Dir(o.name)); err != nil {
			return err
		}
	}
	o.file, o.fd, o.size, o.torn = f, int(f.Fd()), info.Size(), torn
	if o.age > 0 {
		o.begun = o.now()
	}
	if o.age > 0 && o.size > 0 {
		o.begun = firstEntry(root, o.name, info.ModTime())
	}
	return nil
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// endsTorn reports whether the file does not end with a whole line, as after a
// crash of the machine.
func endsTorn(root *os.Root, name string, size int64) (torn bool, err error) {
	if size == 0 {
		return false, nil
	}
	f, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return last[0] != '\n', nil
}

// reopen lets go of the file, which may have been moved away, and opens the
// path again.
func (o *fileOutput) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.release()
	return errors.Join(err, o.begin())
}

// ready opens the file unless it is open.
func (o *fileOutput) ready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		return nil
	}
	return o.begin()
}

// release closes the file. What it held no name for is to be written again.
func (o *fileOutput) release() error {
	if o.file == nil {
		return nil
	}
	o.sure()
	f := o.file
	o.file = nil
	return f.Close()
}

func (o *fileOutput) close() error {
	o.tidy.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsure.stop()
	err := o.release()
	if len(o.unsure.again) > 0 {
		err = errors.Join(err, o.begin(), o.release())
	}
	return err
}

// streamOutput writes to what the process has open, such as standard output.
type streamOutput struct {
	w    io.Writer
	torn bool // the stream ends in part of a line
}

func (o *streamOutput) write(lines []byte) error {
	if o.torn {
		if _, err := o.w.Write([]byte{'\n'}); err != nil {
			return err
		}
		o.torn = false
	}
	n, err := o.w.Write(lines)
	o.torn = n > 0 && n <= len(lines) && lines[n-1] != '\n'
	return err
}

func (o *streamOutput) reopen() error { return nil }

func (o *streamOutput) ready() error { return nil }

func (o *streamOutput) close() error { return nil }
