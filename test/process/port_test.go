package process

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// portVar makes this test's program another process that wants a port.
const (
	portVar = "STRONGROOM_PROCESS_PORT"
	anyPort = "any" // of those that nobody has
)

// TestChosenPortsAreKept has a second process want what the first has chosen, and what it has not.
func TestChosenPortsAreKept(t *testing.T) {
	if wanted := os.Getenv(portVar); wanted != "" {
		if !gets(t, wanted) {
			os.Exit(3)
		}
		return
	}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, mine, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(mine)
	if _, err := opened(t).choose(port); err == nil {
		t.Error("a process chooses a port twice")
	}
	if status := wants(t, mine); status != 3 {
		t.Errorf("another process gets a port that was chosen: %d", status)
	}
	if status := wants(t, anyPort); status != 0 {
		t.Errorf("control: another process gets no port at all: %d", status)
	}
}

// gets reports whether this process gets a port.
func gets(t *testing.T, wanted string) bool {
	t.Helper()
	if wanted == anyPort {
		_, err := FreeAddr()
		return err == nil
	}
	port, err := strconv.Atoi(wanted)
	if err != nil {
		t.Fatal(err)
	}
	_, err = opened(t).choose(port)
	return err == nil
}

func opened(t *testing.T) *ledger {
	t.Helper()
	l, err := ledgerOfProcess()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wants is the status with which another process ends that wants a port.
func wants(t *testing.T, port string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChosenPortsAreKept$")
	cmd.Env = append(os.Environ(), portVar+"="+port)
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}
