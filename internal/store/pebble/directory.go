package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	crdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/strongroom/strongroom/internal/store"
)

const (
	// formatFile holds the version of everything in the directory. It is a file of
	// its own, read before anything else, so that a version that is too new can be
	// refused before Pebble touches the directory.
	formatFile    = "FORMAT"
	formatTemp    = "FORMAT.new"
	formatPrefix  = "strongroom store "
	formatVersion = 1
	formatLimit   = 128 // bytes read of the format file
	lockFile      = "LOCK"
)

// ErrFormat says that the directory does not hold a store that this version can
// read; nothing in it has been touched.
var ErrFormat = errors.New("store: not a store that this version can read")

// claim locks the directory for this process and sees to its format file.
func claim(fs vfs.FS, dir string) (*crdb.Lock, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := checkFormat(fs, dir); err != nil {
		return nil, err
	}
	lock, err := crdb.LockDirectory(dir, fs)
	if err != nil {
		return nil, lockError(dir, err)
	}
	if err := ensureFormat(fs, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// lockError tells a lock that is held from one that cannot be had. Pebble has no
// error value for a lock held within the process.
func lockError(dir string, err error) error {
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "held by current process") {
		return fmt.Errorf("%w: %s", store.ErrLocked, dir)
	}
	return fmt.Errorf("locking the data directory %s: %w", dir, err)
}

// checkFormat refuses a directory that this version cannot read. A directory
// without a format file must hold nothing but what an interrupted first start
// leaves.
func checkFormat(fs vfs.FS, dir string) error {
	version, err := readFormat(fs, dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return checkEmpty(fs, dir)
	case err != nil:
		return err
	case version > formatVersion:
		return fmt.Errorf("%w: %s has format %d, and this version reads up to %d", ErrFormat, dir, version, formatVersion)
	}
	return nil
}

func checkEmpty(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("reading the data directory: %w", err)
	}
	for _, name := range names {
		if !slices.Contains([]string{lockFile, formatTemp, "lost+found"}, name) {
			return fmt.Errorf("%w: %s holds %s but no %s", ErrFormat, dir, name, formatFile)
		}
	}
	return nil
}

func readFormat(fs vfs.FS, dir string) (version int, err error) {
	f, err := fs.Open(fs.PathJoin(dir, formatFile))
	if err != nil {
		return 0, fmt.Errorf("opening the format file: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, formatLimit))
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("reading the format file: %w", err)
	}
	return parseFormat(string(b))
}

// parseFormat reads the content of a format file: one line, the version last.
func parseFormat(content string) (int, error) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(content, "\n"), formatPrefix)
	version, err := strconv.Atoi(digits)
	if !ok || err != nil || version < 1 {
		return 0, fmt.Errorf("%w: its %s file is damaged", ErrFormat, formatFile)
	}
	return version, nil
}

// ensureFormat writes the format file of a new directory, whole or not at all.
func ensureFormat(fs vfs.FS, dir string) error {
	_, err := readFormat(fs, dir)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeFormat(fs, dir); err != nil {
		return fmt.Errorf("writing the format file: %w", err)
	}
	return nil
}

func writeFormat(fs vfs.FS, dir string) error {
	temp := fs.PathJoin(dir, formatTemp)
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, formatPrefix+strconv.Itoa(formatVersion)+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temp, fs.PathJoin(dir, formatFile)); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Checkpoint makes, while the store is in use, a copy of it in dir, which must
// not exist. The copy is of one moment, holds every commit acknowledged before
// the call, and opens as a store. On one filesystem it shares most files by
// hard links. The format file is written last: a copy without it is not whole,
// and is refused.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	v, err := s.view(ctx)
	if err != nil {
		return err
	}
	defer s.release(v)
	err = s.log.unlessFailed(func() error { return s.db.Checkpoint(dir) })
	if err != nil {
		return fmt.Errorf("copying the store: %w", damaged("store", err))
	}
	if err := writeFormat(s.fs, dir); err != nil {
		return fmt.Errorf("completing the copy of the store: %w", err)
	}
	return nil
}
