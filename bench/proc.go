package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/process"
)

// cpuTime is the user and system time that all threads of a process have used, from its POSIX CPU clock (clock_getcpuclockid(3)):
// the clock's id is the complement of the process id, shifted by three, with the scheduler's clock in the low bits.
func cpuTime(pid int) (time.Duration, error) {
	const schedulerClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedulerClock, &ts); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// resident is a process's resident memory in MiB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f", &kib); err != nil || !found {
		return 0, fmt.Errorf("process %d tells no resident memory: %w", pid, err)
	}
	return kib / 1024, nil
}

// settle is how long memory is left to come to rest, so that the runtime can give back what it does not use.
const settle = 10 * time.Second

// stand is a server on a store, and where its files lie.
type stand struct {
	server *process.Server
	engine *engine.Engine
	bin    string
	dir    string
}

// startOn starts a store and the server on it.
func startOn(bin, dir, name string) (*process.Server, *engine.Engine, error) {
	e, err := engine.Start(name)
	if err != nil {
		return nil, nil, err
	}
	s, err := startServer(bin, dir, e)
	if err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	return s, e, nil
}

// reportMemory prints the server's memory when idle, with num secrets and num tokens, and after a start with these, and how
// long that start takes. Memory is that of the server's process alone, as is what lies on disk.
func reportMemory(w io.Writer, s *stand, l load) error {
	server := s.server
	t := &target{name: "strongroom", addr: server.Addr, token: server.RootToken(), pid: server.PID()}
	<-time.After(settle)
	idle, err := resident(t.pid)
	if err != nil {
		return err
	}
	if err := t.prepare(); err != nil {
		return err
	}
	began := time.Now()
	if err := fill(t, l); err != nil {
		return err
	}
	took := time.Since(began)
	full, err := resident(t.pid)
	if err != nil {
		return err
	}
	<-time.After(settle)
	rested, err := resident(t.pid)
	if err != nil {
		return err
	}
	disk, err := diskUse(filepath.Join(s.dir, "store"))
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(w, "| state | resident memory | data on disk |\n|---|---|---|\n| idle | %.0f MiB | |\n"+
		"| %s, just made in %.0f s | %.0f MiB | %.0f MiB |\n| the same, %v later | %.0f MiB | |\n",
		idle, l, took.Seconds(), full, disk, settle, rested); err != nil {
		return err
	}
	return s.reportStarts(w, t)
}

// starts is how often a start is measured.
const starts = 5

// reportStarts tells how long the server takes to start.
func (s *stand) reportStarts(w io.Writer, t *target) error {
	took, memory, err := s.start(t)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "| started again after a kill; the first read was answered after %.2f s (%.2f to %.2f in %d starts) | %.0f MiB | |\n",
		took[starts/2].Seconds(), took[0].Seconds(), took[starts-1].Seconds(), starts, memory)
	return err
}

// start kills the server and starts it again, and tells how long each start took to the first read that was answered, the shortest
// first, and the memory after the last in MiB.
func (s *stand) start(t *target) (took []time.Duration, memory float64, err error) {
	for range starts {
		if err := s.server.Kill(); err != nil {
			return nil, 0, err
		}
		began := time.Now()
		again, err := startServer(s.bin, s.dir, s.engine)
		if err != nil {
			return nil, 0, err
		}
		*s.server = *again
		t.addr, t.pid = again.Addr, again.PID()
		if _, err := t.call("GET", secretPath(1), ""); err != nil {
			return nil, 0, err
		}
		took = append(took, time.Since(began))
		if memory, err = resident(t.pid); err != nil {
			return nil, 0, err
		}
	}
	slices.Sort(took)
	return took, memory, nil
}

// load is what -memory stores.
type load struct {
	num  int
	name string                       // name says of how many what it is, with a verb for the number
	one  func(t *target, i int) error // one stores the i-th
}

// String is what is stored.
func (l load) String() string { return fmt.Sprintf(l.name, l.num) }

// secretsAndTokens is as many secrets as tokens.
func secretsAndTokens(num int) load {
	return load{num, "%[1]d secrets and %[1]d tokens", func(t *target, i int) error {
		if _, err := t.call("POST", fmt.Sprintf("/v1/bench/data/many/%d", i), payload); err != nil {
			return err
		}
		_, err := t.call("POST", "/v1/auth/token/create", create)
		return err
	}}
}

// namespaces is namespaces, each of which was asked for something, so that its keys are known.
func namespaces(num int, token string) load {
	return load{num, "%d namespaces", func(t *target, i int) error {
		root := *t
		root.token = token
		if _, err := root.call("POST", fmt.Sprintf("/v1/sys/namespaces/n%d", i), ""); err != nil {
			return err
		}
		_, err := root.call("GET", fmt.Sprintf("/v1/n%d/sys/mounts", i), "")
		return err
	}}
}

// fill stores a load, from 16 clients.
func fill(t *target, l load) error {
	const clients = 16
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < l.num && errs[c] == nil; i += clients {
				errs[c] = l.one(t, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// diskUse is the size of all files below a directory in MiB.
func diskUse(dir string) (float64, error) {
	var bytes int64
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // the store is elsewhere
	}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return float64(bytes) / (1 << 20), err
}
