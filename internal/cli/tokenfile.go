package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/client"
)

// The token files in the home directory. The second, which other clients of the
// dialect write, is only read.
const (
	tokenFile      = ".strongroom-token"
	otherTokenFile = ".vault-token"
)

// token is the environment's, else the token file's, else empty.
func (a *app) token() client.Token {
	if t := client.LookupEnv(a.getenv, "TOKEN"); t != "" {
		return client.Token(t)
	}
	for _, name := range []string{tokenFile, otherTokenFile} {
		path, err := a.inHome(name)
		if err != nil {
			return ""
		}
		if raw, err := os.ReadFile(path); err == nil {
			if t := strings.TrimSpace(string(raw)); t != "" {
				return client.Token(t)
			}
		}
	}
	return ""
}

func (a *app) inHome(name string) (string, error) {
	home := a.getenv("HOME")
	if home == "" {
		home = a.getenv("USERPROFILE")
	}
	if home == "" {
		return "", errors.New("no home directory: HOME is not set")
	}
	return filepath.Join(home, name), nil
}

// storeToken replaces the token file, readable by its owner alone. It is written
// beside and renamed, so that no reader ever sees half of it and no wider mode
// of an older file is kept.
func (a *app) storeToken(token client.Token) error {
	path, err := a.inHome(tokenFile)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), tokenFile+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	_, err = f.WriteString(token.Reveal())
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store the token: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// forgetToken removes the token file; it is no error if there is none.
func (a *app) forgetToken() error {
	path, err := a.inHome(tokenFile)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the token file: %w", err)
	}
	return nil
}
