package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/test/process"
)

// TestSaveOntoAFullDisk saves a snapshot to a file system that has not room for it: the
// command fails, says why, and leaves no file, not even a part of one. The control has the
// room. The file system is one in memory that the command alone sees.
func TestSaveOntoAFullDisk(t *testing.T) {
	s, err := process.Durable(bin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer killed(t, s)
	token := first(t, s)
	c, value := newClient(s.URL, token), strings.Repeat("v", entryBytes)
	for n := range 50 {
		if err := c.call("POST", fmt.Sprintf("chaos/data/a%d", n), `{"data":{"v":"`+value+`"}}`, nil); err != nil {
			t.Fatal(err)
		}
	}
	for size, fits := range map[string]bool{"64k": false, "400k": false, "16m": true} {
		out, code := saveOnto(t, size, s.URL, token)
		if fits && (code != 0 || !strings.HasSuffix(out, "LEFT\ns.snap\n")) {
			t.Errorf("the control: exit code %d\n%s", code, out)
		}
		if !fits && (code == 0 || !strings.Contains(out, "no space left") || !strings.HasSuffix(out, "LEFT\n")) {
			t.Errorf("a disk of %s: exit code %d\n%s", size, code, out)
		}
	}
}

// saveOnto saves onto a new file system of a size and lists what there is afterwards.
func saveOnto(t *testing.T, size, url, token string) (out string, code int) {
	t.Helper()
	const script = `mount -t tmpfs -o size="$1" none "$2" && cd "$2" || exit 99
"$3" operator snapshot save s.snap; code=$?; echo LEFT; ls -A; exit $code`
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", size, t.TempDir(), bin)
	cmd.Env = append(os.Environ(), "STRONGROOM_ADDR="+url, "STRONGROOM_TOKEN="+token)
	b, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code == 99 {
		t.Fatalf("a file system in memory cannot be mounted: %s", b)
	}
	return string(b), code
}
