// Package deploy builds the packages and looks into them.
package deploy

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// run is the output of a command, which must succeed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ARCHS="+runtime.GOARCH, "VERSION=1.2.3", "IMAGE=no", "CHECK=no", "COMPRESS=quick")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// build builds the packages into a directory and returns their names.
func build(t *testing.T, dir string) []string {
	t.Helper()
	run(t, "../..", "deploy/package", dir)
	run(t, dir, "sha256sum", "--check", "--strict", "SHA256SUMS")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestPackages(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	deb := "strongroom_1.2.3_" + runtime.GOARCH + ".deb"
	archive := "strongroom_1.2.3_linux_" + runtime.GOARCH + ".tar.gz"
	want := []string{"SHA256SUMS", "strongroom-chart-1.2.3.tgz", deb, archive}
	if got := build(t, one); !slices.Equal(got, want) {
		t.Fatalf("built %q, want %q", got, want)
	}
	build(t, two)
	if a, b := read(t, one, "SHA256SUMS"), read(t, two, "SHA256SUMS"); a != b {
		t.Errorf("the second build is another:\n%s%s", a, b)
	}
	t.Run("debian", func(t *testing.T) { checkDebian(t, filepath.Join(one, deb)) })
	t.Run("archive", func(t *testing.T) {
		if got := members(t, filepath.Join(one, archive)); !slices.Contains(got, "./strongroom") || !slices.Contains(got, "./LICENSE") {
			t.Errorf("%q", got)
		}
	})
	t.Run("chart", func(t *testing.T) {
		if got := members(t, filepath.Join(one, "strongroom-chart-1.2.3.tgz")); !slices.Contains(got, "./strongroom/Chart.yaml") || !slices.Contains(got, "./strongroom/templates/statefulset.yaml") {
			t.Errorf("%q", got)
		}
	})
}

// checkDebian unpacks a package where it harms nobody and looks at what is there.
func checkDebian(t *testing.T, deb string) {
	root := t.TempDir()
	run(t, root, "dpkg-deb", "-x", deb, root)
	run(t, root, "dpkg-deb", "-e", deb, filepath.Join(root, "DEBIAN"))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, root, "sh", "-n", filepath.Join(root, "DEBIAN", script))
	}
	control := read(t, root, "DEBIAN/control")
	for _, line := range []string{"Package: strongroom\n", "Version: 1.2.3\n", "Architecture: " + runtime.GOARCH + "\n"} {
		if !strings.Contains(control, line) {
			t.Errorf("control lacks %q:\n%s", line, control)
		}
	}
	run(t, root, "md5sum", "--check", "--strict", "DEBIAN/md5sums")
	if listed := run(t, root, "dpkg-deb", "-c", deb); !strings.Contains(listed, "-rw-r----- root/root") || strings.Contains(listed, "DEBIAN") {
		t.Errorf("%s", listed)
	}
	if said := run(t, root, filepath.Join(root, "usr/bin/strongroom"), "version"); !strings.Contains(said, "Strongroom") {
		t.Errorf("the program says %q", said)
	}
	if built := run(t, root, "go", "version", "-m", "usr/bin/strongroom"); !strings.Contains(built, "GOEXPERIMENT=runtimesecret") {
		t.Errorf("keys are not erased from memory:\n%s", built)
	}
	checkUnit(t, root)
}

// checkUnit has systemd judge the unit where it is there, and in any case sees to
// what must stand in it.
func checkUnit(t *testing.T, root string) {
	t.Helper()
	unit := filepath.Join(root, "usr/lib/systemd/system/strongroom.service")
	text := "\n" + read(t, root, "usr/lib/systemd/system/strongroom.service")
	for _, line := range []string{"User=strongroom", "ExecStart=/usr/bin/strongroom server -config=/etc/strongroom/strongroom.hcl", "NoNewPrivileges=yes",
		"ProtectSystem=strict", "LimitCORE=0", "CapabilityBoundingSet=", "MemoryDenyWriteExecute=yes", "StateDirectory=strongroom"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	analyse, err := exec.LookPath("systemd-analyze")
	if errors.Is(err, exec.ErrNotFound) {
		return
	}
	// The paths of the unit are those of this directory for its judge.
	local := filepath.Join(root, "strongroom.service")
	moved := strings.ReplaceAll(text, "/usr/bin/strongroom", filepath.Join(root, "usr/bin/strongroom"))
	if err := os.WriteFile(local, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, root, analyse, "verify", "--man=no", "--recursive-errors=no", local); strings.Contains(out, "strongroom.service") {
		t.Errorf("%s: %s", unit, out)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// members are the names in an archive. None is anybody's but root's.
func members(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s belongs to %d, %q", h.Name, h.Uid, h.Uname)
		}
		names = append(names, h.Name)
	}
}

// The container's description copies what the build puts beside it, and runs as
// nobody.
func TestContainerfile(t *testing.T) {
	text := read(t, "../../deploy/container", "Containerfile")
	script := read(t, "../../deploy", "package")
	copied := 0
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if !slices.Contains([]string{"FROM", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}, words[0]) {
			t.Errorf("no instruction: %s", line)
		}
		if words[0] == "COPY" {
			copied++
			if from := words[len(words)-2]; !strings.Contains(script, "$context/"+from) {
				t.Errorf("the build puts no %s there", from)
			}
		}
	}
	if copied < 3 || !strings.Contains(text, "\nUSER 65532:65532\n") || !strings.Contains(text, "FROM scratch\n") {
		t.Error(text)
	}
}
