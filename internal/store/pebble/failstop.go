package pebble

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guarded runs a call of Pebble's that answers some I/O errors with a panic,
// and returns such an error.
func guarded(call func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("the engine gave up: %w", r)
		default:
			err = fmt.Errorf("the engine gave up: %v", r)
		}
	}()
	return call()
}

// stopFS makes an error in writing to the store's directory, tables excepted, or
// in listing it, end writing at the place where it happens: the goroutine that met it stays there.
// Pebble answers errors on the write-ahead log and in syncing the directory with
// a panic, on whatever goroutine it is on and with its locks in a state that
// cannot be recovered from, and an Open that fails late closes its caches under
// compactions that still run. That would take the process with it, readers and all.
type stopFS struct {
	vfs.FS
	dir  string
	log  *engineLog
	step int // by how much a write-ahead log is lengthened at once, in bytes
}

// Create implements vfs.FS.
func (s stopFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, category)
	return s.guard(name, f, 0, err)
}

// ReuseForWrite implements vfs.FS.
func (s stopFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var size int64
	if info, err := s.FS.Stat(oldname); err == nil {
		size = info.Size()
	}
	f, err := s.FS.ReuseForWrite(oldname, newname, category)
	return s.guard(newname, f, size, err)
}

// OpenDir implements vfs.FS.
func (s stopFS) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil || name != s.dir {
		return f, err
	}
	return stopFile{f, s.log}, nil
}

// Unwrap implements vfs.FS.
func (s stopFS) Unwrap() vfs.FS { return s.FS }

// List implements vfs.FS.
func (s stopFS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	if dir == s.dir {
		s.log.stop(err)
	}
	return names, err
}

// Rename implements vfs.FS.
func (s stopFS) Rename(oldname, newname string) error {
	err := s.FS.Rename(oldname, newname)
	if s.guarded(newname) {
		s.log.stop(err)
	}
	return err
}

// guarded reports whether name is a file of the store's own, and not a table.
func (s stopFS) guarded(name string) bool {
	table := strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
	return !table && s.PathDir(name) == s.dir
}

// guard watches over a file that is to be written and has a size.
func (s stopFS) guard(name string, f vfs.File, size int64, err error) (vfs.File, error) {
	if !s.guarded(name) {
		return f, err
	}
	s.log.stop(err)
	if strings.HasSuffix(name, ".log") {
		return &walFile{stopFile: stopFile{f, s.log}, size: size, step: s.step}, nil
	}
	return stopFile{f, s.log}, nil
}

// stopFile is a file whose errors end writing.
type stopFile struct {
	vfs.File
	log *engineLog
}

// Write implements vfs.File.
func (f stopFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.log.stop(err)
	return n, nil
}

// Sync implements vfs.File.
func (f stopFile) Sync() error {
	f.log.stop(f.File.Sync())
	return nil
}

// SyncData implements vfs.File.
func (f stopFile) SyncData() error {
	f.log.stop(f.File.SyncData())
	return nil
}

// SyncTo implements vfs.File.
func (f stopFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	f.log.stop(err)
	return full, nil
}

// Close implements vfs.File.
func (f stopFile) Close() error {
	f.log.stop(f.File.Close())
	return nil
}

// walFile is a write-ahead log that is longer than what is written to it: zeros lie
// ahead, which Pebble reads as the log's end. A sync then finds the file's size
// unchanged and writes no inode, which is most of what it costs on an idle disk.
type walFile struct {
	stopFile
	offset, size int64
	step         int
}

// Write implements vfs.File.
func (f *walFile) Write(p []byte) (int, error) {
	if end := f.offset + int64(len(p)); end > f.size {
		f.lengthen(end)
	}
	n, err := f.stopFile.Write(p)
	f.offset += int64(n)
	return n, err
}

// lengthen writes zeros behind what is about to be written. That it fails is no
// error: the write then lengthens the file itself.
func (f *walFile) lengthen(end int64) {
	n, err := f.WriteAt(make([]byte, f.step), end)
	if err == nil {
		f.size = end + int64(n)
	}
}
