package server

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckCommand(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		config string
		want   string // in the error; empty: none
	}{
		"good":           {"storage \"inmem\" {}\nlistener \"tcp\" { address = \"127.0.0.1:0\" }\nui = true\n", ""},
		"unknown":        {"storage \"inmem\" {}\ncolour = \"red\"\n", `:2: unknown setting "colour"`},
		"no storage":     {"log_level = \"info\"\n", "names no storage"},
		"no certificate": {"storage \"inmem\" {}\nlistener \"tcp\" {\n tls_cert_file = \"/none\"\n tls_key_file = \"/none\"\n}\n", "/none"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "c.hcl")
			if err := os.WriteFile(file, []byte(tc.config), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			c := checkCommand()
			c.SetOut(&out)
			c.SetErr(&out)
			c.SilenceErrors, c.SilenceUsage = true, true
			c.SetArgs([]string{"--config=" + file})
			err := c.Execute()
			switch {
			case tc.want == "":
				if err != nil || !strings.Contains(out.String(), "Success!") || !strings.Contains(out.String(), `"ui"`) {
					t.Errorf("%v %s", err, out.String())
				}
			case err == nil || !strings.Contains(err.Error(), tc.want):
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
	c := checkCommand()
	c.SetArgs(nil)
	c.SilenceErrors, c.SilenceUsage = true, true
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "-config=FILE") {
		t.Error(err)
	}
}

// What is only known when all has been read is told beside all other mistakes, with
// the line of the block: devices that could not be opened and certificates that
// cannot be read. Nothing is made.
func TestCheckTellsAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	file, more := filepath.Join(dir, "a.hcl"), filepath.Join(dir, "b.hcl")
	for name, text := range map[string]string{file: `colour = "red"
audit "file" "lost" { options { mode = "0600" } }
audit "file" "raw" {
  options {
    file_path = "` + dir + `/made/audit.log"
    log_raw   = true
  }
}
audit "sockets" "odd" {}
listener "tcp" {
  tls_cert_file = "` + dir + `/none.pem"
  tls_key_file  = "` + dir + `/none.key"
}
`, more: "audit_log_raw = true\nstorage \"inmem\" {}\nlog_level = \"loud\"\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := LoadConfig(file, more)
	if err == nil {
		t.Fatal("no mistake found")
	}
	want := []string{file + `:1: unknown setting "colour"`, more + ":3: log_level: must be",
		file + `:2: audit "lost/": options.file_path: is required`, file + `:9: audit "odd/": type: there is no such`,
		file + `:10: listener "127.0.0.1:8200": ` + dir + "/none.pem"}
	got := strings.Split(err.Error(), "\n")
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Errorf("missing: %s", w)
		}
	}
	if len(got) != len(want) || t.Failed() {
		t.Errorf("got:\n%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}

// A setting that stands twice in one place is told, in HCL and in JSON; what may stand
// there many times is not.
func TestSettingsGivenTwice(t *testing.T) {
	for src, want := range map[string]string{
		"{\n\"log_level\": \"info\",\n\"log_level\": \"warn\"}":                                                              "f:3: log_level: is given twice; it stands in line 2 already",
		"{\"storage\": {\"raft\": {\"path\": \"/a\",\n\"path\": \"/b\"}}}":                                                   "f:2: path: is given twice; it stands in line 1 already",
		"listener \"tcp\" {\n address = \"127.0.0.1:1\"\n address = \"127.0.0.1:2\"\n}":                                      "f:3: address: is given twice",
		"audit \"file\" \"a\" {\n options {\n file_path = \"/a\"\n file_path = \"/b\"\n }\n}":                                "f:4: file_path: is given twice",
		"listener \"tcp\" { address = \"127.0.0.1:1\" }\nlistener \"tcp\" { address = \"127.0.0.1:2\" }":                     "",
		"{\"listener\": [{\"tcp\": {\"address\": \"127.0.0.1:1\"}}, {\"tcp\": {\"address\": \"127.0.0.1:2\"}}]}":             "",
		"{\"listener\": {\"tcp\": {\"address\": \"127.0.0.1:1\"}}, \"listener\": {\"tcp\": {\"address\": \"127.0.0.1:2\"}}}": "",
	} {
		_, err := ParseConfig("f", []byte(src))
		if got := errorText(err); got != want {
			t.Errorf("%s:\n%s, want %s", src, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
