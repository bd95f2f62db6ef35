package cli

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// writeDirectory writes files, by their names with slashes, below a new directory.
func writeDirectory(at string, files map[string][]byte, _ time.Time) error {
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	for _, name := range sortedKeys(files) {
		file := filepath.Join(at, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeArchive writes files to a new tar.gz, in a folder called as it. What could
// not be written whole is removed.
func writeArchive(at string, files map[string][]byte, when time.Time) error {
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	archive := tar.NewWriter(zip)
	folder, _, _ := strings.Cut(filepath.Base(at), ".t")
	for _, name := range sortedKeys(files) {
		head := &tar.Header{Name: path.Join(folder, name), Mode: 0o600, Size: int64(len(files[name])), ModTime: when}
		if err = errors.Join(err, archive.WriteHeader(head)); err == nil {
			_, err = archive.Write(files[name])
		}
	}
	if err = errors.Join(err, archive.Close(), zip.Close(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(at))
	}
	return nil
}
