package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// diskLog is a file that takes the log, and can be opened anew once it was
// rotated.
type diskLog struct {
	path string

	mu sync.Mutex
	f  *os.File
}

// openLog is where the log goes: standard error and, where one is configured, a
// file. The file is nil when none is.
func (c *Config) openLog(stderr io.Writer) (io.Writer, *diskLog, error) {
	if c.LogFile == "" {
		return stderr, nil, nil
	}
	path := c.LogFile
	if info, err := os.Stat(path); strings.HasSuffix(path, "/") || err == nil && info.IsDir() {
		path = filepath.Join(path, "strongroom.log")
	}
	l := &diskLog{path: path}
	if err := l.reopen(); err != nil {
		return nil, nil, err
	}
	return io.MultiWriter(stderr, l), l, nil
}

// Write writes one line. What the file does not take, standard error has.
func (l *diskLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(p)
}

// reopen opens the file, if there is one, at its path; it keeps the one it has when
// it cannot.
func (l *diskLog) reopen() error {
	if l == nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log_file: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.f
	l.f = f
	if old == nil {
		return nil
	}
	return old.Close()
}

// close closes the file, if there is one.
func (l *diskLog) close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
