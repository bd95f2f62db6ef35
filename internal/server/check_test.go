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
