package process

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Ports of servers that tests start: below those that systems give to outgoing connections, any of which could else take a port
// between its choice and its use.
const firstPort, ports = 10_000, 22_000

// ledger is the ports that this process has chosen, and the file in which other processes see it: a lock on the byte at a port's
// number, which ends with the process.
type ledger struct {
	mu    sync.Mutex
	ports map[int]bool
	file  *os.File
}

// ledgerOfProcess stays open: closing the file anywhere in a process ends all its locks.
var ledgerOfProcess = sync.OnceValues(func() (*ledger, error) {
	name := filepath.Join(os.TempDir(), fmt.Sprintf("strongroom-ports-%d", os.Getuid()))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	return &ledger{ports: map[int]bool{}, file: f}, err
})

// FreeAddr returns a loopback address (host:port) that nothing listened on a moment ago, and that no other test of this user
// gets while this process lives.
func FreeAddr() (string, error) {
	chosen, err := ledgerOfProcess()
	if err != nil {
		return "", fmt.Errorf("noting the ports that tests choose: %w", err)
	}
	var last error
	for range 100 {
		addr, err := chosen.choose(firstPort + rand.IntN(ports))
		if err == nil {
			return addr, nil
		}
		last = err
	}
	return "", fmt.Errorf("finding a free port: %w", last)
}

// choose notes a port as this process's own.
func (l *ledger) choose(port int) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ports[port] {
		return "", errors.New("this process has chosen it before")
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: int64(port), Len: 1}
	if err := syscall.FcntlFlock(l.file.Fd(), syscall.F_SETLK, &lock); err != nil {
		return "", fmt.Errorf("another process has chosen it: %w", err)
	}
	l.ports[port] = true
	n, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	return n.Addr().String(), n.Close()
}
