package cli

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOfBuilds(t *testing.T) {
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for _, tc := range []struct {
		name, module, version, revision string
		settings                        []debug.BuildSetting
	}{
		{"from a checkout", "v1.2.3", "v1.2.3", "0123456789ab", []debug.BuildSetting{commit}},
		{"installed as a module", "v1.2.3", "v1.2.3", "go1.26", nil},
		{"from an unpacked archive", "(devel)", unreleased, "go1.26", nil},
		{"without a module", "", unreleased, "go1.26", nil},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: tc.module}, Settings: tc.settings}
		if version, revision := versionOf(info); version != tc.version || revision != tc.revision {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.name, version, revision, tc.version, tc.revision)
		}
	}
}

// TestHelpReadsWell checks articles, placeholders and examples.
func TestHelpReadsWell(t *testing.T) {
	f := newFake(t, nil)
	for line, want := range map[string]string{
		"auth disable --help": "Disable an auth method.",
		"auth enable --help":  "Enable an auth method.",
		"secrets move -h":     "Move a secrets engine to another path.",
		"list --help":         "--limit number",
		"kv metadata put -h":  "--max-versions number",
		"options":             "VAULT_",
		"login --help":        "login - < token.txt",
	} {
		r := run(t, f, t.TempDir(), line)
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: %d, no %q in %s%s", line, r.code, want, r.stdout, r.stderr)
		}
	}
}
