//go:build unix

package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesAreTheOwnersAlone starts a server as a shell would whose umask lets
// everybody read and write.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "data")
	cmd := serverCommand(nil)
	cmd.SetArgs([]string{"--data=" + dir, "--listen=127.0.0.1:0"})
	out, in := io.Pipe()
	cmd.SetOut(in)
	cmd.SetErr(io.Discard)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		ended <- errors.Join(err, in.Close())
	}()
	files := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !strings.Contains(lines.Text(), "listens on") {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the store needed it for a moment
			}
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is %v", path, info.Mode())
			}
			files++
			return err
		})
		if err != nil {
			t.Error(err)
		}
		stop()
	}
	stop()
	if err := <-ended; err != nil || files < 5 {
		t.Errorf("%d files; the server ended with %v", files, err)
	}
}
