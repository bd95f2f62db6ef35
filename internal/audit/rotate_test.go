package audit

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// history is all that a file and those rotated away from it hold, oldest first,
// and the names of the full ones.
func history(t *testing.T, dir, name string) (lines []byte, names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() == name {
			continue
		}
		names = append(names, e.Name())
		b := []byte(read(t, filepath.Join(dir, e.Name())))
		if strings.HasSuffix(e.Name(), gzipped) {
			z, err := gzip.NewReader(bytes.NewReader(b))
			must(t, err)
			b, err = io.ReadAll(z)
			must(t, err)
		}
		lines = append(lines, b...)
	}
	return append(lines, read(t, filepath.Join(dir, name))...), names
}

// Files are rotated and compressed under load, and every entry is there once.
func TestRotationLosesNothing(t *testing.T) {
	dir := t.TempDir()
	out := fileIn(t, dir, "f")
	out.rotation = rotation{bytes: 64 << 10, compress: true}
	b := NewBroker()
	s := sinkOver("file/", out, format{key: testKey()})
	b.Replace([]*Sink{s}, nil)
	numbered(t, b, 16, 100)
	out.tidy.work.Wait()
	must(t, s.line.close())
	lines, names := history(t, dir, "f")
	whole(t, lines, 1600)
	if len(names) < 10 {
		t.Errorf("only %v", names)
	}
	for _, n := range names {
		if info, err := os.Stat(filepath.Join(dir, n)); err != nil || !strings.HasSuffix(n, gzipped) || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", n, info.Mode(), err)
		}
	}
}

func TestRotationBySizeAgeAndRetention(t *testing.T) {
	dir := t.TempDir()
	clock := moment
	out := fileIn(t, dir, "f")
	out.now = func() time.Time { return clock }
	out.rotation = rotation{bytes: 100, age: time.Hour, most: 3, keepFor: 10 * time.Hour}
	write := func(text string, later time.Duration) []string {
		t.Helper()
		clock = clock.Add(later)
		must(t, out.write([]byte(`{"time":"`+clock.Format(time.RFC3339Nano)+`",`+text+"\n")))
		out.tidy.work.Wait()
		_, names := history(t, dir, "f")
		return names
	}
	if n := write("one", 0); len(n) != 0 {
		t.Errorf("the first entry: %v", n)
	}
	if n := write("two", 59*time.Minute); len(n) != 0 {
		t.Errorf("too early: %v", n)
	}
	if n := write("three", time.Minute); len(n) != 1 || n[0] != "f.20261121T065035.159802026Z" {
		t.Errorf("by age: %v", n)
	}
	if n := write(strings.Repeat("x", 100), 0); len(n) != 2 {
		t.Errorf("by size: %v", n)
	}
	if n := write("y", 0); len(n) != 3 || n[1] != "f.20261121T065035.159802027Z" {
		t.Errorf("in the same moment: %v", n)
	}
	if n := write(strings.Repeat("z", 100), 0); len(n) != 3 || n[0] != "f.20261121T065035.159802027Z" {
		t.Errorf("by number: %v", n)
	}
	if n := write("later", 11*time.Hour); len(n) != 1 {
		t.Errorf("by age of the full: %v", n)
	}
	// After a restart the age is that of the first entry, not of the process.
	must(t, out.close())
	again := fileIn(t, dir, "f")
	again.now, again.rotation = out.now, out.rotation
	clock = clock.Add(time.Hour)
	must(t, again.write([]byte("after\n")))
	if got := read(t, filepath.Join(dir, "f")); got != "after\n" {
		t.Errorf("%q", got)
	}
}

// Whatever a crash has left of a compression, the entries are there once.
func TestRotationOutlivesACrash(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte("two\n"))
	must(t, err)
	must(t, z.Close())
	for name, text := range map[string]string{
		"f.20260101T000000.000000001Z": "one\n", "f.20260101T000000.000000001Z.gz.part": packed.String()[:5],
		"f.20260101T000000.000000002Z": "two\n", "f.20260101T000000.000000002Z.gz": packed.String(),
		"f.2026": "not ours", "f.20260101T000000.000000003Z.bak": "not ours", "g.20260101T000000.000000001Z": "not ours",
		"f": "three\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, "f.20260101T000000.000000004Z"), 0o700))
	out := fileIn(t, dir, "f")
	out.rotation = rotation{bytes: 1, compress: true}
	must(t, out.write([]byte("four\n")))
	out.tidy.work.Wait()
	must(t, out.close())
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	ours := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, "f.2026") || !strings.HasSuffix(n, gzipped) })
	if len(ours) != 3 || len(names) != 8 {
		t.Fatalf("%v", names)
	}
	var got []byte
	for _, n := range ours {
		z, err := gzip.NewReader(strings.NewReader(read(t, filepath.Join(dir, n))))
		must(t, err)
		b, err := io.ReadAll(z)
		must(t, err)
		got = append(got, b...)
	}
	if string(got) != "one\ntwo\nthree\n" || read(t, filepath.Join(dir, "f")) != "four\n" {
		t.Errorf("%q", got)
	}
}

// A file that cannot be renamed goes on being written.
func TestRotationThatFailsRefusesNothing(t *testing.T) {
	dir := t.TempDir()
	clock := moment
	out := fileIn(t, dir, strings.Repeat("f", 250)) // no room for a time in its name
	out.rotation = rotation{bytes: 10}
	out.now = func() time.Time { return clock }
	for range 3 {
		must(t, out.write([]byte("12345678\n")))
	}
	if got := read(t, filepath.Join(dir, out.name)); got != strings.Repeat("12345678\n", 3) {
		t.Errorf("%q", got)
	}
}

func TestCompressionCanBeStopped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 1<<20), 0o600))
	root, err := os.OpenRoot(dir)
	must(t, err)
	if err := pack(root, "x", 0o600, func() bool { return true }); err == nil {
		t.Error("went on")
	}
	if _, names := history(t, dir, "x"); len(names) != 0 {
		t.Errorf("%v is left", names)
	}
	must(t, root.Close())
}

func FuzzEntryTime(f *testing.F) {
	f.Add([]byte(`@cee: {"time":"2026-11-21T05:50:35.159802026Z","type"`))
	f.Add([]byte(`{"time":`))
	f.Fuzz(func(t *testing.T, head []byte) {
		if entryTime(head, moment).IsZero() && !bytes.Contains(head, []byte("0001")) {
			t.Fatal("no time")
		}
	})
}

func TestRotationOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for options, want := range map[string]string{
		"rotate_bytes=1MiB": "", "rotate_duration=24h rotate_max_files=7 rotate_max_age=90d rotate_compress=false": "",
		"rotate_bytes=1": "options.rotate_bytes", "rotate_bytes=s3cret": "options.rotate_bytes", "rotate_duration=1s": "options.rotate_duration",
		"rotate_duration=-1h": "options.rotate_duration", "rotate_max_files=3": "options.rotate_max_files", "rotate_compress=true": "options.rotate_compress",
		"rotate_bytes=1MiB rotate_max_files=0": "options.rotate_max_files", "rotate_bytes=1MiB rotate_max_age=x": "options.rotate_max_age",
	} {
		given := map[string]string{"file_path": path}
		for o := range strings.FieldsSeq(options) {
			k, v, _ := strings.Cut(o, "=")
			given[k] = v
		}
		_, err := Open(&Declaration{Path: "a/", Type: "file", Options: given, Key: testKey(), Configured: true}, Env{Now: time.Now})
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v", options, err)
		}
	}
}
