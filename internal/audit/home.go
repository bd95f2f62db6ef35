package audit

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// athome makes sure that the spool's path still leads to the ring. A file that
// was deleted takes entries as before and is gone with the process, and one that
// was moved away is not found at the next start. Then the ring is begun anew with
// all that it holds. mu is held.
func (o *spooled) athome() error {
	if o.ring.leadsTo(filepath.Join(o.dir, o.name)) {
		return nil
	}
	if err := o.ring.moveTo(o.dir, o.name); err != nil {
		return errors.Join(errSpoolGone, err)
	}
	o.log.Error("the spool was deleted or moved away; it is begun anew with what it held", slog.String("file", filepath.Join(o.dir, o.name)))
	return nil
}

// leadsTo reports whether a path leads to the ring's file. One that cannot be
// looked up is no reason to doubt it, as long as the file has a name.
func (r *ring) leadsTo(path string) bool {
	info, err := r.file.Stat()
	if err != nil {
		return true
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Nlink == 0 {
		return false
	}
	named, err := os.Lstat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return os.SameFile(info, named)
}

// moveTo makes a new file the ring's, which holds what the old one held before
// anybody can take it for a ring. Nothing changes where that fails.
func (r *ring) moveTo(dir, name string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := createRing(root, name, os.O_EXCL)
	if err != nil {
		return err
	}
	moved := &ring{file: f, size: r.size, turn: r.turn, tail: r.tail, head: r.head}
	if err := moved.fill(r); err != nil {
		return errors.Join(err, f.Close(), root.Remove(name))
	}
	if err := syncDir(root, filepath.Dir(name)); err != nil {
		return errors.Join(err, f.Close(), root.Remove(name))
	}
	old := r.file
	r.file, r.turn = f, moved.turn
	return old.Close()
}

// fill gives a new ring the space and the records of another, and its header last.
func (r *ring) fill(from *ring) error {
	if err := syscall.Flock(int(r.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	if err := reserve(r.file, ringStart+int64(r.size)); err != nil {
		return err
	}
	for at := r.tail; at != r.head; {
		b := make([]byte, min(r.head-at, 1<<20))
		if err := errors.Join(from.readAt(b, at), r.writeAt(b, at)); err != nil {
			return err
		}
		at += uint64(len(b))
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	return r.release(r.tail)
}
