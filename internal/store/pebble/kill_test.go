package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// killDir names, in the environment of a child process, the store it writes to.
const killDir = "STRONGROOM_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Println(writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits pairs from several goroutines and prints each that
// was acknowledged.
func writeUntilKilled(dir string) error {
	s, err := Open(dir, small)
	if err != nil {
		return err
	}
	failed := make(chan error, crashWriters)
	for w := range crashWriters {
		go func() { failed <- writePairs(s, w) }()
	}
	return <-failed
}

func writePairs(s *Store, w int) error {
	a, b := pairKeys(w)
	e, err := s.Get(context.Background(), a)
	if err != nil {
		return err
	}
	seq, err := unseal(a, e.Value)
	for err == nil {
		seq++
		_, err = s.Commit(context.Background(), nil, []store.Write{{Key: a, Value: sealed(a, seq)}, {Key: b, Value: sealed(b, seq)}})
		if err == nil {
			fmt.Println("acked", w, seq)
		}
	}
	return err
}

// TestKill kills, without warning and time after time, a process that writes to
// one store. What it had acknowledged must be there, and while it lives nobody
// else may open the store.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var promised promises
	for round := range 15 {
		killOnce(t, dir, 50+round*37, &promised)
		inspectCopy(t, dir, promised)
	}
	if promised[0] == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

func killOnce(t *testing.T, dir string, after int, promised *promises) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var w int
		var seq int64
		if _, err := fmt.Sscanf(lines.Text(), "acked %d %d", &w, &seq); err != nil {
			if n <= after {
				t.Errorf("the child said %q", lines.Text())
			}
			continue
		}
		promised[w] = seq
		if n == after {
			if _, err := Open(dir, small); !errors.Is(err, store.ErrLocked) {
				t.Errorf("Open beside a living process returned %v", err)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}
