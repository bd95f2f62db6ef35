package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// storeDir is the directory of the embedded store within the data directory.
const storeDir = "store"

// checkForeign refuses a data directory that holds the store of another program
// and none of ours: a configuration that was written for Vault or OpenBao names
// such a one, and a new, empty server in it would look like lost data.
func (c *Config) checkForeign() error {
	switch _, err := os.Stat(filepath.Join(c.DataDir, storeDir)); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("data directory: %w", err)
	}
	entries, err := os.ReadDir(c.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if foreign(e.Name()) {
			return fmt.Errorf("%s holds the store of another program (%s): its format is not Strongroom's, and nothing in it was touched; name an empty directory",
				c.DataDir, e.Name())
		}
	}
	return nil
}

// foreign reports whether Vault or OpenBao keep something under a name in the
// directory of their raft storage (vault.db, raft/) or file storage.
func foreign(name string) bool {
	switch name {
	case "vault.db", "raft", "core", "sys", "logical", "auth", "_core", "_migration", "_keyring", "_seal-config":
		return true
	}
	return false
}
