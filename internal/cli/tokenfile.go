package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/client"
)

// The token files in the home directory: this program's own, and that of other
// programs of the dialect. A guise tells which is written; both are read.
const (
	tokenFile      = ".strongroom-token"
	otherTokenFile = ".vault-token"
)

// KeepToken is how a development server hands its root token on to later commands,
// or nil when the program goes by its own name: only those that it stands in for
// replace the token of whoever starts one.
func KeepToken(args []string, getenv func(string) string) func(token string) error {
	a := newApp(args, strings.NewReader(""), io.Discard, io.Discard, getenv)
	if a.guise.prefixes[0] == ownPrefix {
		return nil
	}
	return func(token string) error { return a.storeToken(client.Token(token)) }
}

// token is findToken for what goes on without one.
func (a *app) token() client.Token {
	token, err := a.findToken()
	if err != nil {
		return ""
	}
	return token
}

// findToken is the environment's, else the token helper's where there is one, else
// the token file's, else empty.
func (a *app) findToken() (client.Token, error) {
	if t := client.LookupEnv(a.getenv, "TOKEN"); t != "" {
		return client.Token(t), nil
	}
	if helper, err := a.tokenHelper(); helper != "" || err != nil {
		if err != nil {
			return "", err
		}
		out, err := a.runHelper(helper, "get", "")
		return client.Token(strings.TrimSpace(out)), err
	}
	paths, err := a.tokenPaths()
	if err != nil {
		return "", nil // nobody's home: there is no token
	}
	for _, path := range paths {
		if raw, err := os.ReadFile(path); err == nil {
			if t := strings.TrimSpace(string(raw)); t != "" {
				return client.Token(t), nil
			}
		}
	}
	return "", nil
}

// tokenPaths are the token files, of which the first is written.
func (a *app) tokenPaths() ([]string, error) {
	if path := client.LookupEnv(a.getenv, "TOKEN_PATH"); path != "" {
		return []string{path}, nil
	}
	var paths []string
	for _, name := range a.guise.tokens {
		path, err := a.inHome(name)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
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

// storeToken gives the token to the helper, or replaces the token file, readable by
// its owner alone. That is written beside and renamed, so that no reader ever sees
// half of it and no wider mode of an older file is kept.
func (a *app) storeToken(token client.Token) error {
	helper, err := a.tokenHelper()
	if err != nil {
		return err
	}
	if helper != "" {
		_, err := a.runHelper(helper, "store", token.Reveal())
		return err
	}
	paths, err := a.tokenPaths()
	if err != nil {
		return err
	}
	if err := replaceFile(paths[0], token.Reveal()); err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	return nil
}

// replaceFile writes text to a new file, of mode 0600, and gives it the name path.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// forgetToken removes the token where storeToken puts it; it is no error if there
// is none.
func (a *app) forgetToken() error {
	helper, err := a.tokenHelper()
	if err != nil {
		return err
	}
	if helper != "" {
		_, err := a.runHelper(helper, "erase", "")
		return err
	}
	paths, err := a.tokenPaths()
	if err != nil {
		return err
	}
	if err := os.Remove(paths[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the token file: %w", err)
	}
	return nil
}
