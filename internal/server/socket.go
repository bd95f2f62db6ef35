package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
)

// openSocket listens on a unix socket. One that a server left behind which is no
// more is removed; one that is answered, or a file that is no socket, is not.
func (l *Listener) openSocket() (net.Listener, error) {
	if err := clearSocket(l.Address); err != nil {
		return nil, err
	}
	ls, err := net.Listen("unix", l.Address)
	if err != nil {
		return nil, err
	}
	if err := l.admitTo(); err != nil {
		return nil, errors.Join(err, ls.Close())
	}
	return ls, nil
}

func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it, or name another path", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("%s is in use by another process: stop it, or name another path", path), c.Close())
	}
	return os.Remove(path)
}

// admitTo gives the socket its owner, group and mode, in this order: until then it
// is for who runs the server alone.
func (l *Listener) admitTo() error {
	if err := os.Chmod(l.Address, 0o600); err != nil {
		return err
	}
	uid, err := number("socket_user", l.SocketUser, func(n string) (string, error) {
		u, err := user.Lookup(n)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return err
	}
	gid, err := number("socket_group", l.SocketGroup, func(n string) (string, error) {
		g, err := user.LookupGroup(n)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(l.Address, uid, gid); err != nil {
			return err
		}
	}
	if l.SocketMode == 0 {
		return nil
	}
	return os.Chmod(l.Address, l.SocketMode)
}

// number is that of a user or group which is given by name or number; -1: none is
// given.
func number(setting, text string, look func(string) (string, error)) (int, error) {
	if text == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	found, err := look(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", setting, err)
	}
	return strconv.Atoi(found)
}
