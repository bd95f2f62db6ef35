package readme

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds all of README.md's commands, of which the first builds the program.
const patience = 5 * time.Minute

// TestReadme runs what README.md tells people to run, as they would paste it, in order and in one shell, inside a fresh copy
// of what git knows of the repository, with an empty home.
func TestReadme(t *testing.T) {
	root := git(t, ".", "rev-parse", "--show-toplevel")
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := Runnable(string(text))
	if len(blocks) == 0 {
		t.Fatal("README.md has no block that is fenced as ```sh runnable")
	}
	clone := t.TempDir()
	for _, name := range strings.Split(git(t, root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		copyFile(t, filepath.Join(root, name), filepath.Join(clone, name))
	}
	if out, err := paste(t, clone, strings.Join(blocks, "\n")); err != nil {
		t.Errorf("README.md's commands failed: %v\n%s", err, out)
	}
}

// paste runs the commands in one shell that stops at the first failure, and afterwards ends whatever they left running.
func paste(t *testing.T, dir, commands string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, file, file
	// In containers and of cron there is no locale.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+t.TempDir(), "GOPATH="+goEnv(t, "GOPATH"), "GOCACHE="+goEnv(t, "GOCACHE"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return endGroup(cmd.Process.Pid) }
	failure := cmd.Run()
	failure = errors.Join(failure, endGroup(cmd.Process.Pid), file.Close())
	out, err := os.ReadFile(file.Name())
	return string(out), errors.Join(failure, err)
}

// endGroup kills the process group that a shell leads; that it has ended already is no error.
func endGroup(leader int) error {
	if err := syscall.Kill(-leader, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// TestRunnable pins which blocks are run.
func TestRunnable(t *testing.T) {
	got := Runnable("a\n```sh\nno\n```\n```sh runnable\none\ntwo\n```\nb\n\n```sh runnable\nthree\n```\n")
	if len(got) != 2 || got[0] != "one\ntwo" || got[1] != "three" {
		t.Errorf("got %q", got)
	}
}

// TestWhatIsInVainIsTold has README.md's patiently end for a node that does not start, with what it and the node have said.
func TestWhatIsInVainIsTold(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(git(t, ".", "rev-parse", "--show-toplevel"), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\npatiently() {")
	body, _, found := strings.Cut(rest, "\n}\n")
	if !found {
		t.Fatal("README.md has no patiently")
	}
	dir := t.TempDir()
	script := "set +x; sleep() { :; }; date() { echo >> ticks; echo $(($(wc -l < ticks) * 30)); }; attempt() { cat refusal >&2; false; }; patiently() {" + body + "\n}\npatiently attempt; echo went on"
	for name, said := range map[string]string{"refusal": "connection refused", "data/fleet.log": "address already in use"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, "data"), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(said+"\n"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := paste(t, dir, script)
	if err == nil || !strings.Contains(out, "connection refused") || !strings.Contains(out, "address already in use") || strings.Contains(out, "went on") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPasteFails is the control: a failing command, also inside a pipe, fails the test.
func TestPasteFails(t *testing.T) {
	for _, commands := range []string{"false", "false | true", "exit 3\ntrue", "echo $NOT_SET_ANYWHERE"} {
		if _, err := paste(t, t.TempDir(), commands); err == nil {
			t.Errorf("%q is no failure", commands)
		}
	}
	if out, err := paste(t, t.TempDir(), "sleep 60 &\necho done"); err != nil || !strings.Contains(out, "done") {
		t.Errorf("a command left in the background gave %v: %s", err, out)
	}
}

func git(t *testing.T, dir string, args ...string) string { return output(t, dir, "git", args...) }

func goEnv(t *testing.T, name string) string { return output(t, ".", "go", "env", name) }

func output(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return strings.Trim(string(out), "\n\x00")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if errors.Is(err, os.ErrNotExist) {
		return // Deleted, but not yet committed.
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, info.Mode().Perm())
	}
	if err != nil {
		t.Fatal(err)
	}
}
