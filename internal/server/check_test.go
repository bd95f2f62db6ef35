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
		"good":                 {"storage \"inmem\" {}\nlistener \"tcp\" { address = \"127.0.0.1:0\" }\nui = true\n", ""},
		"unknown":              {"storage \"inmem\" {}\ncolour = \"red\"\n", `:2: unknown setting "colour"`},
		"no storage":           {"log_level = \"info\"\n", "names no storage"},
		"no audit directory":   {"storage \"inmem\" {}\naudit \"file\" { options { file_path = \"" + dir + "/none/a.log\" } }\n", "make it: mkdir -p " + dir + "/none"},
		"lockout of nothing":   {"storage \"inmem\" {}\nuser_lockout \"userpas\" { disable_lockout = true }\n", `:2: user_lockout "userpas": is neither all nor a type of auth method (did you mean userpass?)`},
		"lockout of al":        {"storage \"inmem\" {}\nuser_lockout \"al\" { disable_lockout = true }\n", "did you mean all?"},
		"lockout as in a tune": {"storage \"inmem\" {}\nuser_lockout { lockout_disable = true }\n", "lockout_disable: is called disable_lockout in a configuration"},
		"lockout of zero":      {"storage \"inmem\" {}\nuser_lockout { lockout_threshold = 0 }\n", "set disable_lockout"},
		"address":              {"storage \"inmem\" {}\napi_addr = \"nonsense\"\n", ":2: api_addr: write https://HOST:PORT"},
		"no certificate":       {"storage \"inmem\" {}\nlistener \"tcp\" {\n tls_cert_file = \"/none\"\n tls_key_file = \"/none\"\n}\n", "/none"},
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

// TestTwoStorages: one file's storage does not take the place of another's.
func TestTwoStorages(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.hcl"), filepath.Join(dir, "b.hcl")
	for _, file := range []string{a, b} {
		if err := os.WriteFile(file, []byte("storage \"inmem\" {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadConfig(a, b); err == nil || !strings.HasPrefix(err.Error(), b+":1: storage: "+a+" has one already") {
		t.Errorf("two files with a storage: %v", err)
	}
}

// TestExposedFiles: secrets that every user can read are told of, and others are not.
func TestExposedFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	url := "postgres://u:secretpw@127.0.0.1/db?sslmode=disable"
	conn := write("conn", url, 0o644)
	inline := write("inline.hcl", "storage \"postgres\" { connection_url = \""+url+"\" }\n", 0o644)
	for config, want := range map[string][]string{
		inline: {inline},
		write("file.hcl", "storage \"postgres\" { connection_url_file = \""+conn+"\" }\n", 0o644):                             {conn},
		write("private.hcl", "storage \"postgres\" { connection_url = \""+url+"\" }\n", 0o640):                                nil,
		write("none.hcl", "storage \"postgres\" { connection_url = \"postgres://u@127.0.0.1/db?sslmode=disable\" }\n", 0o644): nil,
	} {
		c, err := LoadConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		got := c.exposed()
		if len(got) != len(want) || len(want) > 0 && !strings.HasPrefix(got[0], want[0]+" holds a secret") || strings.Contains(strings.Join(got, ""), "secretpw") {
			t.Errorf("%s: %q", config, got)
		}
	}
	if got := (&Config{Listeners: []Listener{{KeyFile: write("tls.key", "", 0o644)}}}).exposed(); len(got) != 1 || !strings.Contains(got[0], "chmod 600 "+dir+"/tls.key") {
		t.Errorf("a private key: %q", got)
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
