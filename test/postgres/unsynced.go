package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// syncsOfC are the calls of the C library by which a server writes to the disk, doing nothing.
const syncsOfC = `int fsync(int f) { return 0; }
int fdatasync(int f) { return 0; }
int sync_file_range(int f, long a, long b, unsigned c) { return 0; }
`

// Unsynced builds a library in dir, which everybody may then read, and returns an environment for StartIn: with it a server that believes itself
// to be safe does not wait for the disk. (A server with fsync off is one that the product refuses.) It needs a C compiler.
func Unsynced(dir string) (env []string, err error) {
	source, lib := filepath.Join(dir, "unsynced.c"), filepath.Join(dir, "unsynced.so")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(source, []byte(syncsOfC), 0o600)); err != nil {
		return nil, err
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", lib, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building a library without syncs: %w: %s", err, out)
	}
	return []string{"LD_PRELOAD=" + lib}, nil
}
