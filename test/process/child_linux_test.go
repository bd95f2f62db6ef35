package process

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// parentVar makes this test's program a parent that starts a child and then waits for its own end.
const parentVar = "STRONGROOM_PROCESS_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentVar) == "" {
		os.Exit(m.Run())
	}
	if _, err := lasting(os.NewFile(3, "pipe")); err != nil {
		panic(err)
	}
	select {}
}

// lasting starts a child that holds a file open for a minute.
func lasting(held *os.File) (<-chan struct{}, error) {
	cmd := exec.Command("sleep", "60")
	cmd.Stdout = held
	return Child(cmd, syscall.SIGKILL, &Log{})
}

// TestChildDiesWithItsParent kills the parent of a child. Both hold the end of a pipe, which ends with them.
func TestChildDiesWithItsParent(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent := exec.Command(os.Args[0])
	parent.Env, parent.ExtraFiles, parent.Stderr = append(os.Environ(), parentVar+"=1"), []*os.File{w}, os.Stderr
	ended, err := Child(parent, syscall.SIGKILL, &Log{})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if open(t, r, 500*time.Millisecond) != true {
		t.Fatal("the child ends by itself: this shows nothing")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if open(t, r, 10*time.Second) {
		t.Error("the child outlives its parent")
	}
}

// TestChildOutlivesAThread starts a child from a thread that ends. The process does not, nor may the child.
func TestChildOutlivesAThread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ended <-chan struct{}
	var pid int
	gone := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		cmd := exec.Command("sleep", "60")
		cmd.Stdout = w
		var err error
		ended, err = Child(cmd, syscall.SIGKILL, &Log{})
		pid = cmd.Process.Pid
		gone <- err
	}()
	if err := errors.Join(<-gone, w.Close()); err != nil {
		t.Fatal(err)
	}
	if !open(t, r, time.Second) {
		t.Error("the child ends with the thread that asked for it")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-ended
}

// open reports whether somebody still holds the other end of a pipe after a while.
func open(t *testing.T, r *os.File, d time.Duration) bool {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}
