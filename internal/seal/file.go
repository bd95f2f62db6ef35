package seal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File keeps each slot's key in a file of its own, mode 0600, in a directory,
// mode 0700: the default of a first start. It protects against who has the
// store or a copy of it, and not against who can read the directory.
type File struct {
	Dir string // the directory; made when there is none
}

var (
	_ Opener    = File{}
	_ Forgetter = File{}
)

// ErrMode says that others than the owner can get at a key file.
var ErrMode = errors.New("seal: others can get at the key file")

const (
	keyFileSuffix = ".key"
	fileMode      = 0o600
	dirMode       = 0o700
	othersMask    = 0o077
)

// fileParams is what a slot stores of its file: the name within the directory,
// since the directory may be another on the next machine.
type fileParams struct {
	File string `json:"file"`
}

// Create writes a new key to a new file and syncs it.
func (f File) Create(_ context.Context, id string, _ SlotSpec) (Created, error) {
	key := make([]byte, secretBytes)
	if _, err := rand.Read(key); err != nil {
		return Created{}, fmt.Errorf("seal: reading random bytes: %w", err)
	}
	if err := os.MkdirAll(f.Dir, dirMode); err != nil {
		return Created{}, fmt.Errorf("seal: making the key directory: %w", err)
	}
	name := KeyFile(id)
	if err := f.write(name, key); err != nil {
		return Created{}, err
	}
	params, err := json.Marshal(fileParams{name})
	return Created{Key: key, Params: params}, err
}

// open opens the directory after a look at its mode.
func (f File) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("seal: opening the key directory: %w", err)
	}
	info, err := root.Stat(".")
	if err == nil && info.Mode().Perm()&othersMask != 0 {
		err = fmt.Errorf("%w: directory %s has mode %04o; run: chmod 700 %s",
			ErrMode, f.Dir, info.Mode().Perm(), f.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

func (f File) write(name string, key []byte) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return errors.Join(fmt.Errorf("seal: making a key file: %w", err), root.Close())
	}
	text := append(hex.AppendEncode(nil, key), '\n')
	defer clear(text)
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close(), syncDir(root), root.Close())
	if err != nil {
		return fmt.Errorf("seal: writing a key file: %w", err)
	}
	return nil
}

// syncDir makes the directory's entries durable.
func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Recover reads a slot's file. A mode that lets others in is ErrMode, with what
// to do about it.
func (f File) Recover(_ context.Context, params json.RawMessage) ([]byte, error) {
	name, err := fileName(params)
	if err != nil {
		return nil, err
	}
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	key, err := f.read(root, name)
	return key, errors.Join(err, root.Close())
}

func (f File) read(root *os.Root, name string) ([]byte, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("seal: opening a key file: %w", err)
	}
	key, err := f.readFile(file, filepath.Join(f.Dir, name))
	return key, errors.Join(err, file.Close())
}

func (f File) readFile(file *os.File, path string) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("seal: looking at a key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("seal: %s is not a regular file", path)
	}
	if info.Mode().Perm()&othersMask != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o; run: chmod 600 %s", ErrMode, path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("seal: reading %s: %w", path, err)
	}
	defer clear(text)
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("seal: %s: %w", path, err)
	}
	return key, nil
}

// parseKey reads the 64 hexadecimal digits and the newline of a key file.
func parseKey(text []byte) ([]byte, error) {
	digits, ended := strings.CutSuffix(string(text), "\n")
	key, err := hex.DecodeString(digits)
	if err != nil || !ended || len(key) != secretBytes {
		clear(key)
		return nil, errors.New("its content is not a key: 64 hexadecimal digits and a newline")
	}
	return key, nil
}

// fileName reads the name and refuses what is not one: the parameters are not
// authenticated yet.
func fileName(params json.RawMessage) (string, error) {
	var p fileParams
	if err := json.Unmarshal(params, &p); err != nil {
		return "", fmt.Errorf("seal: a file slot's parameters: %w", err)
	}
	id, ok := strings.CutSuffix(p.File, keyFileSuffix)
	if b, err := hex.DecodeString(id); !ok || err != nil || len(b) != slotIDBytes {
		return "", errors.New("seal: a file slot's parameters do not name a key file")
	}
	return p.File, nil
}

// Forget removes a slot's file, if this machine has it.
func (f File) Forget(_ context.Context, params json.RawMessage) error {
	name, err := fileName(params)
	if err != nil {
		return err
	}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, syncDir(root), root.Close())
}

// KeyFile is the name, within the directory of keys, of the file of a slot with an id.
func KeyFile(id string) string { return id + keyFileSuffix }
