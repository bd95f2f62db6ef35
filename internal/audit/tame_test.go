package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzHomely takes any text for the name of a namespace's audit file: what is taken stays
// below the namespace's directory, in one spelling.
func FuzzHomely(f *testing.F) {
	for _, s := range []string{"a.log", "logs/a.log", "../a", "a/../b", "/a", "a/", "a//b", ".", "a.20261121T055035.159802026Z.gz", "a\x00b", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if homely("file_path", name) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || len(name) > maxPath || strings.ContainsAny(name, "\x00\n ") || strings.Contains("/"+name, "/.") {
			t.Errorf("%q", name)
		}
		if _, rotated, found := strings.Cut(name, ".2"); found {
			if _, ok := parseFull("2" + rotated); ok {
				t.Errorf("%q would be taken for a full file of another device", name)
			}
		}
	})
}

// A namespace's directory is made below the one that the operator names, and nowhere else.
func TestHomeIsNoLink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	o := &fileOutput{dir: dir, home: "AbCdEf", name: "a.log", mode: defaultMode}
	must(t, o.ready())
	must(t, o.close())
	if info, err := os.Stat(filepath.Join(dir, "AbCdEf")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	within := filepath.Join(dir, "within")
	must(t, os.Mkdir(within, 0o700))
	for name, to := range map[string]string{"GhIjKl": other, "MnOpQr": "within"} {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
		o = &fileOutput{dir: dir, home: name, name: "a.log", mode: defaultMode}
		if err := o.ready(); err == nil {
			t.Errorf("a link to %s was followed", to)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "StUvWx"), nil, 0o600))
	o = &fileOutput{dir: dir, home: "StUvWx", name: "a.log", mode: defaultMode}
	if err := o.ready(); err == nil {
		t.Error("a file was taken for a directory")
	}
}
