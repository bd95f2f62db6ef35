package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suggested is what the program answers a shell for a line that ends in word, of which
// the shell will replace the part after the last of its word breaks.
func suggested(f *fake, home, line, part string) []string {
	env := map[string]string{
		"HOME": home, "STRONGROOM_ADDR": f.URL, "STRONGROOM_TOKEN": "root", "COMP_LINE": line, "COMP_POINT": "999",
	}
	r := runAs("strongroom", env, "strongroom", part, "before")
	return strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
}

func TestCompleteLine(t *testing.T) {
	f, home := newFake(t, cannedAnswers()), t.TempDir()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pass word.txt"), "", 0o600)
	for _, tc := range []struct {
		line, part string
		want       []string
	}{
		{"strongroom kv metadata pa", "pa", []string{"patch "}},
		{"strongroom kv get sec", "sec", []string{"secret/"}},
		{"strongroom kv get secret/team/", "secret/team/", []string{"secret/team/x", "secret/team/y/"}},
		{"strongroom kv get -mou", "-mou", []string{"-mount "}},
		{"strongroom kv get --mou", "--mou", []string{"--mount "}},
		{"strongroom plugin li", "li", []string{"list "}},
		// The shell breaks words at "=" and "@", and replaces what comes after.
		{"strongroom kv put secret/a p=@" + dir + "/pa", dir + "/pa", []string{dir + "/pass word.txt "}},
		{"strongroom kv put secret/a @" + filepath.Dir(dir) + "/" + filepath.Base(dir), filepath.Base(dir), []string{filepath.Base(dir) + "/"}},
		{"strongroom sekr", "sekr", []string{""}},
		{"strongroom", "strongroom", []string{""}},
	} {
		if got := suggested(f, home, tc.line, tc.part); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestShellWords(t *testing.T) {
	for line, want := range map[string][]string{
		"a b":        {"a", "b"},
		"a ":         {"a", ""},
		`a "b c" d`:  {"a", "b c", "d"},
		`a 'b\c' \ `: {"a", `b\c`, " "},
		"":           {""},
	} {
		if got := shellWords(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzShellWords(f *testing.F) {
	f.Add(`a "b c" \`)
	f.Fuzz(func(t *testing.T, line string) {
		if words := shellWords(line); len(words) == 0 || slices.Contains(words[:len(words)-1], "") {
			t.Errorf("%q", words)
		}
	})
}

func TestCompletionIsInstalledAndTakenOut(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{"HOME": home}
	const before = "alias ll='ls -l'" // without a line's end
	write(t, filepath.Join(home, ".zshrc"), before, 0o640)
	if err := os.MkdirAll(filepath.Join(home, ".config/fish"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := runAs("vault", env, "-autocomplete-install")
	if r.code != 0 || strings.Count(r.stdout, home) != 3 {
		t.Fatalf("%d %s %s", r.code, r.stdout, r.stderr)
	}
	for name, want := range map[string]string{
		".bashrc": "complete -o nospace -C ", ".zshrc": "compinit -i }\nsource <(", ".config/fish/completions/vault.fish": "complete -c vault",
	} {
		if raw, err := os.ReadFile(filepath.Join(home, name)); err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %s %v", name, raw, err)
		}
	}
	if r = runAs("vault", env, "-autocomplete-install"); r.code != 0 || r.stdout != "Nothing to change.\n" {
		t.Errorf("again: %d %s", r.code, r.stdout)
	}
	if r = runAs("bao", env, "-autocomplete-uninstall"); r.stdout != "Nothing to change.\n" {
		t.Errorf("another name's: %s", r.stdout)
	}
	if r = runAs("vault", env, "-autocomplete-uninstall"); r.code != 0 || strings.Count(r.stdout, home) != 3 {
		t.Errorf("%d %s %s", r.code, r.stdout, r.stderr)
	}
	raw, err := os.ReadFile(filepath.Join(home, ".zshrc"))
	if info, _ := os.Stat(filepath.Join(home, ".zshrc")); err != nil || string(raw) != before+"\n" || info.Mode() != 0o640 {
		t.Errorf("left behind: %q %v %v", raw, info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(home, ".config/fish/completions/vault.fish")); err == nil {
		t.Error("the file of fish is still there")
	}
	if r = runAs("vault", env, "-autocomplete-install", "-autocomplete-uninstall"); r.code != 1 {
		t.Errorf("both: %d", r.code)
	}
}

// TestOneDashForScripts pins what the scripts for zsh and fish are answered.
func TestOneDashForScripts(t *testing.T) {
	for word, want := range map[string]string{"-mou": "-mount\t", "--mou": "--mount\t", "-mount=x": ":"} {
		r := runAs("strongroom", nil, "__complete", "kv", "get", word)
		if !strings.HasPrefix(r.stdout, want) || r.code != 0 {
			t.Errorf("%s: %d %q", word, r.code, r.stdout)
		}
	}
}

// TestCompletionKnowsWords: types, values of flags and fields, where a shell would offer the files here.
func TestCompletionKnowsWords(t *testing.T) {
	help := `{"help":"","openapi":{"paths":{"/auth/approle/role/{name}":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/R"}}}}}}},
		"components":{"schemas":{"R":{"properties":{"token_ttl":{},"token_type":{},"role_id":{}}},"Answer":{"properties":{"token_other":{}}}}}}}`
	f := newFake(t, map[string]answer{
		"GET sys/plugins/catalog/auth?list=true":   data(`{"keys":["approle","userpass"]}`),
		"GET sys/plugins/catalog/secret?list=true": data(`{"keys":["kv"]}`),
		"GET sys/audit":                      data(`{"file/":{"type":"file"}}`),
		"GET auth/approle/role/ci?help=1":    {200, help},
		"GET auth/userpass/users/ann?help=1": {200, `nonsense`},
	})
	for line, want := range map[string][]string{
		"strongroom auth enable u":                      {"userpass "},
		"strongroom secrets enable ":                    {"kv "},
		"strongroom audit enable s":                     {"socket ", "stdout ", "syslog "},
		"strongroom audit disable ":                     {"file/"},
		"strongroom auth help app":                      {"approle "},
		"strongroom login -method=app":                  {"-method=approle "},
		"strongroom write auth/approle/role/ci tok":     {"token_ttl=", "token_type="},
		"strongroom write auth/userpass/users/ann toke": {""},
	} {
		if got := suggested(f, t.TempDir(), line, line[strings.LastIndex(line, " ")+1:]); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := suggested(f, t.TempDir(), "strongroom login -method=app", "app"); !slices.Equal(got, []string{"approle "}) {
		t.Errorf("a shell that breaks words at =: %q", got)
	}
}

func FuzzWritable(f *testing.F) {
	f.Add([]byte(`{"openapi":{"paths":{"/a":{"post":{"requestBody":{"content":{"j":{"schema":{"$ref":"R"}}}}}}},"components":{"schemas":{"R":{"properties":{"x":1}}}}}}`))
	f.Fuzz(func(t *testing.T, help []byte) {
		fields, err := writable(help)
		for _, field := range fields {
			if err != nil || !strings.HasSuffix(field, "=") {
				t.Errorf("%q, %v", fields, err)
			}
		}
	})
}
