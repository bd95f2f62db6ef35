package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// markerFile says, beside the store, which cluster the store holds. A store
// that has lost its rows, such as by a log file that was removed, must not be taken
// for a new one.
const markerFile = "cluster"

// ErrLost says that the store no longer holds what it was made with.
var ErrLost = errors.New("the store has lost what it held")

// checkMarker fails when the data directory was used for a cluster that the
// store no longer knows.
func (s *Server) checkMarker(ctx context.Context) error {
	if s.config.DataDir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(s.config.DataDir, markerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which cluster the data directory belongs to: %w", err)
	}
	known := ""
	if done, err := s.seal.Initialized(ctx); err != nil {
		return err
	} else if done {
		if known, err = s.barrier.ReadClusterID(ctx); err != nil {
			return err
		}
	}
	if want := strings.TrimSpace(string(text)); want != known {
		return fmt.Errorf("%w: %s was made for cluster %s, and its store does not know it; files of the store are missing: restore them from a backup, or use an empty directory",
			ErrLost, s.config.DataDir, want)
	}
	return nil
}

// mark notes which cluster the data directory belongs to, once.
func (s *Server) mark() error {
	if s.config.DataDir == "" {
		return nil
	}
	path := filepath.Join(s.config.DataDir, markerFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("noting which cluster the data directory belongs to: %w", err)
	}
	_, err = f.WriteString(s.barrier.ClusterID() + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
