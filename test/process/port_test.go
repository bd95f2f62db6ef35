package process

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// portVar makes this test's program another process that wants a port.
const portVar = "STRONGROOM_PROCESS_PORT"

// TestChosenPortsAreKept has a second process want what the first has chosen, and what it has not.
func TestChosenPortsAreKept(t *testing.T) {
	if wanted := os.Getenv(portVar); wanted != "" {
		port, err := strconv.Atoi(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := opened(t).choose(port); err != nil {
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
	if status := wants(t, strconv.Itoa(firstPort-1)); status != 0 { // which nobody draws
		t.Errorf("control: another process does not get a port that nobody has: %d", status)
	}
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
