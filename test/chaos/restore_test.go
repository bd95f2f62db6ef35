package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

// What the store holds whose restore is killed.
const (
	restoredEntries = 1500
	entryBytes      = 10_000
	// begunBytes is more than a store has before the restore's first row: one that is killed earlier has changed nothing.
	begunBytes = 1 << 20
)

// TestKilledRestore kills a restore in the middle, again and again: each time the store
// says that it is to be done again, and in the end it is done.
func TestKilledRestore(t *testing.T) {
	dir := t.TempDir()
	from, to, snap := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "s.snap")
	token := filled(t, from, snap)
	emptied(t, from, to)
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("run again with -seed=%d", s)
	r := rand.New(rand.NewPCG(s, 1))
	for n := range *kills {
		late, tries := r.IntN(restoredEntries*entryBytes/2), 0
		for !killRestore(t, to, snap, int64(begunBytes+late)) { // it came to its end before that was seen: then earlier
			if late, tries = late/2, tries+1; tries == repeats {
				t.Fatalf("restore %d came to its end before it was killed, %d times: this shows nothing", n, tries)
			}
			emptied(t, from, to)
		}
		unfinished(t, to)
	}
	if out, err := exec.Command(bin, "operator", "snapshot", "restore", "-data="+to, snap).CombinedOutput(); err != nil {
		t.Fatalf("restoring at last: %v\n%s", err, out)
	}
	restored(t, to, token)
}

// emptied makes a directory one of a server with the keys of another and nothing else.
func emptied(t *testing.T, from, to string) {
	t.Helper()
	must(t, errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o700), command("cp", "-rp", filepath.Join(from, "keys"), filepath.Join(to, "keys"))))
}

// restored fails unless a server on a directory has all entries.
func restored(t *testing.T, data, token string) {
	t.Helper()
	s, err := process.Durable(bin, data)
	if err != nil {
		t.Fatal(err)
	}
	defer killed(t, s)
	for n := range restoredEntries {
		var answer struct {
			Data struct{ Data map[string]string }
		}
		if err := newClient(s.URL, token).call("GET", fmt.Sprintf("chaos/data/a%d", n), "", &answer); err != nil || len(answer.Data.Data["v"]) != entryBytes {
			t.Fatalf("a%d: %d bytes, %v", n, len(answer.Data.Data["v"]), err)
		}
	}
}

// filled saves a snapshot of a new server with entries, and returns its root token.
func filled(t *testing.T, data, snap string) string {
	t.Helper()
	s, err := process.Durable(bin, data)
	if err != nil {
		t.Fatal(err)
	}
	defer killed(t, s)
	token := first(t, s)
	c, value := newClient(s.URL, token), strings.Repeat("v", entryBytes)
	for n := range restoredEntries {
		if err := c.call("POST", fmt.Sprintf("chaos/data/a%d", n), `{"data":{"v":"`+value+`"}}`, nil); err != nil {
			t.Fatal(err)
		}
	}
	save := exec.Command(bin, "operator", "snapshot", "save", snap)
	save.Env = append(os.Environ(), "STRONGROOM_ADDR="+s.URL, "STRONGROOM_TOKEN="+token)
	if out, err := save.CombinedOutput(); err != nil {
		t.Fatalf("saving: %v\n%s", err, out)
	}
	return token
}

func killed(t *testing.T, s *process.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Error(err)
	}
}

// killRestore kills a restore once the store has grown by so many bytes; it reports
// whether it was still under way then.
func killRestore(t *testing.T, data, snap string, grown int64) bool {
	t.Helper()
	before := size(data)
	cmd := exec.Command(bin, "operator", "snapshot", "restore", "-data="+data, snap)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for size(data) < before+grown {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("a restore that nobody killed: %v", err)
			}
			return false
		case <-tick.C:
		}
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	return <-ended != nil
}

// size is how many bytes the files below a directory have; they come and go.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// unfinished fails unless the server refuses to make a new cluster in a store.
func unfinished(t *testing.T, data string) {
	t.Helper()
	s, err := process.Durable(bin, data)
	if err != nil {
		t.Fatal(err)
	}
	defer killed(t, s)
	err = newClient(s.URL, "").call("PUT", "sys/init", `{"secret_shares":1,"secret_threshold":1}`, nil)
	if err == nil || !strings.Contains(err.Error()+s.Output(), "has not finished") {
		t.Fatalf("initialising after a killed restore: %v\n%s", err, s.Output())
	}
}
